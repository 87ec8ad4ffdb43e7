"""Which layer type is handed back by which handler, and how to add one."""

from __future__ import annotations

from torch import nn

from hpcml.errors import SettingsError
from hpcml.models import layers
from hpcml.models.graphconv import _Convolution, _Pool
from hpcml.models.painn import _Message
from hpcml.relevance.engine.fused_handlers import convolution, painn_message, pool
from hpcml.relevance.engine.handlers import (
    Handler,
    atom_reference,
    batch_norm,
    dot,
    embedding,
    gather,
    histogram,
    linear,
    linearized,
    network_input,
    norm,
    passing,
    product,
    scatter_linear,
    scatter_max,
    standardize,
    structural,
    total,
    unchanged,
)

HANDLERS: dict[type[nn.Module], Handler] = {
    layers.Input: network_input,
    nn.Embedding: embedding,
    nn.Linear: linear,
    nn.BatchNorm1d: batch_norm,
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
    _Message: painn_message,
    _Convolution: convolution,
    _Pool: pool,
}


DECLARABLE: dict[str, Handler] = {
    "passing": passing,
    "linearized": linearized,
    "structural": structural,
}


def declare(kind: type[nn.Module], meaning: str | type[nn.Module]) -> None:
    """Give a layer type of one's own a rule.

    meaning    "passing": element-wise and 0 at 0; "linearized": element-wise, not 0 at 0;
               "structural": only moves numbers; or a known layer type with the same meaning
               and the same attributes and arguments (``declare(MyDense, torch.nn.Linear)``)

    Raises SettingsError for a meaning that does not exist.
    """
    handler = DECLARABLE.get(meaning) if isinstance(meaning, str) else HANDLERS.get(meaning)
    if handler is None:
        known = ", ".join([*DECLARABLE, *(known.__name__ for known in HANDLERS)])
        raise SettingsError(f"no layer meaning {meaning!r}; there are {known}")
    HANDLERS[kind] = handler


def handler_for(layer: nn.Module) -> Handler | None:
    """The handler of the layer's type or of the nearest type it derives from."""
    for kind in type(layer).__mro__:
        if kind in HANDLERS:
            return HANDLERS[kind]
    return None
