"""Longest first, nothing that cannot end in time, suspects last and alone."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from hpcml.generation.protocol.queue_file import QueueEntry, write_queue
from hpcml.generation.ranks.work_queue import WorkQueue


def queued(entries, **settings):
    with tempfile.TemporaryDirectory() as folder:
        return WorkQueue(write_queue(Path(folder) / "queue", entries), **settings)


def entry(expected, key="", suspect=False):
    return QueueEntry(key or f"{expected}", "", "", b"", expected, 60.0, suspect, 1.0)


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 1e4), max_size=30))
def test_everything_comes_out_once_longest_first(expectations):
    queue = queued(entry(seconds) for seconds in expectations)
    taken = []
    while (one := queue.take()) is not None:
        taken.append(one.expected)
    assert taken == sorted(expectations, reverse=True)
    assert len(queue) == 0


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 1e4), max_size=30), st.floats(-10.0, 2e4))
def test_what_is_taken_is_the_longest_that_fits(expectations, left):
    queue = queued(entry(seconds) for seconds in expectations)
    fitting = [seconds for seconds in expectations if 1.5 * seconds <= left]
    taken = queue.take(left)
    assert (taken.expected if taken else None) == (max(fitting) if fitting else None)


def test_ranks_end_together_when_the_longest_go_first():
    """Two ranks, simulated: the idle tail is at most the shortest molecule."""
    expectations = [7.0, 5.0, 4.0, 3.0, 3.0, 2.0, 1.0, 1.0]
    queue = queued(entry(seconds, str(i)) for i, seconds in enumerate(expectations))
    clock = [0.0, 0.0]
    while (one := queue.take()) is not None:
        first = clock.index(min(clock))
        clock[first] += one.expected
    assert abs(clock[0] - clock[1]) <= min(expectations)


def test_suspects_come_last_and_never_two_at_a_time():
    queue = queued([entry(9.0, "s1", True), entry(8.0, "s2", True), entry(1.0, "innocent")])
    assert queue.take().key == "innocent"
    assert queue.take().key == "s1"
    assert queue.take() is None
    assert queue.waiting_for_a_suspect()
    queue.finished("innocent")
    assert queue.take() is None
    queue.finished("s1")
    assert queue.take().key == "s2"
    assert not queue.waiting_for_a_suspect()


def test_large_molecules_are_handed_out_apart_and_admitted_by_what_a_group_needs():
    cases = (("a", 60.0, False), ("s", 9.0, True))
    large = [QueueEntry(k, k, "", b"", s, 60.0, q, 100.0) for k, s, q in cases]
    queue = queued([*large, entry(5.0)], large_functions=100.0, large_ranks=4)
    assert (queue.large(22.4), queue.large(22.6)) == (0, 1)  # 60 s on four ranks, half in reserve
    assert queue.take(1e9).key == "5.0"
    assert queue.take(1e9) is None
    taken = queue.take(22.6, large=True)
    assert (taken.key, queue.large()) == ("a", 1)
    queue.put_back(taken)
    assert queue.take(large=True).key == "a"
    assert queue.take() is None
    assert queue.take(large=True).key == "s"  # the suspect, last
    assert len(queue) == 0
