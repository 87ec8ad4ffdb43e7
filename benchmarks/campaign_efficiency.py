"""How much of a campaign's time is spent inside Psi4, and what each molecule costs besides.

    python benchmarks/campaign_efficiency.py efficiency --molecules gdb9.xyz --count 200
    python benchmarks/campaign_efficiency.py overhead
    python benchmarks/campaign_efficiency.py throughput
    python benchmarks/campaign_efficiency.py planning

efficiency   part of the ranks' core-seconds inside calculations, between the first start and
             the last end; start-up and end apart
overhead     wall time a molecule and rank with a calculation that does nothing
throughput   small molecules: this program against one Parsl task a molecule that starts Psi4
             anew, and against QCEngine driven by a pool of processes (``pip install qcengine``),
             which computes the energy alone
planning     100,000 molecules planned: seconds and memory

Each prints a table.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from hpcml.campaign import RunFolder, Site, cost, generate
from hpcml.campaign.planning import plan
from hpcml.campaign.task import Progress, task_folders
from hpcml.molecules import Molecule, read
from hpcml.response import Level, Request

QUICKSTART = Path(__file__).parents[1] / "jobs/quickstart.xyz"
REQUEST = Request(properties=("dipole", "alpha", "beta"))


def row(name: str, value: str) -> None:
    print(f"{name:<58} {value:>14}")


def campaign(molecules: list[Molecule], level: Level, calculator: str) -> tuple[Progress, float]:
    """Run a campaign on two ranks in a temporary folder: (its progress, wall time)."""
    with tempfile.TemporaryDirectory(prefix="hpcml-benchmark-") as folder:
        run = RunFolder(Path(folder) / "run")
        site = Site(ranks_per_node=2, memory_mb=3000)
        began = time.time()
        report = generate(run, molecules, level, REQUEST, site, calculator=calculator)
        wall = time.time() - began
        assert report.done == len(molecules), report
        (task,) = task_folders(run.work)
        return task.read_progress(), wall


def efficiency(options: argparse.Namespace) -> None:
    molecules = list(read(options.molecules))[: options.count]
    level = Level(method="HF", basis=options.basis)
    state, wall = campaign(molecules, level, "psi4")
    span = state.last_end - state.first_start
    row("molecules", f"{len(molecules)}")
    row("level", level.label)
    row("ranks", f"{state.ranks}")
    row("wall time, s", f"{wall:.1f}")
    row("  before the first and after the last calculation, s", f"{wall - span:.1f}")
    row("  from the first start to the last end, s", f"{span:.1f}")
    row("core-seconds allotted in that span", f"{state.ranks * span:.1f}")
    row("core-seconds inside calculations", f"{state.busy:.1f}")
    row("efficiency", f"{100 * state.busy / (state.ranks * span):.2f} %")


def overhead(options: argparse.Namespace) -> None:
    molecules = [stretched(i) for i in range(options.count)]
    state, _ = campaign(molecules, Level(method="HF", basis="STO-3G"), "none")
    span = state.last_end - state.first_start
    row("molecules", f"{len(molecules)}")
    row("wall time a molecule and rank, ms", f"{1e3 * span * state.ranks / len(molecules):.3f}")
    row("wall time a molecule, ms", f"{1e3 * span / len(molecules):.3f}")


_FRESH = """
import sys
from pathlib import Path
from hpcml.molecules import read
from hpcml.response import Level, Request, compute
molecule = list(read(Path(sys.argv[1])))[int(sys.argv[2])]
compute(molecule, Level(method="HF", basis="STO-3G"), Request())
"""


def throughput(options: argparse.Namespace) -> None:
    molecules = list(read(QUICKSTART))[: options.count]
    level = Level(method="HF", basis="STO-3G")
    state, wall = campaign(molecules, level, "psi4")
    own = len(molecules) / (state.last_end - state.first_start)
    fresh = len(molecules) / fresh_tasks(len(molecules))
    pool = len(molecules) / qcengine_pool(molecules)
    row("molecules, HF/STO-3G, dipole, alpha and beta, two at a time", f"{len(molecules)}")
    row("hpcml campaign, molecules a second", f"{own:.2f}")
    row("  start-up included", f"{len(molecules) / wall:.2f}")
    row("one Parsl task a molecule, Psi4 started anew", f"{fresh:.2f}")
    row("QCEngine in a pool of two processes, energy alone", f"{pool:.2f}")
    row("hpcml over one Parsl task a molecule", f"{own / fresh:.1f} x")
    row("hpcml over QCEngine", f"{own / pool:.1f} x")


def fresh_tasks(count: int) -> float:
    """Seconds for one Parsl task a molecule, two workers, the executor's start left out."""
    import parsl
    from parsl.config import Config
    from parsl.executors import HighThroughputExecutor

    executor = HighThroughputExecutor(
        address="127.0.0.1", max_workers_per_node=2, cores_per_worker=1, encrypted=True
    )
    with tempfile.TemporaryDirectory() as folder:
        config = Config(executors=[executor], run_dir=folder, strategy_period=0.25)
        with parsl.load(config):

            @parsl.bash_app
            def fresh(words: list[str]) -> str:
                import shlex

                return shlex.join(words)

            fresh(["true"]).result()
            began = time.time()
            words = [sys.executable, "-c", _FRESH, str(QUICKSTART)]
            futures = [fresh([*words, str(i)]) for i in range(count)]
            for future in futures:
                future.result()
            return time.time() - began


def qcengine_pool(molecules: list[Molecule]) -> float:
    """Seconds for QCEngine's energies in a pool of two processes, its start left out."""
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(_qcengine_energy, molecules[:2])  # imports
        began = time.time()
        pool.map(_qcengine_energy, molecules, chunksize=1)
        return time.time() - began


def _qcengine_energy(molecule: Molecule) -> float:
    import qcelemental
    import qcengine

    bohr = qcelemental.constants.bohr2angstroms
    task = {
        "molecule": {
            "symbols": molecule.symbols,
            "geometry": (molecule.positions / bohr).ravel().tolist(),
        },
        "driver": "energy",
        "model": {"method": "hf", "basis": "sto-3g"},
    }
    local = {"ncores": 1, "memory": 2}
    result = qcengine.compute(task, "psi4", raise_error=True, local_options=local)
    return float(result.return_result)


def planning(options: argparse.Namespace) -> None:
    """In a process of its own, so that its memory is its own."""
    if not options.inner:
        command = [sys.executable, __file__, "planning", "--inner", "--count", str(options.count)]
        subprocess.run(command, check=True)
        return
    level = Level(method="HF", basis="6-31+G(d)")
    numbers = np.array([6] * 7 + [7, 8] + [1] * 9)
    rng = np.random.default_rng(0)
    molecules = [
        Molecule(numbers, rng.normal(size=(18, 3)), name=f"molecule {i}")
        for i in range(options.count)
    ]
    began = time.time()
    model = cost.fit(level, REQUEST, [], [])
    found = plan(molecules, level, REQUEST, done=(), failed=(), cost=model, hang_seconds=3600.0)
    row("molecules", f"{len(found.entries)}")
    row("planning, s", f"{time.time() - began:.1f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    row("peak memory of the process, molecules included, MB", f"{peak / 1024:.0f}")


def stretched(step: int) -> Molecule:
    """A water molecule, another geometry for each step."""
    r = 0.9 + 1e-5 * step
    return Molecule(
        np.array([8, 1, 1]),
        np.array([[0, 0, 0], [0, 0.79 * r, 0.61 * r], [0, -0.79 * r, 0.61 * r]]),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = {"efficiency": efficiency, "overhead": overhead, "throughput": throughput}
    counts = {"efficiency": 200, "overhead": 4000, "throughput": 40, "planning": 100_000}
    parser.add_argument("part", choices=[*parts, "planning"])
    parser.add_argument("--molecules", type=Path, default=QUICKSTART)
    parser.add_argument("--count", type=int)
    parser.add_argument("--basis", default="6-31+G(d)")
    parser.add_argument("--inner", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.count = options.count or counts[options.part]
    {**parts, "planning": planning}[options.part](options)


if __name__ == "__main__":
    main()
