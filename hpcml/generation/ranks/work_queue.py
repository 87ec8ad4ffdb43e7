"""The queue of one MPI program: longest expected first, and nothing that cannot end in time."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable

from hpcml.generation.protocol.task import QueueEntry

# A molecule is started only if this many times its expected seconds are left: expectations of
# a fitted model scatter by some ten per cent, those of an unfitted one by more.
_ADMISSION = 1.5


class _Ascending:
    """Entries by the seconds that their calculation is expected to last."""

    def __init__(self, ranks: int) -> None:
        self.ranks = ranks
        self.entries: list[QueueEntry] = []

    def seconds(self, entry: QueueEntry) -> float:
        return entry.expected / self.ranks

    def add(self, entry: QueueEntry) -> None:
        insort(self.entries, entry, key=self.seconds)

    def fitting(self, seconds_left: float) -> int:
        return bisect_right(self.entries, seconds_left / _ADMISSION, key=self.seconds)

    def take(self, seconds_left: float) -> QueueEntry | None:
        place = self.fitting(seconds_left)
        return self.entries.pop(place - 1) if place else None


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
        entries: Iterable[QueueEntry],
        *,
        large_functions: float = float("inf"),
        large_ranks: int = 1,
    ) -> None:
        self._large_functions = large_functions if large_ranks > 1 else float("inf")
        self._lists = {False: _Ascending(1), True: _Ascending(large_ranks)}
        self._suspects: list[QueueEntry] = []
        self._suspect_in_flight = ""
        for entry in sorted(entries, key=lambda entry: entry.expected):
            if entry.suspect:
                self._suspects.append(entry)
            else:
                self._lists[self.is_large(entry)].entries.append(entry)

    def __len__(self) -> int:
        return sum(len(part.entries) for part in self._lists.values()) + len(self._suspects)

    def is_large(self, entry: QueueEntry) -> bool:
        return entry.size >= self._large_functions

    def expected(self) -> float:
        """Seconds of one rank expected for everything in the queue."""
        parts = [*(part.entries for part in self._lists.values()), self._suspects]
        return sum(entry.expected for part in parts for entry in part)

    def put_back(self, entry: QueueEntry) -> None:
        """To be handed out once more."""
        if entry.suspect:
            self._suspects.append(entry)
            self.finished(entry.key)
        else:
            self._lists[self.is_large(entry)].add(entry)

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
        small = self._lists[False].entries
        return small.pop(0) if small else None

    def _next_suspect(self, seconds_left: float, *, large: bool) -> QueueEntry | None:
        if self._suspect_in_flight or any(part.entries for part in self._lists.values()):
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
