"""Leading directions of many vectors, and which label each carries; one block at a time.

The principal axes are those of the correlation matrix, features in units of their own spread:
summed up exactly in one pass, where scikit-learn's IncrementalPCA would only come near.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hpcml.analysis.chemical_labels import Label, Labelled
from hpcml.errors import InputError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Blocks = Iterable[tuple[Integers, NDArray[np.floating]]]
"""Numbers of vectors (k,) and the vectors (k, F), block by block."""

_FLAT = 1e-6  # a feature that varies by less than this part of its size does not vary


@dataclass(frozen=True)
class Directions:
    """Principal axes of vectors of F features.

    rows     how many vectors there were
    mean     (F,) of the features
    scale    (F,) their standard deviation; infinite for those that do not vary
    axes     (F, F) the axes, a row each, the leading one first, in standardized features; the
             largest entry of each is above zero
    variance (F,) along each
    """

    rows: int
    mean: Floats
    scale: Floats
    axes: Floats
    variance: Floats

    @property
    def share(self) -> Floats:
        """(F,) of all the variance."""
        part: Floats = self.variance / self.variance.sum()
        return part

    def standardized(self, vectors: NDArray[np.floating]) -> Floats:
        """Vectors in the units in which the axes are.

        Parameters
        ----------
        vectors : (k, F) array

        Returns
        -------
        (k, F) array
        """
        scaled: Floats = (vectors - self.mean) / self.scale
        return scaled

    def scores(self, vectors: NDArray[np.floating], most: int) -> Floats:
        """Coordinates along the leading axes.

        Parameters
        ----------
        vectors : (k, F) array
        most : int
            How many axes.

        Returns
        -------
        (k, most) array
        """
        along: Floats = self.standardized(vectors) @ self.axes[:most].T
        return along


def principal_directions(blocks: Blocks) -> Directions:
    """The principal axes of all vectors of some blocks.

    Raises
    ------
    InputError
        Where there are fewer than two vectors, or none of their features varies.
    """
    rows, shift, total, product = 0, None, np.zeros(0), np.zeros((0, 0))
    for _, block in blocks:
        vectors = block.astype(np.float64)
        if shift is None:
            shift = vectors.mean(axis=0)  # near the mean: no digits are lost to it
            total, product = np.zeros_like(shift), np.zeros((len(shift), len(shift)))
        vectors -= shift
        rows += len(vectors)
        total += vectors.sum(axis=0)
        product += vectors.T @ vectors
    if rows < 2 or shift is None:
        raise InputError(f"directions need at least two vectors, there are {rows}")
    covariance = product / rows - np.outer(total, total) / rows**2
    mean = shift + total / rows
    std = np.sqrt(np.maximum(np.diagonal(covariance), 0.0))
    scale = np.where(std > _FLAT * (np.abs(mean) + std.max()), std, np.inf)
    if not np.isfinite(scale).any():
        raise InputError(f"all {rows} vectors are the same: there is no direction in them")
    variance, axes = np.linalg.eigh(covariance / np.outer(scale, scale))
    variance, axes = np.maximum(variance[::-1], 0.0), axes.T[::-1]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    return Directions(rows, mean, scale, axes * np.sign(largest), variance)


# ------------------------------------------------------------------------------ labels


@dataclass
class Association:
    """How much of the variance along each of D directions a label explains.

    Sums over the blocks added so far, for each stratum and kind: of a label of K kinds K at a
    time, of a number one.
    """

    label: Label
    stratum: Integers
    directions: int
    _count: Floats = field(init=False)
    _sum: Floats = field(init=False)
    _of_number: Floats = field(init=False)
    _squares: Floats = field(init=False)

    def __post_init__(self) -> None:
        self._strata = int(self.stratum.max(initial=0)) + 1
        self._kinds = max(1, len(self.label.kinds))
        cells = self._strata * self._kinds
        self._count = np.zeros(cells)
        self._sum = np.zeros((self.directions, cells))
        self._of_number = np.zeros((2 + self.directions, cells))  # y, y^2, and z y
        self._squares = np.zeros(self.directions)

    def add(self, places: Integers, scores: Floats) -> None:
        """Take in the scores of some atoms or molecules.

        Parameters
        ----------
        places : (k,) integer array
            Which they are.
        scores : (k, D) array
        """
        values = self.label.values[places]
        known = values >= 0 if self.label.kinds else np.isfinite(values)
        values, z = values[known], scores[known].T
        cell = self.stratum[places[known]] * self._kinds
        if self.label.kinds:
            cell = cell + values.astype(np.int64)

        def summed(weights: Floats | None) -> Floats:
            return np.bincount(cell, weights, len(self._count)).astype(np.float64)

        self._count += summed(None)
        self._sum += [summed(one) for one in z]
        self._squares += np.square(z).sum(axis=1)
        if not self.label.kinds:
            y = values.astype(np.float64)
            self._of_number += [summed(y), summed(y * y), *(summed(one * y) for one in z)]

    def explained(self) -> tuple[Floats, Floats]:
        """Adjusted R^2 of each direction by the label: by itself, and within strata.

        1 - (1 - R^2) (n - 1) / (n - p), so that many kinds explain nothing by their number
        alone; p are the kinds, or the strata with a slope.  NaN where nothing varies.

        Returns
        -------
        alone, within : (D,) array
        """
        shape = (self.directions, self._strata, self._kinds)
        count = self._count.reshape(shape[1:])
        return (
            self._adjusted(count.sum(axis=0)[None], self._sum.reshape(shape).sum(axis=1)[:, None]),
            self._adjusted(count, self._sum.reshape(shape)),
        )

    def _adjusted(self, count: Floats, total: Floats) -> Floats:
        """From counts (S, K) and sums (D, S, K) of S strata."""
        n, strata = count.sum(), (count.sum(axis=1) > 0).sum()
        with np.errstate(divide="ignore", invalid="ignore"):
            of_strata = np.nansum(np.square(total.sum(axis=2)) / count.sum(axis=1), axis=1)
            spread = self._squares - of_strata
            if self.label.kinds:
                between = np.nansum(np.square(total) / count, axis=(1, 2)) - of_strata
                parameters = (count > 0).sum()
            else:
                between = self._by_slope(count[:, 0], total[..., 0])
                parameters = strata + 1
            left = (spread - between) / (n - parameters)
            adjusted: Floats = 1.0 - left / (spread / (n - strata))
        varied = (spread > 1e-9 * np.maximum(self._squares, 1e-300)) & (n > parameters)
        return np.where(varied, adjusted, np.nan)

    def _by_slope(self, count: Floats, total: Floats) -> Floats:
        """What one slope, the same in all strata, explains: counts (S,), sums (D, S)."""
        sums = self._of_number if len(count) > 1 else self._of_number.sum(axis=1, keepdims=True)
        y, yy, zy = sums[0], sums[1], sums[2:]
        there = np.maximum(count, 1.0)
        of_y = (yy - y * y / there).sum()
        of_both = (zy - total * y / there).sum(axis=1)
        slope: Floats = np.square(of_both) / of_y
        return slope


def associations(
    blocks: Blocks, directions: Directions, labelled: Labelled, most: int, ends: Ends
) -> list[Association]:
    """Every label held against the leading directions, in one pass; ``ends`` sees it too.

    Parameters
    ----------
    blocks
        The vectors whose directions they are.
    directions
    labelled
    most
        How many directions.
    ends
        Keeps the outermost.
    """
    found = [Association(label, labelled.stratum, most) for label in labelled.labels]
    for places, vectors in blocks:
        scores = directions.scores(vectors, most)
        ends.add(places, scores)
        for one in found:
            one.add(places, scores)
    return found


# ------------------------------------------------------------------------------ both ends


@dataclass
class Ends:
    """The outermost atoms or molecules of each direction, at most one of a molecule.

    molecule   (R,) of each atom or molecule
    usable     (M,) molecules that may stand at an end
    """

    directions: int
    molecule: Integers
    usable: NDArray[np.bool_]
    _kept: list[list[tuple[float, int]]] = field(init=False)

    _MOST = 128  # kept of each end, before atoms of one molecule are told apart

    def __post_init__(self) -> None:
        self._kept = [[] for _ in range(2 * self.directions)]

    def add(self, places: Integers, scores: Floats) -> None:
        """Take in the scores of some atoms or molecules.

        Parameters
        ----------
        places : (k,) integer array
            Which they are.
        scores : (k, D) array
        """
        usable = self.usable[self.molecule[places]]
        places, scores = places[usable], scores[usable]
        for direction, column in enumerate(scores.T):
            for end, values in enumerate((-column, column)):
                outer = np.argsort(-values, kind="stable")[: self._MOST]
                pairs = zip(values[outer].tolist(), places[outer].tolist(), strict=True)
                kept = [*self._kept[2 * direction + end], *pairs]
                self._kept[2 * direction + end] = sorted(kept, key=lambda p: (-p[0], p[1]))[
                    : self._MOST
                ]

    def of(self, direction: int, end: int, most: int) -> list[tuple[int, float]]:
        """The outermost: number and score, of the lower end (0) or the upper one (1)."""
        chosen: dict[int, tuple[int, float]] = {}
        for value, place in self._kept[2 * direction + end]:
            chosen.setdefault(int(self.molecule[place]), (place, value if end else -value))
        return list(chosen.values())[:most]
