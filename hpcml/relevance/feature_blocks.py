"""Relevance by what the network was told: named features, and ANI's radial and angular blocks."""

from __future__ import annotations

import torch
from torch import Tensor

from hpcml.errors import InputError
from hpcml.models.network import Network
from hpcml.relevance.propagation import Relevance


def by_block(model: Network, relevance: Relevance) -> dict[str, dict[str, Tensor]]:
    """Relevance of the columns of each name together (``Network.column_names``).

    Parameters
    ----------
    relevance
        Of this model's inputs.

    Returns
    -------
    dict
        Input layer's name -> block's name -> (rows,) float64 Tensor, target's unit.

    Raises
    ------
    InputError
        Where the relevance is of another model's inputs.
    """
    found: dict[str, dict[str, Tensor]] = {}
    for layer, names in model.column_names().items():
        features = relevance.features.get(layer)
        if features is None or features.shape[1] != len(names):
            raise InputError(f"the relevance has no input {layer!r} of {len(names)} columns")
        distinct = list(dict.fromkeys(names))
        place = torch.tensor([distinct.index(name) for name in names], device=features.device)
        total = features.new_zeros((len(features), len(distinct)), dtype=torch.float64)
        total.index_add_(1, place, features.double())
        found[layer] = dict(zip(distinct, total.unbind(1), strict=True))
    return found
