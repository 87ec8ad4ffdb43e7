"""Which rows are not learned from though they have values, and why."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hpcml.errors import InputError
from hpcml.response.stability import ZERO
from hpcml.store import Dataset
from hpcml.training.train_settings import Bounds, LeaveOut

SPIN_CONTAMINATION = "spin_contamination"
"""<S^2> of a row's determinant less S (S + 1), which a closed shell has none of."""


def unsound_rows(
    dataset: Dataset, leave_out: LeaveOut, within: Mapping[str, Bounds]
) -> dict[str, NDArray[np.bool_]]:
    """Rows that are left out, by reason; a row stands under its first reason alone.

    leave_out   "unstable": rows whose SCF is known to be no minimum; "warned": all rows with a
                warning; "nothing"
    within      column -> what its values may be; a row without a value is kept

    Returns
    -------
    dict of (N,) boolean arrays
        Of the reasons that some row has.

    Raises
    ------
    InputError
        For a bound on what is no column of the data set, or of which no row has a value.
    """
    found: dict[str, NDArray[np.bool_]] = {}
    if leave_out == "warned":
        found["warned of (train.leave_out)"] = np.asarray(dataset.warned)
    elif leave_out == "unstable":
        # NaN where nothing is known
        unstable = dataset.column("orbital_hessian") < -ZERO
        found["an SCF that is no minimum (train.leave_out)"] = unstable
    for name, bounds in within.items():
        values = _values(dataset, name)
        for words, outside in (
            (f"{name} below {bounds.least}", _beyond(-values, bounds.least, -1.0)),
            (f"{name} above {bounds.most}", _beyond(values, bounds.most, 1.0)),
        ):
            found[f"{words} (train.within)"] = outside
    known = np.zeros(len(dataset), bool)
    for reason, rows in found.items():
        found[reason] = rows & ~known
        known |= rows
    return {reason: rows for reason, rows in found.items() if rows.any()}


def _beyond(values: NDArray[np.float64], bound: float | None, sign: float) -> NDArray[np.bool_]:
    if bound is None:
        return np.zeros(len(values), bool)
    return np.asarray(values > sign * bound)


def _values(dataset: Dataset, name: str) -> NDArray[np.float64]:
    """(N,): NaN where a row has no value."""
    if name == SPIN_CONTAMINATION:
        spin = 0.5 * (dataset.column("multiplicity") - 1.0)
        contamination = dataset.column("spin_squared") - spin * (spin + 1.0)
        return np.asarray(np.where(spin == 0.0, np.nan_to_num(contamination), contamination))
    try:
        values = dataset.scalar(name)
    except InputError as error:
        raise InputError(f"train.within: {error}") from None
    if not np.isfinite(values).any():
        raise InputError(
            f"train.within: no row of {dataset.folder} has a value of {name}: leave that bound "
            "out, or compute the data set anew by this version"
        )
    return values
