"""How much faster do two ranks train than one, each with the same work, by Horovod and by torch?

    python benchmarks/training_scaling.py QM9 [--network weave]

Weak scaling: every rank gets the same number of molecules a step and an epoch, so two ranks do
twice the work.  The programs are those of ``hpcml train``, started by mpiexec, one thread a rank,
in turn: Horovod on one rank and on two, torch.distributed on one and on two, round after round.
Molecules a second are of the training itself (metrics.json), in wall time: start, reading and
features are left out, and the machine must have as many idle cores as ranks.  Four minutes for
one network.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np

from hpcml.cluster import Site
from hpcml.cluster.launch import mpi_command, mpi_environment
from hpcml.molecules import Molecule
from hpcml.molecules.qm9 import Qm9Record, read_qm9
from hpcml.store import Row, Schema, ShardWriter
from hpcml.training import TrainSettings

BACKENDS = ("horovod", "torch")
EPOCHS = 2
VALIDATION = 40  # molecules a rank


def write_dataset(folder: Path, molecules: list[Molecule]) -> None:
    """The molecules with their electrons as energy; the target is of no matter for the time."""
    schema = Schema(columns=("energy",))
    with ShardWriter(folder, schema, "benchmark") as writer:
        for number, molecule in enumerate(molecules):
            values = {"energy": np.array(-float(molecule.electrons))}
            provenance = {"method": "electrons", "basis": "none"}
            writer.append(Row(f"{number:032x}", molecule, values, provenance))


def molecules_per_second(
    network: str, kind: tuple[str, int], options: argparse.Namespace, dataset: Path, folder: Path
) -> float:
    """One run of the training program, by a backend on so many ranks, into a new folder."""
    backend, ranks = kind
    settings = TrainSettings(
        model=network,
        target="energy",
        epochs=EPOCHS,
        batch_size=options.batch * ranks,
        train=options.molecules * ranks,
        validation=VALIDATION * ranks,
        test=2,  # 1 would be all
        ranks=ranks,
        backend=backend,  # type: ignore[arg-type]
        checkpoint_steps=10**6,
    )
    folder.mkdir()
    (folder / "orders.json").write_bytes(msgspec.json.encode(settings))
    words = ["--dataset", str(dataset), "--model", str(folder / "model")]
    words += ["--settings", str(folder / "orders.json")]
    site = Site(threads=1)
    ended = subprocess.run(
        mpi_command(ranks, "hpcml.training.train_program", words, site),
        env=os.environ | mpi_environment(site),
        check=False,
        capture_output=True,
        text=True,
    )
    if ended.returncode:
        raise SystemExit(ended.stderr)
    rate: float = json.loads((folder / "model" / "metrics.json").read_text())[
        "molecules_per_second"
    ]
    return rate


def compare(network: str, options: argparse.Namespace, dataset: Path, scratch: Path) -> None:
    """Two rows a backend: median rate, range, and times the rate of one rank."""
    kinds = [(backend, ranks) for backend in BACKENDS for ranks in (1, options.ranks)]
    rates: dict[tuple[str, int], list[float]] = {kind: [] for kind in kinds}
    for number in range(options.rounds):
        for backend, ranks in kinds:
            folder = scratch / f"{network}-{backend}-{ranks}-{number}"
            rate = molecules_per_second(network, (backend, ranks), options, dataset, folder)
            rates[backend, ranks].append(rate)
    for backend, ranks in kinds:
        found, alone = rates[backend, ranks], rates[backend, 1]
        ratios = [many / one for many, one in zip(found, alone, strict=True)]
        print(
            f"{network:10} {backend:8} {ranks:5} {statistics.median(found):12.0f} "
            f"{min(found):10.0f} {max(found):10.0f} {statistics.median(ratios):9.3f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("qm9", help="QM9 in a form that `hpcml import qm9` reads")
    parser.add_argument("--network", nargs="+", default=["dtnn"])
    parser.add_argument("--batch", type=int, default=100, help="molecules a step and rank")
    parser.add_argument("--molecules", type=int, default=4000, help="an epoch and rank")
    parser.add_argument("--ranks", type=int, default=2, help="against one")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    records = (record for record in read_qm9(options.qm9) if isinstance(record, Qm9Record))
    needed = options.ranks * (options.molecules + VALIDATION) + 2
    molecules = [record.molecule for record in islice(records, 5000, 5000 + needed)]
    print(
        f"{options.molecules} molecules a rank and epoch, {options.batch} a step, {EPOCHS} epochs, "
        f"{options.rounds} rounds"
    )
    print(
        f"{'':10} {'':8} {'ranks':>5} {'molecules/s':>12} {'least':>10} {'most':>10} {'times':>9}"
    )
    with tempfile.TemporaryDirectory(prefix="hpcml-benchmark-") as scratch:
        dataset = Path(scratch) / "dataset"
        write_dataset(dataset, molecules)
        for network in options.network:
            compare(network, options, dataset, Path(scratch))


if __name__ == "__main__":
    main()
