"""The reasons score: do relevances agree with what physics assigns to each atom?

Both are numbers for each atom of many molecules, laid end to end and cut by ``offsets``.  The
score is Pearson's correlation of relevance with share *within molecules*: the mean of each
molecule is taken off both, so that big molecules do not count as insight.  With kinds (elements)
given, what a regression on the kinds explains within molecules is taken off as well: knowing
what carbon and hydrogen are worth on average is not yet a reason.

Intervals are percentiles of a bootstrap over molecules, since atoms of one molecule are no
independent draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Score:
    """A correlation with its 95 % interval; NaN where there is too little to correlate.

    molecules, atoms   that took part: molecules with at least two atoms that count
    """

    correlation: float
    low: float
    high: float
    molecules: int
    atoms: int


def molecule_of(offsets: Integers) -> Integers:
    """The molecule of each atom, (A,), from the cuts (M + 1,)."""
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def centred(values: Floats, molecule: Integers) -> Floats:
    """Values (A,) or (A, K) less their mean over the molecule."""
    columns = values.reshape(len(values), -1)
    count = np.maximum(np.bincount(molecule), 1)
    means = np.stack([np.bincount(molecule, column) / count for column in columns.T], axis=1)
    within: Floats = (columns - means[molecule]).reshape(values.shape)
    return within


def without_kinds(values: Floats, kinds: Integers, molecule: Integers) -> Floats:
    """Values (A,) less the effects of molecule and kind: residuals of a two-way regression.

    By Frisch, Waugh and Lovell: centre values and kinds' indicators within molecules, then
    regress the ones on the others.
    """
    indicators = centred((kinds[:, None] == np.unique(kinds)).astype(np.float64), molecule)
    within = centred(values, molecule)
    effects = np.linalg.lstsq(indicators, within, rcond=None)[0]
    residual: Floats = within - indicators @ effects
    return residual


def reasons_score(
    relevance: Floats,
    share: Floats,
    offsets: Integers,
    *,
    kinds: Integers | None = None,
    counts: NDArray[np.bool_] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Score:
    """Correlation of relevance (A,) with share (A,) within molecules.

    kinds    (A,) whose effects are taken off too; None keeps composition in
    counts   (A,) which atoms take part; None: all. Atoms without a finite relevance and share,
             and molecules left with one atom, never do
    """
    molecule = molecule_of(offsets)
    used = np.isfinite(relevance) & np.isfinite(share)
    if counts is not None:
        used &= counts
    used &= np.bincount(molecule[used], minlength=len(offsets) - 1)[molecule] > 1
    if not used.any():
        return Score(np.nan, np.nan, np.nan, 0, 0)
    _, molecule = np.unique(molecule[used], return_inverse=True)
    x, y = (
        centred(values[used], molecule)
        if kinds is None
        else without_kinds(values[used], kinds[used], molecule)
        for values in (relevance, share)
    )
    size = int(molecule[-1]) + 1
    sums: Floats = np.stack([np.bincount(molecule, p, size) for p in (x * y, x * x, y * y)], axis=1)
    # what rounding alone leaves is no variation
    floor = 1e-20 * np.array([np.square(relevance[used]).sum(), np.square(share[used]).sum()])
    if (sums[:, 1:].sum(axis=0) <= floor).any():
        return Score(np.nan, np.nan, np.nan, size, int(used.sum()))
    draws = _resampled(sums, resamples, seed)
    low, high = np.nanpercentile(draws, [2.5, 97.5]) if size > 1 else (np.nan, np.nan)
    return Score(
        float(_correlation(sums.sum(axis=0))), float(low), float(high), size, int(used.sum())
    )


def _correlation(sums: Floats) -> Floats:
    """From sums (..., 3) of xy, xx, yy."""
    with np.errstate(invalid="ignore", divide="ignore"):
        r: Floats = sums[..., 0] / np.sqrt(sums[..., 1] * sums[..., 2])
    return r


def _resampled(sums: Floats, resamples: int, seed: int) -> Floats:
    """Correlations of molecules drawn with replacement, (resamples,); a few at a time."""
    random = np.random.default_rng(seed)
    size = len(sums)
    even = np.full(size, 1.0 / size)
    step = max(1, 4_000_000 // size)
    parts = [
        _correlation(random.multinomial(size, even, min(step, resamples - start)) @ sums)
        for start in range(0, resamples, step)
    ]
    return np.concatenate(parts)
