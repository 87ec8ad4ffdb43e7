"""What the rows of a tensor stand for: an atom, a pair of atoms, or a whole molecule.

Relevance that goes to no input is booked to the molecule of the row at which it is lost, and to
the row's atoms: wholly to an atom, half and half to a pair's atoms, and to the pair besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hpcml.errors import InputError
from hpcml.models.batch import Batch


@dataclass(frozen=True)
class Owner:
    """Whose rows they are.

    molecule   (rows,) int64
    atoms      (2, rows) int64, both the same for the row of one atom; both ``nobody`` for a row
               that stands for a whole molecule, or for more than two atoms
    nobody     the number of atoms of the batch, which is no atom's number
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
        return cls(first.molecule, ends.where(of_two, ends.new_tensor(first.nobody)), first.nobody)


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
        n = self._sizes.index_select(0, owner.molecule)
        low, high = (owner.atoms - self._first_atom.index_select(0, owner.molecule)).aminmax(dim=0)
        before = torch.div(low * (2 * n - low - 1), 2, rounding_mode="floor")
        place = self._first_pair.index_select(0, owner.molecule) + before + high - low - 1
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
        molecule = fell.molecule.new_zeros(size).index_copy_(0, index, fell.molecule)
        return Owner.of_molecules(molecule, self.atoms)
