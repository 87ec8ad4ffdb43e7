"""A handler: what the forward of a layer becomes while relevance is traced.

Called with the trace, the layer, and the layer's own arguments it returns the layer's ordinary
output, put on the tape (``hpcml.relevance.engine.tape``) together with a function that shares
the output's relevance among the inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, ParamSpec, Protocol, TypeVar

from torch import Tensor, nn

from hpcml.relevance.engine.owners import Owner, Owners
from hpcml.relevance.engine.rules import Composite
from hpcml.relevance.engine.tape import Share, Tag

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Handler(Generic[P, T]):
    """A handler's function and its marks.

    transparent   the function calls the layer's own forward, or layers within it: what happens
                  there between layers is to be followed too (``functions.interpret``).  Inside
                  all others torch functions are the handler's own arithmetic.
    """

    function: Callable[P, T]
    transparent: bool = False

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.function(*args, **kwargs)


def handler(function: Callable[P, T]) -> Handler[P, T]:
    """Make a function a handler."""
    return Handler(function)


def transparent(function: Callable[P, T]) -> Handler[P, T]:
    """Make a function a handler inside which layers are traced."""
    return Handler(function, transparent=True)


class Tracing(Protocol):
    """What a handler may ask of the trace it is called by; see ``trace.Trace``."""

    composite: Composite
    owners: Owners
    root: Tensor

    def name(self, module: nn.Module) -> str: ...

    def original(self, module: nn.Module) -> Callable[..., Any]: ...

    def ordinary(self, module: nn.Module, *arguments: Any) -> Tensor:
        """Compute the layer's ordinary output, without a graph.

        Returns
        -------
        (rows, ...) Tensor
        """

    def tag_or_none(self, tensor: Tensor) -> Tag | None:
        """Give the tag of a tensor that carries relevance; None for a constant of the network.

        Parameters
        ----------
        tensor : (rows, ...) Tensor
        """

    def joint_tag(self, tensors: Sequence[Tensor], rows: int) -> Tag | None:
        """Give the tag of ``rows`` rows made of the same rows of these tensors; None of constants.

        Parameters
        ----------
        tensors : each (rows, ...) Tensor
        """

    def owner_of_scatter(self, size: int, index: Tensor, tag: Tag) -> Owner:
        """Give the owner of the ``size`` rows that a scatter makes of rows with this tag.

        Parameters
        ----------
        index : (rows,) Tensor of int64
            Where each row falls.
        """

    def from_readout(self, relevance: Tensor, size: int, tag: Tag) -> Tensor:
        """Keep what a scatter to ``size`` rows gives to the atoms that are read out.

        Parameters
        ----------
        relevance : (rows, ...) Tensor

        Returns
        -------
        (rows, ...) Tensor
            Zero for atoms that are not to be read out.
        """

    def source(self, name: str, kind: str | None, values: Tensor) -> Tensor:
        """Make an input of the network a leaf, whose gradient will be its relevance.

        Parameters
        ----------
        values : (rows, F) Tensor

        Returns
        -------
        (rows, F) Tensor
            A leaf of the graph.
        """

    def step(
        self,
        name: str,
        outputs: Tensor,
        share: Share,
        inputs: Sequence[Tensor],
        tag: Tag | None = None,
    ) -> Tensor:
        """Put a layer on the tape; without ``tag`` its rows are those of its inputs.

        Parameters
        ----------
        outputs : (rows, ...) Tensor
            The layer's ordinary output.
        inputs : each (rows, ...) Tensor
            What takes relevance.

        Returns
        -------
        (rows, ...) Tensor
            The outputs, on the tape.
        """

    def untraced(self) -> AbstractContextManager[None]: ...

    def traced(self) -> AbstractContextManager[None]: ...

    def calling(self, function: str) -> str: ...

    def inside(self) -> str: ...

    def overwrite(self, tensor: Tensor, now: Tensor) -> None:
        """From here on a tensor that the model overwrote is another.

        Parameters
        ----------
        tensor, now : (rows, ...) Tensor
        """

    def looked_up(self, call: Any) -> Tensor:
        """Make rows of a table a source.

        Returns
        -------
        (rows, F) Tensor
            A leaf of the graph.
        """

    def refuse(self, module: nn.Module, why: str) -> NoReturn: ...
