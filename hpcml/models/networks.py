"""Networks by name: the house's own, and those that other packages bring.

Another package names its networks in the entry point group ``hpcml.networks``; a script says
``register``.  How a network is written stands in ``hpcml.models.network``.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

import msgspec
import torch

from hpcml.errors import SettingsError
from hpcml.models.ani import ANI
from hpcml.models.dtnn import DTNN
from hpcml.models.graphconv import GraphConv
from hpcml.models.linear import LinearRegression
from hpcml.models.network import Network
from hpcml.models.painn import PaiNN
from hpcml.models.readout import Scaling
from hpcml.models.weave import Weave

ENTRY_POINTS = "hpcml.networks"
MODELS: dict[str, type[Network]] = {
    "ani": ANI,
    "dtnn": DTNN,
    "graphconv": GraphConv,
    "linear": LinearRegression,
    "painn": PaiNN,
    "weave": Weave,
}


def register(name: str, network: type[Network]) -> None:
    """Make a network known by a name, in this process.

    Raises SettingsError where another network has the name.
    """
    if MODELS.get(name, network) is not network:
        raise SettingsError(f"there is a network {name!r} already: choose another name")
    MODELS[name] = network


def names() -> list[str]:
    """All names that ``build`` knows; nothing is imported for it."""
    return sorted({*MODELS, *entry_points(group=ENTRY_POINTS).names})


def network_type(name: str) -> type[Network]:
    """The class of a network.

    Raises SettingsError for a name that does not exist, or that another package gives to
    something that is no ``Network``.
    """
    if name in MODELS:
        return MODELS[name]
    brought = entry_points(group=ENTRY_POINTS, name=name)
    if not brought:
        raise SettingsError(f"no model {name!r}; there are {', '.join(names())}")
    (first, *_) = brought
    try:
        network = first.load()
    except (ImportError, AttributeError) as error:
        raise SettingsError(f"model {name!r}: {first.value} cannot be loaded ({error})") from error
    if not (isinstance(network, type) and issubclass(network, Network)):
        raise SettingsError(f"model {name!r}: {first.value} is no hpcml.models.Network")
    return network


def build(
    name: str, hyperparameters: Mapping[str, Any] | None = None, *, scaling: Scaling | None = None
) -> Network:
    """A network with fresh weights, drawn from torch's default generator.

    hyperparameters    fields of the network's settings; those not named keep their defaults
    scaling            of the training targets (``fit_scaling``); its T sets the number of outputs

    Raises SettingsError for a network or a hyperparameter that does not exist.
    """
    network = network_type(name)
    try:
        settings = msgspec.convert(dict(hyperparameters or {}), network.Settings)
    except msgspec.ValidationError as error:
        fields = ", ".join(
            f"{field.name} ({field.default!r})"
            for field in msgspec.structs.fields(network.Settings)
        )
        raise SettingsError(
            f"hyperparameters of {name}: {error}; they are, with defaults: {fields}"
        ) from error
    return network(settings, scaling or Scaling())


def is_additive(name: str, hyperparameters: Mapping[str, Any] | None = None) -> bool:
    """Whether the network that ``build`` makes has atomic terms.

    Raises SettingsError where ``build`` would refuse.
    """
    with torch.device("meta"):
        return build(name, hyperparameters).additive


def check(name: str, hyperparameters: Mapping[str, Any] | None = None) -> None:
    """SettingsError where ``build`` would refuse these.

    The network is made on torch's device "meta", which takes no memory for weights.
    """
    with torch.device("meta"):
        build(name, hyperparameters)
