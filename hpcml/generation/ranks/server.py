"""Rank 0's desk: hands out molecules, hears what became of them, writes it down.

A rank's own calculation runs in another process, so rank 0 can serve the others while its own
molecule is computed.  (A shared counter in passive MPI memory would need no desk; but over TCP
its target makes progress only inside MPI calls, and a counter cannot hold back a molecule that
would not end before the walltime.)
"""

from __future__ import annotations

import math
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from hpcml.cluster.processes import process_start
from hpcml.files import write_whole
from hpcml.generation.protocol.letters import LOST
from hpcml.generation.protocol.task import (
    TRIED_AGAIN,
    Assignment,
    Entry,
    Progress,
    Running,
    Task,
    TaskFolder,
)
from hpcml.generation.ranks.work_queue import WorkQueue

_SECONDS_BETWEEN_REPORTS = 1.0
_FATAL = frozenset({"settings", "environment"})  # causes that are no fault of the molecule

TIMING_COLUMNS = ("key", "rank", "start", "end", "busy", "size", "outcome")


class Desk:
    """The queue, who holds what, and the task's progress."""

    def __init__(self, folder: TaskFolder, task: Task, hosts: list[str]) -> None:
        self.folder = folder
        self.task = task
        self.hosts = hosts
        self.queue = WorkQueue(
            folder.read_queue(),
            large_functions=task.large_functions or math.inf,
            large_ranks=task.large_ranks,
        )
        self.held: dict[int, tuple[Assignment, float]] = {}  # rank -> what it computes, since when
        self.landing: dict[int, Assignment] = {}  # rank -> what it has computed and now commits
        self.open: dict[int, Assignment] = {}  # by number: not all of its ranks have answered
        self._answers: dict[int, dict[int, dict[str, Any]]] = {}  # number -> rank -> its answer
        self._handed_out = 0
        self._attempts: dict[str, int] = {}  # key of a large molecule -> tries that failed
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

    def large(self) -> int:
        """Large molecules that could be handed out to groups now."""
        return self.queue.large(self.seconds_left())

    def next_for(self, ranks: list[int], *, large: bool = False) -> Assignment | None:
        """A molecule for these ranks, a large one or a small one; None if there is none now."""
        entry = self.queue.take(self.seconds_left(), large=large)
        if entry is None:
            return None
        attempt = self._attempts.get(entry.key, 0)
        assignment = Assignment(entry, self._handed_out, tuple(ranks), attempt)
        self._handed_out += 1
        self.open[assignment.number] = assignment
        self._answers[assignment.number] = {}
        now = time.time()
        self.held.update(dict.fromkeys(ranks, (assignment, now)))
        return assignment

    def landed(self, rank: int) -> None:
        """The rank's calculation has ended; what became of it follows when it is committed."""
        if rank in self.held:
            self.landing[rank] = self.held.pop(rank)[0]

    def left(self) -> int:
        """Molecules of the task that have no outcome yet."""
        return len(self.queue) + len(self.open)

    def must_wait(self, rank: int) -> bool:
        """Whether a rank that got nothing should ask again.

        So it is where a suspect has to come back first, where a group has yet to gather, and where
        this rank's group may have to try its molecule once more.
        """
        if self.stop_at is not None:
            return False
        if self.queue.waiting_for_a_suspect() or self.large():
            return True
        shared = (assignment for assignment in self.open.values() if assignment.shared)
        return any(rank in assignment.members for assignment in shared)

    def finished(self, rank: int, answer: dict[str, Any]) -> None:
        """Write down what became of the molecule that this rank has computed, or had a part in."""
        assignment = self.landing.pop(rank)
        answers = self._answers[assignment.number]
        answers[rank] = answer
        self.progress.busy += answer["busy"]
        if len(answers) < len(assignment.members):
            return
        del self.open[assignment.number], self._answers[assignment.number]
        result = joint_answer([answers[member] for member in assignment.members])
        entry = assignment.entry
        if assignment.shared and result.get("cause") in TRIED_AGAIN:
            self._attempts[entry.key] = assignment.attempt + 1
            if assignment.attempt + 1 < self.task.orders.tries:
                self.queue.put_back(entry)
                return
        self._settle(assignment, result)

    def _settle(self, assignment: Assignment, result: dict[str, Any]) -> None:
        entry, progress = assignment.entry, self.progress
        self.queue.finished(entry.key)
        if result.get("cause") in _FATAL:
            progress.fatal = f"{result['cause']}: {result['message']}"
            self.stop(time.time())
        elif "cause" in result:
            progress.failed += 1
            self._write_failure(entry, result)
        else:
            progress.done += 1
        progress.expected_done += entry.expected
        progress.expected_left = max(0.0, progress.expected_left - entry.expected)
        progress.last_end = max(progress.last_end, result["end"])
        if progress.first_start == 0.0 or result["start"] < progress.first_start:
            progress.first_start = result["start"]
        self._timings.write(
            f"{entry.key},{assignment.members[0]},{result['start']:.4f},{result['end']:.4f},"
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
            Running(
                rank=rank,
                host=self.hosts[rank],
                name=held.entry.name or held.entry.formula,
                since=since,
            )
            for rank, (held, since) in sorted(self.held.items())
        ]
        write_whole(self.folder.progress, msgspec.json.encode(self.progress))


def joint_answer(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """What became of a molecule, from what each of its ranks says, the leader first.

    The leader has the row.  Where it has none, a member that was the first to fail knows why; the
    others only know that they were left alone.  ``busy`` is the sum over the ranks.
    """
    leader = answers[0]
    told = next((a for a in answers if a.get("cause", LOST) != LOST), leader)
    result = dict(told if "cause" in leader else leader)
    if result.get("cause") == LOST:
        result["cause"] = "internal"  # the others say that all went well
    result["start"] = min(answer["start"] for answer in answers)
    result["end"] = max(answer["end"] for answer in answers)
    result["busy"] = sum(answer["busy"] for answer in answers)
    return result


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
