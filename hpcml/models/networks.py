"""Networks by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import torch
from torch import nn

from hpcml.errors import SettingsError
from hpcml.models.ani import ANI
from hpcml.models.dtnn import DTNN
from hpcml.models.graphconv import GraphConv
from hpcml.models.linear import LinearRegression
from hpcml.models.painn import PaiNN
from hpcml.models.readout import Scaling
from hpcml.models.weave import Weave

MODELS: dict[str, Any] = {
    "ani": ANI,
    "dtnn": DTNN,
    "graphconv": GraphConv,
    "linear": LinearRegression,
    "painn": PaiNN,
    "weave": Weave,
}


def build(
    name: str, hyperparameters: Mapping[str, Any] | None = None, *, scaling: Scaling | None = None
) -> nn.Module:
    """A network with fresh weights, drawn from torch's default generator.

    hyperparameters    fields of the network's settings; those not named keep their defaults
    scaling            of the training targets (``fit_scaling``); its T sets the number of outputs

    Raises SettingsError for a network or a hyperparameter that does not exist.
    """
    if name not in MODELS:
        raise SettingsError(f"no model {name!r}; there are {', '.join(sorted(MODELS))}")
    network = MODELS[name]
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
    model: nn.Module = network(settings, scaling or Scaling())
    return model


def check(name: str, hyperparameters: Mapping[str, Any] | None = None) -> None:
    """SettingsError where ``build`` would refuse these; no memory is taken for weights."""
    with torch.device("meta"):
        build(name, hyperparameters)
