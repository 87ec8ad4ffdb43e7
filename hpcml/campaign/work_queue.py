"""The queue of one MPI program: longest expected first, and nothing that cannot end in time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from hpcml.campaign.task import Entry

# A molecule is started only if this many times its expected seconds are left: expectations of
# a fitted model scatter by some ten per cent, those of an unfitted one by more.
_ADMISSION = 1.5


class WorkQueue:
    """Molecules still to be handed out.

    Longest first keeps the ranks busy to the end: what is left for the last moments are the
    shortest molecules (Graham 1969: longest-processing-time order ends within 4/3 of the
    optimum).  Suspects, which were in flight when an earlier MPI program died, come last and
    one at a time, so that the one that kills its rank is found and the innocent are cleared.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        everything = sorted(entries, key=lambda entry: entry.expected)
        self._entries = [entry for entry in everything if not entry.suspect]
        self._expected = [entry.expected for entry in self._entries]
        self._suspects = [entry for entry in everything if entry.suspect]
        self._suspect_in_flight = ""

    def __len__(self) -> int:
        return len(self._entries) + len(self._suspects)

    def expected(self) -> float:
        """Seconds expected for everything in the queue."""
        return sum(self._expected) + sum(entry.expected for entry in self._suspects)

    def take(self, seconds_left: float = float("inf")) -> Entry | None:
        """The longest molecule that can be expected to end in time; None if there is none now."""
        place = bisect_right(self._expected, seconds_left / _ADMISSION)
        if place:
            del self._expected[place - 1]
            return self._entries.pop(place - 1)
        if self._suspects and not self._suspect_in_flight and not self._entries:
            entry = self._suspects[-1]
            if entry.expected * _ADMISSION <= seconds_left:
                self._suspect_in_flight = entry.key
                return self._suspects.pop()
        return None

    def waiting_for_a_suspect(self) -> bool:
        """Whether there is work that may be handed out only after a suspect has come back."""
        return bool(self._suspects and self._suspect_in_flight)

    def finished(self, key: str) -> None:
        """Tell that a molecule that was taken has come back."""
        if key == self._suspect_in_flight:
            self._suspect_in_flight = ""
