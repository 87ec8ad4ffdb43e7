"""Several networks that differ by their seed alone: their mean, and how far they can be trusted.

The members' spread, times one factor for each target, is the uncertainty.  The factor makes the
errors of the validation set as large as their uncertainties on average; the test set then tells
whether the uncertainties are right (L. Hirschfeld et al., J. Chem. Inf. Model. 60, 3770 (2020);
V. Kuleshov et al., arXiv:1807.00263).
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from hpcml.errors import InputError
from hpcml.files import write_whole
from hpcml.models import Batch, Network, Scaling
from hpcml.models.neurochem import read_neurochem
from hpcml.molecules import Molecule
from hpcml.training.metrics import errors_of, per_target, write_csv
from hpcml.training.model_file import ModelInfo, load_model
from hpcml.training.model_folder import ModelFolder
from hpcml.training.prediction import predict
from hpcml.training.targets import Target, all_told

LEVELS = (0.5, 0.6827, 0.8, 0.9, 0.9545)
"""Confidence levels at which the coverage is told."""

Array = NDArray[np.float64]


def deviation(predictions: Array) -> Array:
    """Standard deviation (n - 1) over the members.

    Parameters
    ----------
    predictions : (members, ...) array

    Returns
    -------
    (...,) array
    """
    return np.asarray(predictions.std(axis=0, ddof=1))


def calibration_factor(errors: Array, spreads: Array) -> float:
    """The s for which errors / (s spread) have mean square one: the maximum-likelihood scale.

    Parameters
    ----------
    errors, spreads : (M,) array
        In the target's unit.
    """
    return float(np.sqrt(np.mean((errors / _positive(spreads)) ** 2)))


def calibration(errors: Array, uncertainties: Array) -> dict[str, Any]:
    """Whether normal distributions of these widths describe these errors.

    Parameters
    ----------
    errors, uncertainties : (M,) array
        In the target's unit.

    Returns
    -------
    dict
        coverage: level -> share of molecules whose error lies within that central interval;
        area: mean distance between coverage and level over all levels (0 is perfect, 0.5 worst);
        rank: Spearman's correlation of uncertainty with absolute error;
        nll: mean negative log-likelihood, in nats, of the errors.
    """
    from scipy.stats import norm, spearmanr  # takes a second: only where an ensemble is judged

    ratio = np.abs(errors) / _positive(uncertainties)
    levels = np.linspace(0.01, 0.99, 99)
    covered = np.array([(ratio <= norm.ppf(0.5 + level / 2)).mean() for level in levels])
    varied = len(errors) > 2 and np.ptp(uncertainties) > 0 and np.ptp(np.abs(errors)) > 0
    return {
        "coverage": {
            str(level): float((ratio <= norm.ppf(0.5 + level / 2)).mean()) for level in LEVELS
        },
        "area": float(np.abs(covered - levels).mean()),
        "rank": float(spearmanr(uncertainties, np.abs(errors)).statistic) if varied else None,
        "nll": float(-norm.logpdf(errors, scale=_positive(uncertainties)).mean()),
    }


def write_ensemble(folder: ModelFolder, members: int, labels: Sequence[str]) -> dict[str, Any]:
    """Join the members' predictions.csv: ensemble.csv with uncertainties, ensemble.json with the
    errors of the mean beside those of the members, and the calibration on the test set."""
    tables = [_predictions(folder.member(number)) for number in range(members)]
    keys, parts = tables[0]["key"], np.array(tables[0]["part"])
    for table in tables:
        if table["key"] != keys:
            raise InputError(f"{folder.path}: the members' predictions are of different molecules")
    reference = _columns(tables[0], "reference", labels)
    predicted = np.stack([_columns(table, "predicted", labels) for table in tables])
    mean, width = predicted.mean(axis=0), deviation(predicted)
    found: dict[str, Any] = {"members": members, "factor": {}, "targets": {}}
    for column, label in enumerate(labels):
        known = np.isfinite(reference[:, column])
        held, test = known & (parts == "validation"), known & (parts == "test")
        factor = calibration_factor((mean - reference)[held, column], width[held, column])
        width[:, column] *= factor
        found["factor"][label] = factor
        found["targets"][label] = {
            "mean": errors_of(reference[test, column], mean[test, column]),
            "members": [errors_of(reference[test, column], one[test, column]) for one in predicted],
        }
        if test.any():
            found["targets"][label]["calibration"] = calibration(
                (mean - reference)[test, column], width[test, column]
            )
    names = [*per_target("reference", labels), *per_target("predicted", labels)]
    rows = np.concatenate([reference, mean, width], axis=1)
    write_csv(
        folder.ensemble_table,
        ["key", "part", *names, *per_target("uncertainty", labels)],
        [[key, part, *row] for key, part, row in zip(keys, parts, rows.tolist(), strict=True)],
    )
    write_whole(folder.ensemble, msgspec.json.format(msgspec.json.encode(found)))
    return found


@dataclass(frozen=True)
class Ensemble:
    """Trained networks whose mean is the prediction.

    models     the members
    factors    (T,) from their spread to the uncertainty; None for a single network, which has none
    info       of the first
    """

    models: list[Network]
    factors: Array | None
    info: ModelInfo

    def predict(self, molecules: Sequence[Molecule]) -> tuple[Array, Array | None]:
        """Mean and uncertainty of M molecules.

        Returns
        -------
        mean, uncertainty : (M, T) array
            In the targets' units; the uncertainty is one standard deviation, None where there is
            one network.

        Raises
        ------
        InputError
            For a molecule that the networks' features cannot be made for.
        """
        return self._joined([predict(model, molecules) for model in self.models])

    def of_batch(self, batch: Batch) -> tuple[Array, Array | None]:
        """Mean and uncertainty of the M molecules of a batch made for these networks.

        Returns
        -------
        mean, uncertainty : (M, T) array
            As of ``predict``.
        """
        with torch.no_grad():
            return self._joined([model(batch).double().cpu().numpy() for model in self.models])

    def _joined(self, predictions: list[Array]) -> tuple[Array, Array | None]:
        predicted = np.stack([all_told(self.info.targets, one) for one in predictions])
        uncertainty = None if self.factors is None else deviation(predicted) * self.factors
        return predicted.mean(axis=0), uncertainty


def load_ensemble(folder: Path | str) -> Ensemble:
    """The finished ensemble of a model folder, or its only network, or a published ANI's.

    Raises InputError where there is none of them.
    """
    if any(Path(folder).glob("*.params")):
        return _published_ani(folder)
    files = ModelFolder(folder)
    if not files.ensemble.exists():
        model, info = load_model(folder)
        return Ensemble([model], None, info)
    found = msgspec.json.decode(files.ensemble.read_bytes())
    loaded = [load_model(files.member(number).path) for number in range(found["members"])]
    info = loaded[0][1]
    factors = np.array([found["factor"][label] for label in info.labels])
    return Ensemble([model for model, _ in loaded], factors, info)


def _published_ani(folder: Path | str) -> Ensemble:
    """An ANI network from NeuroChem's files; they say nothing of the molecules it was trained on,
    which were neutral and closed-shell."""
    model = read_neurochem(folder)
    hidden = [[len(layer.bias) for layer in of[:-1]] for of in model.members[0].affine_layers()]
    info = ModelInfo(
        model="ani",
        hyperparameters={
            "elements": model.elements.tolist(),
            "hidden": hidden,
            "members": len(model.members),
        },
        targets=(Target(name="energy"),),
        units=("Eh",),
        scaling=Scaling(),
        elements=tuple(sorted(model.elements.tolist())),
        charges=(0,),
        multiplicities=(1,),
    )
    return Ensemble([model], None, info)


def predict_ensemble(
    folder: Path | str, molecules: Sequence[Molecule]
) -> tuple[Array, Array, ModelInfo]:
    """Mean and calibrated uncertainty of M molecules by the networks of a model folder.

    Returns
    -------
    mean, uncertainty : (M, T) array
        In the targets' units; the uncertainty is one standard deviation.
    info
        Of the first member.

    Raises
    ------
    InputError
        Where the folder holds no finished ensemble.
    """
    ensemble = load_ensemble(folder)
    mean, uncertainty = ensemble.predict(molecules)
    if uncertainty is None:
        raise InputError(f"{folder}: no ensemble there (train with members = 2 or more)")
    return mean, uncertainty, ensemble.info


def _positive(widths: Array) -> Array:
    """No width is exactly zero, which would make any error infinitely unlikely."""
    return np.maximum(widths, np.finfo(np.float64).tiny ** 0.5)


def _predictions(folder: ModelFolder) -> dict[str, list[str]]:
    with folder.predictions.open() as file:
        rows = list(csv.DictReader(file))
    return {name: [row[name] for row in rows] for name in rows[0]}


def _columns(table: dict[str, list[str]], name: str, labels: Sequence[str]) -> Array:
    """(M, T)"""
    columns = per_target(name, labels)
    return np.array([[float(value) for value in table[one]] for one in columns]).T
