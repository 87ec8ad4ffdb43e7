"""What the rows of a tensor stand for: an atom, a pair of atoms, or a whole molecule.

Relevance that goes to no input is booked to the molecule of the row at which it is lost, and to
the row's atoms: wholly to an atom, half and half to a pair's atoms, and to the pair besides.

A model of somebody else's turns its axes as it likes.  So an owner may have further axes after
the rows, as many as tell apart what they stand for; a move moves it as it moves numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hpcml.errors import InputError
from hpcml.models.batch import Batch

NO_MOLECULE, SEVERAL = -1, -2
"""In place of a molecule's number: the cell of a constant, and a cell in which several meet."""


@dataclass(frozen=True)
class Owner:
    """Whose rows they are.

    molecule   (rows, ...) int64, or NO_MOLECULE, or SEVERAL
    atoms      (2, rows, ...) int64, both the same for the row of one atom; both ``nobody`` for a
               row that stands for a whole molecule, or for more than two atoms
    nobody     the number of atoms of the batch, which is no atom's number

    Axes that the tensor has and its owner has not, and axes of length one, are alike.
    """

    molecule: Tensor
    atoms: Tensor
    nobody: int

    def __len__(self) -> int:
        return len(self.molecule)

    def pick(self, rows: Tensor) -> Owner:
        """The owner of these rows (K,), in this order.

        Parameters
        ----------
        rows : (K,) Tensor of int64
        """
        return Owner(
            self.molecule.index_select(0, rows), self.atoms.index_select(1, rows), self.nobody
        )

    def like(self, shape: Sequence[int]) -> Owner:
        """The owner cell by cell of a tensor of this shape; nothing is copied."""
        more = [1] * (len(shape) - self.molecule.dim())
        molecule = self.molecule.reshape((*self.molecule.shape, *more)).expand(tuple(shape))
        atoms = self.atoms.reshape((*self.atoms.shape, *more)).expand((2, *shape))
        return Owner(molecule, atoms, self.nobody)

    def numbers(self) -> tuple[Tensor, Tensor, Tensor]:
        """Molecule, and the two atoms.

        Returns
        -------
        three (rows, ...) Tensor of int64
        """
        return self.molecule, self.atoms[0], self.atoms[1]

    def compact(self) -> Owner:
        """The same with as few cells: axes behind the rows along which all is alike are one long.

        A constant's cell goes with its neighbours'.
        """
        parts = list(self.numbers())
        for axis in range(1, self.molecule.dim()):
            if parts[0].shape[axis] == 0:
                continue
            one = _one_of(parts, axis)
            if one is not None:
                parts = one
        while parts[0].dim() > 1 and parts[0].shape[-1] == 1:
            parts = [part.squeeze(-1) for part in parts]
        return Owner(parts[0], torch.stack(parts[1:]), self.nobody)

    def reduced(self, axes: Sequence[int]) -> Owner:
        """Owner, of as many axes, of what is made of all cells along these axes."""
        low, first, _ = self.numbers()
        high, last = low, self.atoms[1]
        for axis in axes:
            low = low.masked_fill(low == NO_MOLECULE, _NEVER).amin(axis, keepdim=True)
            high = high.amax(axis, keepdim=True)
            first, last = first.amin(axis, keepdim=True), last.amax(axis, keepdim=True)
        return self._between(low.where(low < _NEVER, high), high, first, last)

    def mixed(self) -> Owner:
        """Owner, an axis less, of what an affine map makes of all cells along the last axis.

        Features of two atoms side by side make a pair's row, as their sum does (``merged``); a
        constant's are anybody's.
        """
        return self._of_last_axis().compact()

    def filled(self) -> Owner:
        """The same with the cells of constants given to whom the others of their row belong."""
        if self.molecule.dim() < 2 or not bool((self.molecule == NO_MOLECULE).any()):
            return self
        row, constant = self._of_last_axis(), self.molecule == NO_MOLECULE
        return Owner(
            row.molecule.where(constant, self.molecule),
            row.atoms.where(constant, self.atoms),
            self.nobody,
        )

    def _of_last_axis(self) -> Owner:
        """Of all cells along the last axis, which stays one long."""
        constant = self.molecule == NO_MOLECULE
        molecules = self.molecule.masked_fill(constant, _NEVER).amin(-1, keepdim=True)
        highest = self.molecule.amax(
            -1, keepdim=True
        )  # a constant's number is below all molecules'
        known = molecules < _NEVER
        molecule = highest.masked_fill(known & (molecules != highest), SEVERAL)
        low = self.atoms[0].amin(-1, keepdim=True)
        high = self.atoms[1].masked_fill(constant, -1).amax(-1, keepdim=True)
        of_two = ((self.atoms == low) | (self.atoms == high)).all(dim=0) | constant
        ours = of_two.all(-1, keepdim=True) & (high >= 0) & (high < self.nobody) & (molecule >= 0)
        atoms = torch.stack([low, high]).masked_fill(~ours, self.nobody)
        return Owner(molecule, atoms, self.nobody)

    def _between(self, low: Tensor, high: Tensor, first: Tensor, last: Tensor) -> Owner:
        """Of one molecule where low is high; a sum over more than one atom is nobody's."""
        molecule = high.masked_fill(low != high, SEVERAL)
        several = (first != last) | (molecule < 0)
        atoms = torch.stack([end.masked_fill(several, self.nobody) for end in (first, last)])
        return Owner(molecule, atoms, self.nobody)

    @classmethod
    def of_molecules(cls, molecule: Tensor, nobody: int) -> Owner:
        """Rows that stand for their molecules (rows,) as a whole.

        Parameters
        ----------
        molecule : (rows,) Tensor of int64
        """
        return cls(molecule, torch.full_like(molecule.expand(2, -1), nobody), nobody)

    @classmethod
    def joined(cls, owners: Sequence[Owner]) -> Owner:
        """Owner of tensors laid end to end."""
        molecule = torch.cat([owner.molecule for owner in owners])
        return cls(molecule, torch.cat([o.atoms for o in owners], dim=1), owners[0].nobody)

    @classmethod
    def merged(cls, owners: Sequence[Owner]) -> Owner:
        """Owner of rows that were made of the same rows of several tensors.

        An atom's and another atom's row make a pair's; more than two atoms are nobody's.
        """
        first = owners[0]
        others = [owner for owner in owners[1:] if owner.atoms is not first.atoms]
        if not others:
            return first
        atoms = torch.cat([owner.atoms for owner in (first, *others)])
        low, high = atoms.aminmax(dim=0)
        of_two = ((atoms == low) | (atoms == high)).all(dim=0) & (high < first.nobody)
        ends = torch.stack([low, high])
        molecule = first.molecule
        for owner in others:
            theirs = owner.molecule
            apart = (molecule != theirs) & (molecule != NO_MOLECULE) & (theirs != NO_MOLECULE)
            molecule = molecule.where(molecule != NO_MOLECULE, theirs).masked_fill(apart, SEVERAL)
        return cls(molecule, ends.where(of_two, ends.new_tensor(first.nobody)), first.nobody)

    @classmethod
    def broadcast(cls, owners: Sequence[Owner], shapes: Sequence[Sequence[int]]) -> Owner:
        """Owner of what is made, cell by cell, of tensors of these shapes."""
        whole = torch.broadcast_shapes(*map(tuple, shapes))
        spread = []
        for owner, shape in zip(owners, shapes, strict=True):
            full = owner.like(shape)
            atoms = torch.stack([end.expand(whole) for end in full.atoms])
            spread.append(cls(full.molecule.expand(whole), atoms, owner.nobody).compact())
        ranks = max(one.molecule.dim() for one in spread)
        level = torch.broadcast_shapes(
            *((*one.molecule.shape, *[1] * (ranks - one.molecule.dim())) for one in spread)
        )
        return cls.merged([one.like(level) for one in spread]).compact()

    @classmethod
    def moved(
        cls,
        owners: Sequence[Owner],
        shapes: Sequence[Sequence[int]],
        move: Callable[[list[Tensor]], Tensor],
    ) -> Owner:
        """Owner of what a move makes of tensors of these shapes.

        Parameters
        ----------
        move
            Does with tensors of these shapes, whatever they hold, what was done with the numbers.
        """
        full = [owner.like(shape).numbers() for owner, shape in zip(owners, shapes, strict=True)]
        molecule, *ends = (move([one[part] for one in full]) for part in range(3))
        if molecule.dim() == 0:
            return cls(molecule, torch.stack(ends), owners[0].nobody)
        return cls(molecule, torch.stack(ends), owners[0].nobody).compact()

    @classmethod
    def of_nobody(cls, like: Tensor, nobody: int) -> Owner:
        """Owner of a constant's cells.

        Parameters
        ----------
        like : (rows, ...) Tensor
        """
        molecule = torch.full((), NO_MOLECULE, dtype=torch.int64, device=like.device)
        atoms = torch.full((2,), nobody, dtype=torch.int64, device=like.device)
        ones = [1] * like.dim()
        return cls(
            molecule.view(ones).expand(like.shape),
            atoms.view(2, *ones).expand(2, *like.shape),
            nobody,
        )


_NEVER = torch.iinfo(torch.int64).max


def _one_of(parts: list[Tensor], axis: int) -> list[Tensor] | None:
    """The three numbers of an owner with this axis one long; None where they differ along it."""
    if all(part.stride(axis) == 0 or part.shape[axis] == 1 for part in parts):
        return [part.narrow(axis, 0, 1) for part in parts]
    constant = parts[0] == NO_MOLECULE
    made = []
    for part in parts:
        low = part.masked_fill(constant, _NEVER).amin(axis, keepdim=True)
        high = part.masked_fill(constant, SEVERAL - 1).amax(axis, keepdim=True)
        if bool(((low != high) & (low != _NEVER)).any()):
            return None
        made.append(part.narrow(axis, 0, 1).where(low == _NEVER, high))
    return made


class Owners:
    """Owners of a batch's rows by kind: "atom", "pair", "molecule".

    molecules, atoms   how many there are
    pairs              how many unordered pairs of atoms of one molecule
    """

    def __init__(self, kinds: dict[str, Owner], molecules: int, atoms: int) -> None:
        self.kinds, self.molecules, self.atoms = kinds, molecules, atoms
        nobodys = torch.zeros(0, dtype=torch.int64, device=self.device)
        molecule = kinds["atom"].molecule if "atom" in kinds else nobodys
        self._sizes = torch.bincount(molecule, minlength=molecules)
        pairs = torch.div(self._sizes * (self._sizes - 1), 2, rounding_mode="floor")
        self._first_atom = self._sizes.cumsum(0) - self._sizes
        self._first_pair = pairs.cumsum(0) - pairs
        self.pairs = int(pairs.sum())

    def pair_of(self, owner: Owner) -> Tensor | None:
        """The number of the pair that each row stands for; ``pairs`` where it stands for none.

        Pairs are counted molecule by molecule, i < j in the order of numpy.triu_indices.

        Returns
        -------
        (rows,) Tensor of int64, or None
            None where no row stands for a pair.
        """
        apart = owner.atoms[0] != owner.atoms[1]
        if not bool(apart.any()):
            return None
        molecule = owner.molecule.clamp(min=0)
        n = self._sizes.index_select(0, molecule)
        low, high = (owner.atoms - self._first_atom.index_select(0, molecule)).aminmax(dim=0)
        before = torch.div(low * (2 * n - low - 1), 2, rounding_mode="floor")
        place = self._first_pair.index_select(0, molecule) + before + high - low - 1
        return place.masked_fill(~apart, self.pairs)

    @classmethod
    def of_batch(cls, batch: Batch) -> Owners:
        """Owners of a batch's atoms, ordered pairs, and molecules."""
        number = batch.atoms
        molecules = torch.arange(batch.size, device=batch.molecule.device)
        atoms = torch.arange(number, device=batch.molecule.device)
        kinds = {
            "atom": Owner(batch.molecule, torch.stack([atoms, atoms]), number),
            "molecule": Owner.of_molecules(molecules, number),
            "pair": Owner(batch.molecule.index_select(0, batch.pairs[0]), batch.pairs, number),
        }
        return cls(kinds, batch.size, number)

    @classmethod
    def of_rows(cls, rows: int, device: torch.device) -> Owners:
        """Each row of a plain network's input stands for itself."""
        molecules = torch.arange(rows, device=device)
        return cls({"molecule": Owner.of_molecules(molecules, 0)}, rows, 0)

    @property
    def device(self) -> torch.device:
        """Where the rows are."""
        return next(iter(self.kinds.values())).molecule.device

    def kind_of(self, rows: int) -> str:
        """The kind of things of which there are so many, atoms first.

        Raises InputError where there is none.
        """
        for kind in ("atom", "pair", "molecule"):
            if kind in self.kinds and len(self.kinds[kind]) == rows:
                return kind
        there = ", ".join(f"{len(owner)} {kind}s" for kind, owner in self.kinds.items())
        raise InputError(f"an Embedding makes {rows} rows; there are {there}")

    def of_kind(self, kind: str, rows: int) -> Owner:
        """Owner of the rows of a tensor of this kind; pairs may be held once or both ways.

        Raises InputError for a kind or a number of rows that the batch has not.
        """
        owner = self.kinds.get(kind)
        if owner is None:
            raise InputError(f"an input has {kind!r} rows; known are {', '.join(self.kinds)}")
        if kind == "pair" and rows == len(owner) // 2:
            return owner.pick(torch.arange(rows, device=owner.molecule.device))
        if rows != len(owner):
            raise InputError(f"an input has {rows} {kind} rows; the batch has {len(owner)}")
        return owner

    def of_scatter(self, size: int, index: Tensor, fell: Owner, gathered: Owner | None) -> Owner:
        """Owner of the ``size`` rows on which rows of ``fell`` fall by ``index``.

        They are the rows that were gathered before, if any; or atoms or molecules in the
        batch's order, unless the molecules of what falls on them say otherwise.

        Parameters
        ----------
        index : (rows,) Tensor of int64
            Where each row of ``fell`` falls.
        """
        for owner in (gathered, self.kinds.get("atom"), self.kinds.get("molecule")):
            if owner is not None and len(owner) == size:
                theirs = owner.molecule.index_select(0, index)
                if torch.equal(theirs, fell.molecule):
                    return owner
        molecule = fell.molecule.new_full((size,), NO_MOLECULE).index_copy_(0, index, fell.molecule)
        return Owner.of_molecules(molecule, self.atoms)
