"""What does the machinery around the physics bear: how many ranks, molecules, requests a second?

    python benchmarks/machinery.py                 all of it, about ten minutes on two cores
    python benchmarks/machinery.py desk [--short]  one part

planning   10^5 to 10^7 molecules planned (``--most`` for more or fewer): seconds, memory at the
           most of the planner, and of a rank 0 that reads the queue (7 minutes)
desk       rank 0's server without MPI on up to 65,536 ranks: molecules a second, what it writes
           every second, memory (1 minute)
overhead   calculations that do nothing on one rank and on two: processor time of all processes a
           molecule, from two runs of different length, so that starting them counts for nothing;
           wall time; what one wait for this disk costs (1 minute)
ranks      calculations that only wait, on 1 to 64 ranks, under mpiexec: molecules a second, time
           from the end of a calculation to the start of the next, memory of each kind of process
           (4 minutes)

The last two are whole campaigns: plan, MPI, keepers, journals, shards.  The processes of ``ranks``
need no core while they wait, which makes more ranks than cores an honest test of the machinery,
until its own work fills the cores: that figure stands beside.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from hpcml.cluster import RunFolder, Site
from hpcml.generation import generate
from hpcml.generation.plan import cost
from hpcml.generation.plan.planning import Planner
from hpcml.generation.protocol.messages import Bye, Committed, Free, Outcome, Work
from hpcml.generation.protocol.queue_file import QueueEntry, QueueFile, write_queue
from hpcml.generation.protocol.task import Orders, Task, TaskFolder, TaskProgress, task_folders
from hpcml.generation.ranks.desk import Desk
from hpcml.generation.ranks.server import Server
from hpcml.generation.ranks.work_queue import WorkQueue
from hpcml.molecules import Molecule
from hpcml.response import Level, Request

LEVEL = Level(method="HF", basis="STO-3G")
REQUEST = Request(properties=("dipole", "alpha", "beta"))
KINDS = {
    "generate_program": "rank",
    "psi4_process.keeper": "keeper",
    "psi4_process.process": "process",
}


def peak_mb() -> float:
    """Of this process; ru_maxrss would count the one that it was forked from."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1e3


def inside(part: str, *words: object) -> dict[str, float]:
    """A part in a process of its own, so that its memory is its own."""
    command = [sys.executable, __file__, part, *map(str, words)]
    found = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    result: dict[str, float] = json.loads(found.splitlines()[-1])
    return result


# --- planning ----------------------------------------------------------------------------------


def planning(*, short: bool, most: int) -> None:
    print(
        f"{'molecules':>12}{'s':>9}{'us each':>9}{'MB':>8}{'queue MB':>10}"
        f"{'rank 0: s':>11}{'MB':>8}"
    )
    count = 10_000 if short else 100_000
    while count <= (100_000 if short else most):
        found = inside("plan-inside", count)
        print(
            f"{count:12,}{found['seconds']:9.1f}{1e6 * found['seconds'] / count:9.1f}"
            f"{found['mb']:8.0f}{found['queue_mb']:10.0f}{found['read_s']:11.2f}"
            f"{found['read_mb']:8.0f}",
            flush=True,
        )
        count *= 10


def molecules_of_gdb(count: int) -> Iterator[Molecule]:
    """Eighteen atoms each, of 64 compositions, made as they are asked for."""
    rng = np.random.default_rng(0)
    heavy = [[6] * (9 - i - j) + [7] * i + [8] * j for i in range(4) for j in range(4)]
    kinds = [np.array(atoms + [1] * (9 - k)) for atoms in heavy for k in range(4)]
    for i in range(count):
        numbers = kinds[i % len(kinds)]
        yield Molecule(numbers, rng.normal(size=(len(numbers), 3)), name=f"molecule {i}")


def plan_inside(count: int) -> None:
    level = Level(method="HF", basis="6-31+G(d)")
    next(molecules_of_gdb(1))
    began = time.process_time()
    planner = Planner(level, REQUEST, cost=cost.fit(level, REQUEST, [], []), hang_seconds=3600.0)
    found = planner.plan(molecules_of_gdb(count), Path(tempfile.gettempdir()))
    seconds = time.process_time() - began
    assert len(found.entries) == count
    size = found.entries.path.stat().st_size / 1e6
    read = inside("read-inside", found.entries.path)
    print(
        json.dumps(
            {
                "seconds": seconds,
                "mb": peak_mb(),
                "queue_mb": size,
                "read_s": read["seconds"],
                "read_mb": read["mb"],
            }
        )
    )


def read_inside(path: Path) -> None:
    """What rank 0 does with the queue before it hands out the first hundred molecules."""
    began = time.process_time()
    queue = WorkQueue(QueueFile(path))
    for _ in range(min(100, len(queue))):
        queue.take()
    print(json.dumps({"seconds": time.process_time() - began, "mb": peak_mb()}))


# --- desk --------------------------------------------------------------------------------------


def desk(*, short: bool, most: int) -> None:
    print(f"{'ranks':>8}{'molecules/s':>13}{'messages/s':>12}{'progress kB':>13}{'MB':>7}")
    for ranks in (16, 1024) if short else (16, 128, 1024, 8192, 65536):
        found = inside("desk-inside", ranks)
        print(
            f"{ranks:8,}{found['rate']:13,.0f}{found['messages']:12,.0f}"
            f"{found['progress_kb']:13.1f}{found['mb']:7.0f}",
            flush=True,
        )


def desk_inside(ranks: int) -> None:
    """Every rank asks, is given one long molecule, answers and asks again: four times over.

    Molecules count as lasting ten seconds, so that each is handed out alone.
    """
    count = 4 * ranks if ranks > 4096 else 16384
    with tempfile.TemporaryDirectory(prefix="hpcml-benchmark-") as place:
        folder = TaskFolder(Path(place) / "task")
        folder.create()
        write_queue(
            folder.queue,
            (
                QueueEntry(f"{i:032x}", f"m{i}", "CH4", b"x" * 500, 10.0, 60.0, False, 9.0)
                for i in range(count)
            ),
        )
        orders = Orders(level=LEVEL, request=REQUEST, site=Site())
        task = Task(identity="t", orders=orders, run=place, deadline=None, launcher=("", 0, 0))
        folder.write_task(task)
        hosts = [f"node{rank // 64:04d}" for rank in range(ranks)]
        given: dict[int, int] = {}

        def send(message: object, rank: int) -> None:
            given[rank] = len(message.assignments) if isinstance(message, Work) else 0

        server = Server(Desk(folder, task, hosts), ranks, send, None)  # type: ignore[arg-type]
        waiting = list(range(ranks))
        messages = 0
        began = time.process_time()
        for rank in waiting:
            server.hear(rank, Free())
        while waiting:
            still = []
            for rank in waiting:
                held = given.pop(rank, 0)
                messages += 2
                if not held:
                    server.hear(rank, Bye())
                    continue
                server.hear(rank, Free())
                now = time.time()
                done = [Outcome(None, 1, now - 10.0, now, 10.0) for _ in range(held)]
                server.hear(rank, Committed(done))
                server.desk.report()
                still.append(rank)
            waiting = still
        seconds = time.process_time() - began
        assert server.desk.progress.done == count
        server.close()
        size = folder.progress.stat().st_size / 1e3
    print(
        json.dumps(
            {
                "rate": count / seconds,
                "messages": messages / seconds,
                "progress_kb": size,
                "mb": peak_mb(),
            }
        )
    )


# --- campaigns ---------------------------------------------------------------------------------


def waters(count: int, name: str = "") -> Iterator[Molecule]:
    """Water molecules, another geometry for each."""
    for step in range(count):
        r = 0.9 + 1e-5 * step
        positions = np.array([[0, 0, 0], [0, 0.79 * r, 0.61 * r], [0, -0.79 * r, 0.61 * r]])
        yield Molecule(np.array([8, 1, 1]), positions, name=name)


class Campaign:
    """A whole campaign in a temporary folder, in figures.

    progress   of its program
    seconds    processor time of every process of it but the launcher
    gaps       seconds from the end of a calculation to the start of the same rank's next
    memory     kind of process -> MB at the most (resident, shared pages counted in full)
    """

    progress: TaskProgress
    seconds: float

    def __init__(self, count: int, ranks: int, calculator: str, name: str = "") -> None:
        self.memory: dict[str, float] = {}
        self.gaps: list[float] = []
        with tempfile.TemporaryDirectory(prefix="hpcml-benchmark-") as folder:
            run = RunFolder(Path(folder) / "run")
            site = Site(ranks_per_node=ranks, memory_mb=1000)
            over = threading.Event()
            watch = threading.Thread(target=self._look, args=(str(run.path), over))
            watch.start()
            before = _children()
            report = generate(run, waters(count, name), LEVEL, REQUEST, site, calculator=calculator)
            self.seconds = _children() - before
            over.set()
            watch.join()
            assert report.done == count, report
            (task,) = task_folders(run.work)
            self.progress = task.read_progress()
            self._read_gaps(task)

    def _read_gaps(self, task: TaskFolder) -> None:
        times: dict[str, list[tuple[float, float]]] = {}
        for line in task.timings.read_text().splitlines()[1:]:
            _, rank, start, end, *_ = line.split(",")
            times.setdefault(rank, []).append((float(start), float(end)))
        for spans in times.values():
            self.gaps += [b[0] - a[1] for a, b in pairwise(sorted(spans))]

    def _look(self, run: str, over: threading.Event) -> None:
        while not over.wait(1.0):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    words = (process / "cmdline").read_bytes().decode()
                    kind = next((k for k in KINDS if k in words), "")
                    if not kind or words.startswith("mpiexec"):
                        continue
                    status = (process / "status").read_text()
                    parent = Path("/proc") / status.split("PPid:")[1].split()[0]
                    if run not in words and run not in (parent / "cmdline").read_text():
                        continue
                except OSError:
                    continue
                size = int(status.split("VmHWM:")[1].split()[0]) / 1e3
                self.memory[KINDS[kind]] = max(size, self.memory.get(KINDS[kind], 0.0))

    @property
    def span(self) -> float:
        return self.progress.last_end - self.progress.first_start


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def disk_seconds() -> float:
    """Median seconds of making a kilobyte in a file that is there already permanent."""
    with tempfile.NamedTemporaryFile(buffering=0) as stream:
        stream.write(bytes(1 << 18))
        os.fsync(stream.fileno())
        times = []
        for i in range(200):
            began = time.perf_counter()
            os.pwrite(stream.fileno(), b"x" * 1000, 1000 * i)
            os.fdatasync(stream.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times)


def overhead(*, short: bool, most: int) -> None:
    few, many = (500, 1500) if short else (1000, 9000)
    print(f"this disk's fdatasync of a row, median: {1e3 * disk_seconds():.2f} ms")
    print(f"{'ranks':>6}{'processor ms a molecule':>25}{'wall ms a molecule and rank':>29}")
    for ranks in (1, 2):
        short_run, long_run = (Campaign(count, ranks, "none") for count in (few, many))
        processor = (long_run.seconds - short_run.seconds) / (many - few)
        wall = (long_run.span - short_run.span) * ranks / (many - few)
        print(f"{ranks:6}{1e3 * processor:25.3f}{1e3 * wall:29.3f}", flush=True)


def ranks(*, short: bool, most: int) -> None:
    wait, each = 0.5, 8 if short else 24
    print(
        f"calculations that wait {wait} s, {each} a rank\n{'ranks':>6}{'molecules/s':>13}"
        f"{'efficiency':>12}{'gap ms: median':>16}{'95 %':>8}{'processor s':>13}"
        f"{'rank MB':>9}{'keeper':>8}{'process':>9}"
    )
    for count in (1, 4) if short else (1, 2, 4, 8, 16, 32, 64):
        if count > most:
            break
        found = Campaign(count * each, count, "wait", f"wait {wait}")
        gaps = sorted(found.gaps)
        rate = count * each / found.span
        memory = [found.memory.get(kind, float("nan")) for kind in KINDS.values()]
        print(
            f"{count:6}{rate:13.2f}{100 * rate * wait / count:11.1f}%"
            f"{1e3 * statistics.median(gaps):16.1f}{1e3 * gaps[int(0.95 * len(gaps))]:8.1f}"
            f"{found.seconds:13.1f}{memory[0]:9.0f}{memory[1]:8.0f}{memory[2]:9.0f}",
            flush=True,
        )


PARTS = {"planning": planning, "desk": desk, "overhead": overhead, "ranks": ranks}
INSIDE = {
    "plan-inside": lambda word: plan_inside(int(word)),
    "read-inside": lambda word: read_inside(Path(word)),
    "desk-inside": lambda word: desk_inside(int(word)),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", nargs="?", choices=[*PARTS, *INSIDE, "all"], default="all")
    parser.add_argument("word", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--short", action="store_true", help="less of everything")
    parser.add_argument(
        "--most", type=int, default=10**7, help="molecules planned, or ranks started, at the most"
    )
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    if options.part in INSIDE:
        INSIDE[options.part](options.word)
        return
    for name in PARTS if options.part == "all" else [options.part]:
        began = time.time()
        print(f"\n{name}", flush=True)
        PARTS[name](short=options.short, most=options.most)
        print(f"this part took {time.time() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
