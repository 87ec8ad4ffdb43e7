"""How much of a campaign's time is spent inside Psi4, and what each molecule costs besides.

    python benchmarks/campaign_efficiency.py            all of it, half an hour on two cores
    python benchmarks/campaign_efficiency.py --short    fewer molecules, about 6 minutes
    python benchmarks/campaign_efficiency.py throughput [--short]     one part

planning     100,000 molecules planned: seconds and memory (15 s)
status       ``hpcml status`` of a run of a million rows in 2000 programs, 20,000 failures (2 s)
overhead     wall time a molecule and rank with a calculation that does nothing (20 s)
throughput   molecules of up to three heavy atoms: this program against one Parsl task a molecule
             that starts Psi4 anew, and against QCEngine driven by a pool of processes, which
             computes the energy alone; medians of three rounds (4 min). QCEngine's version must
             suit Psi4's packages: for Debian's, ``pip install --no-deps qcengine==0.26.0
             py-cpuinfo``, best with ``--target`` into a folder named in PYTHONPATH
rivals       random molecules of GDB-9 with nine heavy atoms (of ``jobs/study/held_out.xyz``),
             HF/6-31+G(d), fitted: dipole, alpha and beta; molecules a core-hour of a campaign on
             two ranks, and of PySCF with pyscf-properties in a pool of two processes, starts left
             out of both (``--molecules N``, 100 unless given; 12 with ``--short``, minutes). Wants
             ``pip install --no-deps --target FOLDER pyscf-properties`` and PYSCF_EXT_PATH=FOLDER
efficiency   the first 200 molecules of GDB-9, HF/6-31+G(d), dipole, alpha and beta: part of the
             ranks' core-seconds inside calculations, between the first start and the last end;
             start-up and end apart (6 min)

Two ranks of one thread everywhere.  Each part prints a table; a line with a bar says whether it is
met.  The times are those of a quiet machine, which the figures need too.  ``gdb9_200.xyz`` are the
first 200 molecules of GDB-9 with QM9's geometries (Sci. Data 1, 140022 (2014)), made like
``jobs/quickstart.xyz``.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
from machinery import disk_seconds

from hpcml.cluster import RunFolder, Site
from hpcml.generation import failures, generate, status
from hpcml.generation.plan import cost
from hpcml.generation.plan.planning import Planner, PlanRecord
from hpcml.generation.protocol.task import TaskProgress, task_folders
from hpcml.molecules import Molecule, read, write_extended_xyz
from hpcml.response import Level, Request

GDB9 = Path(__file__).with_name("gdb9_200.xyz")
REQUEST = Request(properties=("dipole", "alpha", "beta"))
SMALL_LEVEL = Level(method="HF", basis="STO-3G")
ROUNDS = 3


def row(name: str, value: str) -> None:
    print(f"{name:<66} {value:>12}")


def bar(
    name: str, value: float, unit: str, *, most: float = np.inf, least: float = -np.inf
) -> None:
    """A figure with the bar that it has to pass."""
    wanted = f"<= {most:g}" if most < np.inf else f">= {least:g}"
    verdict = "met" if least <= value <= most else "MISSED"
    row(name, f"{value:.3g} {unit}")
    print(f"{'':<66} {f'bar {wanted} {unit}: {verdict}':>12}")


def campaign(
    molecules: list[Molecule], level: Level, calculator: str
) -> tuple[TaskProgress, float, float]:
    """A campaign on two ranks in a temporary folder: its progress, seconds of start-up, of all."""
    with tempfile.TemporaryDirectory(prefix="hpcml-benchmark-") as folder:
        run = RunFolder(Path(folder) / "run")
        site = Site(ranks_per_node=2, memory_mb=3000)
        began = time.time()
        report = generate(run, molecules, level, REQUEST, site, calculator=calculator)
        wall = time.time() - began
        assert report.done == len(molecules), report
        (task,) = task_folders(run.work)
        state = task.read_progress()
        return state, state.first_start - began, wall


def efficiency(*, short: bool) -> None:
    molecules = list(read(GDB9))[: 20 if short else 200]
    level = Level(method="HF", basis="6-31+G(d)")
    state, start, wall = campaign(molecules, level, "psi4")
    span = state.last_end - state.first_start
    row(f"molecules of GDB-9, {level.label}, {state.ranks} ranks", f"{len(molecules)}")
    row("wall time, s", f"{wall:.1f}")
    row("  start-up, before the first calculation, s", f"{start:.1f}")
    row("  from the first start to the last end, s", f"{span:.1f}")
    row("core-seconds allotted in that span", f"{state.ranks * span:.1f}")
    row("core-seconds inside calculations", f"{state.busy:.1f}")
    bar("efficiency", 100 * state.busy / (state.ranks * span), "%", least=96)


def overhead(*, short: bool) -> None:
    molecules = [stretched(i) for i in range(1000 if short else 4000)]
    state, _, _ = campaign(molecules, SMALL_LEVEL, "none")
    span = state.last_end - state.first_start
    row("molecules, 2 ranks, calculations that do nothing", f"{len(molecules)}")
    row("this disk's fdatasync of a row, median, ms", f"{1e3 * disk_seconds():.2f}")
    row("wall time a molecule, ms", f"{1e3 * span / len(molecules):.2f}")
    each = 1e3 * span * state.ranks / len(molecules)
    bar("wall time a molecule and rank", each, "ms", most=3)


_FRESH = """
import sys
from hpcml.molecules import read
from hpcml.response import Level, Request, compute
(molecule,) = read(sys.argv[1])
compute(molecule, Level(method="HF", basis="STO-3G"), Request(properties=("dipole","alpha","beta")))
"""


def throughput(*, short: bool) -> None:
    """Interleaved rounds; starting the executor, the pool and the ranks is left out of all."""
    few_atoms = [m for m in read(GDB9) if np.count_nonzero(m.numbers > 1) <= 3]
    molecules = [
        replace(molecule, positions=molecule.positions * scale)
        for scale in ([1.0] if short else [1.0, 1.002, 0.998])
        for molecule in few_atoms
    ]
    own, with_start, fresh, pool = [], [], [], []
    for _ in range(1 if short else ROUNDS):
        state, _, wall = campaign(molecules, SMALL_LEVEL, "psi4")
        own.append(len(molecules) / (state.last_end - state.first_start))
        with_start.append(len(molecules) / wall)
        fresh.append(len(molecules) / fresh_tasks(molecules))
        pool.append(len(molecules) / qcengine_pool(molecules))
    rates = {name: statistics.median(x) for name, x in (("own", own), ("fresh", fresh))}
    row("small molecules, HF/STO-3G, dipole, alpha and beta, two at a time", f"{len(molecules)}")
    row("  geometries of different molecules, up to three heavy atoms", f"{len(few_atoms)}")
    row("hpcml campaign, molecules a second", f"{rates['own']:.2f}")
    row("  start-up and end included", f"{statistics.median(with_start):.2f}")
    row("one Parsl task a molecule, Psi4 started anew", f"{rates['fresh']:.2f}")
    row("QCEngine in a pool of two processes, energy alone", f"{statistics.median(pool):.2f}")
    bar("hpcml over one Parsl task a molecule", rates["own"] / rates["fresh"], "x", least=5)
    bar("hpcml over QCEngine", rates["own"] / statistics.median(pool), "x", least=1)


def fresh_tasks(molecules: list[Molecule]) -> float:
    """Seconds for one Parsl task a molecule, two workers, the executor's start left out."""
    import parsl
    from parsl.config import Config
    from parsl.executors import HighThroughputExecutor

    executor = HighThroughputExecutor(
        address="127.0.0.1", max_workers_per_node=2, cores_per_worker=1, encrypted=True
    )
    with tempfile.TemporaryDirectory(prefix="hpcml-benchmark-") as folder:
        paths = [Path(folder) / f"{i}.xyz" for i in range(len(molecules))]
        for path, molecule in zip(paths, molecules, strict=True):
            write_extended_xyz(path, [molecule])
        with parsl.load(Config(executors=[executor], run_dir=folder, strategy_period=0.25)):

            @parsl.bash_app
            def fresh(words: list[str]) -> str:
                import shlex

                return shlex.join(words)

            fresh(["true"]).result()
            began = time.time()
            futures = [fresh([sys.executable, "-c", _FRESH, str(path)]) for path in paths]
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


def rivals(*, short: bool, count: int = 0) -> None:
    """The same work by a campaign and by PySCF in a pool, both on two cores."""
    held_out = Path(__file__).parents[1] / "jobs" / "study" / "held_out.xyz"
    nine = [m for m in read(held_out) if np.count_nonzero(m.numbers > 1) == 9]
    chosen = np.random.default_rng(0).permutation(len(nine))[: count or (12 if short else 100)]
    molecules = [nine[index] for index in chosen]
    level = Level(method="HF", basis="6-31+G(d)")
    state, _, _ = campaign(molecules, level, "psi4")
    own = 3600 * len(molecules) / (state.ranks * (state.last_end - state.first_start))
    pool = 3600 * len(molecules) / (2 * pyscf_pool(molecules, level))
    row(f"molecules of nine heavy atoms, {level.label}, dipole, alpha, beta", f"{len(molecules)}")
    row("  of atoms, on average", f"{np.mean([len(m.numbers) for m in molecules]):.1f}")
    row("hpcml campaign, molecules a core-hour", f"{own:.0f}")
    row("PySCF in a pool of two processes, molecules a core-hour", f"{pool:.0f}")
    row("hpcml over PySCF", f"{own / pool:.2f} x")


def pyscf_pool(molecules: list[Molecule], level: Level) -> float:
    """Seconds for PySCF's dipole, alpha and beta in a pool of two processes, its start left out."""
    work = [(m.symbols, m.positions.tolist(), level.basis) for m in molecules]
    water = stretched(0)
    warm = (water.symbols, water.positions.tolist(), level.basis)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(_pyscf_properties, [warm, warm], chunksize=1)  # imports
        began = time.time()
        pool.map(_pyscf_properties, work, chunksize=1)
        return time.time() - began


def _pyscf_properties(work: tuple[list[str], list[list[float]], str]) -> list[float]:
    from pyscf import gto, lib, scf
    from pyscf.prop.polarizability import rhf

    symbols, positions, basis = work
    lib.num_threads(1)
    atoms = list(zip(symbols, positions, strict=True))
    mol = gto.M(atom=atoms, basis=basis, verbose=0, max_memory=3000)
    field = scf.RHF(mol).density_fit()
    field.kernel()
    response = rhf.Polarizability(field)
    alpha, beta = response.polarizability(), rhf.hyper_polarizability(response)
    return [float(np.sum(part)) for part in (field.dip_moment(verbose=0), alpha, beta)]


def planning(*, short: bool) -> None:
    """In a process of its own, so that its memory is its own."""
    count = 10_000 if short else 100_000
    found = json.loads(
        subprocess.run(
            [sys.executable, __file__, "plan-inside", f"--count={count}"],
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
    )
    row("molecules planned", f"{found['molecules']}")
    bar("planning", found["seconds"], "s", most=20)
    bar("peak memory of the process, molecules included", found["gigabytes"], "GB", most=1)


def plan_inside(count: int) -> None:
    level = Level(method="HF", basis="6-31+G(d)")
    numbers = np.array([6] * 7 + [7, 8] + [1] * 9)
    rng = np.random.default_rng(0)
    molecules = (
        Molecule(numbers, rng.normal(size=(18, 3)), name=f"molecule {i}") for i in range(count)
    )
    began = time.time()
    model = cost.fit(level, REQUEST, [], [])
    found = Planner(level, REQUEST, cost=model, hang_seconds=3600.0).plan(molecules)
    seconds = time.time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"molecules": len(found.entries), "seconds": seconds, "gigabytes": peak}))


def look_at_status(*, short: bool) -> None:
    """A run's own small files, as a million rows in programs of 500 would leave them."""
    tasks = 200 if short else 2000
    with tempfile.TemporaryDirectory(prefix="hpcml-benchmark-") as folder:
        run = RunFolder(Path(folder) / "run").create()
        for i in range(tasks):
            task = run.work / f"task{i:06d}-x"
            task.mkdir()
            (task / "task.json").write_text("{}")
            now = time.time()
            state = TaskProgress(identity=task.name, state="finished", done=500, updated=now)
            (task / "progress.json").write_bytes(msgspec.json.encode(state))
        before = tasks // 2  # programs that had ended when the last plan was made
        record = PlanRecord(total=520 * tasks, done=500 * before, tasks=before)
        run.plan.write_bytes(msgspec.json.encode(record))
        lost = (
            failures.Failure(key=f"{i:032x}", name=f"m{i}", cause="crash", message="", tries=4)
            for i in range(10 * tasks)
        )
        failures.write(run.failures, lost)
        began = time.time()
        found = status(run)
        seconds = time.time() - began
        assert found.done == 500 * tasks
    row("rows done, of them by programs since the last plan", f"{found.done}, half")
    row("hpcml status, s", f"{seconds:.2f}")


def stretched(step: int) -> Molecule:
    """A water molecule, another geometry for each step."""
    r = 0.9 + 1e-5 * step
    return Molecule(
        np.array([8, 1, 1]),
        np.array([[0, 0, 0], [0, 0.79 * r, 0.61 * r], [0, -0.79 * r, 0.61 * r]]),
    )


PARTS = {
    "planning": planning,
    "status": look_at_status,
    "overhead": overhead,
    "throughput": throughput,
    "rivals": rivals,
    "efficiency": efficiency,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", nargs="?", choices=[*PARTS, "all", "plan-inside"], default="all")
    parser.add_argument("--short", action="store_true", help="fewer molecules, one round")
    parser.add_argument("--molecules", type=int, default=0, help="of the part rivals")
    parser.add_argument("--count", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    if options.part == "plan-inside":
        plan_inside(options.count)
        return
    for name in PARTS if options.part == "all" else [options.part]:
        began = time.time()
        print(f"\n{name}", flush=True)
        if name == "rivals":
            rivals(short=options.short, count=options.molecules)
        else:
            PARTS[name](short=options.short)
        row("this part took, s", f"{time.time() - began:.0f}")


if __name__ == "__main__":
    main()
