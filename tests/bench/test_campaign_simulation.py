"""A simulated campaign against what is known of it without simulating."""

import msgspec
import numpy as np
import pytest

from hpcml.bench.campaign_simulation import Machine, simulate

QUIET = Machine(
    ranks_per_node=4,
    start=0.0,
    plan_a_molecule=0.0,
    gap=0.0,
    desk=0.0,
    commit=0.0,
    operations=1e12,
)


def machine(**words):
    return msgspec.structs.replace(QUIET, **words)


def test_without_costs_of_its_own_it_lasts_as_long_as_its_calculations():
    found = simulate(QUIET, np.array([2.0]), 400)
    assert found.makespan == pytest.approx(200.0, rel=1e-6)
    assert found.efficiency == pytest.approx(1.0, abs=1e-6)


def test_longest_first_ends_within_the_bound_of_graham():
    costs = np.random.default_rng(1).lognormal(1.0, 1.0, 500)
    found = simulate(machine(ranks_per_node=7), costs, 500)
    drawn = np.random.default_rng(0).choice(costs, 500)
    assert sum(drawn) / 7 <= found.makespan + 1e-6
    assert found.makespan <= (4 / 3) * max(sum(drawn) / 7, *drawn)


def test_gaps_and_start_are_added():
    found = simulate(
        machine(start=10.0, gap=0.5, gap_scatter=0.0, plan_a_molecule=0.01), np.array([2.0]), 400
    )
    assert found.makespan == pytest.approx(4.0 + 10.0 + 100 * 2.5, rel=1e-3)
    assert found.bottleneck == "gaps"
    assert sum(found.lost.values()) + found.efficiency == pytest.approx(1.0, abs=1e-6)


def test_a_slow_desk_and_a_slow_file_system_are_found_as_the_bottleneck():
    desk = simulate(machine(nodes=8, desk=0.5), np.array([4.0]), 800)
    assert (desk.bottleneck, desk.desk) == ("desk", pytest.approx(1.0, abs=0.05))
    assert desk.makespan == pytest.approx(400.0, rel=0.05)  # one molecule each half second
    files = simulate(machine(nodes=8, operations=1.0, rows_per_shard=10**6), np.array([4.0]), 800)
    assert files.bottleneck == "files"
    assert files.makespan >= 800.0


def test_nodes_that_fail_cost_what_was_in_hand_and_nothing_is_lost_of_the_work():
    quiet = simulate(machine(nodes=4), np.array([10.0]), 2000)
    shaken = simulate(machine(nodes=4, node_failures=3.0), np.array([10.0]), 2000)
    assert shaken.failures > 0
    assert shaken.makespan > quiet.makespan
    work = shaken.efficiency * shaken.makespan * shaken.ranks
    assert work == pytest.approx(20000.0, rel=1e-6)


def test_ranks_and_molecules_that_are_folded_together_tell_the_same():
    costs = np.random.default_rng(1).lognormal(3.0, 0.5, 500)
    alone = simulate(machine(nodes=1000, start=5.0), costs, 40_000)
    folded = simulate(machine(nodes=4000, start=5.0), costs, 160_000)
    assert folded.ranks == 16_000
    assert folded.efficiency == pytest.approx(alone.efficiency, abs=0.02)
