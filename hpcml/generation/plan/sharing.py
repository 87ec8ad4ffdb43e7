"""One plan cut into MPI programs: by the size of molecules, and over blocks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpcml.cluster.site import Site
from hpcml.generation.protocol.queue_file import CostClass, QueueFile, QueueWriter

_SECONDS_OF_A_PROGRAM = 1800.0
"""Length of an MPI program where several blocks share the work: long beside the few seconds of its
start, short beside the campaign, so that blocks end at about the same time."""


@dataclass(frozen=True)
class Share:
    """What one program of several is to compute, and the site as it sees it.

    large        it computes the large molecules, or the small ones
    index, of    it gets that pile of so many, which cost the same
    """

    site: Site
    large: bool
    index: int
    of: int


def share_out(queue: QueueFile, site: Site) -> list[Share]:
    """Programs that together compute every entry.

    Large molecules that have threads of their own (``site.large_threads``) come first, in programs
    with fewer ranks of more threads each.
    """
    shares = []
    for large, place in ((True, for_large(site)), (False, site)):
        part = {cost: n for cost, n in queue.classes.items() if _apart(cost, site) == large}
        of = _programs(part, place)
        shares += [Share(place, large, index, of) for index in range(of)]
    return shares


def _apart(cost: CostClass, site: Site) -> bool:
    """Whether molecules of this class are computed by ranks of more threads."""
    apart = site.large_functions > 0 and site.large_threads not in (0, site.threads)
    return apart and cost.size >= site.large_functions


def for_large(site: Site) -> Site:
    """The same cores and memory in fewer ranks, for molecules that need more of both."""
    if not site.large_threads:
        return site
    cores = site.ranks // site.nodes * site.threads
    ranks = max(1, cores // site.large_threads)
    memory = site.memory_mb * (site.ranks // site.nodes) // ranks
    return site.with_shape(ranks_per_node=ranks, threads=site.large_threads, memory_mb=memory)


def _programs(part: Mapping[CostClass, int], site: Site) -> int:
    count = sum(part.values())
    if site.blocks == 1:
        return min(1, count)
    seconds = sum(n * cost.expected for cost, n in part.items()) / site.ranks
    longest = min(_SECONDS_OF_A_PROGRAM, 0.5 * (site.seconds - site.margin))
    wanted = max(site.blocks, math.ceil(seconds / longest))
    # A program with fewer molecules than ranks would leave ranks idle from the start.
    return min(count, max(1, min(wanted, count // site.ranks)))


def deal(queue: QueueFile, shares: Sequence[Share], site: Site, paths: Sequence[Path]) -> None:
    """Write each program's queue to its path.

    Molecules are dealt, longest first, like cards: forth and back, so that piles cost the same.
    """
    if len(shares) == 1:
        queue.path.rename(paths[0])
        return
    piles: dict[bool, list[QueueWriter]] = {True: [], False: []}
    for share, path in zip(shares, paths, strict=True):
        piles[share.large].append(QueueWriter(path))
    dealt = {True: 0, False: 0}
    for cost in queue.classes:
        large = _apart(cost, site)
        pile = piles[large]
        for frame in queue.frames(cost):
            turn, place = divmod(dealt[large], len(pile))
            pile[place if turn % 2 == 0 else len(pile) - 1 - place].add_frame(cost, frame)
            dealt[large] += 1
    for writer in (*piles[True], *piles[False]):
        writer.close()
