"""How fast is the data set, beside a memory map, LMDB and ASE's SQLite database?

    python benchmarks/store_io.py QM9PACK_WHEEL [--work FOLDER] [--rows 10000000]

prints one table and writes it with the raw figures to FOLDER/store_io.json.  Needs lmdb and ase
beside hpcml, and about 6 GB in FOLDER.  Cold means that the kernel was told to forget the files
(posix_fadvise) just before; the disk's own cache stays.  Warm figures are by processor time,
the others by the clock on the wall.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import platform
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from hpcml.molecules import Molecule
from hpcml.molecules.molecule import molecule_keys
from hpcml.store import Dataset, Row, Schema, ShardWriter, import_qm9, recover, verify
from hpcml.store.distinct import WRITTEN_TOGETHER
from hpcml.store.lines import manifest_file, write_manifest
from hpcml.store.rows import offsets_of, pack_texts
from hpcml.store.shards import put_file
from hpcml.training import Target
from hpcml.training.data import epoch_batches, find_candidates, read_data
from hpcml.training.examples import PackedExamples
from hpcml.training.world import Alone

RANDOM_ROWS = 20_000
ASE_ROWS = 2_000
ROUNDS = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--work", type=Path, default=Path("store_io"))
    parser.add_argument("--rows", type=int, default=10_000_000)
    arguments = parser.parse_args()
    work: Path = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    table = Table()
    importing(table, arguments.wheel, work / "qm9")
    opening(table, work / "qm9")
    sequential(table, work / "qm9", work / "columns.bin")
    random_molecules(table, work / "qm9", work)
    training(table, work / "qm9")
    writing(table, work / "written")
    recovering(table, work / "killed")
    many_rows(table, work / "many", arguments.rows)
    table.save(work / "store_io.json")


class Table:
    """Prints a line as soon as it is known."""

    def __init__(self) -> None:
        self.rows: list[dict[str, str | float]] = []
        print(f"{'what':<52}{'measured':>16}  {'wanted':<28}")

    def add(self, what: str, value: float, unit: str, wanted: str = "") -> None:
        shown = f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
        print(f"{what:<52}{shown + ' ' + unit:>16}  {wanted:<28}", flush=True)
        self.rows.append({"what": what, "value": value, "unit": unit, "wanted": wanted})

    def save(self, path: Path) -> None:
        machine = {"cpu": platform.processor(), "cores": os.cpu_count(), "numpy": np.__version__}
        path.write_text(json.dumps({"machine": machine, "rows": self.rows}, indent=1))
        print(f"written to {path}")


def seconds(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def best(*actions: Callable[[], object]) -> list[float]:
    """The least processor time of each action, which is the time it takes on an idle machine
    when it waits for no disk.  They take turns, so that what else goes on meets all alike."""

    def processor_seconds(action: Callable[[], object]) -> float:
        begin = time.process_time()
        action()
        return time.process_time() - begin

    rounds = [[processor_seconds(action) for action in actions] for _ in range(ROUNDS)]
    return [min(times) for times in zip(*rounds, strict=True)]


def forget(*paths: Path) -> None:
    """Drop files from the page cache."""
    for path in paths:
        for file in [path] if path.is_file() else path.rglob("*"):
            if file.is_file():
                descriptor = os.open(file, os.O_RDONLY)
                os.fsync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(descriptor)


def importing(table: Table, wheel: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    processor = time.process_time()
    table.add(
        "import qm9 (qm9pack wheel)", seconds(lambda: import_qm9(wheel, folder)), "s", "< 60 s"
    )
    table.add("  of which processor time", time.process_time() - processor, "s")


def recovering(table: Table, folder: Path) -> None:
    """Writers killed with a row in the journal, brought home: linear in their number."""
    schema = Schema(columns=("energy",))
    hydrogen = Molecule([1, 1], [[0.0, 0.0, 0.0], [0.0, 0.0, 0.74]])
    for count in (250, 500, 1000):
        shutil.rmtree(folder, ignore_errors=True)
        for number in range(count):
            child = os.fork()
            if child == 0:
                writer = ShardWriter(folder, schema, f"rank{number}")
                writer.append(Row(f"{number:032x}", hydrogen, {"energy": np.array(-1.1)}))
                os._exit(0)
            os.waitpid(child, 0)
        begin = time.process_time()
        recover(folder)
        table.add(f"recover {count} killed writers", time.process_time() - begin, "s")


def opening(table: Table, folder: Path) -> None:
    table.add("open QM9, warm", 1e3 * best(lambda: Dataset.open(folder))[0], "ms", "< 50 ms")
    forget(folder)
    Dataset.open(folder, verified=True)
    table.add(
        "  bytes verified before", 1e3 * best(lambda: Dataset.open(folder, verified=True))[0], "ms"
    )
    table.add("  bytes verified now", seconds(lambda: verify(folder)), "s")
    table.add("open QM9, cold", 1e3 * seconds(lambda: Dataset.open(folder)), "ms", "< 50 ms")


def sequential(table: Table, folder: Path, flat: Path) -> None:
    """Every column once into memory, against numpy.memmap over one file with the same bytes."""
    data = Dataset.open(folder)
    names = data.columns
    ends = [0]
    with flat.open("wb") as file:
        for name in names:
            ends.append(ends[-1] + file.write(data.column(name).tobytes()))
    mapped = np.memmap(flat, np.uint8, "r")

    def columns() -> None:
        for name in names:
            data.column(name)

    def memory_map() -> None:
        for start, stop in pairwise(ends):
            np.array(mapped[start:stop])

    for state in ("warm", "cold"):
        if state == "cold":  # pages that are mapped somewhere cannot be forgotten
            del data, mapped
            forget(folder, flat)
            data, mapped = Dataset.open(folder), np.memmap(flat, np.uint8, "r")
        ours, theirs = (
            best(columns, memory_map)
            if state == "warm"
            else (seconds(columns), seconds(memory_map))
        )
        table.add(f"sequential read, {state}, hpcml", ends[-1] / ours / 1e6, "MB/s")
        table.add(f"sequential read, {state}, numpy.memmap", ends[-1] / theirs / 1e6, "MB/s")
        table.add("  ratio", theirs / ours, "x", ">= 0.5")
    flat.unlink()


def random_molecules(table: Table, folder: Path, work: Path) -> None:
    """Atomic numbers, positions and alpha_iso of molecules in random order, one at a time."""
    import lmdb

    data = Dataset.open(folder)
    stores = {
        "packed": build_lmdb(data, work / "packed.lmdb", pack_row),
        "pickled": build_lmdb(data, work / "pickled.lmdb", pickle_row),
    }
    database = build_ase(data, work / "qm9.db")
    chosen = np.random.default_rng(1).permutation(len(data))[:RANDOM_ROWS].tolist()
    del data

    def hpcml_rows() -> None:
        pick = Dataset.open(folder).picker("numbers", "positions", "alpha_iso")
        for i in chosen:
            pick(i)

    def hpcml_batches() -> None:
        opened = Dataset.open(folder)
        for start in range(0, len(chosen), 256):
            part = opened.subset(chosen[start : start + 256])
            for name in ("numbers", "positions", "alpha_iso"):
                part.column(name)
            part.atom_offsets  # noqa: B018

    def lmdb_rows(path: Path, unpack: Callable[[bytes], object]) -> Callable[[], None]:
        def read() -> None:
            with (
                lmdb.open(str(path), readonly=True, lock=False, readahead=False) as store,
                store.begin(buffers=True) as transaction,
            ):
                for i in chosen:
                    unpack(transaction.get(struct.pack("<I", i)))

        return read

    def ase_rows() -> None:
        from ase.db import connect

        connection = connect(database)
        for i in chosen[:ASE_ROWS]:
            row = connection.get(i + 1)
            row.numbers, row.positions, row.alpha_iso  # noqa: B018

    readers = {
        "hpcml, one by one": (hpcml_rows, folder, RANDOM_ROWS),
        "hpcml, batches of 256": (hpcml_batches, folder, RANDOM_ROWS),
        "LMDB packed": (lmdb_rows(stores["packed"], unpack_row), stores["packed"], RANDOM_ROWS),
        "LMDB pickled": (lmdb_rows(stores["pickled"], pickle.loads), stores["pickled"],
                         RANDOM_ROWS),
        "ASE SQLite": (ase_rows, database, ASE_ROWS),
    }  # fmt: skip
    for state in ("warm", "cold"):
        if state == "warm":
            times = best(*(read for read, _, _ in readers.values()))
        else:
            times = []
            for read, path, _ in readers.values():
                forget(path)
                times.append(seconds(read))
        rates = {
            name: rows / took
            for (name, (_, _, rows)), took in zip(readers.items(), times, strict=True)
        }
        for name, rate in rates.items():
            table.add(f"random molecules, {state}, {name}", rate, "rows/s")
        for name in ("hpcml, one by one", "hpcml, batches of 256"):
            table.add(f"  {name} / ASE", rates[name] / rates["ASE SQLite"], "x", ">= 10")
            table.add(f"  {name} / LMDB packed", rates[name] / rates["LMDB packed"], "x", ">= 1")
            table.add(f"  {name} / LMDB pickled", rates[name] / rates["LMDB pickled"], "x", ">= 1")


def rows_of(data: Dataset) -> Iterator[tuple[int, np.ndarray, np.ndarray, float]]:
    numbers, positions = data.column("numbers"), data.column("positions")
    cuts, alpha = data.atom_offsets.tolist(), data.scalar("alpha_iso").tolist()
    for i, value in enumerate(alpha):
        atoms = slice(cuts[i], cuts[i + 1])
        yield i, numbers[atoms], positions[atoms], value


def pack_row(numbers: np.ndarray, positions: np.ndarray, alpha: float) -> bytes:
    return struct.pack("<Hd", len(numbers), alpha) + positions.tobytes() + numbers.tobytes()


def unpack_row(data: bytes) -> tuple[np.ndarray, np.ndarray, float]:
    n, alpha = struct.unpack_from("<Hd", data)
    positions = np.frombuffer(data, "<f8", 3 * n, 10).reshape(n, 3)
    return np.frombuffer(data, "u1", n, 10 + 24 * n), positions, alpha


def pickle_row(numbers: np.ndarray, positions: np.ndarray, alpha: float) -> bytes:
    return pickle.dumps({"numbers": numbers, "positions": positions, "alpha_iso": alpha}, 5)


def build_lmdb(data: Dataset, path: Path, encode: Callable[..., bytes]) -> Path:
    import lmdb

    shutil.rmtree(path, ignore_errors=True)
    with lmdb.open(str(path), map_size=1 << 32) as store, store.begin(write=True) as transaction:
        for i, *row in rows_of(data):
            transaction.put(struct.pack("<I", i), encode(*row))
    return path


def build_ase(data: Dataset, path: Path) -> Path:
    from ase import Atoms
    from ase.db import connect

    if path.exists():  # minutes of work
        return path
    growing = path.with_name("growing.db")
    growing.unlink(missing_ok=True)
    with connect(growing) as connection:
        for _, numbers, positions, alpha in rows_of(data):
            connection.write(Atoms(numbers=numbers, positions=positions), alpha_iso=alpha)
    return growing.rename(path)


def training(table: Table, folder: Path) -> None:
    """What training does with a data set: everything read once, then batches cut out of memory."""
    inputs = frozenset({"pairs"})

    def read() -> PackedExamples:
        found = find_candidates(Dataset.open(folder), (Target(name="alpha_iso"),))
        return read_data(found, found.keys, inputs, Alone()).examples

    table.add("training reads QM9, warm", best(read)[0], "s")
    forget(folder)
    table.add("training reads QM9, cold", seconds(read), "s")
    examples = read()
    batches = epoch_batches(np.arange(len(examples)), 256, seed=1, epoch=0)

    def epoch() -> None:
        for batch in batches:
            examples.batch(batch)

    rate = len(examples) / best(epoch)[0]
    table.add("  one epoch's batches of 256, pairs of atoms", rate, "rows/s")


def writing(table: Table, folder: Path) -> None:
    """Rows of 20 atoms with polarizability and first hyperpolarizability, an fsync each."""
    shutil.rmtree(folder, ignore_errors=True)
    columns = ("energy", "dipole", "polarizability", "alpha_iso", "hyperpolarizability",
               "beta_parallel", "share_alpha_iso")  # fmt: skip
    schema = Schema(columns=columns, frequencies=(0.0,), processes=(("static", 0.0, 0.0),))
    random = np.random.default_rng(0)
    rows = []
    for number in range(4000):
        molecule = Molecule(random.integers(1, 10, 20), random.normal(size=(20, 3)))
        values = {name: random.normal(size=schema.shape(name)) for name in columns[:-1]}
        values["share_alpha_iso"] = random.normal(size=20)
        rows.append(Row(f"{number:032x}", molecule, values, {"method": "HF", "basis": "STO-3G"}))

    def write() -> None:
        with ShardWriter(folder, schema, "rank0") as writer:
            for row in rows:
                writer.append(row)

    table.add("write, one rank, fsync each row", len(rows) / seconds(write), "rows/s", "> 2,000")
    table.add("  fsync alone, growing file", fsync_rate(folder / "x", grow=True), "1/s")
    table.add("  fsync alone, file in place", fsync_rate(folder / "x", grow=False), "1/s")


def fsync_rate(path: Path, *, grow: bool) -> float:
    block, count = bytes(1500), 1000
    with path.open("wb") as file:
        if not grow:
            file.write(bytes(1500 * count))
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)

        def loop() -> None:
            for _ in range(count):
                os.write(file.fileno(), block)
                os.fdatasync(file.fileno())

        return count / seconds(loop)


def many_rows(table: Table, folder: Path, rows: int) -> None:
    """Synthetic rows of two atoms; opening and verifying in processes of their own."""
    if not manifest_file(folder).exists():
        table.add(f"write {rows:,} rows in bulk", seconds(lambda: build_many(folder, rows)), "s")
    jobs = (
        ("open", "warm", "open {} rows", "< 1 s", "< 500 MB"),
        ("keys", "warm", "open {} rows of many writers", "", "< 500 MB"),
        ("open", "cold", "open {} rows", "< 1 s", "< 500 MB"),
        ("keys", "cold", "open {} rows of many writers", "", "< 500 MB"),
        ("verify", "warm", "verify {} rows", "", "streaming"),
    )
    for what, state, label, time_limit, memory_limit in jobs:
        if state == "cold":
            forget(folder)
        wall, processor, resident = in_process(what, folder)
        table.add(f"{label.format(f'{rows:,}')}, {state}", wall, "s", time_limit)
        table.add("  processor time", processor, "s", time_limit)
        table.add("  memory above the import of hpcml", resident, "MB", memory_limit)


def build_many(folder: Path, rows: int) -> None:
    schema = Schema(columns=("energy",))
    random = np.random.default_rng(0)
    entries = []
    for start in range(0, rows, 65536):
        n = min(65536, rows - start)
        columns = {
            "key": random.integers(0, 256, (n, 16), np.uint8),
            "charge": np.zeros(n, "<i4"),
            "multiplicity": np.ones(n, "<i4"),
            "numbers": np.ones(2 * n, np.uint8),
            "positions": random.normal(size=(2 * n, 3)),
            "atom_offsets": 2 * np.arange(n + 1),
            "energy": random.normal(size=n),
        }
        columns["molecule_key"] = molecule_keys(columns)
        for name in ("name", "smiles", "provenance"):
            columns[name], columns[f"{name}_offsets"] = pack_texts([""] * n)
        columns["atom_offsets"] = offsets_of(np.full(n, 2))
        name = f"synthetic-{start:08d}"
        attributes = {"schema": schema.to_json(), WRITTEN_TOGETHER: "random keys"}
        entries.append(put_file(folder, name, columns, attributes))
    write_manifest(manifest_file(folder), [*entries])


def in_process(what: str, folder: Path) -> list[float]:
    """Wall time and processor time in seconds, and megabytes by which the peak of the resident
    memory grew.  "keys" opens and compares all keys, as for shards of many writers."""
    program = (
        "import sys, time\n"
        "from hpcml.store import Dataset, Manifest, Shard, verify\n"
        "from hpcml.store.distinct import distinct_rows\n"
        "what, folder = sys.argv[1:]\n"
        "def peak():\n"
        "    return int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
        "before, wall, processor = peak(), time.perf_counter(), time.process_time()\n"
        "result = verify(folder) if what == 'verify' else Dataset.open(folder)\n"
        "if what == 'keys':\n"
        "    assert distinct_rows([Shard(folder, e) for e in result.entries]) is None\n"
        "print(time.perf_counter() - wall, time.process_time() - processor)\n"
        "print((peak() - before) / 1e3)\n"
        "assert what != 'verify' or result.ok, result"
    )
    run = subprocess.run([sys.executable, "-c", program, what, str(folder)], check=True, text=True,
                         capture_output=True)  # fmt: skip
    return [float(word) for word in run.stdout.split()]


if __name__ == "__main__":
    main()
