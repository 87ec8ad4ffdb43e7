"""The properties that were computed: a column of numbers each, their table, their outliers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpcml.report.facts import Computed, Table
from hpcml.report.words import number, pretty_unit, property_words
from hpcml.store import Dataset
from hpcml.store.exports.table import number as of_column
from hpcml.store.exports.table import scalars
from hpcml.training.targets import short_unit

MOST_OUTLIERS = 3  # of a property
_FAR = 3.5  # robust standard deviations from the median; B. Iglewicz, D. Hoaglin, 1993
_NOTE = (
    "Farthest: molecules more than 3.5 robust standard deviations (1.4826 times the median "
    "absolute deviation) from the median, at most three."
)


def properties(data: Dataset) -> tuple[Computed, ...]:
    """Every property that is one number, and the length of the dipole, in the schema's order."""
    found = []
    for scalar in scalars(data):
        if scalar.column == "dipole" and scalar.place == (0,):
            values = np.linalg.norm(data.column("dipole"), axis=1)
        elif "xyz" in data.schema.column(scalar.column).axes:
            continue
        else:
            values = of_column(data.column(scalar.column), scalar)
        if scalar.column not in data.schema.columns or not np.isfinite(values).any():
            continue
        label = "dipole" if scalar.column == "dipole" else scalar.label
        found.append(
            Computed(
                quantity=property_words(label),
                unit=pretty_unit(short_unit(scalar.unit)),
                values=values.astype(np.float64),
                outliers=tuple(outliers(values).tolist()),
            )
        )
    return tuple(found)


def outliers(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rows far from the median, farthest first.

    Parameters
    ----------
    values : (N,) array

    Returns
    -------
    (n,) integer array
        n <= 3; none where more than half of the values are the same.
    """
    known = np.flatnonzero(np.isfinite(values))
    if not known.size:
        return known
    away = np.abs(values[known] - np.median(values[known]))
    spread = 1.4826 * float(np.median(away))
    farthest = np.argsort(-away, kind="stable")[: MOST_OUTLIERS if spread > 0 else 0]
    far: NDArray[np.int64] = known[farthest[away[farthest] > _FAR * spread]]
    return far


def property_table(computed: tuple[Computed, ...], names: dict[int, str]) -> Table:
    """A line for each property; ``names`` of the rows that are outliers."""
    rows = []
    for one in computed:
        values = one.values[np.isfinite(one.values)]
        shown = (values.mean(), values.std(), values.min(), np.median(values), values.max())
        rows.append(
            (
                one.quantity,
                one.unit,
                f"{values.size:,}",
                *(number(float(value)) for value in shown),
                ", ".join(names[row] for row in one.outliers),
            )
        )
    heading = ("property", "unit", "molecules", "mean", "standard deviation", "smallest", "median",
               "largest", "farthest")  # fmt: skip
    return Table("Properties", heading, tuple(rows), _NOTE if computed else "")
