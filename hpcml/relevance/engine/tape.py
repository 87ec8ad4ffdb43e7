"""The tape: one step of a network whose backward is a rule, and the ledger it writes to.

Inside a traced forward pass the gradient of every tensor *is* its relevance.  A step computes
a layer's ordinary output; in the backward it receives the output's relevance and hands on the
inputs', and what goes to no input (a bias, epsilon, ...) it adds to its row of the ledger.  So
one ordinary backward gives the relevances and the ledger of a whole batch.

A step must know which molecule each row of its tensors belongs to.  That knowledge travels
with the tensors, as a ``Tag``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hpcml.relevance.relevance_rows import LEDGER


@dataclass(frozen=True)
class Affine:
    """An affine layer whose output was just made, for a batch normalization to fold into."""

    name: str
    inputs: Tensor
    weight: Tensor
    bias: Tensor
    outputs: Tensor
    depth: int


@dataclass(frozen=True)
class Tag:
    """What a tensor on the tape carries beside its values.

    owner      (rows,) int64, the molecule of each row
    depth      affine layers passed so far
    affine     set on the output of an affine layer alone
    gathered   set on what was just gathered: owners of the rows that it was gathered from
    """

    owner: Tensor
    depth: int
    affine: Affine | None = None
    gathered: Tensor | None = None


def tag_of(tensor: Tensor) -> Tag | None:
    """The tensor's tag, or None where it carries no relevance."""
    return getattr(tensor, "_relevance_tag", None)


def put_tag(tensor: Tensor, tag: Tag) -> Tensor:
    """The same tensor, tagged."""
    tensor._relevance_tag = tag  # type: ignore[attr-defined]
    return tensor


@dataclass
class Shares:
    """Where a step's relevance went: to its inputs, and to columns of the ledger.

    Each share has the step's rows first; trailing axes are summed for the ledger.
    """

    inputs: Sequence[Tensor | None]
    ledger: dict[str, Tensor] = field(default_factory=dict)


Share = Callable[[Tensor], Shares]
Ledger = Callable[[], Tensor]


class _Step(torch.autograd.Function):
    """Forward: hand an output through. Backward: relevance to the inputs and the ledger."""

    @staticmethod
    def forward(
        ctx: Any, output: Tensor, share: Share, owner: Tensor, ledger: Ledger, *inputs: Tensor
    ) -> Tensor:
        ctx.share, ctx.owner, ctx.ledger = share, owner, ledger
        return output

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> Any:
        shares = ctx.share(relevance)
        for column, taken in shares.ledger.items():
            rows = taken.flatten(start_dim=1).sum(1) if taken.dim() > 1 else taken
            ctx.ledger()[:, LEDGER.index(column)].index_add_(0, ctx.owner, rows.double())
        return None, None, None, None, *shares.inputs


def step(
    output: Tensor, share: Share, ledger: Ledger, inputs: Sequence[Tensor], tag: Tag
) -> Tensor:
    """Put a layer on the tape.

    output   the layer's ordinary output, computed without a graph
    share    from the output's relevance to the inputs' shares and the ledger's; must hold no
             reference to the returned tensor, or the graph would never be freed
    ledger   gives the (M, len(LEDGER)) float64 sums that the backward adds to
    inputs   the tensors that receive relevance, in the order of ``Shares.inputs``
    """
    made: Tensor = _Step.apply(output.detach(), share, tag.owner, ledger, *inputs)
    return put_tag(made, tag)
