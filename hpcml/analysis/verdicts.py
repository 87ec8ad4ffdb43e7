"""A number with its 95 % interval, and whether it lies where it must: the lines of a report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit
from scipy.stats import quantile_test

from hpcml.analysis.reasons import LEAST_MOLECULES

PASSES, FAILS, OPEN = "passes", "fails", "open"
"""The whole interval lies where it must, none of it does, or it cannot be told."""


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval, NaN where there is none; ``count`` draws went into it."""

    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Check:
    """What was asked of an explanation, and the answer.

    check      its name
    number     what the value is
    limit      which the value must be above or below of ("" for none)
    verdict    PASSES, FAILS or OPEN
    says       the answer in a line
    """

    check: str
    number: str
    value: float
    low: float
    high: float
    count: int
    limit: str
    verdict: str
    says: str


@dataclass(frozen=True)
class Question:
    """A check before it is made: what its number is, and what it means to pass and to fail."""

    check: str
    number: str
    passes: str
    fails: str

    def below(self, limit: float, found: Estimate) -> Check:
        """The number must lie below the limit."""
        low, high = _ends(found)
        verdict = PASSES if high < limit else FAILS if low >= limit else OPEN
        return self._answered(found, f"below {limit:g}", verdict)

    def above(self, limit: float, found: Estimate) -> Check:
        """The number must lie above the limit."""
        low, high = _ends(found)
        verdict = PASSES if low > limit else FAILS if high <= limit else OPEN
        return self._answered(found, f"above {limit:g}", verdict)

    def untold(self, why: str) -> Check:
        """The check could not be made."""
        return Check(self.check, self.number, np.nan, np.nan, np.nan, 0, "", OPEN, why)

    def _answered(self, found: Estimate, limit: str, verdict: str) -> Check:
        says = {PASSES: self.passes, FAILS: self.fails}.get(verdict)
        if says is None:
            says = "the interval holds the limit" if found.count else "nothing could be measured"
        numbers = (found.value, found.low, found.high, found.count)
        return Check(self.check, self.number, *numbers, limit, verdict, says)


def _ends(found: Estimate) -> tuple[float, float]:
    """The interval, or the number itself where there is none."""
    if np.isnan(found.low):
        return found.value, found.value
    return found.low, found.high


# ------------------------------------------------------------------------------ estimates


def mean(values: NDArray[np.float64]) -> Estimate:
    """The mean and Student's interval.

    Parameters
    ----------
    values : (M,) array
        Those that are not finite are left out.
    """
    known = values[np.isfinite(values)]
    if not known.size:
        return Estimate(np.nan, np.nan, np.nan, 0)
    if known.size < LEAST_MOLECULES:
        return Estimate(float(known.mean()), np.nan, np.nan, known.size)
    middle, error = float(known.mean()), float(known.std(ddof=1) / np.sqrt(known.size))
    width = float(stdtrit(known.size - 1, 0.975)) * error
    return Estimate(middle, middle - width, middle + width, known.size)


def median(values: NDArray[np.float64]) -> Estimate:
    """The median and its interval by order statistics; fewer than six values have none.

    Parameters
    ----------
    values : (M,) array
        NaN is left out, infinity is a value.
    """
    known = values[~np.isnan(values)]
    if not known.size:
        return Estimate(np.nan, np.nan, np.nan, 0)
    interval = quantile_test(known, p=0.5).confidence_interval()
    low, high = float(interval.low), float(interval.high)
    return Estimate(float(np.median(known)), low, high, known.size)


def jackknife(statistic: Callable[[NDArray[np.bool_]], float], molecules: int) -> Estimate:
    """A number of all molecules, and its interval by leaving out one at a time.

    statistic   from which of the molecules (M,) are kept to the number
    """
    everything = np.ones(molecules, dtype=bool)
    whole = statistic(everything)
    if molecules < LEAST_MOLECULES or not np.isfinite(whole):
        return Estimate(whole, np.nan, np.nan, molecules if np.isfinite(whole) else 0)
    without = np.empty(molecules)
    for left_out in range(molecules):
        kept = everything.copy()
        kept[left_out] = False
        without[left_out] = statistic(kept)
    without = without[np.isfinite(without)]  # one molecule may hold all there is
    factor = (len(without) - 1) / len(without)
    error = float(np.sqrt(factor * np.square(without - without.mean()).sum()))
    width = float(stdtrit(molecules - 1, 0.975)) * error
    return Estimate(whole, whole - width, whole + width, molecules)


def largest(values: NDArray[np.float64]) -> Estimate:
    """The largest number, which has no interval.

    Parameters
    ----------
    values : (M,) array
        NaN is left out.
    """
    known = values[~np.isnan(values)]
    return Estimate(
        float(known.max(initial=-np.inf)) if known.size else np.nan, np.nan, np.nan, known.size
    )
