"""Handlers of the fused functions by which networks compute their messages in training.

PaiNN: with its gates held fixed a message is linear in the atoms' scalars and vectors, so that
the rules of its steps (products by weight, sums in proportion) come to one statement:

    relevance of an input = input * (vector-Jacobian product with relevance / output)

and the network's own fused function gives that product without ever holding all pairs at once.

GraphConv: sums and maxima over bonded neighbours, in proportion and to the winners as ever, but
without a row for each bond.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hpcml.models.fused import PaiNNMessages
from hpcml.models.graphconv import GraphPool, SumOverNeighbours
from hpcml.models.neighbours import NeighbourMaximum, Neighbours, NeighbourSum
from hpcml.models.painn import PaiNNMessage
from hpcml.relevance.engine.handler import Tracing, handler, transparent
from hpcml.relevance.engine.handlers import ratio, winning
from hpcml.relevance.engine.tape import Shares


@transparent
def painn_message(trace: Tracing, layer: PaiNNMessage, *arguments: Any) -> tuple[Tensor, Tensor]:
    """What all neighbours tell each atom: scalars (A, F) and vectors (A, 3, F)."""
    s, v, filters, near = arguments
    if trace.composite.products == "halves":  # the gates take part: step by step
        stepwise: tuple[Tensor, Tensor] = trace.original(layer)(*arguments)
        return stepwise
    phi = layer.phi(s)
    with trace.untraced():
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


@handler
def neighbour_sum(
    trace: Tracing, layer: SumOverNeighbours, atoms: Tensor, bonded: Neighbours
) -> Tensor:
    """Sum over an atom's neighbours: (A, F) -> (A, F)."""
    fixed = atoms.detach()
    with torch.no_grad():
        outputs: Tensor = NeighbourSum.apply(fixed, bonded)

    def share(relevance: Tensor) -> Shares:
        ledger: dict[str, Tensor] = {}
        per_unit = ratio(trace, relevance, outputs, ledger)
        # every bond stands both ways, so the sum is its own transpose
        return Shares([NeighbourSum.apply(per_unit, bonded).mul_(fixed)], ledger)

    return trace.step(trace.name(layer.total), outputs, share, [atoms])


@handler
def neighbour_maximum(
    trace: Tracing, layer: GraphPool, atoms: Tensor, bonded: Neighbours
) -> Tensor:
    """The largest of an atom's and its neighbours' values, (A, F); equal winners share alike."""
    fixed = atoms.detach()
    with torch.no_grad():
        outputs: Tensor = NeighbourMaximum.apply(fixed, bonded)
    enough = winning(outputs)

    def share(relevance: Tensor) -> Shares:
        wins = torch.ge(fixed, enough, out=torch.empty_like(fixed))  # one or zero
        winners = wins.clone()
        for column in bonded.columns:
            n = len(column)
            winners[:n] += fixed.index_select(0, column).ge_(enough[:n])
        ledger: dict[str, Tensor] = {}
        per_winner = ratio(trace, relevance, winners, ledger)
        to_atoms = wins.mul_(per_winner)
        for column in bonded.columns:  # of each atom in its neighbours' pools
            n = len(column)
            wins = enough.index_select(0, column).le_(fixed[:n])
            to_atoms[:n].addcmul_(per_winner.index_select(0, column), wins)
        return Shares([to_atoms], ledger)

    return trace.step(trace.name(layer.largest), outputs, share, [atoms])
