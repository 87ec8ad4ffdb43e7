"""How each type of layer hands relevance back: one short function a type.

A handler gets the trace, the layer and the layer's arguments, computes the ordinary output,
and states how the output's relevance R is shared:

affine layers           by the rule for their depth, on vectors (A, 3, F) always by LRP-0; batch
                        normalization is folded into the affine layer before it, and is a
                        diagonal affine layer elsewhere
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

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hpcml.models import layers
from hpcml.relevance.engine.rules import Epsilon, spread
from hpcml.relevance.engine.tape import Affine, Shares, Tag, put_tag

if TYPE_CHECKING:
    from hpcml.relevance.engine.trace import Trace

Handler = Callable[..., Any]


def ratio(
    trace: Trace, relevance: Tensor, total: Tensor, ledger: dict[str, Tensor] | None = None
) -> Tensor:
    """Relevance per unit of a sum, 0 where the sum vanishes.

    Under proportional rules relevance vanishes with the sum; under others what is lost there
    is put into the ledger as "epsilon".
    """
    per_unit = (relevance / total).nan_to_num_(0.0, 0.0, 0.0)
    if ledger is not None and not trace.composite.proportional:
        ledger["epsilon"] = relevance * (per_unit == 0)
    return per_unit


def reduce_to(relevance: Tensor, tensor: Tensor) -> Tensor:
    """Sum over the axes along which ``tensor`` was broadcast."""
    return relevance.sum_to_size(tensor.shape)


# ------------------------------------------------------------------------------ affine


def affine(trace: Trace, name: str, source: Affine) -> Tensor:
    """Put an affine layer on the tape, whole or with a normalization folded in."""
    # of vectors (A, 3, F) only this rule is the same whichever way the axes point
    rule = Epsilon(0.0) if source.inputs.dim() > 2 else trace.composite.rule(source.depth)
    tag = trace.tag_or_none(source.inputs)
    assert tag is not None  # the callers made sure
    outputs = source.outputs

    def share(relevance: Tensor) -> Shares:
        taken = spread(
            rule,
            source.weight,
            source.bias,
            inputs=source.inputs.detach(),
            outputs=outputs,
            relevance=relevance,
            proportional=trace.composite.proportional,
        )
        return Shares([taken.inputs], {"bias": taken.bias, "epsilon": taken.epsilon})

    passed = Tag(tag.owner, source.depth + 1, source)
    return trace.step(name, outputs, share, [source.inputs], passed)


def linear(trace: Trace, layer: nn.Linear, values: Tensor) -> Tensor:
    weight = layer.weight.detach()
    bias = weight.new_zeros(weight.shape[0]) if layer.bias is None else layer.bias.detach()
    outputs = nn.functional.linear(values.detach(), weight, bias)
    tag = trace.tag_or_none(values)
    if tag is None:
        return outputs
    name = trace.name(layer)
    return affine(trace, name, Affine(name, values, weight, bias, outputs, tag.depth))


def batch_norm(trace: Trace, layer: nn.BatchNorm1d, values: Tensor) -> Tensor:
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
    before = tag.affine
    if before is not None:
        folded = Affine(
            before.name,
            before.inputs,
            before.weight * scale[:, None],
            before.bias * scale + shift,
            outputs,
            before.depth,
        )
        return affine(trace, before.name, folded)

    def share(relevance: Tensor) -> Shares:
        ledger: dict[str, Tensor] = {}
        per_unit = ratio(trace, relevance, outputs, ledger)
        ledger["bias"] = per_unit @ shift
        return Shares([per_unit.mul_(fixed).mul_(scale)], ledger)

    return trace.step(trace.name(layer), outputs, share, [values])


# ------------------------------------------------------------------------- element-wise


def passing(trace: Trace, layer: nn.Module, values: Tensor) -> Tensor:
    """Element-wise with f(0) = 0: the identity rule."""
    fixed = values.detach().clone() if getattr(layer, "inplace", False) else values
    outputs = trace.ordinary(layer, fixed)
    return trace.step(trace.name(layer), outputs, lambda relevance: Shares([relevance]), [values])


def linearized(trace: Trace, layer: nn.Module, values: Tensor) -> Tensor:
    """Element-wise with f(0) != 0: f(x) = x f'(x) and a rest, which is "taylor"."""
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


def unchanged(trace: Trace, layer: nn.Module, values: Tensor) -> Tensor:
    """The identity, or what is the identity outside training."""
    return values


def structural(trace: Trace, layer: nn.Module, *arguments: Any) -> Tensor:
    """A layer that only moves numbers: its ordinary gradient moves relevance rightly."""
    result: Tensor = trace.original(layer)(*arguments)
    return result


# ------------------------------------------------------------- sums, products, and the like


def total(trace: Trace, layer: nn.Module, *tensors: Tensor) -> Tensor:
    """Sum of tensors; those that carry no relevance are constants."""
    fixed = [tensor.detach() for tensor in tensors]
    outputs = trace.ordinary(layer, *tensors)
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


def product(trace: Trace, layer: nn.Module, signal: Tensor, gate: Tensor) -> Tensor:
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
    return trace.step(
        trace.name(layer), outputs, lambda relevance: Shares([reduce_to(relevance, like)]), [taker]
    )


def dot(trace: Trace, layer: nn.Module, left: Tensor, right: Tensor) -> Tensor:
    outputs = trace.ordinary(layer, left, right)
    terms = left.detach() * right.detach()
    carrying = [tensor for tensor in (left, right) if trace.tag_or_none(tensor) is not None]

    def share(relevance: Tensor) -> Shares:
        ledger: dict[str, Tensor] = {}
        per_unit = ratio(trace, relevance, outputs, ledger)
        each = terms * per_unit[:, None] / max(len(carrying), 1)
        return Shares([each] * len(carrying), ledger)

    return trace.step(trace.name(layer), outputs, share, carrying)


def norm(trace: Trace, layer: layers.Norm, vectors: Tensor) -> Tensor:
    outputs = trace.ordinary(layer, vectors)
    squares = vectors.detach() ** 2

    def share(relevance: Tensor) -> Shares:
        per_square = relevance / (outputs * outputs)
        return Shares([squares * per_square[:, None]], {"taylor": layer.epsilon * per_square})

    return trace.step(trace.name(layer), outputs, share, [vectors])


# ------------------------------------------------------------ from rows to rows, by index


def gather(trace: Trace, layer: nn.Module, values: Tensor, index: Tensor) -> Tensor:
    outputs: Tensor = values.index_select(0, index)
    tag = trace.tag_or_none(values)
    if tag is None:
        return outputs
    owner = tag.owner.index_select(0, index)
    return put_tag(outputs, Tag(owner, tag.depth, gathered=tag.owner))


def scatter_linear(
    trace: Trace, layer: nn.Module, values: Tensor, index: Tensor, size: int
) -> Tensor:
    """Sum or mean over rows: each row in proportion to what it adds."""
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
        return Shares([trace.from_readout(to_rows, size, tag.owner)], ledger)

    passed = Tag(trace.owner_of_rows(size, index, tag), tag.depth)
    return trace.step(trace.name(layer), outputs, share, [values], passed)


def winning(largest: Tensor) -> Tensor:
    """What wins beside the largest: atoms that are equal by symmetry differ by rounding."""
    return torch.sub(largest, largest.abs(), alpha=64 * torch.finfo(largest.dtype).eps)


def scatter_max(trace: Trace, layer: nn.Module, values: Tensor, index: Tensor, size: int) -> Tensor:
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
        return Shares([trace.from_readout(to_rows, size, tag.owner)], ledger)

    passed = Tag(trace.owner_of_rows(size, index, tag), tag.depth)
    return trace.step(trace.name(layer), outputs, share, [values], passed)


# ---------------------------------------------------------------- readout and target scale


def histogram(trace: Trace, layer: layers.Histogram, values: Tensor) -> Tensor:
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


def standardize(trace: Trace, layer: layers.Standardize, values: Tensor) -> Tensor:
    outputs = trace.ordinary(layer, values)
    fixed = values.detach()

    def share(relevance: Tensor) -> Shares:
        ledger: dict[str, Tensor] = {}
        per_unit = ratio(trace, relevance, outputs, ledger)
        ledger["mean"] = per_unit * layer.mean
        return Shares([(per_unit * layer.std * fixed).to(fixed.dtype)], ledger)

    return trace.step(trace.name(layer), outputs, share, [values])


def atom_reference(trace: Trace, layer: nn.Module, numbers: Tensor) -> Tensor:
    outputs = trace.ordinary(layer, numbers)
    tag = Tag(trace.owners.of_kind("atom", numbers.shape[0]), 0)

    def share(relevance: Tensor) -> Shares:
        return Shares([None], {"reference": relevance})

    return trace.step(trace.name(layer), outputs, share, [trace.nothing], tag)


# ------------------------------------------------------------------------------- inputs


def network_input(trace: Trace, layer: layers.Input, values: Tensor) -> Tensor:
    return trace.source(trace.name(layer), layer.rows, values)


def embedding(trace: Trace, layer: nn.Module, index: Tensor) -> Tensor:
    return trace.source(trace.name(layer), "atom", trace.ordinary(layer, index))
