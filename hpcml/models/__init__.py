"""The networks of the literature, made of the layers in ``layers.py``."""

from hpcml.models.autoencoder import Autoencoder, AutoencoderSettings, fit_autoencoder
from hpcml.models.batch import Batch, Example, collate, example
from hpcml.models.network import Network
from hpcml.models.networks import MODELS, build, names, register
from hpcml.models.neurochem import read_neurochem
from hpcml.models.readout import Scaling, fit_references, fit_scaling, unit_scaling, without_scale

__all__ = [
    "MODELS",
    "Autoencoder",
    "AutoencoderSettings",
    "Batch",
    "Example",
    "Network",
    "Scaling",
    "build",
    "collate",
    "example",
    "fit_autoencoder",
    "fit_references",
    "fit_scaling",
    "names",
    "read_neurochem",
    "register",
    "unit_scaling",
    "without_scale",
]
