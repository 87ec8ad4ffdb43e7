"""How each type of layer hands relevance back: one short handler a type.

A handler gets the trace, the layer and the layer's arguments, computes the ordinary output,
and states how the output's relevance R is shared:

affine layers           by the rule for their depth, on vectors (A, 3, F) always by LRP-0; rows
                        gathered of them, sums of them, and batch normalization of either are
                        one affine layer, however the code cuts it; elsewhere batch
                        normalization is a diagonal affine layer (``affine_handlers``)
element-wise, f(0) = 0  the identity rule: all of R to the argument
element-wise, else      linearized: x f'(x) is the step from the root x0 = 0 to x with the slope
                        at x; what that leaves of f(x) is "taylor"
sums, means             each addend in proportion to what it adds
maxima                  the winner takes all; equal winners share alike
products                the gate is a weight, or both take half (Composite.products)
scalar products         both factors take half
lengths                 |v|: component c takes v_c^2 / |v|^2
histogram               linearized at its argument; what that leaves is "taylor"
target scaling          the mean takes what it adds; atom references likewise

Sums need no epsilon: an addend's relevance is its value times R/S, and where S is zero R is
zero as well.  (Where it is not, under rules that ignore values, "epsilon" records it.)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hpcml.models import layers
from hpcml.relevance.engine.handler import Tracing, handler, transparent
from hpcml.relevance.engine.tape import Shares, Tag, put_tag


def ratio(
    trace: Tracing, relevance: Tensor, total: Tensor, ledger: dict[str, Tensor] | None = None
) -> Tensor:
    """Relevance per unit of a sum, 0 where the sum vanishes.

    Under proportional rules relevance vanishes with the sum; under others what is lost there
    is put into the ledger as "epsilon".

    Parameters
    ----------
    relevance, total : (rows, ...) Tensor
        A sum's relevance, and the sum.
    ledger : terms of (rows, ...) Tensor
        Gets what is lost.

    Returns
    -------
    (rows, ...) Tensor
    """
    per_unit = (relevance / total).nan_to_num_(0.0, 0.0, 0.0)
    if ledger is not None and not trace.composite.proportional:
        ledger["epsilon"] = relevance * (per_unit == 0)
    return per_unit


def reduce_to(relevance: Tensor, tensor: Tensor) -> Tensor:
    """Sum over the axes along which ``tensor`` was broadcast.

    Parameters
    ----------
    relevance : (rows, ...) Tensor
    tensor : (rows, ...) Tensor
        With ones where it was broadcast.

    Returns
    -------
    Tensor, the shape of ``tensor``
    """
    return relevance.sum_to_size(tensor.shape)


# ------------------------------------------------------------------------- element-wise


@handler
def passing(trace: Tracing, layer: nn.Module, values: Tensor) -> Tensor:
    """Element-wise with f(0) = 0, (rows, ...) -> (rows, ...): the identity rule."""
    fixed = values.detach().clone() if getattr(layer, "inplace", False) else values
    outputs = trace.ordinary(layer, fixed)
    return trace.step(trace.name(layer), outputs, lambda relevance: Shares([relevance]), [values])


@handler
def linearized(trace: Tracing, layer: nn.Module, values: Tensor) -> Tensor:
    """Element-wise with f(0) != 0, (rows, ...) -> (rows, ...).

    f(x) = x f'(x) and a rest, which is "taylor".
    """
    with torch.enable_grad():
        leaf = values.detach().requires_grad_()
        outputs = trace.original(layer)(leaf)
        (slopes,) = torch.autograd.grad(outputs.sum(), leaf)
    outputs, steps = outputs.detach(), leaf.detach() * slopes

    def share(relevance: Tensor) -> Shares:
        ledger: dict[str, Tensor] = {}
        per_unit = ratio(trace, relevance, outputs, ledger)
        ledger["taylor"] = per_unit * (outputs - steps)
        return Shares([per_unit * steps], ledger)

    return trace.step(trace.name(layer), outputs, share, [values])


@handler
def unchanged(trace: Tracing, layer: nn.Module, values: Tensor) -> Tensor:
    """The identity, or what is the identity outside training: (rows, ...) -> (rows, ...)."""
    return values


@transparent
def structural(trace: Tracing, layer: nn.Module, *arguments: Any) -> Tensor:
    """A layer that only moves numbers, (rows, ...) -> (rows, ...).

    Its ordinary gradient moves relevance rightly.
    """
    result: Tensor = trace.original(layer)(*arguments)
    return result


# ------------------------------------------------------------- sums, products, and the like


@handler
def product(trace: Tracing, layer: nn.Module, signal: Tensor, gate: Tensor) -> Tensor:
    """Signal (rows, ...) times a gate that broadcasts to it."""
    outputs = trace.ordinary(layer, signal, gate)
    shapes = signal.detach(), gate.detach()
    carrying = [tensor for tensor in (signal, gate) if trace.tag_or_none(tensor) is not None]
    if len(carrying) == 2 and trace.composite.products == "halves":

        def share(relevance: Tensor) -> Shares:
            half = 0.5 * relevance
            return Shares([reduce_to(half, shape) for shape in shapes])

        return trace.step(trace.name(layer), outputs, share, [signal, gate])
    taker = carrying[0] if carrying else signal  # the signal, or the gate of a constant
    like = taker.detach()
    tag = trace.joint_tag(carrying, len(outputs))  # a distance's gate makes an atom's row a pair's

    def whole(relevance: Tensor) -> Shares:
        return Shares([reduce_to(relevance, like)])

    return trace.step(trace.name(layer), outputs, whole, [taker], tag)


@handler
def dot(trace: Tracing, layer: nn.Module, left: Tensor, right: Tensor) -> Tensor:
    """Scalar product over space: (A, 3, F), (A, 3, F) -> (A, F)."""
    outputs = trace.ordinary(layer, left, right)
    terms = left.detach() * right.detach()
    carrying = [tensor for tensor in (left, right) if trace.tag_or_none(tensor) is not None]

    def share(relevance: Tensor) -> Shares:
        ledger: dict[str, Tensor] = {}
        per_unit = ratio(trace, relevance, outputs, ledger)
        each = terms * per_unit[:, None] / max(len(carrying), 1)
        return Shares([each] * len(carrying), ledger)

    return trace.step(trace.name(layer), outputs, share, carrying)


@handler
def norm(trace: Tracing, layer: layers.Norm, vectors: Tensor) -> Tensor:
    """Length over space: (A, 3, F) -> (A, F)."""
    outputs = trace.ordinary(layer, vectors)
    squares = vectors.detach() ** 2

    def share(relevance: Tensor) -> Shares:
        per_square = relevance / (outputs * outputs)
        return Shares([squares * per_square[:, None]], {"taylor": layer.epsilon * per_square})

    return trace.step(trace.name(layer), outputs, share, [vectors])


# ------------------------------------------------------------ from rows to rows, by index


@handler
def gather(trace: Tracing, layer: nn.Module, values: Tensor, index: Tensor) -> Tensor:
    """Rows by index, (n, ...), (rows,) -> (rows, ...): its gradient moves relevance rightly."""
    outputs: Tensor = values.index_select(0, index)
    tag = trace.tag_or_none(values)
    if tag is None:
        return outputs
    source = None if tag.affine is None else tag.affine.gathered(index, outputs.detach())
    return put_tag(outputs, Tag(tag.owner.pick(index), tag.depth, source, gathered=tag.owner))


@handler
def scatter_linear(
    trace: Tracing, layer: nn.Module, values: Tensor, index: Tensor, size: int
) -> Tensor:
    """Sum or mean of rows, (rows, ...) -> (size, ...): each in proportion to what it adds."""
    outputs = trace.ordinary(layer, values, index, size)
    tag = trace.tag_or_none(values)
    if tag is None:
        return outputs
    fixed = values.detach()
    summed = outputs
    if isinstance(layer, layers.ScatterMean):
        summed = fixed.new_zeros(outputs.shape).index_add_(0, index, fixed)

    def share(relevance: Tensor) -> Shares:
        ledger: dict[str, Tensor] = {}
        per_unit = ratio(trace, relevance, summed, ledger)
        to_rows = per_unit.index_select(0, index).mul_(fixed)
        return Shares([trace.from_readout(to_rows, size, tag)], ledger)

    passed = Tag(trace.owner_of_scatter(size, index, tag), tag.depth)
    return trace.step(trace.name(layer), outputs, share, [values], passed)


def winning(largest: Tensor) -> Tensor:
    """What wins beside the largest: atoms that are equal by symmetry differ by rounding.

    Parameters
    ----------
    largest : (rows, F) Tensor

    Returns
    -------
    (rows, F) Tensor
    """
    return torch.sub(largest, largest.abs(), alpha=64 * torch.finfo(largest.dtype).eps)


@handler
def scatter_max(
    trace: Tracing, layer: nn.Module, values: Tensor, index: Tensor, size: int
) -> Tensor:
    """Largest of rows, (rows, F) -> (size, F): the winner takes all."""
    outputs = trace.ordinary(layer, values, index, size)
    tag = trace.tag_or_none(values)
    if tag is None:
        return outputs
    wins = (values.detach() >= winning(outputs).index_select(0, index)).to(outputs.dtype)
    winners = wins.new_zeros(outputs.shape).index_add_(0, index, wins)

    def share(relevance: Tensor) -> Shares:
        ledger: dict[str, Tensor] = {}
        per_winner = ratio(trace, relevance, winners, ledger)
        to_rows = per_winner.index_select(0, index).mul_(wins)
        return Shares([trace.from_readout(to_rows, size, tag)], ledger)

    passed = Tag(trace.owner_of_scatter(size, index, tag), tag.depth)
    return trace.step(trace.name(layer), outputs, share, [values], passed)


# ---------------------------------------------------------------- readout and target scale


@handler
def histogram(trace: Tracing, layer: layers.Histogram, values: Tensor) -> Tensor:
    """Memberships of features in bins: (A, F) -> (A, bins F)."""
    outputs = trace.ordinary(layer, values)
    fixed = values.detach()

    def share(relevance: Tensor) -> Shares:
        memberships = outputs.unflatten(-1, (-1, layer.bins))
        slopes = -(fixed[..., None] - layer.means) / layer.widths**2
        slopes = slopes - (memberships * slopes).sum(-1, keepdim=True)  # d ln y_k / dx
        parts = relevance.unflatten(-1, (-1, layer.bins))
        to_values = (parts * slopes).sum(-1) * fixed
        return Shares([to_values], {"taylor": parts.sum(-1) - to_values})

    return trace.step(trace.name(layer), outputs, share, [values])


@handler
def standardize(trace: Tracing, layer: layers.Standardize, values: Tensor) -> Tensor:
    """From the network's unit scale to the target's: (rows, T) -> (rows, T)."""
    outputs = trace.ordinary(layer, values)
    fixed = values.detach()

    def share(relevance: Tensor) -> Shares:
        ledger: dict[str, Tensor] = {}
        per_unit = ratio(trace, relevance, outputs, ledger)
        ledger["mean"] = per_unit * layer.mean
        return Shares([(per_unit * layer.std * fixed).to(fixed.dtype)], ledger)

    return trace.step(trace.name(layer), outputs, share, [values])


@handler
def atom_reference(trace: Tracing, layer: nn.Module, numbers: Tensor) -> Tensor:
    """Reference energies of elements, (A,) -> (A, T): constants, which only the ledger takes."""
    outputs = trace.ordinary(layer, numbers)
    tag = Tag(trace.owners.of_kind("atom", numbers.shape[0]), 0)

    def share(relevance: Tensor) -> Shares:
        return Shares([None], {"reference": relevance})

    return trace.step(trace.name(layer), outputs, share, [trace.root], tag)


# ------------------------------------------------------------------------------- inputs


@handler
def network_input(trace: Tracing, layer: layers.Input, values: Tensor) -> Tensor:
    """Where data enter, (rows, F): here propagation ends."""
    return trace.source(trace.name(layer), layer.rows, values)


@handler
def embedding(trace: Tracing, layer: nn.Module, index: Tensor) -> Tensor:
    """Learned vectors of elements, or of bonds, (A,) -> (A, F): here propagation ends."""
    return trace.source(trace.name(layer), None, trace.ordinary(layer, index))
