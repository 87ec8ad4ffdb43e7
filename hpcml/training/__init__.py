"""Training: networks learn from a data set, on any number of ranks, the same way.

Names that need torch are imported when they are asked for: reading settings needs none.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hpcml.training.settings import Target, TrainSettings

if TYPE_CHECKING:
    from hpcml.training.data import levels
    from hpcml.training.ensemble import Ensemble, load_ensemble, predict_ensemble
    from hpcml.training.model_file import ModelInfo, load_model
    from hpcml.training.prediction import applicability, predict
    from hpcml.training.stage import train

_PLACES = {
    "Ensemble": "ensemble",
    "ModelInfo": "model_file",
    "applicability": "prediction",
    "levels": "data",
    "load_ensemble": "ensemble",
    "load_model": "model_file",
    "predict": "prediction",
    "predict_ensemble": "ensemble",
    "train": "stage",
}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(f"hpcml.training.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Ensemble",
    "ModelInfo",
    "Target",
    "TrainSettings",
    "applicability",
    "levels",
    "load_ensemble",
    "load_model",
    "predict",
    "predict_ensemble",
    "train",
]
