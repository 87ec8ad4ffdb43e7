"""Which rank gets what: large molecules to groups of ranks, small ones to single ranks.

Ranks stand in fixed groups of neighbours.  As long as a large molecule can be handed out, a group
gathers for it; every other rank takes a small molecule meanwhile.  Large molecules go first, so
that ranks which are left over at the end have small ones to fill the time with.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hpcml.generation.protocol.task import Assignment
from hpcml.generation.ranks.desk import Desk


def groups(ranks: int, wanted: int) -> list[list[int]]:
    """Neighbouring ranks in groups of ``wanted`` or, where that does not divide them, some more."""
    count = max(1, ranks // wanted)
    edges = [ranks * i // count for i in range(count + 1)]
    return [list(range(a, b)) for a, b in pairwise(edges)]


class Dispatcher:
    """Who waits for work, who was told to stop, who has left.

    A pure bookkeeper: ``hand_out`` tells what is to be sent, and the caller sends it.
    """

    def __init__(self, desk: Desk, ranks: int, large_ranks: int) -> None:
        self.desk = desk
        self.waiting: set[int] = set()
        self.told: set[int] = set()
        self.gone: set[int] = set()
        self._groups = groups(ranks, large_ranks)
        self._group_of = {rank: i for i, group in enumerate(self._groups) for rank in group}

    def hand_out(self) -> list[tuple[int, list[Assignment]]]:
        """(rank, what it is to compute, or nothing: it is to stop) for ranks that wait."""
        given: list[tuple[int, list[Assignment]]] = []
        held: set[int] = set()
        for group, missing in self._candidates(self.desk.large()):
            if missing:
                held.update(group)
            elif (assignment := self.desk.next_for(group, large=True)) is not None:
                given += [(rank, [assignment]) for rank in group]
                self.waiting.difference_update(group)
        for rank in sorted(self.waiting - held):
            alone = self.desk.several_for(rank)
            if not alone and self.desk.must_wait(rank):
                continue
            self.waiting.discard(rank)
            if alone:
                given.append((rank, alone))
            else:
                given += self.stop([rank])
        return given

    def stop(self, ranks: list[int]) -> list[tuple[int, list[Assignment]]]:
        """Tell these to stop, if they do not know yet."""
        new = [rank for rank in ranks if rank not in self.told]
        self.told.update(new)
        return [(rank, []) for rank in new]

    def leave(self, rank: int) -> None:
        """This rank has left by itself."""
        self.waiting.discard(rank)
        self.told.add(rank)
        self.gone.add(rank)

    def _candidates(self, wanted: int) -> list[tuple[list[int], int]]:
        """Groups to be gathered for so many large molecules, and how many of each still compute."""
        if not wanted:
            return []
        counts = Counter(self._group_of[rank] for rank in self.waiting)
        found = [(self._groups[i], len(self._groups[i]) - n) for i, n in sorted(counts.items())]
        found = [pair for pair in found if self.told.isdisjoint(pair[0])]
        return sorted(found, key=lambda pair: pair[1])[:wanted]
