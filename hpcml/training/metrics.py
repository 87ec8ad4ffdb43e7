"""What a training run tells: curve, predictions, and final numbers, as files for people."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from hpcml.errors import PlatformError
from hpcml.files import write_whole
from hpcml.training.model_folder import ModelFolder


def per_target(name: str, labels: Sequence[str]) -> list[str]:
    """Column names: ``name`` alone for one target, else with each target's label behind it."""
    return [name] if len(labels) == 1 else [f"{name}_{label}" for label in labels]


class CurveFile:
    """metrics.csv: epoch, learning rate, mean training loss (of scaled errors), validation MAE,
    and that of the atoms' terms where their shares are learned.

    The MAE is in the target's unit, which stands in the last column.  With a folder for
    TensorBoard the same numbers go there as scalars.
    """

    def __init__(
        self,
        folder: ModelFolder,
        labels: Sequence[str],
        units: Sequence[str],
        curve: Sequence[Sequence[float]],
        *,
        tensorboard: bool,
        shares: bool = False,
    ) -> None:
        """Begin with the rows of a run that goes on; those after its checkpoint are dropped."""
        self._path = folder.curve
        errors = per_target("validation_mae", labels)
        of_atoms = per_target("validation_share_mae", labels) if shares else []
        self._names = ["epoch", "learning_rate", "train_loss", *errors, *of_atoms]
        self._unit = " ".join(dict.fromkeys(units))
        rows: list[list[object]] = [[*self._names, "unit"], *map(self._row, curve)]
        write_whole(self._path, _csv(rows))
        self._writer = _event_writer(folder, len(curve)) if tensorboard else None

    def append(self, values: Sequence[float]) -> None:
        """Add one epoch."""
        with self._path.open("ab") as file:
            file.write(_csv([self._row(values)]))
        if self._writer:
            for name, value in zip(self._names[1:], values[1:], strict=True):
                self._writer.add_scalar(name, value, int(values[0]))
            self._writer.flush()

    def _row(self, values: Sequence[float]) -> list[object]:
        return [int(values[0]), *map(float, values[1:]), self._unit]


def _event_writer(folder: ModelFolder, epochs: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise PlatformError(
            f"tensorboard = true needs the package tensorboard ({error}): pip install tensorboard"
        ) from error
    return SummaryWriter(str(folder.tensorboard), purge_step=epochs + 1)


def _csv(rows: Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def write_predictions(
    folder: ModelFolder,
    labels: Sequence[str],
    *,
    keys: Sequence[str],
    parts: Sequence[str],
    reference: NDArray[np.float64],
    predicted: NDArray[np.float64],
) -> None:
    """predictions.csv: key, part of the split, computed and predicted value of each target.

    Parameters
    ----------
    keys, parts : N texts
        Of each row.
    reference, predicted : (N, T) array
        In the targets' units.
    """
    write_csv(
        folder.predictions,
        ["key", "part", *per_target("reference", labels), *per_target("predicted", labels)],
        [
            [key, part, *true, *guess]
            for key, part, true, guess in zip(
                keys, parts, reference.tolist(), predicted.tolist(), strict=True
            )
        ],
    )


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table, whole or not at all; floats with all their digits."""
    write_whole(path, _csv([header, *rows]))


def errors_of(
    reference: NDArray[np.float64], predicted: NDArray[np.float64]
) -> dict[str, float | None]:
    """Mean absolute error, root mean square error, and R^2 of one target; None without rows.

    Parameters
    ----------
    reference, predicted : (N,) array
        In the target's unit; rows without a reference (NaN) do not count.
    """
    reference, predicted = known_of(reference, predicted)
    if not len(reference):
        return {"mae": None, "rmse": None, "r2": None}
    error = predicted - reference
    variance = float(np.var(reference))
    r2 = 1.0 - float(np.mean(error**2)) / variance if variance > 0 else None
    return {
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt(np.mean(error**2))),
        "r2": r2,
    }


def decisions_of(
    reference: NDArray[np.float64], predicted: NDArray[np.float64]
) -> dict[str, float | None]:
    """Of a yes-or-no target: the share that is rightly decided at one half, and the area under
    the receiver operating characteristic; None where there is nothing to tell.

    Parameters
    ----------
    reference, predicted
        (M,) of 0 and 1, or NaN, and (M,) probabilities.
    """
    from sklearn.metrics import roc_auc_score  # takes a second

    reference, predicted = known_of(reference, predicted)
    if not len(reference):
        return {"accuracy": None, "roc_auc": None}
    both = np.ptp(reference) > 0
    return {
        "accuracy": float(((predicted > 0.5) == (reference > 0.5)).mean()),
        "roc_auc": float(roc_auc_score(reference, predicted)) if both else None,
    }


def known_of(
    reference: NDArray[np.float64], predicted: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both where there is a reference.

    Parameters
    ----------
    reference, predicted : (N,) array

    Returns
    -------
    reference, predicted : (known,) array each
    """
    known = np.isfinite(reference)
    return reference[known], predicted[known]


def write_metrics(folder: ModelFolder, metrics: dict[str, Any]) -> None:
    """metrics.json: the final numbers, and the mark that the run is finished."""
    encoded = msgspec.json.format(msgspec.json.encode(metrics), indent=1)
    write_whole(folder.metrics, encoded)


def read_metrics(folder: ModelFolder) -> dict[str, Any] | None:
    """The final numbers of a finished run, None where there are none yet."""
    if not folder.metrics.exists():
        return None
    metrics: dict[str, Any] = msgspec.json.decode(folder.metrics.read_bytes())
    return metrics
