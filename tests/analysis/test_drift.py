"""Drift and slope of relevances: made-up atoms whose drift is known, and plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from hpcml.analysis.drift import LEAST_ATOMS, calibration_slope, drift
from hpcml.analysis.explained_sample import ExplainedSample, environment_name


def sample(seed: int, molecules: int = 40, shift: float = 0.0, factor: float = 2.0):
    """Shares by element, molecule and chance; relevances are a part of them, those of nitrogen
    shifted."""
    random = np.random.default_rng(seed)
    sizes = random.integers(4, 9, molecules)
    numbers = random.choice([1, 6, 7], size=int(sizes.sum()), p=[0.5, 0.3, 0.2])
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    of_molecule = np.repeat(random.normal(size=molecules), sizes)
    share = 0.3 * numbers + of_molecule + random.normal(size=len(numbers))
    relevance = share / factor + np.where(numbers == 7, shift, 0.0) + 5.0 * of_molecule
    return ExplainedSample(
        keys=np.array([f"{seed}-{number}" for number in range(molecules)]),
        error=np.zeros(molecules),
        value=np.zeros(molecules),
        heavy_atoms=np.ones(molecules, np.int64),
        offsets=offsets,
        relevance=relevance,
        own_terms=np.ones(len(numbers)),
        share=share,
        numbers=numbers,
        environment=numbers,
    )


def within(one: ExplainedSample, values) -> np.ndarray:
    parts = np.split(values, one.offsets[1:-1])
    return np.concatenate([part - part.mean() for part in parts])


def test_relevances_that_follow_the_shares_do_not_drift() -> None:
    """However the shares themselves change, and whatever the scale of the relevances."""
    here, there = sample(1), sample(2)
    richer = ExplainedSample(**{**vars(there), "share": there.share * 3.0})
    richer = ExplainedSample(**{**vars(richer), "relevance": richer.share / 2.0})
    assert calibration_slope(here).slope == pytest.approx(2.0, rel=1e-12)
    for one in (there, richer):
        found = drift(here, one, here.numbers, one.numbers)
        assert found.drift == pytest.approx(0.0, abs=1e-12)
    moved = {kind.kind: kind.share_distance for kind in found.kinds}
    assert moved[7] > 0.5


def test_what_moved_is_found_and_by_how_much() -> None:
    here, there = sample(3, 300), sample(4, 300, shift=0.4)
    found = drift(here, there, here.numbers, there.numbers)
    nitrogen = there.numbers == 7
    for kind in found.kinds:
        # 0.4 on each nitrogen, times the slope 2, about the molecule's mean
        moved = within(there, 0.8 * nitrogen)[there.numbers == kind.kind].mean()
        assert kind.drift == pytest.approx(moved, abs=1e-9)
        assert kind.atoms == np.sum(there.numbers == kind.kind)
    spread = within(here, here.share).std()
    weights = [kind.atoms for kind in found.kinds]
    plain = np.average([kind.drift**2 for kind in found.kinds], weights=weights) ** 0.5 / spread
    assert found.drift == pytest.approx(plain, rel=1e-9)
    assert found.drift > 3.0 * found.chance > 0.0
    assert found.new == 0.0


def test_chance_is_what_likes_of_the_reference_stay_below() -> None:
    """Molecules drawn alike, with excess of their own: 95 of 100 below, within the error of 60."""

    def noisy(seed: int) -> ExplainedSample:
        one = sample(seed, 30)
        noise = np.random.default_rng(seed).normal(size=len(one.numbers))
        return ExplainedSample(**{**vars(one), "relevance": one.relevance + 0.3 * noise})

    below = [
        found.drift < found.chance
        for found in (
            drift(a, b, a.numbers, b.numbers)
            for a, b in ((noisy(seed), noisy(1000 + seed)) for seed in range(60))
        )
    ]
    assert 0.85 <= np.mean(below) <= 1.0


def test_slope_is_that_of_a_plain_fit_with_each_molecule_left_out_in_turn() -> None:
    one = sample(5, 12)
    x, y = within(one, one.relevance + np.sin(one.share)), within(one, one.share)
    wavy = ExplainedSample(**{**vars(one), "relevance": one.relevance + np.sin(one.share)})
    found = calibration_slope(wavy)
    assert found.slope == pytest.approx(np.linalg.lstsq(x[:, None], y, rcond=None)[0][0], rel=1e-12)
    molecule = np.repeat(np.arange(12), np.diff(one.offsets))
    left_out = [np.linalg.lstsq(x[molecule != m, None], y[molecule != m], rcond=None)[0][0]
                for m in range(12)]  # fmt: skip
    error = np.sqrt(11 / 12 * np.sum((left_out - np.mean(left_out)) ** 2))
    assert found.high - found.slope == pytest.approx(2.201 * error, rel=1e-4)  # t, 11 degrees
    assert found.slope - found.low == pytest.approx(found.high - found.slope)


def test_what_cannot_be_told_is_not_a_number() -> None:
    here, there = sample(6), sample(7)
    unknown = ExplainedSample(**{**vars(there), "share": np.full(len(there.numbers), np.nan)})
    found = drift(here, unknown, here.numbers, unknown.numbers)
    assert np.isnan([found.drift, found.chance, found.new]).all() and not found.kinds
    assert np.isnan(calibration_slope(unknown).slope)
    pair = there.of(np.arange(40) < 2)
    assert np.isfinite(calibration_slope(pair).slope) and np.isnan(calibration_slope(pair).low)
    others = np.where(there.numbers == 7, 9, there.numbers)  # fluorine was never learned
    found = drift(here, there, here.numbers, others)
    assert found.new == pytest.approx(np.mean(there.numbers == 7))
    assert {kind.kind for kind in found.kinds} == {1, 6}
    few = there.of(np.arange(40) < 1)
    assert all(
        kind.atoms >= LEAST_ATOMS for kind in drift(here, few, here.numbers, few.numbers).kinds
    )


def test_a_cut_sample_is_that_of_its_molecules() -> None:
    one = sample(8, 6)
    chosen = np.array([False, True, False, False, True, True])
    cut = one.of(chosen)
    parts = np.split(one.share, one.offsets[1:-1])
    np.testing.assert_array_equal(cut.share, np.concatenate([parts[1], parts[4], parts[5]]))
    assert cut.offsets.tolist() == np.cumsum([0, *(len(parts[m]) for m in (1, 4, 5))]).tolist()
    assert cut.keys.tolist() == ["8-1", "8-4", "8-5"]
    np.testing.assert_array_equal(cut.with_own_terms().relevance, cut.relevance + 1.0)


def test_environments_in_words() -> None:
    assert environment_name(623) == "C sp3, 3 H"
    assert environment_name(130) == "H"
