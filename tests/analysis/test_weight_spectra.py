"""Singular values of matrices whose truth is known, and the edge against simulation."""

import numpy as np
import pytest

from hpcml.analysis.weight_spectra import edge, input_norms, limit, spectrum


def planted(random, shape, strengths, deviation=1.0):
    """Noise, and orthogonal directions of these strengths."""
    left, _ = np.linalg.qr(random.normal(size=(shape[0], len(strengths))))
    right, _ = np.linalg.qr(random.normal(size=(shape[1], len(strengths))))
    return deviation * random.normal(size=shape) + left * np.array(strengths) @ right.T


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (12, 60)])
def test_one_in_a_hundred_random_matrices_is_above_the_limit(shape):
    random = np.random.default_rng(0)
    matrices = 0.3 * random.normal(size=(2000, *shape))
    largest = np.linalg.norm(matrices, ord=2, axis=(1, 2))
    above = (largest > limit(shape, 0.3)).sum()
    assert 8 <= above <= 36  # 20 expected, 4.4 standard deviation
    uniform = random.uniform(-1, 1, size=(500, *shape))
    assert (np.linalg.norm(uniform, ord=2, axis=(1, 2)) > limit(shape, 1 / 3**0.5)).sum() <= 12


def test_edge_of_a_large_matrix():
    random = np.random.default_rng(1)
    largest = np.linalg.norm(random.normal(size=(400, 900)), ord=2)
    assert edge((400, 900), 1.0) == pytest.approx(50.0, rel=1e-12)  # 20 + 30
    # Tracy and Widom: 0.26 below, with a standard deviation of 0.28
    assert largest == pytest.approx(49.74, abs=0.84)
    assert 50.0 < limit((400, 900), 1.0) < 50.6


def test_planted_directions_are_found_where_theory_puts_them():
    """Benaych-Georges and Nadakuditi 2012, section 3.1: sqrt((m + t^2)(n + t^2)) / t."""
    random = np.random.default_rng(2)
    m, n = 120, 80
    strengths = np.array([60.0, 45.0, 30.0])
    found = spectrum(planted(random, (m, n), strengths), random.normal(size=(m, n)))
    line = found.summary()
    assert line["above"] == line["above_own"] == 3
    assert line["initial_above"] == 0
    expected = np.sqrt((m + strengths**2) * (n + strengths**2)) / strengths
    np.testing.assert_allclose(found.values[:3], expected, rtol=0.03)


def test_weak_directions_are_lost():
    """Below (m n)^(1/4), here 9.9, a direction does not leave the edge."""
    random = np.random.default_rng(3)
    found = spectrum(planted(random, (120, 80), [5.0, 4.0]), random.normal(size=(120, 80)))
    assert found.summary()["above"] == 0


def test_growth_is_no_structure():
    """Twice the first weights: much above their edge, nothing above that of its own size."""
    first = np.random.default_rng(4).normal(size=(50, 70))
    line = spectrum(2.0 * first, first).summary()
    assert line["above"] > 5
    assert line["above_own"] == line["initial_above"] == 0
    assert line["share_above_own"] == 0.0


def test_rank_one():
    line = spectrum(np.outer(np.arange(1.0, 9.0), np.ones(6)), np.ones((8, 6))).summary()
    assert (line["above_own"], line["share_above_own"]) == (1, pytest.approx(1.0))
    assert line["stable_rank"] == pytest.approx(1.0)
    assert line["largest"] == pytest.approx((204 * 6) ** 0.5)


def test_layer_that_begins_at_zero_has_no_first_edge():
    line = spectrum(np.random.default_rng(5).normal(size=(30, 40)), np.zeros((30, 40))).summary()
    assert line["edge"] is line["limit"] is line["above"] is line["initial_above"] is None
    assert line["above_own"] == 0


def test_weights_of_zero_and_single_outputs():
    line = spectrum(np.zeros((3, 4)), np.ones((3, 4))).summary()
    assert line["share_above_own"] is line["stable_rank"] is None
    assert line["above"] == line["above_own"] == 0
    assert spectrum(np.ones((1, 9)), np.ones((1, 9))).summary()["above_own"] == 0


def test_norms_by_feature():
    weights = np.array([[3.0, 0.0, 1.0], [4.0, 5.0, 1.0]])
    initial = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    first, second = input_norms(weights, initial, ["a", "a", "b"])
    assert first == {
        "feature": "a",
        "columns": 2,
        "norm": pytest.approx(50**0.5),
        "rms": pytest.approx((50 / 4) ** 0.5),
        "initial_rms": 1.0,
        "growth": pytest.approx((50 / 4) ** 0.5),
    }
    assert (second["columns"], second["rms"], second["growth"]) == (1, 1.0, None)
