"""Functions that make one cell out of many: sums, products, norms, softmax, maxima.

All but maxima share their relevance R by one statement, with z the ordinary output:

    relevance of an input = input * (vector-Jacobian product with R / z) / n

which is in proportion to what each input adds where the function is linear in its signals
(n = 1), an equal share for each of the n factors of a product of signals (Achtibat et al.,
ICML 2024, arXiv 2402.05602, eqs. 14-15), v_c^2 / |v|^2 for a length, and for the softmax the
first step of its Taylor series, x_i (R_i - s_i sum R) (eq. 13 there).  What it leaves of R is a
constant's ("bias") or the series' rest ("taylor").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from hpcml.relevance.engine.calls import Call
from hpcml.relevance.engine.handler import Tracing
from hpcml.relevance.engine.handlers import ratio, winning
from hpcml.relevance.engine.owners import NO_MOLECULE, SEVERAL, Owner
from hpcml.relevance.engine.tape import Shares, Tag, tag_of


def shared(
    trace: Tracing,
    where: str,
    function: Callable[..., Tensor],
    signals: Sequence[Tensor],
    tag: Tag,
    *,
    degree: int = 1,
    rest: str = "bias",
) -> Tensor:
    """Put a function of several signals on the tape.

    Parameters
    ----------
    function
        Of the signals.
    signals : each (rows, ...) Tensor
    tag
        Of the output.
    degree
        How many signals are multiplied with each other.
    rest
        "bias" of a function that is linear in all signals together; "taylor" of any; "" of one
        that is homogeneous of this degree, so that nothing is left.

    Returns
    -------
    (rows, ...) Tensor
        The function's value, on the tape.
    """
    fixed = [signal.detach() for signal in signals]
    with torch.no_grad():
        outputs = function(*fixed)
        left = function(*map(torch.zeros_like, fixed)) if rest == "bias" else None
    if rest == "taylor":
        step = torch.func.jvp(function, tuple(fixed), tuple(fixed))[1]
        left = (outputs - step).nan_to_num_(0.0, 0.0, 0.0)
    if left is not None and not bool(left.any()):
        left = None

    def share(relevance: Tensor) -> Shares:
        ledger: dict[str, Tensor] = {}
        per_unit = ratio(trace, relevance, outputs, ledger)
        if left is not None:
            ledger[rest] = per_unit * left
        with torch.enable_grad():
            leaves = [one.detach().requires_grad_() for one in fixed]
            made = function(*leaves)
            products = torch.autograd.grad(made, leaves, per_unit, allow_unused=True)
        each = [
            None if product is None else (one * product).nan_to_num_(0.0, 0.0, 0.0).div_(degree)
            for one, product in zip(fixed, products, strict=True)
        ]
        return Shares(each, ledger)

    return trace.step(where, outputs, share, signals, tag)


def times(call: Call) -> int:
    """How often a signal stands among a call's arguments."""
    return sum(1 for tensor in call.tensors if tag_of(tensor) is not None)


# ------------------------------------------------------------------ what the cells stand for


def owner_of_cells(call: Call, shape: torch.Size) -> Owner:
    """Owner of what a function makes cell by cell of signals that broadcast."""
    owner = Owner.broadcast(call.owners, [signal.shape for signal in call.signals])
    if shape == torch.broadcast_shapes(*(signal.shape for signal in call.signals)):
        return owner
    full = owner.like(torch.broadcast_shapes(*(signal.shape for signal in call.signals)))
    return Owner(full.molecule.expand(shape), full.atoms.expand(2, *shape), owner.nobody).compact()


def owner_of_sums(call: Call, nobody: int) -> Owner:
    """Owner of what is linear in each of a call's signals, by asking what goes into each cell.

    The same function is done with numbers of molecules and of atoms in place of the signals: where
    their mean is the number of every one, the cell is that molecule's, or that atom's.
    """
    owners = []
    for signal, owner in zip(call.signals, call.owners, strict=True):
        full = owner.like(signal.shape)
        present = (full.molecule != NO_MOLECULE).double()
        how_many = _in_place_of(call, signal, present)
        (molecule, one), first, last = (
            _mean(call, signal, part, present, how_many) for part in full.numbers()
        )
        molecule = molecule.masked_fill(~one, SEVERAL).masked_fill(how_many <= 0, NO_MOLECULE)
        mine = one & first[1] & last[1] & (how_many > 0)
        atoms = torch.stack([end.masked_fill(~mine, nobody) for end in (first[0], last[0])])
        owners.append(Owner(molecule, atoms, nobody))
    if owners[0].molecule.dim() == 0:
        return Owner.merged(owners)
    return Owner.broadcast([o.compact() for o in owners], [o.molecule.shape for o in owners])


def _in_place_of(call: Call, signal: Tensor, values: Tensor) -> Tensor:
    """The call with these values for one signal, ones for the others, sizes for weights."""

    def exchange(tensor: Tensor) -> Tensor:
        if tensor is signal:
            return values
        if tag_of(tensor) is not None:
            return torch.ones_like(tensor, dtype=torch.float64)
        return tensor.abs().double() if tensor.is_floating_point() else tensor

    made: Tensor = call.with_tensors(exchange)
    return made


def _mean(
    call: Call, signal: Tensor, numbers: Tensor, present: Tensor, how_many: Tensor
) -> tuple[Tensor, Tensor]:
    """The mean of the numbers that go into each cell, and whether they are all the same."""
    above = numbers.double() + 3.0  # SEVERAL and NO_MOLECULE are below zero
    root = 1.0 / sum(1 for tensor in call.tensors if tensor is signal)  # x y: its own factor
    mean = _in_place_of(call, signal, above**root * present) / how_many
    square = _in_place_of(call, signal, above ** (2 * root) * present) / how_many
    spread = (square - mean * mean).nan_to_num(0.0).abs()
    whole = (mean - 3.0).round().nan_to_num(0.0, 0.0, 0.0).long()
    return whole, spread <= 1e-9 + 1e-13 * mean * mean


def owner_along(call: Call, axes: Sequence[int], keep: bool) -> Owner:
    """Owner of what is made of one signal's cells along these axes."""
    (signal,) = call.signals
    axes = [axis % max(signal.dim(), 1) for axis in axes] or list(range(signal.dim()))
    owner = call.owners[0].like(signal.shape).reduced(axes)
    if not keep:
        kept = [n for axis, n in enumerate(signal.shape) if axis not in axes]
        owner = Owner(owner.molecule.reshape(kept), owner.atoms.reshape(2, *kept), owner.nobody)
    return owner.compact() if owner.molecule.dim() else owner


def axes_of(call: Call, place: int = 1) -> tuple[list[int], bool]:
    """The axes that a call names, none for all, and whether it keeps them."""
    axes = call.argument(place, "dim", call.kwargs.get("axis"))
    keep = bool(call.argument(place + 1, "keepdim", False))
    if axes is None:
        return [], keep
    return ([axes] if isinstance(axes, int) else list(axes)), keep


# --------------------------------------------------------------------- what a call means


def linear_sum(trace: Tracing, call: Call) -> Tensor:
    """Whatever is linear in all signals together: sums, means, products with constants.

    Returns
    -------
    (rows, ...) Tensor
        On the tape.
    """
    outputs_owner = owner_of_sums(call, trace.owners.atoms)
    return shared(trace, call.where, call.on, call.signals, Tag(outputs_owner, call.depth))


def along_axes(trace: Tracing, call: Call) -> Tensor:
    """Sum or mean along axes.

    Returns
    -------
    (rows, ...) Tensor
        On the tape.
    """
    owner = owner_along(call, *axes_of(call))
    return shared(trace, call.where, call.on, call.signals, Tag(owner, call.depth), rest="")


def length(trace: Tracing, call: Call) -> Tensor:
    """A norm: homogeneous of degree one.

    Returns
    -------
    (rows, ...) Tensor
        On the tape.
    """
    owner = owner_along(call, *axes_of(call, 2))
    return shared(trace, call.where, call.on, call.signals, Tag(owner, call.depth), rest="")


def softmax(trace: Tracing, call: Call) -> Tensor:
    """Softmax and its like along an axis: the first step of the Taylor series.

    Returns
    -------
    (rows, ...) Tensor
        On the tape.
    """
    (signal,) = call.signals
    axes, _ = axes_of(call)
    owner = call.owners[0].like(signal.shape).reduced([axis % signal.dim() for axis in axes])
    full = Owner(
        owner.molecule.expand(signal.shape), owner.atoms.expand(2, *signal.shape), owner.nobody
    )
    merged = Owner.merged([call.owners[0].like(signal.shape), full]) if axes else full
    tag = Tag(merged.compact(), call.depth, nature="gate" if call.name == "softmax" else "")
    return shared(trace, call.where, call.on, call.signals, tag, rest="taylor")


def log_of_sum(trace: Tracing, call: Call) -> Tensor:
    """Log of the sum of exponentials along axes: the first step of the Taylor series.

    Returns
    -------
    (rows, ...) Tensor
        On the tape.
    """
    owner = owner_along(call, *axes_of(call))
    return shared(trace, call.where, call.on, call.signals, Tag(owner, call.depth), rest="taylor")


def largest(trace: Tracing, call: Call) -> Any:
    """Largest or least along axes: the winner takes all, equal winners share alike."""
    axes, keep = axes_of(call)
    (signal,) = call.signals
    with torch.no_grad():
        result = call()
    outputs = result if isinstance(result, Tensor) else result[0]
    owner = owner_along(call, axes, keep)
    every = [axis % signal.dim() for axis in axes] or list(range(signal.dim()))
    kept = [1 if axis in every else n for axis, n in enumerate(signal.shape)]
    best = outputs.reshape(kept)
    values = signal.detach()
    least = call.name in ("min", "amin")
    wins = (-values >= winning(-best)) if least else (values >= winning(best))
    part = wins.to(values.dtype)
    part = part / part.sum(every, keepdim=True)

    def share(relevance: Tensor) -> Shares:
        return Shares([relevance.reshape(kept) * part])

    made = trace.step(call.where, outputs, share, [signal], Tag(owner, call.depth))
    return made if isinstance(result, Tensor) else type(result)((made, *result[1:]))


def fallen(trace: Tracing, call: Call) -> Tensor:
    """Sums, means and maxima of rows by index: index_add, scatter_add, scatter_reduce, ...

    Returns
    -------
    (rows, ...) Tensor
        On the tape.
    """
    reduce = call.kwargs.get("reduce", call.args[4] if len(call.args) > 4 else "sum")
    tag = Tag(_owner_of_fallen(trace, call), call.depth)
    if call.name not in ("scatter_reduce", "index_reduce") or reduce in ("sum", "mean"):
        return shared(trace, call.where, call.on, call.signals, tag)
    if reduce not in ("amax", "amin"):
        raise NotImplementedError(f"{call.name} with reduce={reduce!r}")
    return _winners(trace, call, tag, reduce)


def _owner_of_fallen(trace: Tracing, call: Call) -> Owner:
    into, axis = call.args[0], call.argument(1, "dim")
    index = call.argument(2, "index")
    source = call.argument(3, "source", call.kwargs.get("src"))
    tag = tag_of(source) if isinstance(source, Tensor) else None
    rows = index
    while isinstance(rows, Tensor) and rows.dim() > 1 and rows.stride(-1) == 0:
        rows = rows[..., 0]
    one_axis = isinstance(rows, Tensor) and rows.dim() == 1 and axis == 0
    if tag is not None and one_axis and tag.owner.molecule.dim() == 1 and len(rows) == len(source):
        return trace.owner_of_scatter(into.shape[0], rows, tag)
    if call.kwargs.get("reduce") in (None, "sum", "mean"):
        return owner_of_sums(call, trace.owners.atoms)
    kwargs = {**call.kwargs, "reduce": "sum"}
    return owner_of_sums(Call(call.name, call.function, call.args, kwargs), trace.owners.atoms)


def _winners(trace: Tracing, call: Call, tag: Tag, reduce: str) -> Tensor:
    """Largest of the rows that fall on a cell; what was there before is refused."""
    into, axis, index, source = call.args[:4]
    if tag_of(into) is not None or call.kwargs.get("include_self", True):
        raise NotImplementedError(f"{call.name} with reduce={reduce!r} and include_self=True")
    with torch.no_grad():
        outputs = call.on(*(signal.detach() for signal in call.signals))
    values = source.detach()
    if call.name == "index_reduce":
        ones = [1] * values.dim()
        ones[axis] = -1
        index = index.view(ones).expand(values.shape)
    sign = 1.0 if reduce == "amax" else -1.0
    wins = (sign * values >= winning(sign * outputs).gather(axis, index)).to(values.dtype)
    winners = torch.zeros_like(outputs).scatter_add_(axis, index, wins)

    def share(relevance: Tensor) -> Shares:
        per_winner = ratio(trace, relevance, winners)
        return Shares([per_winner.gather(axis, index) * wins])

    return trace.step(call.where, outputs, share, [source], tag)
