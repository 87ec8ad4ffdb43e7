"""What the network must beat, on the same split: baselines.csv."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from hpcml.errors import InputError, SettingsError
from hpcml.training.data import TrainingData
from hpcml.training.metrics import per_target, write_csv
from hpcml.training.model_folder import ModelFolder


def check_names(names: Sequence[str]) -> None:
    """SettingsError where one is no baseline."""
    if not names:
        return
    from hpcml.models.baselines import BASELINES  # scikit-learn, only where it is asked for

    unknown = [name for name in names if name not in BASELINES]
    if unknown:
        raise SettingsError(f"no baseline {unknown[0]!r}; there are {', '.join(BASELINES)}")


def write_baselines(
    folder: ModelFolder,
    names: Sequence[str],
    data: TrainingData,
    *,
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    most_rows: int,
) -> None:
    """Fit each baseline to the training rows and write its test error into ``folder``.

    Rows with a value of every target are learned from.  A test molecule that a representation
    has no room for (larger than any training molecule) is counted in not_predicted, and no part
    of the error.

    Parameters
    ----------
    train, test : (n,) integer array
        Rows of ``data``.
    most_rows : int
        Kernel methods are fitted to no more than the first so many training rows: their cost
        grows with the cube of it.
    """
    from hpcml.models.baselines import Baseline

    rows, molecules = [], data.rows.molecules
    for name in names:
        complete = train[np.isfinite(data.values[train]).all(axis=1)]
        learned = complete[:most_rows] if "kernel" in name else complete
        baseline = Baseline(
            name, [data.rows.molecules[row] for row in learned], data.values[learned]
        )
        errors = []
        for row in test:
            with suppress(InputError):
                errors.append(np.abs(baseline.predict([molecules[row]])[0] - data.values[row]))
        by_target = np.reshape(errors, (-1, len(data.labels))).T
        mae = [float(np.nanmean(of)) if np.isfinite(of).any() else "" for of in by_target]
        missing = len(test) - len(errors)
        rows.append([name, len(learned), len(test), missing, *mae, " ".join(data.units)])
    header = ["baseline", "train_rows", "test_rows", "not_predicted"]
    write_csv(folder.baselines, [*header, *per_target("test_mae", data.labels), "unit"], rows)
