"""PaiNN's messages in one stroke, as the network itself computes them in training.

With its gates held fixed a message is linear in the atoms' scalars and vectors, so that the
rules of its steps (products by weight, sums in proportion) come to one statement:

    relevance of an input = input * (vector-Jacobian product with relevance / output)

and the network's own fused function gives that product without ever holding all pairs at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hpcml.models.messages import PaiNNMessages
from hpcml.models.painn import _Message
from hpcml.relevance.layers import ratio
from hpcml.relevance.tape import Shares

if TYPE_CHECKING:
    from hpcml.relevance.trace import Trace


def painn_message(trace: Trace, layer: _Message, *arguments: Any) -> tuple[Tensor, Tensor]:
    """What all neighbours tell each atom: scalars (A, F) and vectors (A, 3, F)."""
    s, v, filters, near = arguments
    if trace.composite.products == "halves":  # the gates take part: step by step
        stepwise: tuple[Tensor, Tensor] = trace.original(layer)(*arguments)
        return stepwise
    phi = layer.phi(s)
    with trace.unwatched():
        fixed = [phi.detach()] if v is None else [phi.detach(), v.detach()]
        constants = filters.detach(), near.directions, near.i, near.j

        def messages(phi: Tensor, v: Tensor | None = None) -> tuple[Tensor, Tensor]:
            made: tuple[Tensor, Tensor] = PaiNNMessages.apply(phi, v, *constants)
            return made

        with torch.no_grad():
            ds, dv = messages(*fixed)
        features = ds.shape[1]
        outputs = torch.cat([ds[:, None], dv], dim=1)  # (A, 4, F)

        def share(relevance: Tensor) -> Shares:
            ledger: dict[str, Tensor] = {}
            per_unit = ratio(trace, relevance, outputs, ledger)
            with torch.enable_grad():
                leaves = [tensor.requires_grad_() for tensor in map(torch.detach, fixed)]
                products = torch.autograd.grad(
                    messages(*leaves), leaves, (per_unit[:, 0], per_unit[:, 1:])
                )
            shares = [tensor * product for tensor, product in zip(fixed, products, strict=True)]
            shares[0][:, 2 * features :] = 0.0  # the gate of the vectors is a weight
            return Shares(shares, ledger)

        inputs = [phi] if v is None else [phi, v]
        told = trace.step(trace.name(layer), outputs, share, inputs)
    return told[:, 0], told[:, 1:]
