"""Errors of a network, and how much smaller they are than those of least squares on atom counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcml.report.facts import Predictions
from hpcml.training.model_folder import PARTS

LEAST_TRAINING = 5  # molecules: fewer give no least-squares fit worth a comparison
_LEAST_COMPARED = 5  # molecules: of fewer no interval is given
_RESAMPLES = 4000


@dataclass(frozen=True)
class Errors:
    """Errors of one part of the split, beside those of two predictors that know no structure.

    mean_predictor_mae   of the one that says the training mean
    atom_counts_mae      of least squares on atom counts; NaN where it is not known
    """

    part: str
    molecules: int
    mae: float
    rmse: float
    r2: float
    mean_predictor_mae: float
    atom_counts_mae: float = float("nan")


def errors(predictions: Predictions) -> tuple[Errors, ...]:
    """Errors of every part of the split that has rows, in the property's unit.

    R2 is 1 - sum of squared errors / sum of squares about the part's own mean; NaN where that
    vanishes.  The mean predictor says the mean of the training rows (of all, if there are none).
    """
    predictions = predictions.known
    training = predictions.reference[predictions.parts == "train"]
    mean = float((training if training.size else predictions.reference).mean())
    found = []
    for part in PARTS:
        chosen = predictions.parts == part
        if not chosen.any():
            continue
        reference, predicted = predictions.reference[chosen], predictions.predicted[chosen]
        squares = float(((reference - reference.mean()) ** 2).sum())
        residual = predicted - reference
        found.append(
            Errors(
                part=part,
                molecules=int(chosen.sum()),
                mae=float(np.abs(residual).mean()),
                rmse=float(np.sqrt((residual**2).mean())),
                r2=1.0 - float((residual**2).sum()) / squares if squares > 0 else float("nan"),
                mean_predictor_mae=float(np.abs(reference - mean).mean()),
                atom_counts_mae=_mean_error(predictions, chosen),
            )
        )
    return tuple(found)


def by_atom_counts(
    counts: NDArray[np.int64], values: NDArray[np.float64], training: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """What least squares on the numbers of atoms of each element says, without an intercept.

    Parameters
    ----------
    counts : (N, E) integer array
        Atoms of each of E elements.
    values : (N,) array
        The property; NaN where it is not known.
    training : (N,) boolean array
        Molecules to fit.

    Returns
    -------
    (N,) array
        NaN for a molecule with an element that no training molecule has, and for all where fewer
        than five can be fitted.
    """
    worth = element_worth(counts, values, training)
    known = np.isfinite(worth)
    said: NDArray[np.float64] = counts[:, known] @ worth[known]
    unknown = np.isnan(worth).all() | (counts[:, ~known] > 0).any(axis=1)
    return np.where(unknown, np.nan, said)


def element_worth(
    counts: NDArray[np.int64], values: NDArray[np.float64], training: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """What an atom of each element is worth by least squares, without an intercept.

    Parameters
    ----------
    counts : (N, E) integer array
        Atoms of each of E elements.
    values : (N,) array
        The property; NaN where it is not known.
    training : (N,) boolean array
        Molecules to fit.

    Returns
    -------
    (E,) array
        NaN for an element that no training molecule has, and for all where fewer than five
        molecules can be fitted.
    """
    worth = np.full(counts.shape[1], np.nan)
    fitted = training & np.isfinite(values)
    if fitted.sum() < LEAST_TRAINING:
        return worth
    known = (counts[fitted] > 0).any(axis=0)
    used = counts[fitted][:, known].astype(np.float64)
    worth[known] = np.linalg.lstsq(used, values[fitted], rcond=None)[0]
    return worth


@dataclass(frozen=True)
class Comparison:
    """Error of least squares on atom counts over that of the network, on the same molecules.

    ratio       above 1 where the network errs less
    low, high   95 % interval over molecules; NaN where they are too few
    """

    part: str
    molecules: int
    network_mae: float
    counts_mae: float
    ratio: float
    low: float
    high: float


def comparison(predictions: Predictions) -> Comparison | None:
    """The network beside atom counts, on the test molecules (else validation, else all).

    The interval is that of the middle 95 % of resampled sets of molecules, both errors taken from
    the same ones (paired bootstrap; B. Efron, R. Tibshirani, An Introduction to the Bootstrap,
    1993).  None where nothing can be compared.
    """
    predictions = predictions.known
    if predictions.by_counts is None:
        return None
    part = next((p for p in reversed(PARTS) if (predictions.parts == p).any()), "")
    chosen = (predictions.parts == part) & np.isfinite(predictions.by_counts)
    if not chosen.any():
        return None
    reference = predictions.reference[chosen]
    network = np.abs(predictions.predicted[chosen] - reference)
    counts = np.abs(predictions.by_counts[chosen] - reference)
    ratio, low, high = float(counts.mean() / max(network.mean(), 1e-300)), np.nan, np.nan
    if network.size >= _LEAST_COMPARED:
        drawn = np.random.default_rng(0)
        ratios = []
        for _ in range(_RESAMPLES):
            rows = drawn.integers(network.size, size=network.size)
            ratios.append(counts[rows].mean() / max(network[rows].mean(), 1e-300))
        low, high = np.percentile(ratios, [2.5, 97.5]).tolist()
    return Comparison(
        part=part,
        molecules=network.size,
        network_mae=float(network.mean()),
        counts_mae=float(counts.mean()),
        ratio=ratio,
        low=low,
        high=high,
    )


def _mean_error(predictions: Predictions, chosen: NDArray[np.bool_]) -> float:
    if predictions.by_counts is None:
        return float("nan")
    error = np.abs(predictions.by_counts[chosen] - predictions.reference[chosen])
    return float(error[np.isfinite(error)].mean()) if np.isfinite(error).any() else float("nan")
