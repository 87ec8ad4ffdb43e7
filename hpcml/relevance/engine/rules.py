"""Rules: how the relevance of an affine layer's outputs is shared among its inputs.

A rule is a declaration.  It names weighted sums whose parts receive the relevance in
proportion to what they add; ``spreading.spread`` does the arithmetic once for all of them.  With
z_j = sum_i a_i w_ij + b_j the epsilon rule, for instance, is one sum, z itself:

    R_i = a_i sum_j w_ij s_j      s_j = R_j / (z_j + epsilon sign(z_j))

of which the bias takes b_j s_j and epsilon absorbs epsilon sign(z_j) s_j; the three add up to
R_j exactly, and nothing is lost unseen.

Sources: Bach et al., PLoS ONE 10 (2015) e0130140, eqs. 56-60 (epsilon, alpha-beta); Montavon
et al., Pattern Recognition 65 (2017) 211 (z-plus, w-square); Montavon et al. in "Explainable
AI" (2019), doi 10.1007/978-3-030-28954-6_10, table 10.1 (gamma, flat, composites).  Gamma and
z-plus are in the form that also holds for negative inputs: the inputs' positive and negative
parts are weighted apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

Part = Callable[[Tensor], Tensor]


def identity(values: Tensor) -> Tensor:
    """All values.

    Parameters
    ----------
    values : (rows, in) Tensor

    Returns
    -------
    (rows, in) Tensor
    """
    return values


def positive(values: Tensor) -> Tensor:
    """Values above zero, zero for the others.

    Parameters
    ----------
    values : (rows, in) Tensor

    Returns
    -------
    (rows, in) Tensor
    """
    return values.clamp(min=0)


def negative(values: Tensor) -> Tensor:
    """Values below zero, zero for the others.

    Parameters
    ----------
    values : (rows, in) Tensor

    Returns
    -------
    (rows, in) Tensor
    """
    return values.clamp(max=0)


@dataclass(frozen=True)
class Addend:
    """part(a) W^T + b, one addend of a weighted sum; weight (out, in), bias (out,) or None."""

    part: Part
    weight: Tensor
    bias: Tensor | None = None


@dataclass(frozen=True)
class WeightedSum:
    """Addends that together receive ``factor`` of the relevance of each output.

    factor   a number, or a function of the layer's outputs z; factors of one rule add up to 1
    """

    addends: tuple[Addend, ...]
    factor: float | Callable[[Tensor], Tensor] = 1.0


class Rule(Protocol):
    """What an affine layer needs to know to hand relevance back."""

    @property
    def epsilon(self) -> float:
        """What stabilizes the sums that are divided by, >= 0."""

    @property
    def proportional(self) -> bool:
        """Whether an output of zero hands on nothing, and an input of zero receives nothing.

        If all rules of a network are proportional, relevance is never divided by a sum that
        vanishes, because it vanishes with it.
        """

    def sums(self, weight: Tensor, bias: Tensor) -> tuple[WeightedSum, ...]:
        """The weighted sums for weight (out, in) and bias (out,).

        Parameters
        ----------
        weight : (out, in) Tensor
        bias : (out,) Tensor
        """


@dataclass(frozen=True)
class Epsilon:
    """In proportion to a_i w_ij; with epsilon = 0 it is LRP-0."""

    epsilon: float = 0.0
    proportional: ClassVar[bool] = True

    def sums(self, weight: Tensor, bias: Tensor) -> tuple[WeightedSum, ...]:
        """One sum: the outputs themselves.

        Parameters
        ----------
        weight : (out, in) Tensor
        bias : (out,) Tensor
        """
        return (WeightedSum((Addend(identity, weight, bias),)),)


@dataclass(frozen=True)
class Gamma:
    """Contributions that have the sign of the output count 1 + gamma times."""

    gamma: float = 0.25
    epsilon: float = 0.0
    proportional: ClassVar[bool] = True

    def sums(self, weight: Tensor, bias: Tensor) -> tuple[WeightedSum, ...]:
        """Two sums: for outputs above zero, and below.

        Parameters
        ----------
        weight : (out, in) Tensor
        bias : (out,) Tensor
        """
        more = weight + self.gamma * positive(weight)
        less = weight + self.gamma * negative(weight)
        return (
            WeightedSum(
                (
                    Addend(positive, more, bias + self.gamma * positive(bias)),
                    Addend(negative, less),
                ),
                lambda z: (z >= 0).to(z.dtype),
            ),
            WeightedSum(
                (
                    Addend(positive, less, bias + self.gamma * negative(bias)),
                    Addend(negative, more),
                ),
                lambda z: (z < 0).to(z.dtype),
            ),
        )


@dataclass(frozen=True)
class AlphaBeta:
    """alpha times the positive contributions, less beta = alpha - 1 times the negative ones."""

    alpha: float = 2.0
    epsilon: float = 0.0
    proportional: ClassVar[bool] = False

    def sums(self, weight: Tensor, bias: Tensor) -> tuple[WeightedSum, ...]:
        """The supporting contributions, and the opposing.

        Parameters
        ----------
        weight : (out, in) Tensor
        bias : (out,) Tensor
        """
        up, down = positive(weight), negative(weight)
        supporting = (Addend(positive, up, positive(bias)), Addend(negative, down))
        opposing = (Addend(positive, down, negative(bias)), Addend(negative, up))
        if self.alpha == 1.0:
            return (WeightedSum(supporting),)
        return WeightedSum(supporting, self.alpha), WeightedSum(opposing, 1.0 - self.alpha)


def z_plus(epsilon: float = 0.0) -> AlphaBeta:
    """In proportion to the positive contributions alone: alpha-beta with alpha = 1."""
    return AlphaBeta(alpha=1.0, epsilon=epsilon)


@dataclass(frozen=True)
class Flat:
    """The same to every input, whatever its value."""

    epsilon: float = 0.0
    proportional: ClassVar[bool] = False

    def sums(self, weight: Tensor, bias: Tensor) -> tuple[WeightedSum, ...]:
        """One sum of ones.

        Parameters
        ----------
        weight : (out, in) Tensor
        bias : (out,) Tensor
        """
        return (WeightedSum((Addend(torch.ones_like, torch.ones_like(weight)),)),)


@dataclass(frozen=True)
class WSquare:
    """In proportion to w_ij^2, whatever the input's value; the bias takes none."""

    epsilon: float = 0.0
    proportional: ClassVar[bool] = False

    def sums(self, weight: Tensor, bias: Tensor) -> tuple[WeightedSum, ...]:
        """One sum of squared weights.

        Parameters
        ----------
        weight : (out, in) Tensor
        bias : (out,) Tensor
        """
        return (WeightedSum((Addend(torch.ones_like, weight * weight),)),)


@dataclass(frozen=True)
class Term:
    """weight a[index], what one of its inputs adds to an affine map.

    inputs   a, (n, ..., in)
    weight   (out, in)
    index    (rows,) the row of ``inputs`` for each row of the map; None: its own
    """

    inputs: Tensor
    weight: Tensor
    index: Tensor | None = None


@dataclass(frozen=True)
class Spread:
    """Where the relevance of an affine map's outputs went.

    inputs           for each term, (n, ..., in)
    bias, epsilon    (rows, ...)
    """

    inputs: list[Tensor]
    bias: Tensor
    epsilon: Tensor


@dataclass(frozen=True)
class Composite:
    """A rule for each depth: the first whose depth is above the layer's, else ``above``.

    below    (depth, rule) pairs by rising depth; a layer's depth counts the affine layers that
             lie between it and the network's inputs on the longest path, so 0 is the first
    above    the rule of all other layers
    products "weight": the gate of a product is a weight and takes nothing;
             "halves": signal and gate take half each, so that what gates (distances) is asked too
    """

    above: Rule
    below: tuple[tuple[int, Rule], ...] = ()
    products: str = "weight"

    @property
    def proportional(self) -> bool:
        """Whether all of its rules are."""
        return all(rule.proportional for rule in (self.above, *(rule for _, rule in self.below)))

    def rule(self, depth: int) -> Rule:
        """The rule of an affine layer at this depth."""
        for limit, rule in self.below:
            if depth < limit:
                return rule
        return self.above
