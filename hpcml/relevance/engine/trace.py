"""The traced forward pass: every layer's forward replaced by its handler, and surely restored.

with Trace(model, owners, composite) as trace:
    prediction = model(batch)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hpcml.errors import InputError
from hpcml.models.batch import Batch
from hpcml.relevance.engine.functions import interpret, tensors_in
from hpcml.relevance.engine.fused_handlers import convolution, painn_message
from hpcml.relevance.engine.handlers import Handler, structural
from hpcml.relevance.engine.registry import handler_for
from hpcml.relevance.engine.rules import Composite
from hpcml.relevance.engine.tape import Share, Tag, put_tag, step, tag_of
from hpcml.relevance.relevance_rows import LEDGER


class Owners:
    """Which molecule each atom, pair, and molecule row of a batch belongs to.

    Or, ``of_atoms``, which atom: that of its molecule's rows on which a row depends first.
    """

    def __init__(
        self, rows: dict[str, Tensor], molecules: int, molecule: Tensor | None = None
    ) -> None:
        """``molecule`` (A,) that of each owner, where owners are atoms."""
        self.rows, self.molecules, self._molecule = rows, molecules, molecule

    @classmethod
    def of_batch(cls, batch: Batch) -> Owners:
        """Owners of a batch's atoms, ordered pairs, and molecules."""
        molecules = torch.arange(batch.size, device=batch.molecule.device)
        pairs = batch.molecule.index_select(0, batch.pairs[0])
        return cls({"atom": batch.molecule, "molecule": molecules, "pair": pairs}, batch.size)

    @classmethod
    def of_atoms(cls, batch: Batch) -> Owners:
        """Atoms own themselves, pairs are their first atom's, molecules their first atom's."""
        atoms = torch.arange(batch.atoms, device=batch.molecule.device)
        counts = torch.bincount(batch.molecule, minlength=batch.size)
        rows = {"atom": atoms, "molecule": counts.cumsum(0) - counts, "pair": batch.pairs[0]}
        return cls(rows, batch.size, batch.molecule)

    @classmethod
    def of_rows(cls, rows: int, device: torch.device) -> Owners:
        """Each row of a plain network's input stands for itself."""
        return cls({"molecule": torch.arange(rows, device=device)}, rows)

    @property
    def number(self) -> int:
        """How many owners there are."""
        return self.molecules if self._molecule is None else len(self._molecule)

    def molecule_of(self, owner: Tensor) -> Tensor:
        """The molecules of these owners."""
        return owner if self._molecule is None else self._molecule.index_select(0, owner)

    def by_molecule(self, ledger: Tensor) -> Tensor:
        """Rows of owners (number, K) summed to (M, K)."""
        if self._molecule is None:
            return ledger
        return ledger.new_zeros(self.molecules, ledger.shape[1]).index_add_(
            0, self._molecule, ledger
        )

    def of_kind(self, kind: str, rows: int) -> Tensor:
        """Owners of the rows of a tensor of this kind; pairs may be held once or both ways."""
        owner = self.rows.get(kind)
        if owner is None:
            raise InputError(f"an input has {kind!r} rows; known are {', '.join(self.rows)}")
        if kind == "pair" and rows == owner.shape[0] // 2:
            return owner[:rows]
        if rows != owner.shape[0]:
            raise InputError(f"an input has {rows} {kind} rows; the batch has {owner.shape[0]}")
        return owner


def unknown(trace: Trace, layer: nn.Module, *arguments: Any, **named: Any) -> Any:
    """A layer without a rule: fine as long as it makes the network's inputs, and no further."""
    if any(tag_of(tensor) is not None for tensor in tensors_in((arguments, *named.values()))):
        kind = type(layer).__name__
        raise InputError(
            f"layer {trace.name(layer)!r} is a {kind}, for which there is no relevance rule: "
            f"declare it with hpcml.relevance.declare({kind}, meaning), where meaning is 'passing' "
            "for an element-wise function that is 0 at 0, 'linearized' for one that is not, "
            "'structural' for a layer that only moves numbers, or the known layer type it equals"
        )
    return trace.original(layer)(*arguments, **named)


class Trace(TorchFunctionMode):
    """Layers of ``model`` replaced by their handlers while the context is open.

    model       any module of known layers, in containers and wirings of its own; it is in
                evaluation mode meanwhile
    owners      to which molecule each row belongs
    composite   the rule of each affine layer, and how products share
    replace     changes the value of each input before it enters: (name, kind, values) -> values
    readout     (A,) multiplies the relevance that each atom takes from its molecule; ``owners``
                must be atoms
    keep        names of layers whose outputs are to be kept

    sources     name -> (kind of rows, leaf): the network's inputs, whose gradients will be
                their relevances
    ledgers     layer name -> (owners, len(LEDGER)) float64, filled by the backward: the relevance
                that the layer gave to no input
    nothing     a leaf that the backward must be asked for too: what layers depend on that add
                constants, as a reference for each atom
    kept        layer name -> its outputs, one a call, whose gradients will be their relevances
    """

    def __init__(
        self,
        model: nn.Module,
        owners: Owners,
        composite: Composite,
        *,
        replace: Callable[[str, str, Tensor], Tensor] | None = None,
        readout: Tensor | None = None,
        keep: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__()
        self.model, self.owners, self.composite = model, owners, composite
        self.sources: dict[str, tuple[str, Tensor]] = {}
        self.ledgers: dict[str, Tensor] = {}
        self.nothing = torch.zeros((), requires_grad=True)
        self.kept: dict[str, list[Tensor]] = {name: [] for name in keep}
        self._replace, self._readout = replace, readout
        self._names = {module: name or "network" for name, module in model.named_modules()}
        self._originals: dict[nn.Module, Callable[..., Any]] = {}
        self._training: list[nn.Module] = []
        self._learning: list[nn.Parameter] = []
        self._within = 0

    # ---------------------------------------------------------------- opening and closing

    def __enter__(self) -> Trace:
        self._training = [module for module in self._names if module.training]
        self._learning = [p for p in self.model.parameters() if p.requires_grad]
        for module in self._training:
            module.training = False
        for parameter in self._learning:
            parameter.requires_grad_(False)  # what requires a gradient carries relevance
        for module in self._names:
            handler = handler_for(module)
            if handler is not None:
                self._replace_forward(module, partial(self._call, handler, module))
            elif next(module.children(), None) is None:
                self._replace_forward(module, partial(unknown, self, module))
        super().__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        for module in self._originals:
            del module.__dict__["forward"]
        for parameter in self._learning:
            parameter.requires_grad_(True)
        for module in self._training:
            module.training = True

    def _replace_forward(self, module: nn.Module, forward: Callable[..., Any]) -> None:
        self._originals[module] = module.forward
        module.forward = forward

    def _call(self, handler: Handler, module: nn.Module, *arguments: Any) -> Any:
        if handler in (structural, painn_message, convolution):  # what they call is to be watched
            return handler(self, module, *arguments)
        with self.unwatched():
            return handler(self, module, *arguments)

    @contextmanager
    def unwatched(self) -> Iterator[None]:
        """Inside a handler, torch functions are the handler's own business."""
        self._within += 1
        try:
            yield
        finally:
            self._within -= 1

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if self._within:
            return function(*args, **(kwargs or {}))
        return interpret(self, function, args, kwargs or {})

    # ------------------------------------------------------------ what the handlers ask

    def name(self, module: nn.Module) -> str:
        """The layer's place in the network."""
        return self._names.get(module, "between layers")

    def original(self, module: nn.Module) -> Callable[..., Any]:
        """The layer's own forward."""
        return self._originals.get(module, module.forward)

    def ordinary(self, module: nn.Module, *arguments: Any) -> Tensor:
        """The layer's ordinary output, without a graph."""
        with torch.no_grad():
            output: Tensor = self.original(module)(*arguments)
            return output

    def tag_or_none(self, tensor: Tensor) -> Tag | None:
        """The tag of a tensor that carries relevance; None for a constant of the network."""
        tag = tag_of(tensor)
        if tag is None and tensor.requires_grad:
            raise InputError(
                "between two layers the rows of a tensor were rearranged so that relevance cannot "
                "tell their molecules: use Gather, ScatterSum, ... of hpcml.models.layers"
            )
        return tag

    def owner_of_rows(self, size: int, index: Tensor, tag: Tag) -> Tensor:
        """Owners of the rows that a scatter makes of rows with this tag.

        They are the rows that were gathered before, if any; or atoms or molecules in the batch's
        order, unless what falls on them says otherwise.
        """
        mine = self.owners.molecule_of(tag.owner)
        known = tag.gathered, self.owners.rows.get("atom"), self.owners.rows.get("molecule")
        for owner in known:
            if owner is not None and len(owner) == size:
                theirs = self.owners.molecule_of(owner).index_select(0, index)
                if torch.equal(theirs, mine):
                    return owner
        return tag.owner.new_zeros(size).index_copy_(0, index, tag.owner)

    def from_readout(self, relevance: Tensor, size: int, owner: Tensor) -> Tensor:
        """Relevance (A, ...) that a scatter to ``size`` rows gives atoms, of chosen ones only.

        owner    (A,) the atom of each row, which stand in any order
        """
        if self._readout is None or (size, len(relevance)) != (
            self.owners.molecules,
            len(self._readout),
        ):
            return relevance
        reads = self._readout.index_select(0, owner)
        return relevance * reads.view(-1, *[1] * (relevance.dim() - 1)).to(relevance)

    def source(self, name: str, kind: str, values: Tensor) -> Tensor:
        """An input of the network: a leaf, whose gradient will be its relevance."""
        values = values.detach()
        if self._replace is not None:
            values = self._replace(name, kind, values)
        leaf = values.clone().requires_grad_()
        self.sources[name] = (kind, leaf)
        return put_tag(leaf, Tag(self.owners.of_kind(kind, leaf.shape[0]), 0))

    def ledger(self, name: str) -> Tensor:
        """The sums in which a layer's unshared relevance is collected."""
        if name not in self.ledgers:
            shape = self.owners.number, len(LEDGER)
            device = next(iter(self.owners.rows.values())).device
            self.ledgers[name] = torch.zeros(shape, dtype=torch.float64, device=device)
        return self.ledgers[name]

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
        """
        if tag is None:
            tags = [found for found in map(self.tag_or_none, inputs) if found is not None]
            if not tags:
                return outputs
            tag = Tag(tags[0].owner, max(one.depth for one in tags))
        made = step(outputs, share, partial(self.ledger, name), inputs, tag)
        if name in self.kept:
            self.kept[name].append(made)
        return made

    def refuse(self, module: nn.Module, why: str) -> NoReturn:
        """Raise InputError for a layer that cannot be explained as it is."""
        raise InputError(f"layer {self.name(module)!r} ({type(module).__name__}) {why}")
