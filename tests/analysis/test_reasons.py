"""The reasons score against plain loops, known answers, and what it must not see."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from hpcml.analysis import reasons_score
from hpcml.analysis.reasons import centred, molecule_of, without_kinds


@pytest.fixture
def drawn():
    """30 molecules of 2 to 9 atoms of three elements; relevance half share, half noise."""
    random = np.random.default_rng(5)
    sizes = random.integers(2, 10, 30)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    kinds = random.choice([1, 6, 8], offsets[-1])
    share = random.normal(size=offsets[-1])
    return share + random.normal(size=offsets[-1]), share, kinds, offsets


def plain_within(values, offsets):
    return np.concatenate([values[a:b] - values[a:b].mean() for a, b in pairwise(offsets)])


def test_score_is_the_correlation_of_centred_values(drawn):
    relevance, share, _, offsets = drawn
    expected = np.corrcoef(plain_within(relevance, offsets), plain_within(share, offsets))[0, 1]
    found = reasons_score(relevance, share, offsets)
    assert found.correlation == pytest.approx(expected)
    assert found.low < found.correlation < found.high
    assert (found.molecules, found.atoms) == (30, offsets[-1])


def test_composition_is_removed_as_a_regression_on_all_dummies_would(drawn):
    relevance, _, kinds, offsets = drawn
    molecule = molecule_of(offsets)
    dummies = np.concatenate(
        [molecule[:, None] == np.arange(30), kinds[:, None] == np.array([1, 6, 8])], axis=1
    ).astype(float)
    expected = relevance - dummies @ np.linalg.lstsq(dummies, relevance, rcond=None)[0]
    np.testing.assert_allclose(without_kinds(relevance, kinds, molecule), expected, atol=1e-10)


def test_relevance_that_knows_only_elements_scores_nothing(drawn):
    """Right on average for each element and random beyond: high with composition, none without."""
    _, noise, kinds, offsets = drawn
    share = 10.0 * kinds + noise
    relevance = 3.0 * kinds + np.random.default_rng(1).normal(size=len(kinds))
    assert reasons_score(relevance, share, offsets).correlation > 0.9
    found = reasons_score(relevance, share, offsets, kinds=kinds)
    assert abs(found.correlation) < 0.3
    assert found.low < 0.0 < found.high
    exact = reasons_score(3.0 * kinds, share, offsets, kinds=kinds)
    assert np.isnan(exact.correlation)


def test_what_elements_are_worth_leaves_nothing_to_rank(drawn):
    """Exact element means, whatever the spread of a molecule makes of them; as parts of a
    molecule's spread too."""
    _, noise, kinds, offsets = drawn
    share = 3.0 * kinds + noise
    assert np.isnan(reasons_score(kinds**0.5, share, offsets, kinds=kinds).rank)
    molecule = molecule_of(offsets)
    scale = np.exp(np.random.default_rng(2).normal(size=30))[molecule]
    assert np.isnan(reasons_score(scale, share, offsets, kinds=kinds).rank)
    dummies = kinds[:, None] == np.array([1, 6, 8])
    units = 1.0 / scale[offsets[:-1]]
    columns = np.concatenate(
        [molecule[:, None] == np.arange(30), dummies, dummies / scale[:, None]], axis=1
    ).astype(float)
    expected = noise - columns @ np.linalg.lstsq(columns, noise, rcond=None)[0]
    found = without_kinds(noise, kinds, molecule, units=units)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_size_of_the_molecule_is_no_insight(drawn):
    """A constant added to all atoms of a molecule changes nothing."""
    relevance, share, kinds, offsets = drawn
    molecule = molecule_of(offsets)
    first = reasons_score(relevance, share, offsets, kinds=kinds)
    second = reasons_score(relevance + 7.0 * molecule, share - molecule, offsets, kinds=kinds)
    assert second.correlation == pytest.approx(first.correlation)


def test_agreement_and_its_opposite(drawn):
    _, share, kinds, offsets = drawn
    assert reasons_score(2.0 * share + 1.0, share, offsets).correlation == pytest.approx(1.0)
    assert reasons_score(-share, share, offsets, kinds=kinds).correlation == pytest.approx(-1.0)


def test_atoms_and_molecules_that_do_not_count(drawn):
    """NaN shares, unchosen atoms, and molecules left with one atom are out."""
    relevance, share, _, offsets = drawn
    share = share.copy()
    share[offsets[3] : offsets[4]] = np.nan
    counts = np.ones(len(share), dtype=bool)
    counts[offsets[5] + 1 : offsets[6]] = False
    keep = np.isfinite(share) & counts
    keep[offsets[5]] = False
    found = reasons_score(relevance, share, offsets, counts=counts)
    assert (found.molecules, found.atoms) == (28, keep.sum())
    molecule = molecule_of(offsets)[keep]
    _, molecule = np.unique(molecule, return_inverse=True)
    expected = np.corrcoef(centred(relevance[keep], molecule), centred(share[keep], molecule))[0, 1]
    assert found.correlation == pytest.approx(expected)


def test_nothing_to_score():
    offsets = np.array([0, 1, 2])
    found = reasons_score(np.ones(2), np.ones(2), offsets)
    assert np.isnan(found.correlation)
    assert (found.molecules, found.atoms) == (0, 0)


def test_interval_covers_the_truth_as_often_as_it_says():
    """Correlation 0.6 by construction: of 60 data sets the interval misses it in few."""
    missed = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        offsets = np.arange(0, 601, 6)
        share = random.normal(size=600)
        relevance = 0.6 * share + 0.8 * random.normal(size=600)
        found = reasons_score(relevance, share, offsets)
        missed += not found.low < 0.6 < found.high
    assert missed <= 9  # 3 expected; ten or more has a probability below one in a thousand


def draw_molecules(random, molecules):
    """Molecules of 4 to 18 atoms whose values scatter by factors: (relevance, share, offsets)."""
    sizes = random.integers(4, 19, molecules)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    scale = np.exp(0.3 * random.normal(size=molecules))[molecule_of(offsets)]
    share = random.normal(size=offsets[-1])
    return scale * (0.6 * share + 0.8 * random.normal(size=offsets[-1])), scale * share, offsets


def test_intervals_cover_the_truth_with_few_molecules():
    """At eight molecules, where percentiles of a bootstrap covered 0.83 of such cases."""
    truth = reasons_score(*draw_molecules(np.random.default_rng(1), 20_000))
    random = np.random.default_rng(2)
    found = [reasons_score(*draw_molecules(random, 8)) for _ in range(600)]
    pooled = np.mean([one.low < truth.correlation < one.high for one in found])
    ranked = np.mean([one.rank_low < truth.rank < one.rank_high for one in found])
    # the standard error of a coverage of 0.95 over 600 is 0.009
    assert 0.92 < pooled < 0.98
    assert 0.92 < ranked < 0.98


def test_no_interval_of_two_molecules(drawn):
    relevance, share, _, offsets = drawn
    end = offsets[2]
    found = reasons_score(relevance[:end], share[:end], offsets[:3])
    assert np.isfinite([found.correlation, found.rank]).all()
    assert np.isnan([found.low, found.high, found.rank_low, found.rank_high]).all()


def test_rank_score_is_the_mean_of_spearman_within_molecules(drawn):
    relevance, share, _, offsets = drawn
    share = np.round(share, 1)  # ties
    each = [spearmanr(relevance[a:b], share[a:b]).statistic for a, b in pairwise(offsets)]
    assert reasons_score(relevance, share, offsets).rank == pytest.approx(np.nanmean(each))


def test_one_molecule_hardly_moves_the_rank_score():
    """Its relevance times -100 turns the pooled score round; the rank score moves by 2 / M."""
    relevance, share, offsets = draw_molecules(np.random.default_rng(3), 40)
    kinds = np.random.default_rng(4).choice([1, 6, 8], len(share))
    spoiled = relevance.copy()
    spoiled[: offsets[1]] *= -100.0
    for kind in (None, kinds):
        before, after = (reasons_score(r, share, offsets, kinds=kind) for r in (relevance, spoiled))
        assert before.correlation - after.correlation > 0.5
        assert abs(before.rank - after.rank) < 0.05


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=8), st.integers(0, 10_000))
def test_centring_leaves_no_mean(sizes, seed):
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    values = np.random.default_rng(seed).normal(size=(offsets[-1], 2))
    within = centred(values, molecule_of(offsets))
    for start, stop in pairwise(offsets):
        np.testing.assert_allclose(within[start:stop].mean(axis=0), 0.0, atol=1e-12)
        np.testing.assert_allclose(np.ptp(values[start:stop] - within[start:stop], axis=0), 0.0,
                                   atol=1e-12)  # fmt: skip
