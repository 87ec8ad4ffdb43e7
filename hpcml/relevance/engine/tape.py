"""The tape: one step of a network whose backward is a rule, and the ledger it writes to.

Inside a traced forward pass the gradient of every tensor *is* its relevance.  A step computes
a layer's ordinary output; in the backward it receives the output's relevance and hands on the
inputs', and what goes to no input (a bias, epsilon, ...) it books in the ledger.  So one
ordinary backward gives the relevances and the ledger of a whole batch.

A step must know what each row of its tensors stands for.  That knowledge travels with the
tensors, as a ``Tag``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hpcml.relevance.engine.owners import Owner, Owners
from hpcml.relevance.engine.rules import Term
from hpcml.relevance.ledger import LEDGER


@dataclass(frozen=True)
class Affine:
    """An affine map whose output was just made, for what follows to be merged with.

    sum of terms + bias; gathered, added to another, or normalized it is an affine map still.

    name      of the layer in whose name the ledger is kept
    terms     their inputs are on the tape
    bias      (out,)
    outputs   (rows, ..., out)
    depth     affine layers between its inputs and the network's on the longest path
    """

    name: str
    terms: tuple[Term, ...]
    bias: Tensor
    outputs: Tensor
    depth: int

    def gathered(self, index: Tensor, outputs: Tensor) -> Affine:
        """The rows of ``index`` (K,) of this map, which are ``outputs``.

        Parameters
        ----------
        index : (K,) Tensor of int64
        outputs : (K, ..., out) Tensor
        """
        terms = tuple(
            replace(term, index=index if term.index is None else term.index.index_select(0, index))
            for term in self.terms
        )
        return replace(self, terms=terms, outputs=outputs)

    def scaled(self, scale: Tensor, shift: Tensor, outputs: Tensor) -> Affine:
        """scale * map + shift, feature by feature (out,).

        Parameters
        ----------
        scale, shift : (out,) Tensor
        outputs : (rows, out) Tensor
            Of the new map.
        """
        terms = tuple(replace(one, weight=one.weight * scale[:, None]) for one in self.terms)
        return replace(self, terms=terms, bias=self.bias * scale + shift, outputs=outputs)


@dataclass(frozen=True)
class Curve:
    """An element-wise function y = f(x) whose value was just made, for what follows to join.

    origin    x, on the tape
    at_zero   f(0), broadcasts to y
    slope     gives f'(x)
    """

    origin: Tensor
    at_zero: Tensor
    slope: Callable[[], Tensor]


@dataclass(frozen=True)
class Tag:
    """What a tensor on the tape carries beside its values.

    owner      what each row stands for
    depth      affine layers passed so far
    affine     set on the output of an affine map alone
    gathered   owner of the rows that these rows, or what they were made of, were gathered from
    curve      set on the value of an element-wise function alone
    shifted    set on a signal to which a constant was just added
    nature     "gate" of a sigmoid's or softmax's value, "exponential" of exp's; "" of others
    """

    owner: Owner
    depth: int
    affine: Affine | None = None
    gathered: Owner | None = None
    curve: Curve | None = None
    shifted: Curve | None = None
    nature: str = ""


def tag_of(tensor: Tensor) -> Tag | None:
    """The tensor's tag, or None where it carries no relevance.

    Parameters
    ----------
    tensor : (rows, ...) Tensor
    """
    tag: Tag | None = getattr(tensor, "_relevance_tag", None)
    return tag if tensor.requires_grad else None


def put_tag(tensor: Tensor, tag: Tag) -> Tensor:
    """The same tensor, tagged.

    Parameters
    ----------
    tensor : (rows, ...) Tensor

    Returns
    -------
    (rows, ...) Tensor
    """
    setattr(tensor, "_relevance_tag", tag)  # noqa: B010  a tensor has no such field
    return tensor


_Entry = tuple[str, int, Tensor]


class _Settled(NamedTuple):
    layers: dict[str, Tensor]
    whole: Tensor
    atoms: Tensor
    pairs: Tensor


class Ledger:
    """The relevance that goes to no input; sums in double precision.

    layers   layer's name -> (M + 1, len(LEDGER)) of each molecule; the last is that of cells in
             which several molecules meet, or none
    atoms    (A + 1, len(LEDGER)) of each atom, half of its pairs' among it; the last is nobody's
    pairs    (P + 1, len(LEDGER)) of each unordered pair of atoms; the last is nobody's
    """

    def __init__(self, owners: Owners) -> None:
        self._owners = owners
        self._numbers: dict[str, int] = {}  # of layers, in the order in which they booked
        self._entries: dict[int, tuple[Owner, list[_Entry]]] = {}

    def book(self, layer: str, owner: Owner, term: str, taken: Tensor) -> None:
        """Write down what a layer's rows (rows,) have given to a term.

        Parameters
        ----------
        taken : (rows, ...) Tensor
            Relevance; axes that the owner has not are summed.
        """
        axes = owner.molecule.dim()
        if taken.dim() > axes:
            taken = taken.flatten(start_dim=axes).sum(axes) if axes else taken.sum()
        if axes != 1:
            taken = taken.sum_to_size(owner.molecule.shape).flatten()
        self._numbers.setdefault(layer, len(self._numbers))
        _, entries = self._entries.setdefault(id(owner), (owner, []))
        entries.append((layer, LEDGER.index(term), taken))

    @cached_property
    def _settled(self) -> _Settled:
        """All that rows of one owner have given is added up at once."""
        owners, numbers, columns = self._owners, self._numbers, len(LEDGER)
        zeros = torch.zeros(columns, 1, dtype=torch.float64, device=owners.device)
        layers = zeros.new_zeros(len(numbers) * columns, owners.molecules + 1)
        atoms, pairs = (zeros.new_zeros(columns, n + 1) for n in (owners.atoms, owners.pairs))
        for booked, entries in self._entries.values():
            owner = Owner(booked.molecule.flatten(), booked.atoms.flatten(1), booked.nobody)
            taken = torch.stack([rows for _, _, rows in entries]).double()  # (entries, rows)
            terms = torch.tensor([column for _, column, _ in entries], device=taken.device)
            places = torch.tensor([numbers[layer] for layer, _, _ in entries], device=taken.device)
            molecule = owner.molecule.masked_fill(owner.molecule < 0, owners.molecules)
            fell = taken.new_zeros(len(taken), owners.molecules + 1).index_add_(1, molecule, taken)
            layers.index_add_(0, places * columns + terms, fell)
            if not owners.atoms:
                continue
            taken = taken.new_zeros(columns, taken.shape[1]).index_add_(0, terms, taken)
            for end in owner.atoms:
                atoms.index_add_(1, end, taken, alpha=0.5)
            pair = owners.pair_of(owner)
            if pair is not None:
                pairs.index_add_(1, pair, taken)
        by_layer = layers.unflatten(0, (len(numbers), columns)).transpose(1, 2)
        return _Settled(
            dict(zip(numbers, by_layer, strict=True)), by_layer.sum(0), atoms.T, pairs.T
        )

    @property
    def layers(self) -> dict[str, Tensor]:
        """By layer, (M + 1, len(LEDGER)) each."""
        return self._settled.layers

    @property
    def atoms(self) -> Tensor:
        """By atom, (A + 1, len(LEDGER)), in the target's unit."""
        return self._settled.atoms

    @property
    def pairs(self) -> Tensor:
        """By unordered pair, (P + 1, len(LEDGER)), in the target's unit."""
        return self._settled.pairs

    def total(self) -> Tensor:
        """(M, len(LEDGER)), all layers together; what is no molecule's is left out.

        Returns
        -------
        (M, 5) Tensor of float64
            By molecule and term.
        """
        return self._settled.whole[:-1]

    def elsewhere(self) -> Tensor:
        """(len(LEDGER),), what belongs to no molecule, or to several at once.

        Returns
        -------
        (5,) Tensor of float64
            By term.
        """
        return self._settled.whole[-1]


@dataclass
class Shares:
    """Where a step's relevance went: to its inputs, and to terms of the ledger.

    Each share has the step's rows first; axes that the owner has not are summed for the ledger.
    """

    inputs: Sequence[Tensor | None]
    ledger: dict[str, Tensor] = field(default_factory=dict)


Share = Callable[[Tensor], Shares]
Book = Callable[[str, Tensor], None]


class _Step(torch.autograd.Function):
    """Forward: hand an output through. Backward: relevance to the inputs and the ledger."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, share: Share, book: Book, *inputs: Tensor) -> Tensor:
        ctx.share, ctx.book = share, book
        return output

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> Any:
        shares = ctx.share(relevance)
        for term, taken in shares.ledger.items():
            ctx.book(term, taken)
        return None, None, None, *shares.inputs


def step(output: Tensor, share: Share, book: Book, inputs: Sequence[Tensor], tag: Tag) -> Tensor:
    """Put a layer on the tape.

    Parameters
    ----------
    output : (rows, ...) Tensor
        The layer's ordinary output, computed without a graph.
    share
        From the output's relevance (rows, ...) to the inputs' shares and the ledger's.  It must
        hold no reference to the returned tensor, or the graph would never be freed.
    book
        Takes a term of the ledger and what the rows (rows,) gave to it, from the backward.
    inputs : each (rows, ...) Tensor
        What receives relevance, in the order of ``Shares.inputs``.
    tag
        Of the output.

    Returns
    -------
    (rows, ...) Tensor
        The output, on the tape and tagged.
    """
    made: Tensor = _Step.apply(output.detach(), share, book, *inputs)
    return put_tag(made, tag)
