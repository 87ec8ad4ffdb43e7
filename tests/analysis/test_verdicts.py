"""Intervals against scipy's own, and what makes a verdict."""

import numpy as np
import pytest
from scipy import stats

from hpcml.analysis.verdicts import (
    FAILS,
    OPEN,
    PASSES,
    Estimate,
    Question,
    jackknife,
    largest,
    mean,
    median,
)


@pytest.fixture
def values():
    return np.random.default_rng(3).normal(2.0, 1.5, 25)


def test_mean_has_students_interval(values):
    found = mean(np.append(values, np.nan))
    low, high = stats.t.interval(0.95, 24, loc=values.mean(), scale=stats.sem(values))
    assert (found.value, found.low, found.high) == pytest.approx((values.mean(), low, high))
    assert found.count == 25
    assert np.isnan(mean(values[:2]).low)
    assert mean(np.array([np.nan])).count == 0


def test_median_has_order_statistics(values):
    """With 25 values the 8th and the 18th hold the median with 95.7 %."""
    found = median(values)
    assert (found.value, found.low, found.high) == (
        np.median(values), np.sort(values)[7], np.sort(values)[17],
    )  # fmt: skip
    assert median(np.array([1.0, np.inf, np.inf])).value == np.inf


def test_jackknife_of_a_mean_is_students_interval(values):
    found = jackknife(lambda kept: float(values[kept].mean()), len(values))
    assert (found.value, found.low, found.high) == pytest.approx(
        (mean(values).value, mean(values).low, mean(values).high)
    )


@pytest.mark.parametrize(
    ("low", "high", "below", "above"),
    [(0.1, 0.4, PASSES, FAILS), (0.6, 0.9, FAILS, PASSES), (0.3, 0.7, OPEN, OPEN)],
)
def test_verdict_looks_at_the_whole_interval(low, high, below, above):
    question = Question("it", "a number", passes="good", fails="bad")
    estimate = Estimate((low + high) / 2, low, high, 9)
    words = {PASSES: "good", FAILS: "bad", OPEN: "the interval holds the limit"}
    for check, verdict in (
        (question.below(0.5, estimate), below),
        (question.above(0.5, estimate), above),
    ):
        assert (check.verdict, check.says) == (verdict, words[verdict])


def test_a_number_without_interval_is_judged_itself():
    question = Question("it", "a number", passes="good", fails="bad")
    assert question.below(0.5, largest(np.array([0.1, np.nan]))).verdict == PASSES
    assert question.below(0.5, largest(np.array([0.1, 0.6]))).verdict == FAILS
    nothing = question.below(0.5, largest(np.array([np.nan])))
    assert (nothing.verdict, nothing.says) == (OPEN, "nothing could be measured")
    assert question.untold("why").says == "why"
