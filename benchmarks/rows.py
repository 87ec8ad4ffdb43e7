"""What do a data set's books cost as its rows grow: memory and time at 10^5, 10^6, 10^7 rows?

    python benchmarks/rows.py                        to 10^7 rows: ten minutes, 3 GB of disk
    python benchmarks/rows.py --most 1e8 --places manifest,status,planned,journals

A data set is made of shards of 512 rows as ranks leave it, with their files, checksums and
manifest lines, 64 manifests: three atoms, each another geometry, one energy; the number of the row
stands as its charge, so that no two are the same molecule.  The shards' columns are laid by numpy,
not row by row, which is all that is left out.  Then, each in a process
of its own:

manifest   all manifests read: what every command begins with
status     ``hpcml status``
planned    the keys of what is done, met shard by shard, as planning meets them
journals   64 killed writers' journals brought home
opened     ``hpcml.open``, which looks for keys that come twice
column     one number of each row read
index      training's rows found and divided: 1,000 to learn from, a hundred to judge by
view       dataset.h5, once the shards have been compacted

Seconds are of the processor; MB is what the process held at the most.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from hpcml.cluster import RunFolder
from hpcml.generation.plan.planning import PlanRecord, done_keys
from hpcml.generation.run_status import status
from hpcml.molecules import Molecule, molecule_keys
from hpcml.store import Dataset, Manifest, Row, Schema, ShardWriter, recover, shards
from hpcml.store.compaction import compact
from hpcml.store.rows import offsets_of, pack_texts
from hpcml.store.virtual import write_virtual

SCHEMA = Schema(columns=("energy",))
ROWS = 512  # of a shard
WRITERS = 64


def waters(count: int) -> NDArray[np.float64]:
    """(3 count, 3) positions: bonds of 0.96 angstrom, a little of everything."""
    water = np.array([[0.0, 0.0, 0.0], [0.0, 0.757, 0.586], [0.0, -0.757, 0.586]])
    return (water + np.random.default_rng().normal(0.0, 0.01, (count, 3, 3))).reshape(-1, 3)


def make(folder: Path, rows: int) -> None:
    """The data set; its making does not wait for the disk, which would take an hour."""
    os.fsync = os.fdatasync = lambda _file: None  # type: ignore[assignment]
    random = np.random.default_rng()
    for number, start in enumerate(range(0, rows, ROWS)):
        count = min(ROWS, rows - start)
        columns = {
            "key": random.integers(0, 256, (count, 16), dtype=np.uint8),
            "charge": np.arange(start, start + count, dtype="<i4"),
            "multiplicity": np.ones(count, "<i4"),
            "numbers": np.tile(np.array([8, 1, 1], "u1"), count),
            "positions": waters(count),
            "atom_offsets": offsets_of([3] * count),
            "energy": random.normal(-76.0, 0.1, count),
        }
        columns["molecule_key"] = molecule_keys(columns)
        for name in ("name", "smiles", "provenance"):
            columns[name], columns[f"{name}_offsets"] = pack_texts([""] * count)
        shards.write(
            folder,
            f"rank{number % WRITERS}-{number:08x}",
            columns,
            {"schema": SCHEMA.to_json()},
            writer=f"rank{number % WRITERS}",
        )


# --- what is measured --------------------------------------------------------------------------


def manifest(run: RunFolder) -> int:
    return sum(entry.rows for entry in Manifest(run.dataset))


def status_of(run: RunFolder) -> int:
    return status(run).done


def planned(run: RunFolder) -> int:
    return sum(len(keys) for keys in done_keys(run.dataset))


def kill_writers(run: RunFolder) -> None:
    """Writers that end with half a shard in their journals."""
    if os.fork():
        os.wait()
        return
    for number in range(WRITERS):
        writer = ShardWriter(run.dataset, SCHEMA, f"killed{number}")
        positions = waters(256).reshape(-1, 3, 3)
        writer.append(
            *(
                Row(
                    secrets.token_hex(16),
                    Molecule(np.array([8, 1, 1]), positions[i]),
                    {"energy": np.array(-76.0)},
                )
                for i in range(256)
            )
        )
    os._exit(0)


def journals(run: RunFolder) -> int:
    return recover(run.dataset).rows


def opened(run: RunFolder) -> int:
    return len(Dataset.open(run.dataset))


def column(run: RunFolder) -> int:
    return len(Dataset.open(run.dataset).column("energy"))


def index(run: RunFolder) -> int:
    from hpcml.training import TrainSettings
    from hpcml.training.data import find_candidates
    from hpcml.training.splits import make_split

    settings = TrainSettings(target="energy", train=1000, validation=100, test=100)
    dataset = Dataset.open(run.dataset)
    candidates = find_candidates(dataset, settings.targets)
    return len(make_split(settings, candidates, dataset.fingerprint).train)


def view(run: RunFolder) -> int:
    return len(Dataset.open(run.dataset).shards) if write_virtual(run.dataset) else 0


PLACES: dict[str, Callable[[RunFolder], int]] = {
    "manifest": manifest,
    "status": status_of,
    "planned": planned,
    "journals": journals,
    "opened": opened,
    "column": column,
    "index": index,
    "view": view,
}
BEFORE: dict[str, Callable[[RunFolder], object]] = {
    "journals": kill_writers,
    "view": lambda run: compact(run.dataset, rows_per_shard=50_000),
}


def inside(place: str, folder: Path) -> None:
    began, wall = time.process_time(), time.perf_counter()
    told = PLACES[place](RunFolder(folder))
    seconds, wall = time.process_time() - began, time.perf_counter() - wall
    peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1e3
    print(json.dumps({"told": told, "seconds": seconds, "wall": wall, "mb": peak}))


def measured(place: str, run: RunFolder) -> str:
    if place in BEFORE:
        BEFORE[place](run)
    command = [sys.executable, __file__, "--inside", place, str(run.path)]
    found = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    told = json.loads(found.splitlines()[-1])
    return f"{told['seconds']:12.2f}{told['wall']:10.2f}{told['mb']:9.0f}{told['told']:14,}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--least", type=float, default=1e5, help="rows of the first data set")
    parser.add_argument("--most", type=float, default=1e7, help="rows of the last")
    parser.add_argument("--places", default=",".join(PLACES), help="which of them")
    parser.add_argument("--folder", type=Path, help="where the data sets are made and removed")
    parser.add_argument("--inside", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        inside(options.inside[0], Path(options.inside[1]))
        return
    say = partial(print, flush=True)
    say(f"{'rows':>12}  {'':10}{'processor s':>12}{'wall s':>10}{'MB':>9}{'told':>14}")
    count = int(options.least)
    while count <= options.most:
        with tempfile.TemporaryDirectory(prefix="hpcml-rows-", dir=options.folder) as place:
            run = RunFolder(place)
            began = time.perf_counter()
            if not os.fork():
                make(run.dataset, count)
                os._exit(0)
            os.wait()
            size = sum(path.stat().st_size for path in run.dataset.rglob("*") if path.is_file())
            say(f"{count:12,}  made in {time.perf_counter() - began:.0f} s, {size / 1e6:,.0f} MB")
            run.work.mkdir()
            record = PlanRecord(total=count, done=count, failed=0, missing=0)
            run.plan.write_bytes(msgspec.json.encode(record))
            for name in options.places.split(","):
                say(f"{count:12,}  {name:10}{measured(name, run)}")
        count *= 10


if __name__ == "__main__":
    main()
