"""The arithmetic of rules: an affine map's relevance shared among its terms, bias and epsilon.

Of the inputs' rows and weights only what the rule names is multiplied, and what is known to add
nothing is not: behind a ReLU no input is negative, and no output below zero has relevance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear

from hpcml.relevance.engine.rules import Addend, Gamma, Rule, Spread, Term
from hpcml.relevance.engine.signed_products import by_sign


def spread(
    rule: Rule,
    terms: Sequence[Term],
    bias: Tensor,
    *,
    outputs: Tensor,
    relevance: Tensor,
    proportional: bool = False,
) -> Spread:
    """Share the relevance of an affine map's outputs z = sum of terms + bias by a rule.

    The parts of the result add up to relevance.sum() to rounding.  Where a sum is zero and
    epsilon is zero too, epsilon's share takes all.

    Parameters
    ----------
    rule
        Sees the map as one layer: the terms' weights stand side by side, (out, sum of in).
    terms
        The map's terms, on tensors without a graph.
    bias : (out,) Tensor
    outputs : (rows, ..., out) Tensor
        z.
    relevance : (rows, ..., out) Tensor
        To be shared, target's unit.
    proportional
        Says that the relevance is surely zero where a sum is.
    """
    if type(rule) is Gamma:
        return by_sign(
            rule, terms, bias, outputs=outputs, relevance=relevance, proportional=proportional
        )
    whole = terms[0].weight
    if len(terms) > 1:
        whole = torch.cat([term.weight for term in terms], dim=1)
    to_inputs: list[Tensor | None] = [None] * len(terms)
    to_bias, to_epsilon = relevance.new_zeros(()), relevance.new_zeros(())
    for weighted in rule.sums(whole, bias):
        factor = weighted.factor
        share = relevance
        if callable(factor) or factor != 1.0:
            share = relevance * (factor(outputs) if callable(factor) else factor)
            if not share.any():
                continue  # behind a ReLU no output below zero has relevance
        parts = _parts(weighted.addends, terms)
        biases = [addend.bias for addend in weighted.addends if addend.bias is not None]
        own = weighted.addends[0].weight is whole  # the sum is the layer's output
        total = outputs if own else _sum(parts, biases, relevance)
        scale, absorbed = _per_unit(share, total, rule.epsilon, proportional)
        to_epsilon = to_epsilon + absorbed
        for part in parts:
            received, so_far = part.back(scale) @ part.weight, to_inputs[part.term]
            if so_far is None:
                to_inputs[part.term] = received.mul_(part.values)
            else:
                so_far.addcmul_(part.values, received)
        for constant in biases:
            to_bias = to_bias + scale @ constant
    rows = relevance.shape[:-1]
    pairs = zip(to_inputs, terms, strict=True)
    inputs = [torch.zeros_like(term.inputs) if one is None else one for one, term in pairs]
    return Spread(inputs, to_bias.expand(rows), to_epsilon.expand(rows))


def _per_unit(
    share: Tensor, total: Tensor, epsilon: float, proportional: bool
) -> tuple[Tensor, Tensor | float]:
    """Relevance per unit of a stabilized sum, (rows, ..., out), and what epsilon absorbs.

    Nothing is handed on where the sum is zero.
    """
    if epsilon == 0.0:
        scale = (share / total).nan_to_num_(0.0, 0.0, 0.0)
        return scale, 0.0 if proportional else (share * (scale == 0)).sum(-1)
    # in place where it can be: a fresh tensor costs more than its arithmetic
    stabilizer = torch.copysign(share.new_tensor(epsilon), total)
    scale = total + stabilizer
    torch.div(share, scale, out=scale)
    return scale, stabilizer.mul_(scale).sum(-1)


@dataclass(frozen=True)
class _Part:
    """What one addend takes of one term: values (n, ..., in) weight^T, brought to the rows."""

    term: int
    values: Tensor
    weight: Tensor
    index: Tensor | None

    def forth(self) -> Tensor:
        """(rows, ..., out)."""
        outputs = linear(self.values, self.weight)
        return outputs if self.index is None else outputs.index_select(0, self.index)

    def back(self, scale: Tensor) -> Tensor:
        """(rows, ..., out) -> (n, ..., out), what falls on each row of the inputs."""
        if self.index is None:
            return scale
        rows = scale.new_zeros((len(self.values), *scale.shape[1:]))
        return rows.index_add_(0, self.index, scale)


def _parts(addends: Sequence[Addend], terms: Sequence[Term]) -> list[_Part]:
    """The parts that add something: inputs behind a ReLU are not negative."""
    widths = [term.weight.shape[1] for term in terms]
    parts = []
    for addend in addends:
        weights = addend.weight.split(widths, dim=1)
        for number, (term, weight) in enumerate(zip(terms, weights, strict=True)):
            values = addend.part(term.inputs)
            if len(addends) == 1 or bool(values.any()):
                parts.append(_Part(number, values, weight, term.index))
    return parts


def _sum(parts: Sequence[_Part], biases: Sequence[Tensor], like: Tensor) -> Tensor:
    """Sum of the parts and biases, in the shape of ``like``."""
    added = [part.forth() for part in parts] + list(biases)
    total = added[0] if added else like.new_zeros(())
    for one in added[1:]:
        total = total + one
    return total.expand(like.shape)
