"""Training: networks learn from a data set, on any number of ranks, the same way."""

from hpcml.training.ensemble import predict_ensemble
from hpcml.training.model_file import ModelInfo, load_model
from hpcml.training.predict import applicability, predict
from hpcml.training.settings import Target, TrainSettings
from hpcml.training.train import train

__all__ = [
    "ModelInfo",
    "Target",
    "TrainSettings",
    "applicability",
    "load_model",
    "predict",
    "predict_ensemble",
    "train",
]
