"""What one MPI program is told: its orders (JSON) and its queue of molecules (msgpack frames).

A task lives in its own folder, RUN/work/ID/, owned by exactly one start of the MPI program:

    task.json       Task
    queue           one frame a molecule, longest expected first
    progress.json   Progress, renewed about once a second by rank 0
    timings.csv     one line a finished molecule
    failures.jsonl  one line a failed molecule
    flight/RANK     the key that this rank is computing now
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from hpcml.files import write_whole
from hpcml.generation.protocol import wire
from hpcml.response import Level, Request
from hpcml.response.psi4 import memory

TRIED_AGAIN = frozenset({"convergence", "crash", "engine", "hang", "resources"})
"""Causes of failed calculations that another try, on the next rung of the ladder, may mend."""


class Orders(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to compute and what one calculation may take.

    tries                   calculations of one molecule before it counts as failed
    molecules_per_process   after so many a Psi4 process is replaced by a fresh one
    memory_mb               of one rank; a process that holds more is ended
    """

    level: Level
    request: Request
    threads: int = 1
    memory_mb: int = 2000
    tries: int = 4
    molecules_per_process: int = 500

    @property
    def calculation_mb(self) -> int:
        """What a calculation may plan with."""
        return memory.calculation_mb(self.memory_mb)


class Task(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One start of the MPI program.

    large_functions, large_ranks   so many ranks together compute a molecule of at least so many
                basis functions
    deadline    seconds since the epoch by which it must have ended, None: no end
    margin      seconds before the deadline by which every calculation must be expected to end;
                what takes longer is dropped at half of it
    launcher    who started it (host, process id, its start time); it ends with them
    """

    identity: str
    orders: Orders
    dataset: str
    run_lock: str
    heartbeat: str
    stop_file: str
    logs: str
    scratch: str
    rows_per_shard: int
    pin: bool
    deadline: float | None
    margin: float
    launcher: tuple[str, int, int]
    large_functions: int = 0
    large_ranks: int = 1


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One molecule in a queue.

    expected   seconds that the calculation is expected to take on one rank
    limit      seconds after which it counts as hung
    suspect    it was in flight when an MPI program died: never beside another suspect
    size       the cost model's measure of the molecule (see ``cost``), kept with its timing
    """

    key: str
    name: str
    formula: str
    molecule: bytes
    expected: float
    limit: float
    suspect: bool
    size: float


class Assignment(msgspec.Struct, frozen=True, array_like=True):
    """A molecule in the hands of the ranks that compute it.

    number    of the assignment in its task
    members   the ranks, the first of which leads and writes the row
    attempt   where they are several: the rung of the fallback ladder that they try now
    """

    entry: Entry
    number: int
    members: tuple[int, ...]
    attempt: int = 0

    @property
    def shared(self) -> bool:
        return len(self.members) > 1


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """What one rank is doing: the molecule and since when (seconds since the epoch)."""

    rank: int
    host: str
    name: str
    since: float


class Progress(msgspec.Struct, kw_only=True):
    """How far a task is, for the launcher and for ``hpcml status``; times are epoch seconds.

    hosts    name -> ranks there
    busy     seconds inside calculations that have ended, summed over ranks
    expected_done, expected_left   seconds that the cost model expects of them
    state    starting, running, or how it ended: finished, stopped (work is left)
    fatal    "cause: message" of an error that would befall every molecule alike
    """

    identity: str
    state: str = "starting"
    fatal: str = ""
    ranks: int = 0
    threads: int = 1
    hosts: dict[str, int] = {}
    planned: int = 0
    done: int = 0
    failed: int = 0
    busy: float = 0.0
    expected_done: float = 0.0
    expected_left: float = 0.0
    started: float = 0.0
    first_start: float = 0.0
    last_end: float = 0.0
    updated: float = 0.0
    running: list[Running] = []


class TaskFolder:
    """The files of one task."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.task = path / "task.json"
        self.queue = path / "queue"
        self.progress = path / "progress.json"
        self.timings = path / "timings.csv"
        self.failures = path / "failures.jsonl"
        self.flight = path / "flight"
        self.output = path / "output"

    def write(self, task: Task, entries: Iterable[Entry]) -> None:
        """Create the folder, private to its owner, with orders and queue."""
        self.path.mkdir(mode=0o700)
        self.flight.mkdir(mode=0o700)
        with self.queue.open("wb") as stream:
            for entry in entries:
                wire.write(stream, entry)
        write_whole(self.task, msgspec.json.encode(task))

    def read_task(self) -> Task:
        return msgspec.json.decode(self.task.read_bytes(), type=Task)

    def read_queue(self) -> Iterator[Entry]:
        with self.queue.open("rb") as stream:
            while True:
                try:
                    message = wire.read(stream)
                except EOFError:
                    return
                yield msgspec.convert(message, Entry)

    def read_progress(self) -> Progress:
        """The last progress that was written, or that of a task which has not begun."""
        try:
            return msgspec.json.decode(self.progress.read_bytes(), type=Progress)
        except (FileNotFoundError, msgspec.DecodeError):
            return Progress(identity=self.path.name)

    def in_flight(self) -> list[str]:
        """Keys that some rank was computing when it was last heard of."""
        keys = (path.read_text().strip() for path in self.flight.iterdir())
        return sorted({key for key in keys if key})


def task_folders(work: Path) -> list[TaskFolder]:
    """The tasks in a run's work folder, oldest first."""
    return [TaskFolder(path.parent) for path in sorted(work.glob("*/task.json"))]
