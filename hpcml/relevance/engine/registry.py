"""Which layer type is handed back by which handler, and how to add one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from hpcml.errors import SettingsError
from hpcml.models import layers
from hpcml.models.graphconv import GraphPool, SumOverNeighbours
from hpcml.models.painn import PaiNNMessage
from hpcml.relevance.engine.affine_handlers import batch_norm, linear, total
from hpcml.relevance.engine.fused_handlers import neighbour_maximum, neighbour_sum, painn_message
from hpcml.relevance.engine.handler import Handler
from hpcml.relevance.engine.handlers import (
    atom_reference,
    dot,
    embedding,
    gather,
    histogram,
    linearized,
    network_input,
    norm,
    passing,
    product,
    scatter_linear,
    scatter_max,
    standardize,
    structural,
    unchanged,
)

AnyHandler = Handler[..., Any]
Handlers = Mapping[type[nn.Module], AnyHandler]

HANDLERS: dict[type[nn.Module], AnyHandler] = {
    layers.Input: network_input,
    nn.Embedding: embedding,
    nn.Linear: linear,
    nn.BatchNorm1d: batch_norm,
    layers.BatchNorm: batch_norm,  # its forward is its own, for one row in training
    nn.ReLU: passing,
    nn.LeakyReLU: passing,
    nn.Tanh: passing,
    nn.CELU: passing,
    nn.ELU: passing,
    nn.SiLU: passing,
    nn.GELU: passing,
    layers.ShiftedSoftplus: passing,
    layers.Gaussian: linearized,
    nn.Sigmoid: linearized,
    nn.Softplus: linearized,
    layers.Sum: total,
    layers.Product: product,
    layers.Dot: dot,
    layers.Norm: norm,
    layers.Concatenate: structural,
    nn.Dropout: unchanged,
    nn.Identity: unchanged,
    nn.Flatten: structural,
    layers.Gather: gather,
    layers.ScatterSum: scatter_linear,
    layers.ScatterMean: scatter_linear,
    layers.ScatterMax: scatter_max,
    layers.Histogram: histogram,
    layers.Standardize: standardize,
    layers.AtomReference: atom_reference,
    PaiNNMessage: painn_message,
    SumOverNeighbours: neighbour_sum,
    GraphPool: neighbour_maximum,
}


MEANINGS: dict[str, AnyHandler] = {
    "passing": passing,
    "linearized": linearized,
    "structural": structural,
}


def declare(kind: type[nn.Module], meaning: str | type[nn.Module] | AnyHandler) -> None:
    """Give a layer type of one's own a rule.

    meaning    "passing": element-wise and 0 at 0; "linearized": element-wise, not 0 at 0;
               "structural": only moves numbers; or a known layer type with the same meaning
               and the same attributes and arguments (``declare(MyDense, torch.nn.Linear)``);
               or a handler of one's own (``hpcml.relevance.engine.handler``)

    Raises SettingsError for a meaning that does not exist.
    """
    known: AnyHandler | None
    if isinstance(meaning, Handler):
        known = meaning
    else:
        known = MEANINGS.get(meaning) if isinstance(meaning, str) else HANDLERS.get(meaning)
    if known is None:
        names = ", ".join([*MEANINGS, *(layer.__name__ for layer in HANDLERS)])
        raise SettingsError(f"no layer meaning {meaning!r}; there are {names}")
    HANDLERS[kind] = known
