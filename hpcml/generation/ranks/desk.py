"""Rank 0's desk: which molecule is where, and what became of it, written down.

A molecule is *in hand* of the ranks that compute it, *answered* by a rank whose calculations have
ended, and *committed* when every one of them has said what became of it.  Short molecules are
handed to a rank several at a time.  (A shared counter in
passive MPI memory would need no desk; but over TCP its target makes progress only inside MPI
calls, and a counter cannot hold back a molecule that would not end before the walltime.)
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from itertools import islice

import msgspec

from hpcml.files import append_line, write_whole
from hpcml.generation.failures import BUG, Failure
from hpcml.generation.protocol.letters import LOST
from hpcml.generation.protocol.messages import Error, Outcome, seconds_of_a_group
from hpcml.generation.protocol.task import (
    TRIED_AGAIN,
    Assignment,
    Running,
    Task,
    TaskFolder,
    TaskProgress,
)
from hpcml.generation.ranks.work_queue import WorkQueue

_SECONDS_BETWEEN_REPORTS = 1.0
_MOST_RUNNING_TOLD = 100
_SETTLED_TO_JUDGE_BY = 20  # molecules by which expectations are judged
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
            large_functions=task.site.large_functions or math.inf,
            large_ranks=task.site.large_ranks,
        )
        self.hands = Hands(hosts)
        self._answered: dict[int, deque[Assignment]] = {}  # rank -> what it now commits
        self.open: dict[int, Assignment] = {}  # by number: not all of its ranks have committed
        self._outcomes: dict[int, dict[int, Outcome]] = {}  # number -> rank -> what it said
        self._sharing: Counter[int] = Counter()  # rank -> open assignments that it has a part in
        self._settled = 0
        self._most_seconds = seconds_of_a_group(len(hosts))
        self._handed_out = 0
        self._failed_tries: dict[str, _FailedTries] = {}  # of large molecules, by key
        self.stop_at: float | None = None
        self.walltime_is_over = False
        now = time.time()
        self.progress = TaskProgress(
            identity=task.identity,
            state="running",
            ranks=len(hosts),
            threads=task.site.threads,
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

    def read_stop_file(self) -> None:
        """Heed what the launcher says: the second to stop at, and whether by the walltime."""
        try:
            words = self.task.run_folder.stop_file.read_text().split()
        except FileNotFoundError:
            return
        self.walltime_is_over |= "walltime" in words
        self.stop(float(words[0]))

    def seconds_left(self) -> float:
        """Seconds in which a molecule that is started now must be expected to end."""
        if self.stop_at is not None:
            return -1.0  # asked to stop, a rank takes nothing new, however short
        if self.task.deadline is None:
            return float("inf")
        return self.task.deadline - self.task.site.margin - time.time()

    def over(self) -> bool:
        """Whether what is still computed must be dropped: it had half of the margin to end."""
        ends = [self.stop_at] if self.stop_at is not None else []
        if self.task.deadline is not None:
            ends.append(self.task.deadline - 0.5 * self.task.site.margin)
        return bool(ends) and time.time() >= min(ends)

    def drop(self) -> None:
        """From now on what has not ended is given up; what the walltime cut off is noted."""
        if self.stop_at is None or self.walltime_is_over:
            cut = {assignment.entry.key for assignment in self.hands.computed()}
            self.progress.cut_off = sorted({*self.progress.cut_off, *cut})
        self.stop(time.time())

    def final_state(self) -> str:
        """How the task ended: all done, stopped in time, or with work that nobody could take."""
        if not self.left():
            return "finished"
        timed = self.stop_at is not None or self.task.deadline is not None
        return "stopped" if timed else "unfinished"

    def large(self) -> int:
        """Large molecules that could be handed out to groups now."""
        return self.queue.large(self.seconds_left())

    def next_for(self, ranks: list[int], *, large: bool = False) -> Assignment | None:
        """A molecule for these ranks, a large one or a small one; None if there is none now."""
        entry = self.queue.take(self.seconds_left(), large=large)
        if entry is None and self._may_guess_wrong() and not large:
            entry = self.queue.take_shortest()
        if entry is None:
            return None
        failed = self._failed_tries.get(entry.key, _FailedTries())
        assignment = Assignment(entry, self._handed_out, tuple(ranks), failed.rung, failed.tries)
        self._handed_out += 1
        self.open[assignment.number] = assignment
        self._outcomes[assignment.number] = {}
        if assignment.shared:
            self._sharing.update(ranks)
        for rank in ranks:
            self.hands.give(rank, assignment)
        return assignment

    def several_for(self, rank: int) -> list[Assignment]:
        """Molecules for a rank alone: one, or as many short ones as together last a moment.

        Expectations are taken by what they have been worth so far.  Of what is left no rank gets
        more than half of its part, so that all end together.
        """
        given: list[Assignment] = []
        most = max(1, len(self.queue) // (2 * len(self.hosts)))
        seconds = 0.0
        while len(given) < most and seconds < self._most_seconds:
            one = self.next_for([rank])
            if one is None:
                break
            given.append(one)
            if one.entry.suspect or self._settled < _SETTLED_TO_JUDGE_BY:
                break
            seconds += one.entry.expected * self._worth()
        return given

    def _worth(self) -> float:
        """Seconds that an expected second has lasted."""
        return self.progress.busy / max(self.progress.expected_done, 1e-9)

    def _may_guess_wrong(self) -> bool:
        """Whether nothing was handed out on the word of expectations that no calculation backs."""
        return not self._handed_out and not self.task.fitted and self.seconds_left() > 0.0

    def answered(self, rank: int) -> None:
        """The rank's calculations have ended; what became of them follows as it is committed."""
        self._answered.setdefault(rank, deque()).extend(self.hands.take(rank))

    def give_back(self, rank: int) -> None:
        """The rank leaves, and another is to compute what it has in hand alone."""
        for assignment in self.hands.take(rank):
            self._close(assignment)
            self.queue.put_back(assignment.entry)

    def _close(self, assignment: Assignment) -> dict[int, Outcome]:
        if assignment.shared:
            self._sharing.subtract(assignment.members)
        del self.open[assignment.number]
        return self._outcomes.pop(assignment.number)

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
        return self._sharing[rank] > 0

    def committed(self, rank: int, outcome: Outcome) -> None:
        """Write down what became of the next molecule that this rank has had in hand."""
        answered = self._answered.get(rank)
        assignment = answered.popleft() if answered else self.hands.first_of(rank)
        outcomes = self._outcomes[assignment.number]
        outcomes[rank] = outcome
        self.progress.busy += outcome.busy
        if len(outcomes) < len(assignment.members):
            return
        self._close(assignment)
        joint = joint_outcome([outcomes[member] for member in assignment.members])
        entry, error = assignment.entry, joint.error
        if assignment.shared and error is not None:
            joint = msgspec.structs.replace(joint, tries=assignment.tries + joint.tries)
            if error.cause in TRIED_AGAIN and joint.tries < self.task.site.tries:
                failed = self._failed_tries.setdefault(entry.key, _FailedTries())
                failed.add(error)
                self.queue.put_back(entry)
                return
        self._settle(assignment, joint)

    def _settle(self, assignment: Assignment, outcome: Outcome) -> None:
        self._settled += 1
        entry, progress, error = assignment.entry, self.progress, outcome.error
        self.queue.finished(entry.key)
        if error is None:
            progress.done += 1
        elif error.cause in _FATAL:
            progress.fatal = f"{error.cause}: {error.message}"
            self.stop(time.time())
        else:
            progress.failed += 1
            failure = Failure(
                key=entry.key,
                name=entry.name or entry.formula,
                cause=error.cause,
                message=error.message,
                tries=outcome.tries,
            )
            append_line(self.folder.failures, msgspec.json.encode(failure))
        progress.expected_done += entry.expected
        progress.expected_left = max(0.0, progress.expected_left - entry.expected)
        progress.last_end = max(progress.last_end, outcome.end)
        if progress.first_start == 0.0 or outcome.start < progress.first_start:
            progress.first_start = outcome.start
        self._timings.write(
            f"{entry.key},{assignment.members[0]},{outcome.start:.4f},{outcome.end:.4f},"
            f"{outcome.busy:.4f},{entry.size:.6g},{error.cause if error else 'done'}\n"
        )

    def report(self, state: str = "running") -> None:
        """Renew the progress file, at most once a second unless the state has changed."""
        now = time.time()
        if state == "running" and now - self._reported < _SECONDS_BETWEEN_REPORTS:
            return
        self._reported = now
        self._timings.flush()
        self.progress.state = state
        self.progress.updated = now
        self.progress.computing = dict(+self.hands.computing)
        self.progress.running = self.hands.running()
        self.progress.under_way = self.hands.under_way(now)
        data = msgspec.json.encode(self.progress)
        write_whole(self.folder.progress, data, durable=state != "running")


class Hands:
    """What each rank has in hand, in the order in which it computes it.

    computing   host -> ranks there that compute
    """

    def __init__(self, hosts: list[str]) -> None:
        self._hosts = hosts
        self._held: dict[int, deque[Assignment]] = {}
        self._since: dict[int, float] = {}  # rank -> when it began the first; longest ago first
        self._sum_since = 0.0
        self.computing: Counter[str] = Counter()

    def give(self, rank: int, assignment: Assignment) -> None:
        if rank not in self._held:
            self._held[rank] = deque()
            self.computing[self._hosts[rank]] += 1
            self._begin(rank)
        self._held[rank].append(assignment)

    def take(self, rank: int) -> deque[Assignment]:
        """All that the rank has in hand."""
        if rank not in self._held:
            return deque()
        self.computing[self._hosts[rank]] -= 1
        self._sum_since -= self._since.pop(rank)
        return self._held.pop(rank)

    def first_of(self, rank: int) -> Assignment:
        """The one that the rank was the first to be given; it computes the next."""
        held = self._held[rank]
        if len(held) == 1:
            return self.take(rank)[0]
        self._sum_since -= self._since.pop(rank)
        self._begin(rank)
        return held.popleft()

    def _begin(self, rank: int) -> None:
        self._since[rank] = time.time()
        self._sum_since += self._since[rank]

    def computed(self) -> list[Assignment]:
        """What is being computed now, as far as it is known here."""
        return [held[0] for held in self._held.values()]

    def running(self) -> list[Running]:
        """The calculations that have been going on longest."""
        return [
            Running(
                rank=rank,
                host=self._hosts[rank],
                name=self._held[rank][0].entry.name or self._held[rank][0].entry.formula,
                since=since,
            )
            for rank, since in islice(self._since.items(), _MOST_RUNNING_TOLD)
        ]

    def under_way(self, now: float) -> float:
        """Seconds that they have been going on, all together."""
        return max(0.0, len(self._since) * now - self._sum_since)


class _FailedTries:
    """Tries at a large molecule that failed: how many, and which rung comes next."""

    def __init__(self) -> None:
        self.tries = 0
        self.rung = 0
        self._repeated = False

    def add(self, error: Error) -> None:
        """A process that a signal ended costs a try; the rung is tried once more (``keeper``)."""
        self.tries += 1
        self._repeated = error.by_signal and not self._repeated
        self.rung += not self._repeated


def joint_outcome(outcomes: list[Outcome]) -> Outcome:
    """What became of a molecule, from what each of its ranks says, the leader first.

    The leader has the row.  Where it has none, a member that was the first to fail knows why; the
    others only know that they were left alone.  ``busy`` is the sum over the ranks.
    """
    leader = outcomes[0]
    error = leader.error
    if error is not None:
        errors = (outcome.error for outcome in outcomes if outcome.error is not None)
        error = next((each for each in errors if each.cause != LOST), error)
        if error.cause == LOST:
            error = Error(BUG, error.message)  # the others say that all went well
    return Outcome(
        error,
        max(outcome.tries for outcome in outcomes),
        min(outcome.start for outcome in outcomes),
        max(outcome.end for outcome in outcomes),
        sum(outcome.busy for outcome in outcomes),
    )
