"""The networks of the literature, made of the layers in ``layers.py``."""

from hpcml.models.autoencoder import Autoencoder, AutoencoderSettings, fit_autoencoder
from hpcml.models.batch import Batch, Example, collate, example
from hpcml.models.networks import MODELS, build
from hpcml.models.neurochem import read_neurochem
from hpcml.models.readout import Scaling, fit_references, fit_scaling, unit_scaling

__all__ = [
    "MODELS",
    "Autoencoder",
    "AutoencoderSettings",
    "Batch",
    "Example",
    "Scaling",
    "build",
    "collate",
    "example",
    "fit_autoencoder",
    "fit_references",
    "fit_scaling",
    "read_neurochem",
    "unit_scaling",
]
