"""The reasons score: do relevances agree with what physics assigns to each atom?

Both are numbers for each atom of many molecules, laid end to end and cut by ``offsets``, and are
compared *within molecules*, so that big molecules do not count as insight.  With kinds (elements,
or elements by hybridization and number of hydrogens) given, what a regression on the kinds explains
within molecules is taken off as well: knowing what carbon and hydrogen are worth on average is not
yet a reason.

The score is given twice.  Pooled: Pearson's correlation of all atoms, the mean of each molecule
taken off, in which a molecule counts by how much its values vary.  By rank: the mean over
molecules of Spearman's correlation within each, in which every molecule counts the same and one
with absurd relevances moves little.

Intervals are of Student's t over molecules, since atoms of one molecule are no independent draws:
for the mean of the ranks' correlations as for any mean; for the pooled score by the jackknife on
Fisher's scale (B. Efron and C. Stein, Ann. Statist. 9, 586 (1981)), which covers 0.94 of the cases
at eight molecules of alike size where percentiles of a bootstrap cover 0.85.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import stdtr, stdtrit

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

LEAST_MOLECULES = 3
"""Of fewer no interval is given."""
_ALMOST_ONE = 1.0 - 1e-12
_TIED = 1e-9
"""Values that differ by less than this part of their molecule's spread have one rank."""


@dataclass(frozen=True)
class Score:
    """The agreement of relevances with shares; NaN where there is too little to compare.

    correlation, low, high      pooled, with its 95 % interval
    rank, rank_low, rank_high   by rank, with its 95 % interval
    rank_error                  standard error of rank over molecules
    molecules, atoms            that took part: molecules with at least two atoms that count
    """

    correlation: float = np.nan
    low: float = np.nan
    high: float = np.nan
    rank: float = np.nan
    rank_low: float = np.nan
    rank_high: float = np.nan
    rank_error: float = np.nan
    molecules: int = 0
    atoms: int = 0


def molecule_of(offsets: Integers) -> Integers:
    """The molecule of each atom.

    Parameters
    ----------
    offsets : (M + 1,) integer array
        Molecule m has the atoms offsets[m] to offsets[m + 1].

    Returns
    -------
    (A,) integer array
    """
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def centred(values: Floats, molecule: Integers) -> Floats:
    """Values less their mean over the molecule.

    Parameters
    ----------
    values : (A,) or (A, K) array
    molecule : (A,) integer array
        The molecule of each atom.

    Returns
    -------
    (A,) or (A, K) array
    """
    columns = values.reshape(len(values), -1)
    count = np.maximum(np.bincount(molecule), 1)
    means = np.stack([np.bincount(molecule, column) / count for column in columns.T], axis=1)
    within: Floats = (columns - means[molecule]).reshape(values.shape)
    return within


def without_kinds(
    values: Floats, kinds: Integers, molecule: Integers, units: Floats | None = None
) -> Floats:
    """Values less the effects of molecule and kind: residuals of a two-way regression.

    By Frisch, Waugh and Lovell: centre values and kinds' indicators within molecules, then
    regress the ones on the others.  The indicators' products come from the counts of kinds in
    molecules, so that memory grows with the atoms alone, however many kinds there are.

    Parameters
    ----------
    values : (A,) array
    kinds, molecule : (A,) integer array
        The kind and the molecule of each atom.
    units : (M,) array, optional
        Where each molecule's values were divided by a number of its own: one over it.  An effect
        that was the same in all molecules before is taken off as well as one that is now.

    Returns
    -------
    (A,) array
    """
    _, kind = np.unique(kinds, return_inverse=True)
    within = centred(values, molecule)
    ones = np.ones(len(kind))
    counts = sparse.coo_array((ones, (molecule, kind))).tocsr()  # molecules x kinds
    size = np.maximum(np.bincount(molecule), 1)
    weights = [np.ones(len(size))]
    if units is not None:
        weights.append(units / (np.abs(units).max() or 1.0))

    def products(weight: Floats) -> Floats:
        """Of the indicators within molecules, each molecule counting by its weight."""
        of_two = (counts.T @ (counts * (weight / size)[:, None])).toarray()
        return np.asarray(np.diag(counts.T @ weight) - of_two)

    gram = np.block([[products(one * other) for other in weights] for one in weights])
    right = [np.bincount(kind, within * weight[molecule]) for weight in weights]
    effects = np.linalg.lstsq(gram, np.concatenate(right), rcond=1e-12)[0]
    fitted = sum(
        weight[molecule] * of_kind[kind]
        for weight, of_kind in zip(weights, np.split(effects, len(weights)), strict=True)
    )
    residual: Floats = within - centred(np.asarray(fitted), molecule)
    return residual


def reasons_score(
    relevance: Floats,
    share: Floats,
    offsets: Integers,
    *,
    kinds: Integers | None = None,
    counts: NDArray[np.bool_] | None = None,
) -> Score:
    """The agreement of relevance with share within molecules.

    Parameters
    ----------
    relevance, share : (A,) array
        Of each atom; those without a finite value of both never take part.
    offsets : (M + 1,) integer array
        Molecule m has the atoms offsets[m] to offsets[m + 1].
    kinds : (A,) integer array, optional
        Their effects are taken off too; None keeps composition in.
    counts : (A,) boolean array, optional
        Which atoms take part; molecules left with one atom never do.
    """
    return score_and_ranks(relevance, share, offsets, kinds=kinds, counts=counts)[0]


def score_and_ranks(
    relevance: Floats,
    share: Floats,
    offsets: Integers,
    *,
    kinds: Integers | None = None,
    counts: NDArray[np.bool_] | None = None,
) -> tuple[Score, Floats]:
    """``reasons_score``, and the rank correlation within each molecule, whose mean its rank is.

    Parameters
    ----------
    relevance, share, offsets, kinds, counts
        (A,), (A,), (M + 1,), (A,), (A,) arrays as ``reasons_score`` takes them.

    Returns
    -------
    Score, (M,) array
        NaN for molecules that did not take part or in which nothing varies.
    """
    molecule = molecule_of(offsets)
    ranks = np.full(len(offsets) - 1, np.nan)
    used = np.isfinite(relevance) & np.isfinite(share)
    if counts is not None:
        used &= counts
    used &= np.bincount(molecule[used], minlength=len(offsets) - 1)[molecule] > 1
    if not used.any():
        return Score(), ranks
    chosen, molecule = np.unique(molecule[used], return_inverse=True)
    kinds = None if kinds is None else kinds[used]
    pooled = _pooled(relevance[used], share[used], molecule, kinds)
    ranks[chosen] = _ranked(relevance[used], share[used], molecule, kinds)
    mean, low, high, error = mean_with_interval(ranks)
    low, high = np.clip([low, high], -1.0, 1.0).tolist()
    return Score(*pooled, mean, low, high, error, len(chosen), int(used.sum())), ranks


def mean_with_interval(values: Floats, level: float = 0.95) -> tuple[float, float, float, float]:
    """Mean, the ends of its interval by Student's t, and its standard error.

    Parameters
    ----------
    values : (n,) array
        Independent draws; those that are not finite are left out.  Of fewer than
        ``LEAST_MOLECULES`` interval and error are NaN.
    """
    values = values[np.isfinite(values)]
    if not values.size:
        return np.nan, np.nan, np.nan, np.nan
    mean = float(values.mean())
    if values.size < LEAST_MOLECULES:
        return mean, np.nan, np.nan, np.nan
    error = float(values.std(ddof=1) / np.sqrt(values.size))
    width = float(stdtrit(values.size - 1, 0.5 + 0.5 * level)) * error
    return mean, mean - width, mean + width, error


def two_sided(mean: float, error: float, size: int) -> float:
    """Probability of a mean as far from zero under Student's t; NaN without an error."""
    if not np.isfinite(error) or (mean == 0.0 and error == 0.0):
        return np.nan
    return float(2.0 * stdtr(size - 1, -abs(mean) / error)) if error > 0 else 0.0


# ---------------------------------------------------------------------------- pooled


def _pooled(
    relevance: Floats, share: Floats, molecule: Integers, kinds: Integers | None
) -> tuple[float, float, float]:
    """Pearson's correlation of all atoms within molecules, and its interval."""
    x, y = (
        centred(values, molecule) if kinds is None else without_kinds(values, kinds, molecule)
        for values in (relevance, share)
    )
    sums: Floats = np.stack([np.bincount(molecule, p) for p in (x * y, x * x, y * y)], axis=1)
    # what rounding alone leaves is no variation
    floor = 1e-20 * np.array([np.square(relevance).sum(), np.square(share).sum()])
    if (sums[:, 1:].sum(axis=0) <= floor).any():
        return np.nan, np.nan, np.nan
    return correlation_with_interval(sums)


def correlation_with_interval(sums: Floats) -> tuple[float, float, float]:
    """A correlation and its 95 % interval, by the jackknife on Fisher's scale.

    Parameters
    ----------
    sums : (n, 3) array
        Of each of n independent draws the sums of x y, x x and y y over its values, about the
        means that are meant.

    Returns
    -------
    tuple of float
        Correlation, low, high; NaN without variation, no interval of fewer than
        ``LEAST_MOLECULES`` draws.
    """
    total = sums.sum(axis=0)
    if (total[1:] <= 0.0).any():
        return np.nan, np.nan, np.nan
    if len(sums) < LEAST_MOLECULES:
        return float(_correlation(total)), np.nan, np.nan
    fisher = np.arctanh(np.clip(_correlation(total), -_ALMOST_ONE, _ALMOST_ONE))
    without = np.arctanh(np.clip(_correlation(total - sums), -_ALMOST_ONE, _ALMOST_ONE))
    without = without[np.isfinite(without)]  # one of them may hold all there is
    spread = np.sqrt((len(sums) - 1) / len(sums) * np.square(without - without.mean()).sum())
    width = stdtrit(len(sums) - 1, 0.975) * spread
    r, low, high = np.tanh([fisher, fisher - width, fisher + width]).tolist()
    return r, low, high


def _correlation(sums: Floats) -> Floats:
    """From sums (..., 3) of xy, xx, yy."""
    with np.errstate(invalid="ignore", divide="ignore"):
        r: Floats = sums[..., 0] / np.sqrt(sums[..., 1] * sums[..., 2])
    return r


# ---------------------------------------------------------------------------- by rank


def _ranked(relevance: Floats, share: Floats, molecule: Integers, kinds: Integers | None) -> Floats:
    """The rank correlation within each molecule, NaN where nothing varies.

    Each molecule's values are brought to the same spread before the kinds are taken off, so that
    none of them decides what a kind is worth: be it the same in the values' own unit, or as a part
    of a molecule's spread.
    """
    x, y = (_scaled(values, molecule) for values in (relevance, share))
    if kinds is not None:
        x, y = (
            without_kinds(scaled, kinds, molecule, units=_one_over_spread(values, molecule))
            for scaled, values in ((x, relevance), (y, share))
        )
    if kinds is not None:  # a molecule in which nothing is left has no order
        x, y = (_scaled(values, molecule, least=1e-9) for values in (x, y))
    x, y = (centred(ranks_within(values, molecule), molecule) for values in (x, y))
    return _correlation(np.stack([np.bincount(molecule, p) for p in (x * y, x * x, y * y)], axis=1))


def _scaled(values: Floats, molecule: Integers, least: float = 0.0) -> Floats:
    """Values of mean zero and mean square one within each molecule; zero where none varies."""
    scaled: Floats = centred(values, molecule) * _one_over_spread(values, molecule, least)[molecule]
    return scaled


def _one_over_spread(values: Floats, molecule: Integers, least: float = 0.0) -> Floats:
    """One over the root mean square about the molecule's mean; zero where nothing varies."""
    within = centred(values, molecule)
    spread = np.sqrt(np.bincount(molecule, within**2) / np.bincount(molecule))
    size = np.sqrt(np.bincount(molecule, values**2) / np.bincount(molecule))
    constant = spread <= np.maximum(1e-12 * size, least)
    over: Floats = 1.0 / np.where(constant, np.inf, spread)
    return over


def ranks_within(values: Floats, molecule: Integers) -> Floats:
    """The rank of each value within its molecule, from 0; ties have the mean of their ranks.

    Parameters
    ----------
    values : (A,) array
        Of spread one within molecules: values that differ by less than 1e-9 are tied.
    molecule : (A,) integer array
        The molecule of each atom, ascending.

    Returns
    -------
    (A,) array
    """
    order = np.lexsort((values, molecule))
    sorted_molecule, sorted_values = molecule[order], values[order]
    begins = np.ones(len(values), dtype=bool)
    begins[1:] = (np.diff(sorted_molecule) > 0) | (np.diff(sorted_values) > _TIED)
    run = np.cumsum(begins) - 1
    first = np.searchsorted(sorted_molecule, sorted_molecule)  # where the molecule begins
    place = np.arange(len(values)) - first
    mean = np.bincount(run, place) / np.bincount(run)
    ranks = np.empty(len(values))
    ranks[order] = mean[run]
    return ranks
