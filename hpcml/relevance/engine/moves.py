"""Functions that only move numbers: views, picks, joins, and fills.

Autograd's own gradient of a move moves relevance as the move moves numbers.  What is left to
do is to say what the moved cells stand for, and to book what falls on constants moved in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hpcml.relevance.engine.calls import Call, exchanged, tensors_in
from hpcml.relevance.engine.handler import Tracing
from hpcml.relevance.engine.owners import NO_MOLECULE, Owner
from hpcml.relevance.engine.tape import Shares, Tag, put_tag, tag_of

_PICKS = "getitem index_select narrow select split chunk tensor_split unbind gather take_along_dim"
_JOINS = "cat concat concatenate stack hstack vstack dstack column_stack"
_VIEWS = "get view view_as reshape reshape_as flatten unflatten ravel squeeze unsqueeze t transpose"
_TURNS = "swapaxes swapdims permute movedim moveaxis flip roll rot90 diagonal unfold"
_SPREADS = "expand expand_as broadcast_to broadcast_tensors repeat tile repeat_interleave"
_FILLS = "where masked_fill index_fill pad setitem tril triu masked_select atleast_2d scatter copy"
_SAME = "clone contiguous detach double float half bfloat16 to type type_as positive requires_grad"
MOVES = frozenset(f"{_PICKS} {_JOINS} {_VIEWS} {_TURNS} {_SPREADS} {_FILLS} {_SAME}".split())
_CATS = ("cat", "concat", "concatenate")
_CUTS = ("chunk", "split", "tensor_split")
_UNMOVED = frozenset(_SAME.split())
_NUMBERS = {  # where a number is moved in
    "where": (1, 2), "masked_fill": (2,), "index_fill": (3,), "setitem": (2,), "pad": (3,),
    "scatter": (3,),
}  # fmt: skip


def move(trace: Tracing, call: Call) -> Any:
    """Do a move, and tag what it made."""
    result = call()
    moved = [one for one in tensors_in((result,)) if one.requires_grad and tag_of(one) is None]
    if not moved:
        return result
    nature = call.tags[0].nature if len({tag.nature for tag in call.tags}) == 1 else ""
    constants = _constants(call)
    if call.name in _UNMOVED or _keeps_rows(call):
        owners = [call.owners[0]] * len(tensors_in((result,)))
    else:
        owners = _owners(call, trace.owners.atoms)
    gathered = call.owners[0] if call.name in ("getitem", "index_select") else None
    if isinstance(result, Tensor):
        tag = Tag(owners[0], call.depth, gathered=gathered, nature=nature)
        return _filled(trace, call, result, tag) if constants else put_tag(result, tag)
    for one, owner in zip(tensors_in((result,)), owners, strict=True):
        if one.requires_grad:
            put_tag(one, Tag(owner, call.depth, nature=nature))
    return result


def _constants(call: Call) -> bool:
    """Whether anything else than signals is moved."""
    if any(_is_number(call.argument(place, "value")) for place in _NUMBERS.get(call.name, ())):
        return True
    return any(tag_of(tensor) is None and _is_moved(tensor) for tensor in call.tensors)


def _is_moved(tensor: Tensor) -> bool:
    return tensor.is_floating_point()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _with_cells(call: Call, signals: list[Tensor], constant: Any) -> Any:
    """The move done with other cells: these for the signals', one value for all constants'."""
    like = signals[0]
    pairs = {id(old): new for old, new in zip(call.signals, signals, strict=True)}

    def exchange(tensor: Tensor) -> Any:
        if id(tensor) in pairs:
            return pairs[id(tensor)]
        return torch.full_like(tensor, constant, dtype=like.dtype) if _is_moved(tensor) else tensor

    args, kwargs = list(call.args), dict(call.kwargs)
    for place in _NUMBERS.get(call.name, ()):
        if len(args) > place and _is_number(args[place]):
            args[place] = constant
        elif place < 4 and _is_number(kwargs.get("value")):
            kwargs["value"] = constant
    return call.function(*exchanged(tuple(args), exchange), **exchanged(kwargs, exchange))


def _owners(call: Call, nobody: int) -> list[Owner]:
    """The owners of everything that the move makes."""
    shapes: list[Sequence[int]] = [signal.shape for signal in call.signals]
    if _by_rows(call) and _moves_rows(call):
        shapes = [(shape[0], *[1] * (len(shape) - 1)) for shape in shapes]
    full = [owner.like(shape).numbers() for owner, shape in zip(call.owners, shapes, strict=True)]
    parts = []
    for part, constant in enumerate((NO_MOLECULE, nobody, nobody)):
        parts.append(
            tensors_in((_with_cells(call, [one[part].contiguous() for one in full], constant),))
        )
    made = zip(*parts, strict=True)
    owners = [Owner(molecule, torch.stack(ends), nobody) for molecule, *ends in made]
    return [one if one.molecule.dim() == 0 else one.compact().filled() for one in owners]


def _by_rows(call: Call) -> bool:
    """Whether each row of each signal stands for one thing, whatever its other axes."""
    pairs = zip(call.owners, call.signals, strict=True)
    return all(owner.molecule.dim() == 1 < signal.dim() for owner, signal in pairs)


def _axis(call: Call, place: int) -> int:
    axis = int(call.argument(place, "dim", call.kwargs.get("axis", 0)))
    return axis % call.signals[0].dim()


def _keeps_rows(call: Call) -> bool:
    """Whether every row stays where it is: features side by side, or some of them."""
    if not _by_rows(call):
        return False
    if call.name in _CATS:
        return _axis(call, 1) > 0 and _alike(call.owners)
    if call.name in _CUTS:
        return _axis(call, 2) > 0
    index = call.args[1] if call.name == "getitem" else None
    if not isinstance(index, tuple) or not _is_whole(index[0]):
        return False
    return all(one is None or isinstance(one, int | slice) for one in index[1:])


def _is_whole(index: Any) -> bool:
    return isinstance(index, slice) and index == slice(None)


def _alike(owners: Sequence[Owner]) -> bool:
    """Whether the rows of all stand for the same."""
    first = owners[0]
    return all(
        one.atoms is first.atoms
        or (torch.equal(one.molecule, first.molecule) and torch.equal(one.atoms, first.atoms))
        for one in owners[1:]
    )


def _moves_rows(call: Call) -> bool:
    """Whether rows are moved as they are, so that one cell of each tells where it went."""
    if _constants(call):
        return False
    if call.name in (*_CATS, "index_select"):
        return _axis(call, 1) == 0
    if call.name in _CUTS:
        return _axis(call, 2) == 0
    if call.name == "repeat":
        sizes = call.args[1:] if len(call.args) > 2 else call.argument(1, "repeats")
        whole = isinstance(sizes, tuple | list) and len(sizes) == call.signals[0].dim()
        return whole and all(size == 1 for size in sizes[1:])
    if call.name == "getitem":
        index = call.args[1]
        return isinstance(index, slice) or (isinstance(index, Tensor) and index.dim() == 1)
    return False


def _filled(trace: Tracing, call: Call, result: Tensor, tag: Tag) -> Tensor:
    """What constants were moved into: their relevance is the bias's."""
    ones = [torch.ones_like(signal.detach()) for signal in call.signals]
    constant = 1.0 - _with_cells(call, ones, 0.0)

    def share(relevance: Tensor) -> Shares:
        return Shares([relevance], {"bias": relevance * constant})

    return trace.step(call.where, result, share, [result], tag)
