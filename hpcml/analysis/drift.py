"""Do relevances mean elsewhere what they meant where the network learned?

Within each molecule relevances and shares are taken about their mean; relevances are multiplied by
the *slope*, the least-squares factor that brings those of the reference (the training molecules) to
its shares.  What then differs, relevance less share, is an atom's *excess*.  On any molecules a
network's atoms of a kind (an element; an environment) have a mean excess, its habit.  The drift of
a kind is how far that habit moved from the reference to a sample:

    drift_k = (mean relevance_k - mean relevance_k, reference) - (the same of the shares),

so that relevances which follow the shares, however these change with size or surrounding, do not
drift.  The drift of a sample is the root mean square of its kinds' drifts, each counted by its
atoms, over the standard deviation of the reference's shares within molecules.  It is never zero in
a finite sample: beside it stands what 95 of 100 random exchanges of molecules between reference
and sample stay below.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit
from scipy.stats import wasserstein_distance

from hpcml.analysis.explained_sample import ExplainedSample
from hpcml.analysis.reasons import LEAST_MOLECULES, centred, molecule_of

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

LEAST_ATOMS = 5
"""Of a kind, on either side: of fewer no drift is told."""
_EXCHANGES = 200
_SEED = 0


@dataclass(frozen=True)
class Slope:
    """The factor that brings relevances to shares within molecules, and its 95 % interval.

    1 where relevances are as large as shares; below 1 they exaggerate.  The interval is of
    Student's t over molecules by the jackknife; NaN with fewer than three.
    """

    slope: float = np.nan
    low: float = np.nan
    high: float = np.nan


@dataclass(frozen=True)
class KindDrift:
    """How far relevances of one kind of atom moved; target's unit.

    kind                              its number
    reference_atoms, atoms            that were compared
    reference_share, share            mean, about the molecule's
    reference_relevance, relevance    the same, times the reference's slope
    drift                             of the relevance less that of the share
    share_distance, relevance_distance   Wasserstein's between reference and sample
    """

    kind: int
    reference_atoms: int
    atoms: int
    reference_share: float
    share: float
    reference_relevance: float
    relevance: float
    drift: float
    share_distance: float
    relevance_distance: float


@dataclass(frozen=True)
class Drift:
    """The drift of a sample, in standard deviations of the reference's shares.

    drift    NaN where no kind has enough atoms on both sides
    chance   what 95 % of random exchanges of molecules stay below
    new      part of the sample's atoms whose kind the reference has too few of
    kinds    one by one
    """

    drift: float = np.nan
    chance: float = np.nan
    new: float = np.nan
    kinds: tuple[KindDrift, ...] = ()


def calibration_slope(sample: ExplainedSample) -> Slope:
    """By least squares of the shares on the relevances, both about their molecule's mean."""
    x, y, molecule, _ = _within(sample)
    if not x.size:
        return Slope()
    sums = np.stack([np.bincount(molecule, x * y), np.bincount(molecule, x * x)], axis=1)
    sums = sums[np.unique(molecule)]
    total = sums.sum(axis=0)
    if total[1] <= 0.0:
        return Slope()
    slope = float(total[0] / total[1])
    if len(sums) < LEAST_MOLECULES:
        return Slope(slope)
    left = total - sums
    without = left[left[:, 1] > 0.0]
    each = without[:, 0] / without[:, 1]
    spread = np.sqrt((len(sums) - 1) / len(sums) * np.square(each - each.mean()).sum())
    width = float(stdtrit(len(sums) - 1, 0.975) * spread)
    return Slope(slope, slope - width, slope + width)


def drift(reference: ExplainedSample, sample: ExplainedSample, by: Integers, of: Integers) -> Drift:
    """The drift of a sample's relevances.

    Parameters
    ----------
    reference, sample
    by : (A,) integer array
        The kind of each of the reference's atoms.
    of : (B,) integer array
        The kind of each of the sample's atoms.
    """
    here, there = _Side.of(reference, by), _Side.of(sample, of)
    slope = calibration_slope(reference).slope
    if not (here.share.size and there.share.size and np.isfinite(slope)):
        return Drift()
    kinds, place = np.unique(np.concatenate([here.kind, there.kind]), return_inverse=True)
    known, unknown = place[: len(here.kind)], place[len(here.kind) :]
    counts = [np.bincount(one, minlength=len(kinds)) for one in (known, unknown)]
    enough = (counts[0] >= LEAST_ATOMS) & (counts[1] >= LEAST_ATOMS)
    rare = counts[0] < LEAST_ATOMS
    new = float(counts[1][rare].sum() / counts[1].sum())
    if not enough.any():
        return Drift(new=new)
    found = tuple(
        _of_kind(int(kinds[one]), here.only(known == one), there.only(unknown == one), slope)
        for one in np.flatnonzero(enough)
    )
    spread = float(here.share.std())
    excess = [slope * side.relevance - side.share for side in (here, there)]
    sums = [
        _by_molecule(side.molecule, kind, values, len(kinds))
        for side, kind, values in zip((here, there), (known, unknown), excess, strict=True)
    ]
    told = _root_mean_square(sums[0].sum(axis=0), sums[1].sum(axis=0), enough)
    return Drift(told / spread, _by_chance(sums, enough) / spread, new, found)


# ---------------------------------------------------------------------------- the parts


@dataclass(frozen=True, eq=False)
class _Side:
    """(K,) atoms about their molecule's mean: relevance, share, molecule from 0, kind."""

    relevance: Floats
    share: Floats
    molecule: Integers
    kind: Integers

    @classmethod
    def of(cls, sample: ExplainedSample, kinds: Integers) -> _Side:
        x, y, molecule, used = _within(sample)
        _, molecule = np.unique(molecule, return_inverse=True)
        return cls(x, y, molecule, kinds[used])

    def only(self, atoms: NDArray[np.bool_]) -> _Side:
        return _Side(
            self.relevance[atoms], self.share[atoms], self.molecule[atoms], self.kind[atoms]
        )


def _within(sample: ExplainedSample) -> tuple[Floats, Floats, Integers, NDArray[np.bool_]]:
    """Relevance and share about the molecule's mean, of the atoms that have both, the molecule of
    each; and which atoms these are, (A,)."""
    molecule = molecule_of(sample.offsets)
    used = np.isfinite(sample.relevance) & np.isfinite(sample.share)
    molecule = molecule[used]
    if not molecule.size:
        return np.empty(0), np.empty(0), molecule, used
    x, y = (centred(values[used], molecule) for values in (sample.relevance, sample.share))
    return x, y, molecule, used


def _of_kind(kind: int, here: _Side, there: _Side, slope: float) -> KindDrift:
    ours, theirs = slope * here.relevance, slope * there.relevance
    return KindDrift(
        kind,
        len(ours),
        len(theirs),
        reference_share=float(here.share.mean()),
        share=float(there.share.mean()),
        reference_relevance=float(ours.mean()),
        relevance=float(theirs.mean()),
        drift=float((theirs - there.share).mean() - (ours - here.share).mean()),
        share_distance=float(wasserstein_distance(here.share, there.share)),
        relevance_distance=float(wasserstein_distance(ours, theirs)),
    )


def _by_molecule(molecule: Integers, kind: Integers, values: Floats, kinds: int) -> Floats:
    """(M, K, 2): sum of the values and number of atoms of each kind in each molecule."""
    size = int(molecule[-1]) + 1
    place = molecule * kinds + kind
    sums = [np.bincount(place, weights, size * kinds) for weights in (values, np.ones(len(values)))]
    return np.asarray(np.stack(sums, axis=-1).reshape(size, kinds, 2), np.float64)


def _root_mean_square(here: Floats, there: Floats, enough: NDArray[np.bool_]) -> float:
    """Of the differences of the kinds' means, by the sample's atoms; sums and counts (K, 2)."""
    chosen = enough & (here[:, 1] > 0) & (there[:, 1] > 0)
    if not chosen.any():
        return 0.0
    means = [part[chosen, 0] / part[chosen, 1] for part in (here, there)]
    return float(np.sqrt(np.average((means[1] - means[0]) ** 2, weights=there[chosen, 1])))


def _by_chance(sums: list[Floats], enough: NDArray[np.bool_]) -> float:
    """What 95 % of the exchanges of molecules between the two sides stay below."""
    random, pool = np.random.default_rng(_SEED), np.concatenate(sums)
    total, size = pool.sum(axis=0), len(sums[1])
    found = []
    for _ in range(_EXCHANGES):
        there = pool[random.permutation(len(pool))[:size]].sum(axis=0)
        found.append(_root_mean_square(total - there, there, enough))
    return float(np.quantile(found, 0.95))
