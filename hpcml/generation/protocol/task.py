"""What one MPI program is told: its orders (JSON) and its queue of molecules.

A task lives in its own folder, RUN/work/ID/, owned by exactly one start of the MPI program:

    task.json       Task
    queue           its molecules (``queue_file``)
    progress.json   TaskProgress, renewed about once a second by rank 0
    timings.csv     one line a finished molecule
    failures.jsonl  one line a failed molecule
    flight/RANK     of the node whose first rank this is: keys of what its ranks' keepers have,
                    each rank's in a place of its own (``FLIGHT_BYTES``)
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from hpcml.cluster.run_folder import RunFolder
from hpcml.cluster.site import Site
from hpcml.files import write_whole
from hpcml.generation.protocol.queue_file import QueueEntry, QueueFile
from hpcml.response import Level, Request
from hpcml.response.psi4 import memory

TRIED_AGAIN = frozenset({"convergence", "crash", "engine", "hang", "resources"})
"""Causes of failed calculations that another try, on the next rung of the ladder, may mend."""


FLIGHT_BYTES = 1 << 13
"""Of a rank's place in its node's file of what is in flight: 248 keys."""

RANK_AND_KEEPER_MB = 80
"""Held by a rank and its keeper, beside their Psi4 process."""


class Orders(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to compute, and the site, which says what one calculation may take."""

    level: Level
    request: Request
    site: Site

    @property
    def process_mb(self) -> int:
        """What a Psi4 process may hold: more, and it is ended."""
        return self.site.memory_mb - RANK_AND_KEEPER_MB

    @property
    def calculation_mb(self) -> int:
        """What a calculation may plan with."""
        return memory.calculation_mb(self.process_mb)


class Task(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One start of the MPI program.

    run         the run's folder
    deadline    seconds since the epoch by which it must have ended, None: no end.  The site's
                ``margin`` before, every calculation must be expected to end; what takes longer
                is dropped at half of it
    launcher    who started it (host, process id, its start time); it ends with them
    fitted      the queue's expectations come from calculations; else they are a guess
    """

    identity: str
    orders: Orders
    run: str
    deadline: float | None
    launcher: tuple[str, int, int]
    fitted: bool = True

    @property
    def site(self) -> Site:
        return self.orders.site

    @property
    def run_folder(self) -> RunFolder:
        return RunFolder(self.run)


class Assignment(msgspec.Struct, frozen=True, array_like=True):
    """A molecule in the hands of the ranks that compute it.

    number    of the assignment in its task
    members   the ranks, the first of which leads and writes the row
    rung      where they are several: of the ladder of fallbacks, which they try now
    tries     where they are several: those that have failed before
    """

    entry: QueueEntry
    number: int
    members: tuple[int, ...]
    rung: int = 0
    tries: int = 0

    @property
    def shared(self) -> bool:
        return len(self.members) > 1


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """What one rank is doing: the molecule and since when (seconds since the epoch)."""

    rank: int
    host: str
    name: str
    since: float


class TaskProgress(msgspec.Struct, kw_only=True):
    """How far a task is, for the launcher and for ``hpcml status``; times are epoch seconds.

    hosts    name -> ranks there
    computing  name -> ranks there that compute
    running  what they compute: those that have been at it longest
    under_way  seconds since then, summed over all that compute
    busy     seconds inside calculations that have ended, summed over ranks
    expected_done, expected_left   seconds that the cost model expects of them
    state    starting, running, or how it ended: finished, stopped (work is left, the time
             is over) or unfinished (work is left)
    fatal    "cause: message" of an error that would befall every molecule alike
    cut_off  keys of molecules that were dropped because the walltime was over
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
    computing: dict[str, int] = {}
    running: list[Running] = []
    under_way: float = 0.0
    cut_off: list[str] = []


def seconds_left(states: Iterable[TaskProgress]) -> float | None:
    """The slowest task's remaining work, at the ratio of real to expected seconds so far."""
    left = [
        s.expected_left * (s.busy / s.expected_done) / s.ranks for s in states if s.expected_done
    ]
    return max(left, default=None)


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

    def create(self) -> None:
        """Create the folder, private to its owner."""
        self.path.mkdir(mode=0o700)
        self.flight.mkdir(mode=0o700)

    def write_task(self, task: Task) -> None:
        """Put the orders there; from then on it is a task."""
        write_whole(self.task, msgspec.json.encode(task))

    def read_task(self) -> Task:
        return msgspec.json.decode(self.task.read_bytes(), type=Task)

    def read_queue(self) -> QueueFile:
        return QueueFile(self.queue)

    def read_progress(self) -> TaskProgress:
        """The last progress that was written, or that of a task which has not begun."""
        try:
            return msgspec.json.decode(self.progress.read_bytes(), type=TaskProgress)
        except (FileNotFoundError, msgspec.DecodeError):
            return TaskProgress(identity=self.path.name)

    def in_flight(self) -> list[str]:
        """Keys that some rank was computing when it was last heard of, or about to."""
        places = [path.read_bytes().replace(b"\0", b" ") for path in self.flight.iterdir()]
        return sorted({key.decode() for place in places for key in place.split()})


def task_folders(work: Path) -> list[TaskFolder]:
    """The tasks in a run's work folder, oldest first."""
    return [TaskFolder(path.parent) for path in sorted(work.glob("*/task.json"))]
