"""Shards dealt to ranks: each once, none idle for long, and turns that do not grow without end."""

import numpy as np
import pytest

from hpcml.relevance.shard_turns import dealt, shards_each


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [7, 8, 30])
def test_each_shard_goes_to_one_rank_and_loads_differ_by_one_shard_at_most(size, count):
    costs = np.random.default_rng(count).lognormal(0.0, 1.0, count)
    given = dealt(costs, size)
    assert sorted(number for mine in given for number in mine) == list(range(count))
    loads = [costs[mine].sum() for mine in given]
    assert max(loads) - min(loads) <= costs.max() + 1e-12


def test_shards_that_cost_nothing_are_dealt_as_well():
    assert sorted(map(len, dealt(np.zeros(7), 3))) == [2, 2, 3]


@pytest.mark.parametrize(
    ("left", "size", "seconds", "each"),
    [
        (10, 2, 0.0, 1),  # nothing is known yet
        (10, 2, 4.0, 5),
        (1000, 2, 4.0, 5),
        (1000, 2, 100.0, 1),
        (1000, 2, 1e-3, 64),
        (3, 2, 1.0, 1),
        (1, 2, 1.0, 0),  # fewer shards than ranks: they share its rows
    ],
)
def test_a_turn_lasts_some_seconds_and_no_rank_is_left_without(left, size, seconds, each):
    assert shards_each(left, size, seconds) == each
