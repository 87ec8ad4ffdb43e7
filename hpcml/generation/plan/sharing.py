"""One plan cut into MPI programs: by the size of molecules, and over blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hpcml.cluster.site import Site
from hpcml.generation.protocol.task import QueueEntry

_SECONDS_OF_A_PROGRAM = 1800.0
"""Length of an MPI program where several blocks share the work: long beside the few seconds of its
start, short beside the campaign, so that blocks end at about the same time."""


def share_out(entries: Sequence[QueueEntry], site: Site) -> list[tuple[Site, list[QueueEntry]]]:
    """Programs that together compute every entry, with the site as each of them sees it.

    entries   longest expected first
    Large molecules that have threads of their own (``site.large_threads``) come first, in programs
    with fewer ranks of more threads each.
    """
    apart = site.large_functions > 0 and site.large_threads not in (0, site.threads)
    large = [entry for entry in entries if apart and entry.size >= site.large_functions]
    chosen = {entry.key for entry in large}
    small = [entry for entry in entries if entry.key not in chosen]
    programs = []
    for part, place in ((large, for_large(site)), (small, site)):
        programs += [(place, piece) for piece in deal(part, _programs(part, place))]
    return programs


def for_large(site: Site) -> Site:
    """The same cores and memory in fewer ranks, for molecules that need more of both."""
    if not site.large_threads:
        return site
    cores = site.ranks // site.nodes * site.threads
    ranks = max(1, cores // site.large_threads)
    memory = site.memory_mb * (site.ranks // site.nodes) // ranks
    return site.with_shape(ranks_per_node=ranks, threads=site.large_threads, memory_mb=memory)


def _programs(entries: Sequence[QueueEntry], site: Site) -> int:
    if site.blocks == 1:
        return 1
    seconds = sum(entry.expected for entry in entries) / site.ranks
    longest = min(_SECONDS_OF_A_PROGRAM, 0.5 * (site.seconds - site.margin))
    wanted = max(site.blocks, math.ceil(seconds / longest))
    # A program with fewer molecules than ranks would leave ranks idle from the start.
    return max(1, min(wanted, len(entries) // site.ranks))


def deal(entries: Sequence[QueueEntry], parts: int) -> list[list[QueueEntry]]:
    """Deal entries, longest first, like cards: forth and back, so that parts cost the same."""
    piles: list[list[QueueEntry]] = [[] for _ in range(parts)]
    for index, entry in enumerate(entries):
        turn, place = divmod(index, parts)
        piles[place if turn % 2 == 0 else parts - 1 - place].append(entry)
    return [pile for pile in piles if pile]
