"""What chemistry knows of each atom of many molecules: environment, neighbours, owner."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hpcml.analysis.perception import Perceived
from hpcml.store import Dataset

Integers = NDArray[np.int64]
UNKNOWN = -1


@dataclass(frozen=True)
class AtomTraits:
    """Traits of A atoms, those of M molecules end to end.

    numbers     (A,) atomic numbers
    perceived   what RDKit sees in the molecules
    """

    numbers: Integers
    perceived: Perceived

    @property
    def offsets(self) -> Integers:
        """(M + 1,) molecule m has the atoms offsets[m] to offsets[m + 1]."""
        return self.perceived.offsets

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """(A,) whether the atom's bonds are known."""
        return np.repeat(self.perceived.known, np.diff(self.offsets))

    @cached_property
    def directed(self) -> Integers:
        """(2 B, 2) each bond from either end."""
        return np.concatenate([self.perceived.bonds, self.perceived.bonds[:, ::-1]])

    @cached_property
    def hydrogens(self) -> Integers:
        """(A,) hydrogens bonded to the atom; UNKNOWN without bonds."""
        return np.where(self.known, self.perceived.hydrogens.astype(np.int64), UNKNOWN)

    @classmethod
    def of(cls, rows: Dataset) -> AtomTraits:
        """Of the atoms of all molecules of a data set."""
        perceived = Perceived(rows.molecules, rows.atom_offsets)
        return cls(rows.column("numbers").astype(np.int64), perceived)

    @cached_property
    def owner(self) -> Integers:
        """(A,) the one heavy atom that a hydrogen is bonded to; of all other atoms themselves."""
        atom, other = self.directed.T
        of_hydrogen = (self.numbers[atom] == 1) & (self.numbers[other] > 1)
        owner = np.arange(len(self.numbers))
        owner[atom[of_hydrogen]] = other[of_hydrogen]
        bridges = np.bincount(atom[of_hydrogen], minlength=len(owner)) > 1
        owner[bridges] = np.flatnonzero(bridges)
        return owner

    def merged(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values of atoms with those of their hydrogens.

        Parameters
        ----------
        values : (A,) array

        Returns
        -------
        (A,) array
            Sums over heavy atoms and their hydrogens, at the heavy atom; NaN at these.
        """
        sums = np.bincount(self.owner, values, len(values))
        return np.where(self.owner == np.arange(len(values)), sums, np.nan)

    @cached_property
    def environments(self) -> Integers:
        """(A,) a number for each kind of element, hybridization and number of hydrogens."""
        hybridization = self.perceived.hybridization.astype(np.int64)
        code = (self.numbers * 16 + hybridization) * 256 + self.hydrogens + 1
        return np.asarray(np.unique(code, return_inverse=True)[1].reshape(-1))

    def neighbours(self, number: int) -> Integers:
        """How many atoms of an element are bonded to each atom.

        Returns
        -------
        (A,) integer array
            Zero without bonds.
        """
        atom, other = self.directed.T
        return np.bincount(atom[self.numbers[other] == number], minlength=len(self.numbers))
