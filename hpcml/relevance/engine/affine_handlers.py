"""Affine layers as one: what a rule shares by, however the code cuts it.

Rows gathered of an affine map, sums of such maps, and batch normalization of either are one
affine layer, with one set of weights side by side and one rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from hpcml.relevance.engine.handler import Tracing, handler
from hpcml.relevance.engine.handlers import ratio, reduce_to
from hpcml.relevance.engine.owners import Owner
from hpcml.relevance.engine.rules import Epsilon, Term
from hpcml.relevance.engine.spreading import spread
from hpcml.relevance.engine.tape import Affine, Shares, Tag


def affine(trace: Tracing, source: Affine, owner: Owner) -> Tensor:
    """Put an affine map on the tape as one layer, however it was put together.

    Returns
    -------
    (rows, ..., out) Tensor
        The map's outputs, on the tape.
    """
    inputs = [term.inputs for term in source.terms]
    # of vectors (A, 3, F) only this rule is the same whichever way the axes point
    vectors = inputs[0].dim() == 3 and inputs[0].shape[1] == 3
    rule = Epsilon(0.0) if vectors else trace.composite.rule(source.depth)
    terms = [replace(term, inputs=term.inputs.detach()) for term in source.terms]
    outputs = source.outputs

    def share(relevance: Tensor) -> Shares:
        taken = spread(
            rule,
            terms,
            source.bias,
            outputs=outputs,
            relevance=relevance,
            proportional=trace.composite.proportional,
        )
        return Shares(taken.inputs, {"bias": taken.bias, "epsilon": taken.epsilon})

    passed = Tag(owner, source.depth + 1, source)
    return trace.step(source.name, outputs, share, inputs, passed)


@handler
def linear(trace: Tracing, layer: nn.Linear, values: Tensor) -> Tensor:
    """Affine map of the last axis: (rows, ..., in) -> (rows, ..., out)."""
    return affine_map(trace, trace.name(layer), values, layer.weight, layer.bias)


def affine_map(
    trace: Tracing, name: str, values: Tensor, weight: Tensor, bias: Tensor | None
) -> Tensor:
    """An affine map of the last axis, called by the name that its ledger is kept in.

    Parameters
    ----------
    values : (rows, ..., in) Tensor
    weight : (out, in) Tensor
    bias : (out,) Tensor, or None

    Returns
    -------
    (rows, ..., out) Tensor
        On the tape.
    """
    weight = weight.detach()
    bias = weight.new_zeros(weight.shape[0]) if bias is None else bias.detach()
    outputs = nn.functional.linear(values.detach(), weight, bias)
    tag = trace.tag_or_none(values)
    if tag is None:
        return outputs
    owner = tag.owner
    if owner.molecule.dim() == values.dim():  # features of several atoms are mixed
        owner = owner.mixed()
    source = Affine(name, (Term(values, weight),), bias, outputs, tag.depth)
    return affine(trace, source, owner)


@handler
def batch_norm(trace: Tracing, layer: nn.BatchNorm1d, values: Tensor) -> Tensor:
    """Normalization by running statistics: (rows, F) -> (rows, F)."""
    mean, variance = layer.running_mean, layer.running_var
    if mean is None or variance is None:
        trace.refuse(layer, "keeps no running statistics, so its output mixes molecules")
    scale = (variance + layer.eps).rsqrt()
    if layer.weight is not None:
        scale = scale * layer.weight.detach()
    shift = -mean * scale
    if layer.bias is not None:
        shift = shift + layer.bias.detach()
    fixed = values.detach()
    outputs = torch.addcmul(shift, fixed, scale)
    tag = trace.tag_or_none(values)
    if tag is None:
        return outputs
    if tag.affine is not None:
        return affine(trace, tag.affine.scaled(scale, shift, outputs), tag.owner)

    def share(relevance: Tensor) -> Shares:
        ledger: dict[str, Tensor] = {}
        per_unit = ratio(trace, relevance, outputs, ledger)
        ledger["bias"] = per_unit @ shift
        return Shares([per_unit.mul_(fixed).mul_(scale)], ledger)

    return trace.step(trace.name(layer), outputs, share, [values])


def one_affine(
    trace: Tracing, name: str, tensors: Sequence[Tensor], outputs: Tensor
) -> Tensor | None:
    """The sum of affine maps as one of them; None where an addend is none.

    Parameters
    ----------
    tensors : each (rows, ...) Tensor
        The addends.
    outputs : (rows, ...) Tensor
        Their sum.

    Returns
    -------
    (rows, ...) Tensor, or None
        On the tape.
    """
    tags = [trace.tag_or_none(tensor) for tensor in tensors]
    maps = [tag.affine for tag in tags if tag is not None and tag.affine is not None]
    if not len(maps) == len(tensors) > 1 or any(t.shape != outputs.shape for t in tensors):
        return None
    merged = Affine(
        name,
        tuple(term for one in maps for term in one.terms),
        torch.stack([one.bias for one in maps]).sum(0),
        outputs,
        max(one.depth for one in maps),
    )
    return affine(trace, merged, Owner.merged([tag.owner for tag in tags if tag is not None]))


@handler
def total(trace: Tracing, layer: nn.Module, *tensors: Tensor) -> Tensor:
    """Sum of tensors (rows, ...); those that carry no relevance are constants."""
    fixed = [tensor.detach() for tensor in tensors]
    outputs = trace.ordinary(layer, *tensors)
    merged = one_affine(trace, trace.name(layer), tensors, outputs)
    if merged is not None:
        return merged
    carrying = [i for i, tensor in enumerate(tensors) if trace.tag_or_none(tensor) is not None]
    constants = [fixed[i] for i in range(len(tensors)) if i not in carrying]

    def share(relevance: Tensor) -> Shares:
        ledger: dict[str, Tensor] = {}
        per_unit = ratio(trace, relevance, outputs, ledger)
        if constants:
            added = constants[0]
            for constant in constants[1:]:
                added = added + constant
            ledger["bias"] = per_unit * added
        return Shares([reduce_to(per_unit * fixed[i], fixed[i]) for i in carrying], ledger)

    return trace.step(trace.name(layer), outputs, share, [tensors[i] for i in carrying])
