"""The networks of the literature, made of the layers in ``layers.py``."""

from hpcml.models.batch import Batch, Example, collate, example
from hpcml.models.readout import Scaling, fit_references, fit_scaling, unit_scaling
from hpcml.models.registry import MODELS, build

__all__ = [
    "MODELS",
    "Batch",
    "Example",
    "Scaling",
    "build",
    "collate",
    "example",
    "fit_references",
    "fit_scaling",
    "unit_scaling",
]
