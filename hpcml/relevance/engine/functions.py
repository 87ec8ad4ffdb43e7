"""Relevance through the torch functions that a network calls between its layers.

A network's own wiring may move numbers about.  A plain torch module also adds and scales
tensors and calls activations as functions: these are treated as the layer of the same meaning.
Anything else is an error that names it, because its gradient would pass for a relevance
without being one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hpcml.errors import InputError
from hpcml.models import layers
from hpcml.relevance.engine import handlers
from hpcml.relevance.engine.handler import Handler, Tracing
from hpcml.relevance.engine.owners import Owner
from hpcml.relevance.engine.tape import Tag, put_tag, tag_of

_PICKS_ROWS = frozenset({"__getitem__", "index_select"})
_DATA_MOVES = "__getitem__ __get__ index_select narrow select split chunk unbind cat concat stack"
_VIEWS = "view view_as reshape flatten unflatten squeeze unsqueeze t transpose swapaxes permute"
_SAME = "clone contiguous detach double expand expand_as float movedim repeat to type concatenate"
_MOVES = frozenset(f"{_DATA_MOVES} {_VIEWS} {_SAME}".split())


@dataclass(frozen=True)
class Call:
    """A torch function and what it was called with; ``carrying`` are the tensors with a tag."""

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    carrying: list[Tensor]

    def __call__(self) -> Any:
        return self.function(*self.args, **self.kwargs)

    def on(self, first: Tensor) -> Any:
        """The same call with another first argument.

        Parameters
        ----------
        first : (rows, ...) Tensor
        """
        return self.function(first, *self.args[1:], **self.kwargs)

    def tensor(self, place: int) -> Tensor:
        """An argument as a tensor, a number made one.

        Returns
        -------
        (rows, ...) Tensor, or () Tensor of a number
        """
        value = self.args[place]
        return value if isinstance(value, Tensor) else self.carrying[0].detach().new_tensor(value)


def tensors_in(values: Iterable[Any]) -> list[Tensor]:
    """All tensors in nested tuples and lists, in order.

    Returns
    -------
    list of (rows, ...) Tensor
    """
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, tuple | list):
            found += tensors_in(value)
    return found


def interpret(trace: Tracing, function: Any, args: Any, kwargs: Any) -> Any:
    """Call ``function`` so that relevance can follow; InputError where it cannot."""
    carrying = [tensor for tensor in tensors_in(args) if tag_of(tensor) is not None]
    if not carrying:
        return function(*args, **kwargs)
    name = getattr(function, "__name__", str(function))
    name = name if name.endswith("__") else name.rstrip("_")  # add and add_ alike
    call = Call(name, function, args, kwargs, carrying)
    if name in _MOVES:
        return _move(call)
    with trace.untraced():
        if name in _ELEMENT_WISE:
            return _ELEMENT_WISE[name](trace, _Called(call), args[0])
        if name in _ARITHMETIC and len(args) == 2 and not kwargs:
            made = _ARITHMETIC[name](trace, call)
            if made is not None:
                return made
        if name == "neg":
            return _scaled(trace, args[0], -1.0)
        result = call()
    if not any(tensor.requires_grad for tensor in tensors_in((result,))):
        return result  # a shape, a comparison, an index: no signal
    raise InputError(
        f"torch function {name!r} is applied to a signal between layers, where relevance cannot "
        "follow it: use a layer of hpcml.models.layers, or make it a module and declare it with "
        "hpcml.relevance.declare"
    )


# ----------------------------------------------------------- functions that mean a layer


class _Called(nn.Module):
    """An activation called as a function, as a layer."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        named = {key: value for key, value in call.kwargs.items() if key != "inplace"}
        self.call = Call(call.name, call.function, call.args, named, call.carrying)
        self.inplace = True  # the function may be one that overwrites its argument

    def forward(self, values: Tensor) -> Tensor:
        result: Tensor = self.call.on(values)
        return result


def _scaled(trace: Tracing, value: Tensor, factor: float) -> Tensor:
    return handlers.product(trace, layers.Product(), value, value.detach().new_tensor(factor))


def _add(trace: Tracing, call: Call) -> Tensor:
    return handlers.total(trace, layers.Sum(), call.tensor(0), call.tensor(1))


def _subtract(trace: Tracing, call: Call) -> Tensor:
    return handlers.total(trace, layers.Sum(), call.tensor(0), _scaled(trace, call.tensor(1), -1.0))


def _subtract_from(trace: Tracing, call: Call) -> Tensor:
    return handlers.total(trace, layers.Sum(), call.tensor(1), _scaled(trace, call.tensor(0), -1.0))


def _multiply(trace: Tracing, call: Call) -> Tensor | None:
    """By a constant; which of two signals is the gate is not ours to guess."""
    if len(call.carrying) != 1:
        return None
    other = call.tensor(1) if call.carrying[0] is call.args[0] else call.tensor(0)
    return handlers.product(trace, layers.Product(), call.carrying[0], other)


def _divide(trace: Tracing, call: Call) -> Tensor | None:
    """By a constant; one over a signal is no known layer."""
    if len(call.carrying) != 1 or call.carrying[0] is not call.args[0]:
        return None
    inverse = call.tensor(1).reciprocal()
    return handlers.product(trace, layers.Product(), call.carrying[0], inverse)


_ARITHMETIC: dict[str, Callable[[Tracing, Call], Tensor | None]] = {
    "add": _add,
    "sub": _subtract,
    "rsub": _subtract_from,
    "mul": _multiply,
    "div": _divide,
    "true_divide": _divide,
}
_ELEMENT_WISE: dict[str, Handler[..., Tensor]] = {
    **dict.fromkeys(
        ["relu", "leaky_relu", "tanh", "celu", "elu", "silu", "gelu"], handlers.passing
    ),
    **dict.fromkeys(["sigmoid", "softplus"], handlers.linearized),
}


# ------------------------------------------------------------------ functions that move


def _move(call: Call) -> Any:
    """Do the move, and tag what it made with the owner of its rows.

    Where the rows cannot be told no tag is put, and the next layer reports it.
    """
    result = call()
    tags = [tag for tag in map(tag_of, call.carrying) if tag is not None]
    for number, moved in enumerate(tensors_in((result,))):
        if moved.requires_grad and moved.dim() and tag_of(moved) is None:
            owner = _owner_of(call, number, moved.shape[0], [tag.owner for tag in tags])
            if owner is not None:
                put_tag(moved, Tag(owner, max(tag.depth for tag in tags)))
    return result


def _owner_of(call: Call, number: int, rows: int, owners: list[Owner]) -> Owner | None:
    """The owner of the rows of the move's result of this number."""
    before, device = len(owners[0]), owners[0].molecule.device
    numbers = torch.arange(before, device=device)
    picked = _picked(call, number, numbers) if len(owners) == 1 else None
    told = picked is not None and (rows != before or call.name in _PICKS_ROWS)
    if told and picked is not None and picked.shape == (rows,):
        return owners[0].pick(picked)
    if rows == before:
        return Owner.merged(owners) if {len(one) for one in owners} == {rows} else owners[0]
    if rows == sum(map(len, owners)):
        return Owner.joined(owners)
    if rows % before:
        return None
    times = rows // before
    if call.name == "repeat":
        return owners[0].pick(numbers.repeat(times))
    return owners[0].pick(numbers.repeat_interleave(times))  # rows split by a view


def _picked(call: Call, number: int, numbers: Tensor) -> Tensor | None:
    """The move done to the numbers of the rows alone, if it has a meaning for one axis."""
    args = call.args
    if call.name == "__getitem__" and isinstance(args[1], tuple):
        args = (args[0], args[1][0])
    try:
        pieces = tensors_in((call.function(numbers, *args[1:], **call.kwargs),))
    except (IndexError, RuntimeError, TypeError):
        return None  # a move along another axis than the rows
    return pieces[number] if number < len(pieces) else None
