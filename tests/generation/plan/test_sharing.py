"""A plan cut into programs: nothing lost, nothing doubled, equal cost."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from hpcml.cluster import Site
from hpcml.generation.plan.sharing import Share, deal, for_large, share_out
from hpcml.generation.protocol.queue_file import QueueEntry, QueueFile, write_queue

CLUSTER = Site(
    kind="slurm",
    launcher="srun",
    nodes=2,
    ranks_per_node=16,
    threads=1,
    memory_mb=2000,
    walltime="4:00:00",
    blocks=3,
)


def entries(expectations, size=10.0):
    ordered = sorted(expectations, reverse=True)
    return [QueueEntry(f"{i}", "", "", b"", s, 60.0, False, size) for i, s in enumerate(ordered)]


def shared(work, site, shares=None):
    """Each program's site and molecules, as they are read again from its queue."""
    with tempfile.TemporaryDirectory() as folder:
        queue = write_queue(Path(folder) / "all", work)
        shares = shares or share_out(queue, site)
        paths = [Path(folder) / f"{i}" for i in range(len(shares))]
        deal(queue, shares, site, paths)
        return [(s.site, list(QueueFile(p))) for s, p in zip(shares, paths, strict=True)]


@settings(deadline=None)
@given(st.lists(st.floats(0.1, 1e3), min_size=1, max_size=60), st.integers(1, 7))
def test_cards_are_dealt_evenly(expectations, parts):
    parts = min(parts, len(expectations))
    shares = [Share(CLUSTER, False, i, parts) for i in range(parts)]
    piles = [pile for _, pile in shared(entries(expectations), CLUSTER, shares)]
    dealt = [e for pile in piles for e in pile]
    assert sorted(dealt, key=str) == sorted(entries(expectations), key=str)
    sums = [sum(e.expected for e in pile) for pile in piles]
    if len(piles) == parts:  # no pile differs by more than the longest card
        assert max(sums) - min(sums) <= max(expectations) + 1e-9


def test_one_block_gets_one_program_and_more_blocks_get_theirs():
    work = entries([20.0] * 6400)
    site = Site(ranks_per_node=2)
    assert [len(part) for _, part in shared(work, site)] == [6400]
    programs = shared(work, CLUSTER)
    assert len(programs) == 3  # 6400 * 20 s / 32 ranks = 4000 s: each runs under half an hour
    assert len(shared(entries([200.0] * 6400), CLUSTER)) == 23  # 40000 s in half-hours
    assert len(shared(entries([1.0] * 40), CLUSTER)) == 1  # 32 ranks need 32 molecules


def test_large_molecules_get_the_same_cores_and_memory_in_fewer_ranks():
    site = Site(
        kind="slurm", launcher="srun", nodes=2, ranks_per_node=16, memory_mb=2000,
        walltime="4:00:00", large_functions=500, large_threads=4,
    )  # fmt: skip
    large = for_large(site)
    assert (large.ranks_per_node, large.threads, large.memory_mb) == (4, 4, 8000)
    small, big = entries([1.0, 2.0], size=100.0), entries([90.0, 80.0], size=700.0)
    big = [QueueEntry(*(f"big{e.key}", *_rest(e))) for e in big]
    programs = shared([*big, *small], site)
    assert [(place.threads, [e.expected for e in part]) for place, part in programs] == [
        (4, [90.0, 80.0]),
        (1, [2.0, 1.0]),
    ]


def test_large_molecules_that_take_ranks_instead_of_threads_stay_with_the_small_ones():
    site = Site(ranks_per_node=4, large_functions=500, large_ranks=4)
    work = [*entries([90.0], size=700.0), *entries([1.0], size=10.0)]
    assert shared(work, site) == [(site, work)]
    assert for_large(site) == site


def _rest(entry):
    return [getattr(entry, name) for name in entry.__struct_fields__[1:]]
