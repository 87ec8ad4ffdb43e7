"""The gamma rule by two products with each weight, where its four signed ones add up to them.

With z = W a + b, c_ij = a_i w_ij, and sigma_j the sign of z_j, the rule's two sums are one,

    D_j = sum_i c_ij (1 + gamma [c_ij has the sign sigma_j])        (and the bias likewise)

A positive part is half of a number and its magnitude, so that with t_j = R_j / (|D_j| + epsilon)

    |D_j|  = (1 + gamma/2) |z_j| + gamma/2 sum_i |a_i| |w_ij|
    R_i    = (1 + gamma/2) a_i sum_j w_ij sigma_j t_j + gamma/2 |a_i| sum_j |w_ij| t_j

z is the layer's own output, all terms of |D| are positive, and instead of eight products with the
clamped inputs and weights there are three; two where no input is negative and no output below
zero has relevance, as behind a ReLU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear

from hpcml.relevance.engine.rules import Gamma, Spread, Term


def by_sign(
    rule: Gamma,
    terms: Sequence[Term],
    bias: Tensor,
    *,
    outputs: Tensor,
    relevance: Tensor,
    proportional: bool = False,
) -> Spread:
    """Share the relevance of an affine map's outputs by the gamma rule; as ``spreading.spread``.

    Parameters
    ----------
    bias : (out,) Tensor
    outputs : (rows, ..., out) Tensor
    relevance : (rows, ..., out) Tensor
    """
    half = 0.5 * rule.gamma
    parts = [_Part.of(term) for term in terms]
    supports = half * bias.abs()
    total = parts[0].magnitude(half, supports + rule.epsilon)
    for part in parts[1:]:
        total += part.magnitude(half)
    per_unit = total.add_(outputs.abs(), alpha=1.0 + half)
    torch.div(relevance, per_unit, out=per_unit)
    if rule.epsilon == 0.0:
        per_unit.nan_to_num_(0.0, 0.0, 0.0)
    with_sign = per_unit
    if _any_below_zero(outputs, per_unit):
        with_sign = torch.copysign(per_unit.new_ones(()), outputs).mul_(per_unit)
        taken = with_sign @ ((1.0 + half) * bias) + per_unit @ supports
    else:
        taken = per_unit @ ((1.0 + half) * bias + supports)
    if rule.epsilon:
        absorbed = rule.epsilon * per_unit.sum(-1)
    elif proportional:
        absorbed = torch.zeros_like(taken)
    else:
        absorbed = (relevance * (per_unit == 0)).sum(-1)
    return Spread([part.back(half, with_sign, per_unit) for part in parts], taken, absorbed)


def _any_below_zero(outputs: Tensor, per_unit: Tensor) -> bool:
    """Whether an output below zero has relevance; a look at an accelerator would make us wait."""
    if outputs.device.type != "cpu" or not outputs.numel():
        return True
    low, high = outputs.clamp(max=0).mul_(per_unit).aminmax()
    return bool(low < 0) or bool(high > 0)


@dataclass(frozen=True)
class _Part:
    """A term with its inputs' magnitudes, (n, ..., in); they are the inputs if none is negative."""

    inputs: Tensor
    sizes: Tensor
    weight: Tensor
    index: Tensor | None

    @classmethod
    def of(cls, term: Term) -> _Part:
        a = term.inputs
        known = a.device.type == "cpu" and a.numel() > 0 and bool(a.amin() >= 0)
        return cls(a, a if known else a.abs(), term.weight, term.index)

    def magnitude(self, half: float, bias: Tensor | None = None) -> Tensor:
        """gamma/2 |a| |W|^T, brought to the rows (rows, ..., out)."""
        outputs = linear(self.sizes, half * self.weight.abs(), bias)
        return outputs if self.index is None else outputs.index_select(0, self.index)

    def back(self, half: float, with_sign: Tensor, per_unit: Tensor) -> Tensor:
        """What the inputs get, (n, ..., in)."""
        whole, sized = (1.0 + half) * self.weight, half * self.weight.abs()
        positive = self.sizes is self.inputs
        fell = self._fallen(with_sign)
        if with_sign is per_unit and positive:
            return (fell @ whole.add_(sized)).mul_(self.inputs)
        received = fell @ whole
        if with_sign is not per_unit:
            fell = self._fallen(per_unit)
        if positive:
            received.flatten(0, -2).addmm_(fell.flatten(0, -2), sized)
            return received.mul_(self.inputs)
        return received.mul_(self.inputs).addcmul_(fell @ sized, self.sizes)

    def _fallen(self, rows: Tensor) -> Tensor:
        """(rows, ..., out) -> (n, ..., out)."""
        if self.index is None:
            return rows
        fell = rows.new_zeros((len(self.inputs), *rows.shape[1:]))
        return fell.index_add_(0, self.index, rows)
