"""The queue of one MPI program: longest expected first, and nothing that cannot end in time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from hpcml.generation.protocol.queue_file import CostClass, QueueEntry, QueueFile

# A molecule is started only if this many times its expected seconds are left: expectations of
# a fitted model scatter by some ten per cent, those of an unfitted one by more.
_ADMISSION = 1.5


class _OneClass:
    """Molecules that are expected to cost the same; they are read when they are taken."""

    def __init__(self, expected: float, count: int, unread: Iterator[QueueEntry]) -> None:
        self.expected = expected
        self.count = count
        self._unread = unread
        self._back: list[QueueEntry] = []

    def take(self) -> QueueEntry:
        self.count -= 1
        return self._back.pop() if self._back else next(self._unread)

    def put_back(self, entry: QueueEntry) -> None:
        self.count += 1
        self._back.append(entry)


class _Ascending:
    """Classes by the seconds that a calculation of theirs is expected to last."""

    def __init__(self, ranks: int) -> None:
        self.ranks = ranks
        self.count = 0
        self._classes: list[_OneClass] = []

    def seconds(self, one: QueueEntry | _OneClass) -> float:
        return one.expected / self.ranks

    def add_class(self, one: _OneClass) -> None:
        """Add molecules that are expected to cost no less than those which are here."""
        self._classes.append(one)
        self.count += one.count

    def put_back(self, entry: QueueEntry) -> None:
        place = bisect_left(self._classes, self.seconds(entry), key=self.seconds)
        there = self._classes[place : place + 1]
        if not there or there[0].expected != entry.expected:
            self._classes.insert(place, _OneClass(entry.expected, 0, iter(())))
        self._classes[place].put_back(entry)
        self.count += 1

    def fitting(self, seconds_left: float) -> int:
        """How many molecules could end in time."""
        if not self.count:
            return 0
        return sum(one.count for one in self._classes[: self._place(seconds_left)])

    def take(self, seconds_left: float) -> QueueEntry | None:
        place = self._place(seconds_left)
        return self._take(place - 1) if place else None

    def take_shortest(self) -> QueueEntry | None:
        return self._take(0) if self._classes else None

    def expected(self) -> float:
        return sum(one.count * one.expected for one in self._classes)

    def _place(self, seconds_left: float) -> int:
        return bisect_right(self._classes, seconds_left / _ADMISSION, key=self.seconds)

    def _take(self, place: int) -> QueueEntry:
        one = self._classes[place]
        entry = one.take()
        self.count -= 1
        if not one.count:
            del self._classes[place]
        return entry


class WorkQueue:
    """Molecules still to be handed out: small ones to ranks, large ones to groups of ranks.

    Longest first keeps the ranks busy to the end: what is left for the last moments are the
    shortest molecules (Graham 1969: longest-processing-time order ends within 4/3 of the
    optimum).  Suspects, which were in flight when an earlier MPI program died, come last and
    one at a time, so that the one that kills its rank is found and the innocent are cleared.

    large_functions, large_ranks   molecules of at least so many functions take so many ranks
    """

    def __init__(
        self,
        queue: QueueFile,
        *,
        large_functions: float = float("inf"),
        large_ranks: int = 1,
    ) -> None:
        self._large_functions = large_functions if large_ranks > 1 else float("inf")
        self._lists = {False: _Ascending(1), True: _Ascending(large_ranks)}
        self._suspects: list[QueueEntry] = []
        self._suspect_in_flight = ""
        for cost, count in reversed(queue.classes.items()):
            if cost.suspect:
                self._suspects.extend(queue.entries(cost))
            else:
                one = _OneClass(cost.expected, count, queue.entries(cost))
                self._lists[self.is_large(cost)].add_class(one)

    def __len__(self) -> int:
        return sum(part.count for part in self._lists.values()) + len(self._suspects)

    def is_large(self, one: QueueEntry | CostClass) -> bool:
        return one.size >= self._large_functions

    def expected(self) -> float:
        """Seconds of one rank expected for everything in the queue."""
        suspects = sum(entry.expected for entry in self._suspects)
        return suspects + sum(part.expected() for part in self._lists.values())

    def put_back(self, entry: QueueEntry) -> None:
        """To be handed out once more."""
        if entry.suspect:
            self._suspects.append(entry)
            self.finished(entry.key)
        else:
            self._lists[self.is_large(entry)].put_back(entry)

    def large(self, seconds_left: float = float("inf")) -> int:
        """How many large molecules could be handed out now."""
        suspect = self._next_suspect(seconds_left, large=True)
        return self._lists[True].fitting(seconds_left) + (suspect is not None)

    def take(self, seconds_left: float = float("inf"), *, large: bool = False) -> QueueEntry | None:
        """The longest molecule that can be expected to end in time; None if there is none now."""
        entry = self._lists[large].take(seconds_left)
        if entry is None and (entry := self._next_suspect(seconds_left, large=large)) is not None:
            self._suspect_in_flight = entry.key
            self._suspects.pop()
        return entry

    def take_shortest(self) -> QueueEntry | None:
        """The shortest small molecule, whatever is expected of it."""
        return self._lists[False].take_shortest()

    def _next_suspect(self, seconds_left: float, *, large: bool) -> QueueEntry | None:
        if self._suspect_in_flight or any(part.count for part in self._lists.values()):
            return None
        if not self._suspects or self.is_large(self._suspects[-1]) != large:
            return None
        entry = self._suspects[-1]
        seconds = self._lists[large].seconds(entry) * _ADMISSION
        return entry if seconds <= seconds_left else None

    def waiting_for_a_suspect(self) -> bool:
        """Whether there is work that may be handed out only after a suspect has come back."""
        return bool(self._suspects and self._suspect_in_flight)

    def finished(self, key: str) -> None:
        """Tell that a molecule that was taken has come back."""
        if key == self._suspect_in_flight:
            self._suspect_in_flight = ""
