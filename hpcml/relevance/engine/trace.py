"""The traced forward pass: every layer's forward replaced by its handler, and surely restored.

with Trace(model, owners, composite, HANDLERS) as trace:
    prediction = model(batch)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, _get_current_function_mode

from hpcml.errors import InputError
from hpcml.relevance.engine.calls import Call, become, calling_layer, current, exchanged
from hpcml.relevance.engine.functions import interpret
from hpcml.relevance.engine.handler import Handler
from hpcml.relevance.engine.owners import Owner, Owners
from hpcml.relevance.engine.rules import Composite
from hpcml.relevance.engine.tape import Ledger, Share, Tag, put_tag, step, tag_of


class Trace(TorchFunctionMode):
    """Layers of ``model`` replaced by their handlers while the context is open.

    model       any module of known layers, in containers and wirings of its own; it is in
                evaluation mode meanwhile
    owners      what each row of the batch stands for
    composite   the rule of each affine layer, and how products share
    handlers    layer type -> handler; a layer has that of the nearest type it derives from
    readout     (A,) multiplies the relevance that each atom takes from its molecule
    hidden      names of layers whose outputs' relevance is wanted

    sources     name -> (kind of rows, leaf): the network's inputs, whose gradients will be
                their relevances
    ledger      filled by the backward
    root        a leaf that the backward must be asked for too: layers that add constants, such
                as each atom's reference, have no other input on the tape
    outputs     name -> outputs of a hidden layer, one a call, whose gradients will be their
                relevances
    """

    def __init__(
        self,
        model: nn.Module,
        owners: Owners,
        composite: Composite,
        handlers: Mapping[type[nn.Module], Handler[..., Any]],
        *,
        readout: Tensor | None = None,
        hidden: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__()
        self.model, self.owners, self.composite = model, owners, composite
        self.sources: dict[str, tuple[str, Tensor]] = {}
        self.ledger = Ledger(owners)
        self.root = torch.zeros((), requires_grad=True)
        self.outputs: dict[str, list[Tensor]] = {name: [] for name in hidden}
        self._handlers, self._readout = handlers, readout
        self._names = {module: name or "network" for name, module in model.named_modules()}
        self._originals: dict[nn.Module, Callable[..., Any]] = {}
        self._training: list[nn.Module] = []
        self._learning: list[nn.Parameter] = []
        self._overwritten: list[Tensor] = []
        self._untraced = 0  # handlers within handlers that are doing their own arithmetic

    # ---------------------------------------------------------------- opening and closing

    def __enter__(self) -> Trace:
        self._training = [module for module in self._names if module.training]
        self._learning = [p for p in self.model.parameters() if p.requires_grad]
        for module in self._training:
            module.training = False
        for parameter in self._learning:
            parameter.requires_grad_(False)  # what requires a gradient carries relevance
        for module in self._names:
            handler = self._handler_of(module)
            if handler is not None:
                self._replace_forward(module, partial(self._call, handler, module))
        super().__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        for tensor in self._overwritten:
            become(tensor, None)
        for module in self._originals:
            del module.__dict__["forward"]
        for parameter in self._learning:
            parameter.requires_grad_(True)
        for module in self._training:
            module.training = True

    def _handler_of(self, layer: nn.Module) -> Handler[..., Any] | None:
        """That of the nearest type; a type that does something else in its forward has none."""
        kind = next((kind for kind in type(layer).__mro__ if kind in self._handlers), None)
        if kind is None or getattr(type(layer), "forward") is not getattr(kind, "forward"):  # noqa: B009
            return None
        return self._handlers[kind]

    def _replace_forward(self, module: nn.Module, forward: Callable[..., Any]) -> None:
        self._originals[module] = module.forward
        module.forward = forward

    def _call(
        self, handler: Handler[..., Any], module: nn.Module, *arguments: Any, **named: Any
    ) -> Any:
        arguments, named = exchanged(arguments, current), exchanged(named, current)
        if named:
            bound = inspect.signature(self.original(module)).bind(*arguments, **named)
            arguments = bound.args
        if handler.transparent:
            return handler(self, module, *arguments)
        with self.untraced():
            return handler(self, module, *arguments)

    @contextmanager
    def untraced(self) -> Iterator[None]:
        """Inside a handler, torch functions are the handler's own business.

        The mode is taken off meanwhile, where it lies on top: a handler calls ten functions, and
        each would come by here only to be let pass.
        """
        apart = not self._untraced and _get_current_function_mode() is self
        self._untraced += 1
        if apart:
            super().__exit__(None, None, None)
        try:
            yield
        finally:
            if apart:
                super().__enter__()
            self._untraced -= 1

    @contextmanager
    def traced(self) -> Iterator[None]:
        """Inside the rule of a function, torch functions are traced as the model's are."""
        inner, self._untraced = self._untraced, 0
        try:
            super().__enter__()
            yield
        finally:
            super().__exit__(None, None, None)
            self._untraced = inner

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if self._untraced:
            return function(*args, **(kwargs or {}))
        return interpret(self, function, args, kwargs or {})

    # ------------------------------------------------------------ what the handlers ask

    def name(self, module: nn.Module) -> str:
        """The layer's place in the network."""
        return self._names.get(module, "between layers")

    def calling(self, function: str) -> str:
        """A function called in a layer, as the ledger names it."""
        layer = calling_layer(self._names)
        return function if layer is None else f"{self.name(layer)} {function}"

    def inside(self) -> str:
        """Where in the model something is called, in words."""
        layer = calling_layer(self._names)
        if layer is None or layer is self.model:
            return "between layers"
        return f"in layer {self.name(layer)!r} (a {type(layer).__name__})"

    def overwrite(self, tensor: Tensor, now: Tensor) -> None:
        """From here on a tensor that the model overwrote, or gave as an input, is another.

        Parameters
        ----------
        tensor, now : (rows, ...) Tensor
        """
        become(tensor, now)
        self._overwritten.append(tensor)

    def looked_up(self, call: Call) -> Tensor:
        """Rows of a table by number, torch.nn.functional.embedding: here propagation ends.

        Returns
        -------
        (rows, F) Tensor
            A leaf of the graph.
        """
        with self.untraced(), torch.no_grad():
            values: Tensor = call()
        return self.source(self.calling("embedding"), None, values)

    def original(self, module: nn.Module) -> Callable[..., Any]:
        """The layer's own forward."""
        return self._originals.get(module, module.forward)

    def ordinary(self, module: nn.Module, *arguments: Any) -> Tensor:
        """The layer's ordinary output, without a graph.

        Returns
        -------
        (rows, ...) Tensor
        """
        with torch.no_grad():
            output: Tensor = self.original(module)(*arguments)
            return output

    def tag_or_none(self, tensor: Tensor) -> Tag | None:
        """The tag of a tensor that carries relevance; None for a constant of the network.

        Parameters
        ----------
        tensor : (rows, ...) Tensor
        """
        tag = tag_of(tensor)
        if tag is None and tensor.requires_grad:
            raise InputError(
                "between two layers the rows of a tensor were rearranged so that relevance cannot "
                "tell their molecules: use Gather, ScatterSum, ... of hpcml.models.layers"
            )
        return tag

    def joint_tag(self, tensors: Sequence[Tensor], rows: int) -> Tag | None:
        """The tag of ``rows`` rows made of the same rows of these tensors; None of constants.

        Parameters
        ----------
        tensors : each (rows, ...) Tensor
        """
        tags = [tag for tag in map(self.tag_or_none, tensors) if tag is not None]
        if not tags:
            return None
        whole = [tag for tag in tags if len(tag.owner) == rows] or tags[:1]
        owner = Owner.merged([tag.owner for tag in whole])
        return Tag(owner, max(tag.depth for tag in tags), gathered=whole[0].gathered)

    def owner_of_scatter(self, size: int, index: Tensor, tag: Tag) -> Owner:
        """Owner of the ``size`` rows that a scatter by ``index`` makes of rows with this tag.

        Parameters
        ----------
        index : (rows,) Tensor of int64
            Where each row falls.
        """
        return self.owners.of_scatter(size, index, tag.owner, tag.gathered)

    def from_readout(self, relevance: Tensor, size: int, tag: Tag) -> Tensor:
        """Relevance (rows, ...) that a scatter to ``size`` rows gives, of chosen atoms only.

        Parameters
        ----------
        relevance : (rows, ...) Tensor

        Returns
        -------
        (rows, ...) Tensor
            Zero for atoms that are not to be read out.
        """
        atoms = self.owners.atoms
        if self._readout is None or (size, len(relevance)) != (self.owners.molecules, atoms):
            return relevance
        reads = self._readout.index_select(0, tag.owner.atoms[0])
        return relevance * reads.view(-1, *[1] * (relevance.dim() - 1)).to(relevance)

    def source(self, name: str, kind: str | None, values: Tensor) -> Tensor:
        """An input of the network: a leaf, whose gradient will be its relevance.

        ``kind`` None is told by the number of rows.

        Parameters
        ----------
        values : (rows, F) Tensor

        Returns
        -------
        (rows, F) Tensor
            A leaf of the graph.
        """
        with self.untraced():
            leaf = values.detach().clone().requires_grad_()
            kind = kind or self.owners.kind_of(len(leaf))
            name = name if name not in self.sources else f"{name} ({len(self.sources)})"
            self.sources[name] = (kind, leaf)
            return put_tag(leaf, Tag(self.owners.of_kind(kind, leaf.shape[0]), 0))

    def step(
        self,
        name: str,
        outputs: Tensor,
        share: Share,
        inputs: Sequence[Tensor],
        tag: Tag | None = None,
    ) -> Tensor:
        """Put a layer on the tape; without ``tag`` its rows are those of its inputs.

        A layer of constants stays off it.

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
        tag = tag or self.joint_tag(inputs, len(outputs))
        if tag is None:
            return outputs
        made = step(outputs, share, partial(self.ledger.book, name, tag.owner), inputs, tag)
        if name in self.outputs:
            self.outputs[name].append(made)
        return made

    def refuse(self, module: nn.Module, why: str) -> NoReturn:
        """Raise InputError for a layer that cannot be explained as it is."""
        raise InputError(f"layer {self.name(module)!r} ({type(module).__name__}) {why}")
