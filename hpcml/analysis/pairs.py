"""How the relevance of pairs of atoms falls off with their distance."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def by_distance(
    molecules: Iterable[tuple[NDArray[np.float64], NDArray[np.float64]]], width: float = 0.5
) -> list[dict[str, object]]:
    """Mean relevance, and mean size of it, of the pairs in each bin of distance that occurs.

    Parameters
    ----------
    molecules : pairs of (P,) array
        Of each molecule the distances (angstrom) and relevances of its P pairs.
    width : float
        Of a bin, angstrom.
    """
    sums = np.zeros((3, 0))  # pairs, relevance, |relevance|, by bin
    for distance, relevance in molecules:
        known = np.isfinite(relevance)
        bins = (distance[known] / width).astype(np.int64)
        size = max(sums.shape[1], int(bins.max(initial=-1)) + 1)
        sums = np.pad(sums, ((0, 0), (0, size - sums.shape[1])))
        for line, weights in enumerate((None, relevance[known], np.abs(relevance[known]))):
            sums[line] += np.bincount(bins, weights, size)
    return [
        {
            "from": float(place * width),
            "to": float((place + 1) * width),
            "pairs": int(count),
            "relevance_mean": float(total / count),
            "relevance_mean_absolute": float(strength / count),
        }
        for place, (count, total, strength) in enumerate(sums.T)
        if count
    ]
