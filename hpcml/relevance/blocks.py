"""Relevance by what the network was told: named features, and ANI's radial and angular blocks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement

import torch
from torch import Tensor, nn

from hpcml.errors import InputError
from hpcml.models.ani import ANI
from hpcml.models.graphconv import GraphConv
from hpcml.models.linear import LinearRegression
from hpcml.models.weave import Weave
from hpcml.molecules.features import ATOM_FEATURES, PAIR_FEATURES
from hpcml.molecules.molecule import symbol
from hpcml.relevance.propagation import Relevance


def column_names(model: nn.Module) -> dict[str, list[str]]:
    """Input layer's name -> what each of its columns is.

    ANI's columns are named by block: "radial H" are all terms of hydrogen neighbours, "angular
    H-C" those of pairs of a hydrogen and a carbon.  Learned vectors of elements have no names.
    """
    if isinstance(model, Weave):
        return {"atom_input": list(ATOM_FEATURES), "pair_input": list(PAIR_FEATURES)}
    if isinstance(model, GraphConv):
        return {"atom_input": list(ATOM_FEATURES)}
    if isinstance(model, LinearRegression):
        if model.inputs:
            return {"input": list(ATOM_FEATURES)}
        return {"input": [symbol(z) for z in model.elements.tolist()]}
    if isinstance(model, ANI):
        elements = [symbol(z) for z in model.elements.tolist()]
        radial = [f"radial {element}" for element in elements]
        pairs = [f"angular {a}-{b}" for a, b in combinations_with_replacement(elements, 2)]
        return {
            "aev_input": _repeated(radial, model.aev.radial_terms)
            + _repeated(pairs, model.aev.angular_terms)
        }
    return {}


def by_block(model: nn.Module, relevance: Relevance) -> dict[str, dict[str, Tensor]]:
    """Input layer's name -> block's name -> (rows,) float64 relevance of its columns together.

    Raises InputError where the relevance is not of this model's inputs.
    """
    found: dict[str, dict[str, Tensor]] = {}
    for layer, names in column_names(model).items():
        features = relevance.features.get(layer)
        if features is None or features.shape[1] != len(names):
            raise InputError(f"the relevance has no input {layer!r} of {len(names)} columns")
        distinct = list(dict.fromkeys(names))
        place = torch.tensor([distinct.index(name) for name in names], device=features.device)
        total = features.new_zeros((len(features), len(distinct)), dtype=torch.float64)
        total.index_add_(1, place, features.double())
        found[layer] = dict(zip(distinct, total.unbind(1), strict=True))
    return found


def _repeated(names: Sequence[str], times: int) -> list[str]:
    return [name for name in names for _ in range(times)]
