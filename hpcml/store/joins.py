"""Data sets side by side: the same molecules, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from hpcml.store.dataset import Dataset


def join(
    datasets: Sequence[Dataset], *, by: Literal["molecule", "key"] = "molecule"
) -> list[Dataset]:
    """Subsets of the data sets in which row i is the same molecule in each.

    by   "molecule" joins what was computed for a molecule at different levels or by different
         requests (where one data set has a molecule more than once, its first row counts);
         "key" joins the very same results

    The order is that of the first data set.
    """
    column = "molecule_key" if by == "molecule" else "key"
    places = []
    for dataset in datasets:
        raw = dataset.column(column).tobytes()
        first: dict[bytes, int] = {}
        for row in range(len(dataset)):
            first.setdefault(raw[16 * row : 16 * row + 16], row)
        places.append(first)
    shared = [key for key in places[0] if all(key in first for first in places)]
    return [
        dataset.subset(np.array([first[key] for key in shared], np.int64))
        for dataset, first in zip(datasets, places, strict=True)
    ]
