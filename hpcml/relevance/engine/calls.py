"""A torch function and what a model called it with, seen as a function of its signals.

A *signal* is a tensor that carries relevance.  Everything else that a call is given, weights,
indices, shapes, numbers, is a constant.

A function that overwrites its argument is called in the form that does not; from then on the
overwritten tensor is another one, which ``current`` knows.  So no tensor that a rule has kept
for the backward changes under its hands.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hpcml.relevance.engine.owners import Owner
from hpcml.relevance.engine.tape import Tag, tag_of

_NOW = "_relevance_now"
_NOT_THE_MODEL = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]))


def tensors_in(values: Iterable[Any]) -> list[Tensor]:
    """All tensors in nested tuples, lists and dictionaries, in order.

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
        elif isinstance(value, dict):
            found += tensors_in(value.values())
    return found


def exchanged(value: Any, exchange: Callable[[Tensor], Any]) -> Any:
    """The same tuples, lists and dictionaries with other tensors."""
    if isinstance(value, Tensor):
        return exchange(value)
    if isinstance(value, dict):
        return {key: exchanged(one, exchange) for key, one in value.items()}
    if isinstance(value, tuple | list) and tensors_in(value):
        made = [exchanged(one, exchange) for one in value]
        named = hasattr(value, "_fields")
        return type(value)(*made) if named else type(value)(made)
    return value


def current(tensor: Tensor) -> Tensor:
    """What a tensor is now, if it was overwritten or stands for an input of the model.

    Parameters
    ----------
    tensor : (rows, ...) Tensor

    Returns
    -------
    (rows, ...) Tensor
    """
    now: Tensor | None = getattr(tensor, _NOW, None)
    return tensor if now is None else current(now)


def become(tensor: Tensor, now: Tensor | None) -> None:
    """From here on ``tensor`` is ``now``; None: itself again.

    Parameters
    ----------
    tensor : (rows, ...) Tensor
    now : (rows, ...) Tensor, or None
    """
    if now is not None:
        setattr(tensor, _NOW, now)
    elif hasattr(tensor, _NOW):
        delattr(tensor, _NOW)


@dataclass(frozen=True)
class Call:
    """A torch function and its arguments.

    name      without the underscores of operators and of overwriting
    where     the layer in which it was called, and its own name, for the ledger
    """

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    where: str = ""

    def __call__(self) -> Any:
        return self.function(*self.args, **self.kwargs)

    @cached_property
    def tensors(self) -> list[Tensor]:
        """Every tensor (rows, ...) among the arguments, as often as it stands there."""
        return tensors_in((*self.args, *self.kwargs.values()))

    @cached_property
    def signals(self) -> list[Tensor]:
        """Tensors (rows, ...) that carry relevance, each once."""
        found: list[Tensor] = []
        for tensor in self.tensors:
            if tag_of(tensor) is not None and not any(tensor is one for one in found):
                found.append(tensor)
        return found

    @cached_property
    def tags(self) -> list[Tag]:
        """Of the signals."""
        return [tag for tag in map(tag_of, self.signals) if tag is not None]

    @property
    def depth(self) -> int:
        """Affine layers passed on the way to the deepest signal."""
        return max(tag.depth for tag in self.tags)

    @property
    def owners(self) -> list[Owner]:
        """Of the signals."""
        return [tag.owner for tag in self.tags]

    def on(self, *signals: Tensor) -> Any:
        """The same call of other signals.

        Parameters
        ----------
        *signals : each (rows, ...) Tensor
        """
        pairs = {id(old): new for old, new in zip(self.signals, signals, strict=True)}
        return self.with_tensors(lambda tensor: pairs.get(id(tensor), tensor))

    def with_tensors(self, exchange: Callable[[Tensor], Any]) -> Any:
        """The same call of other tensors."""
        args = exchanged(self.args, exchange)
        return self.function(*args, **exchanged(dict(self.kwargs), exchange))

    def other(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Call:
        """Another function called in the same place."""
        return Call(getattr(function, "__name__", ""), function, args, kwargs, self.where)

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """An argument given by place or by name."""
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, default)

    def keeping(self) -> tuple[Call, bool]:
        """The call in the form that overwrites nothing, and whether this one did."""
        name = getattr(self.function, "__name__", "")
        if name == "__setitem__":
            return replace(self, name="setitem", function=_with_item), True
        if name.endswith("_") and not name.endswith("__"):
            for home in (torch.Tensor, torch, torch.nn.functional):
                keeping = getattr(home, name.rstrip("_"), None)
                if keeping is not None:
                    return replace(self, function=keeping), True
            if name == "copy_":
                return replace(self, function=_copy), True
        if _can_overwrite(self.function):
            bound = inspect.signature(self.function).bind(*self.args, **self.kwargs)
            overwrites = bool(bound.arguments.get("inplace", False))
            bound.arguments["inplace"] = False
            return replace(self, args=bound.args, kwargs=bound.kwargs), overwrites
        return self, False


def _with_item(tensor: Tensor, index: Any, value: Any) -> Tensor:
    made = tensor.clone()
    made[index] = value
    return made


def _copy(tensor: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    return source.to(tensor.dtype).expand(tensor.shape).clone()


@cache
def _can_overwrite(function: Callable[..., Any]) -> bool:
    try:
        return inspect.isfunction(function) and "inplace" in inspect.signature(function).parameters
    except ValueError:  # written in C
        return False


def name_of(function: Callable[..., Any]) -> str:
    """A function's name, without the underscores of operators and of overwriting."""
    name = getattr(function, "__name__", str(function))
    return name.strip("_")


def calling_layer(names: Mapping[nn.Module, str]) -> nn.Module | None:
    """The innermost of these layers that is being called."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_varnames[:1] == ("self",):
            layer = frame.f_locals.get("self")
            if isinstance(layer, nn.Module) and layer in names:
                return layer
        frame = frame.f_back  # type: ignore[assignment]
    return None


def calling_line() -> str:
    """The line of the model that is being executed: its file, number, and function."""
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if not code.co_filename.startswith(_NOT_THE_MODEL):
            return f"{code.co_filename}:{frame.f_lineno}, in {code.co_name}"
        frame = frame.f_back  # type: ignore[assignment]
    return "no line of the model"
