"""Rank 0's desk: hands out molecules, hears what became of them, writes it down.

A rank's own calculation runs in another process, so rank 0 can serve the others while its own
molecule is computed.  (A shared counter in passive MPI memory would need no desk; but over TCP
its target makes progress only inside MPI calls, and a counter cannot hold back a molecule that
would not end before the walltime.)
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from hpcml.campaign.task import Entry, Progress, Running, Task, TaskFolder, replace
from hpcml.campaign.work_queue import WorkQueue

_SECONDS_BETWEEN_REPORTS = 1.0
_FATAL = frozenset({"settings", "environment"})  # causes that are no fault of the molecule

TIMING_COLUMNS = ("key", "rank", "start", "end", "busy", "size", "outcome")


class Desk:
    """The queue, who holds what, and the task's progress."""

    def __init__(self, folder: TaskFolder, task: Task, hosts: list[str]) -> None:
        self.folder = folder
        self.task = task
        self.hosts = hosts
        self.queue = WorkQueue(folder.read_queue())
        self.held: dict[int, tuple[Entry, float]] = {}  # rank -> what it computes, since when
        self.landing: dict[int, Entry] = {}  # rank -> what it has computed and now commits
        self.stop_at: float | None = None
        now = time.time()
        self.progress = Progress(
            identity=task.identity,
            state="running",
            ranks=len(hosts),
            threads=task.orders.threads,
            hosts=dict(Counter(hosts)),
            planned=len(self.queue),
            expected_left=self.queue.expected(),
            started=now,
        )
        self._timings = folder.timings.open("w", encoding="utf-8")
        self._timings.write(",".join(TIMING_COLUMNS) + "\n")
        self._reported = 0.0
        self.report()

    def stop(self, at: float) -> None:
        """Hand out nothing more, and drop at ``at`` (epoch seconds) what has not ended."""
        self.stop_at = at if self.stop_at is None else min(at, self.stop_at)

    def seconds_left(self) -> float:
        """Seconds in which a molecule that is started now must be expected to end."""
        if self.stop_at is not None:
            return -1.0  # asked to stop, a rank takes nothing new, however short
        if self.task.deadline is None:
            return float("inf")
        return self.task.deadline - self.task.margin - time.time()

    def over(self) -> bool:
        """Whether what is still computed must be dropped: it had half of the margin to end."""
        ends = [self.stop_at] if self.stop_at is not None else []
        if self.task.deadline is not None:
            ends.append(self.task.deadline - 0.5 * self.task.margin)
        return bool(ends) and time.time() >= min(ends)

    def next_for(self, rank: int) -> Entry | None:
        """A molecule for this rank, or None."""
        entry = self.queue.take(self.seconds_left())
        if entry is not None:
            self.held[rank] = (entry, time.time())
        return entry

    def landed(self, rank: int) -> None:
        """The rank's calculation has ended; what became of it follows when it is committed."""
        if rank in self.held:
            self.landing[rank] = self.held.pop(rank)[0]

    def left(self) -> int:
        """Molecules of the task that have no outcome yet."""
        return len(self.queue) + len(self.held) + len(self.landing)

    def must_wait(self) -> bool:
        """Whether a rank that got nothing should ask again."""
        return self.stop_at is None and self.queue.waiting_for_a_suspect()

    def finished(self, rank: int, result: dict[str, Any]) -> None:
        """Write down what became of the molecule that this rank has computed."""
        entry = self.landing.pop(rank)
        self.queue.finished(entry.key)
        progress = self.progress
        if result.get("cause") in _FATAL:
            progress.fatal = f"{result['cause']}: {result['message']}"
            self.stop(time.time())
        elif "cause" in result:
            progress.failed += 1
            self._write_failure(entry, result)
        else:
            progress.done += 1
        progress.busy += result["busy"]
        progress.expected_done += entry.expected
        progress.expected_left = max(0.0, progress.expected_left - entry.expected)
        progress.last_end = max(progress.last_end, result["end"])
        if progress.first_start == 0.0 or result["start"] < progress.first_start:
            progress.first_start = result["start"]
        self._timings.write(
            f"{entry.key},{rank},{result['start']:.4f},{result['end']:.4f},"
            f"{result['busy']:.4f},{entry.size:.6g},{result.get('cause', 'done')}\n"
        )

    def _write_failure(self, entry: Entry, result: dict[str, Any]) -> None:
        line = {
            "key": entry.key,
            "name": entry.name or entry.formula,
            "cause": result["cause"],
            "message": result["message"],
            "tries": result["tries"],
        }
        with self.folder.failures.open("ab") as stream:
            stream.write(msgspec.json.encode(line) + b"\n")

    def report(self, state: str = "running") -> None:
        """Renew the progress file, at most once a second unless the state has changed."""
        now = time.time()
        if state == "running" and now - self._reported < _SECONDS_BETWEEN_REPORTS:
            return
        self._reported = now
        self._timings.flush()
        self.progress.state = state
        self.progress.updated = now
        self.progress.running = [
            Running(rank=rank, host=self.hosts[rank], name=entry.name or entry.formula, since=since)
            for rank, (entry, since) in sorted(self.held.items())
        ]
        replace(self.folder.progress, msgspec.json.encode(self.progress))


class Lifeline:
    """Whether the launcher that started this task is still there."""

    def __init__(self, task: Task, host: str) -> None:
        self.host, self.process, self.start = task.launcher
        self.same_host = self.host == host
        self.heartbeat = Path(task.heartbeat)
        self._seen = (0.0, time.monotonic())

    def broken(self) -> bool:
        """True when the launcher has ended, or, seen from another host, is silent too long."""
        if self.same_host:
            return process_start(self.process) != self.start
        stamp = self.heartbeat.stat().st_mtime if self.heartbeat.exists() else 0.0
        if stamp != self._seen[0]:
            self._seen = (stamp, time.monotonic())
        return time.monotonic() - self._seen[1] > _SECONDS_OF_SILENCE


_SECONDS_OF_SILENCE = 180.0


def process_start(process: int) -> int:
    """When a process of this host began, in clock ticks since boot; -1 if there is none.

    With the process id it names a process for good: ids are used again, starts are not.
    """
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return -1
    fields = stat.rpartition(")")[2].split()
    return -1 if fields[0] == "Z" else int(fields[19])
