"""What RDKit sees in each molecule of a data set: one pass, and no large object is kept.

A molecule of RDKit's takes tens of kilobytes, its bytes half of one, and what the tables ask of
it a few numbers an atom: QM9's 130,831 molecules fit into a quarter of a gigabyte.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import overload

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from hpcml.errors import InputError
from hpcml.molecules import Molecule, perceive
from hpcml.molecules.groups import GROUPS, in_ring, occurrences

HYBRIDIZATIONS = ("sp", "sp2", "sp3", "other")
_HYBRIDIZATION = {
    Chem.HybridizationType.SP: 0,
    Chem.HybridizationType.SP2: 1,
    Chem.HybridizationType.SP3: 2,
}
_ATOM_COLUMNS = ("hybridization", "aromatic", "hydrogens")


@dataclass(frozen=True)
class Occurrences:
    """Where a group of ``GROUPS`` was found, K times in all.

    molecules  (K,) the molecule of each
    cuts       (K + 1,) the atoms cuts[k] to cuts[k + 1] belong to occurrence k
    atoms      (cuts[K],) atoms of the data set, the hydrogens bound to them included
    """

    molecules: NDArray[np.int64]
    cuts: NDArray[np.int64]
    atoms: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.molecules)

    def sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sum over each occurrence's atoms.

        Parameters
        ----------
        values : (A,) array

        Returns
        -------
        (K,) array
        """
        if not len(self):
            return np.empty(0)
        total: NDArray[np.float64] = np.add.reduceat(values[self.atoms], self.cuts[:-1])
        return total


@dataclass
class _Found:
    molecules: array[int] = field(default_factory=lambda: array("q"))
    cuts: array[int] = field(default_factory=lambda: array("q", [0]))
    atoms: array[int] = field(default_factory=lambda: array("q"))

    def add(self, molecule: int, atoms: NDArray[np.int64]) -> None:
        self.molecules.append(molecule)
        self.atoms.frombytes(atoms.tobytes())
        self.cuts.append(len(self.atoms))

    def packed(self) -> Occurrences:
        return Occurrences(*(np.array(a, dtype=np.int64) for a in vars(self).values()))


class Perceived(Sequence["Chem.Mol | None"]):
    """M molecules with A atoms, as RDKit sees them; None where bonds cannot be perceived.

    offsets        (M + 1,) molecule m has the atoms offsets[m] to offsets[m + 1]
    known          (M,) where bonds were perceived; all else is empty or zero where not
    hybridization  (A,) which of ``HYBRIDIZATIONS``
    in_ring        (A,) whether the atom lies in a ring
    aromatic       (A,)
    hydrogens      (A,) how many are bonded to the atom
    bonds          (B, 2) atoms that are bonded, each bond once
    groups         name -> where it is
    """

    def __init__(
        self,
        molecules: Sequence[Molecule],
        offsets: NDArray[np.int64],
        advance: Callable[[int], None] = lambda done: None,
    ) -> None:
        """advance   called with the number of molecules seen so far"""
        atoms = int(offsets[-1])
        self.offsets = offsets
        self.hybridization = np.zeros(atoms, dtype=np.uint8)
        self.in_ring = np.zeros(atoms, dtype=bool)
        self.aromatic = np.zeros(atoms, dtype=bool)
        self.hydrogens = np.zeros(atoms, dtype=np.uint8)
        self._binaries: list[bytes | None] = []
        ends = array("q")  # of bonds
        found = {name: _Found() for name in GROUPS}
        for number, start in enumerate(offsets[:-1].tolist()):
            advance(number + 1)
            try:
                mol = perceive(molecules[number])
            except InputError:
                self._binaries.append(None)
                continue
            self._binaries.append(mol.ToBinary())
            for name, values in zip(_ATOM_COLUMNS, zip(*_of_atoms(mol), strict=True), strict=True):
                getattr(self, name)[start : start + len(values)] = values
            self.in_ring[start : start + mol.GetNumAtoms()] = in_ring(mol)
            for bond in mol.GetBonds():
                ends.append(start + bond.GetBeginAtomIdx())
                ends.append(start + bond.GetEndAtomIdx())
            for name, smarts in GROUPS.items():
                for match in occurrences(mol, smarts):
                    found[name].add(number, start + match)
        self.known = np.array([one is not None for one in self._binaries], dtype=bool)
        self.bonds = np.array(ends, dtype=np.int64).reshape(-1, 2)
        self.groups = {name: one.packed() for name, one in found.items()}

    def holds(self, group: str) -> NDArray[np.bool_]:
        """Which molecules have a group.

        Returns
        -------
        (M,) boolean array
        """
        there = np.zeros(len(self), dtype=bool)
        there[self.groups[group].molecules] = True
        return there

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> Chem.Mol | None: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Chem.Mol | None]: ...

    def __getitem__(self, index: int | slice) -> Chem.Mol | Sequence[Chem.Mol | None] | None:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        binary = self._binaries[index]
        return None if binary is None else Chem.Mol(binary)  # type: ignore[call-overload]  # stubs: text only


def _of_atoms(mol: Chem.Mol) -> Iterator[tuple[int, bool, int]]:
    """A value of each of ``_ATOM_COLUMNS`` for each atom."""
    for atom in mol.GetAtoms():
        yield (
            _HYBRIDIZATION.get(atom.GetHybridization(), 3),
            atom.GetIsAromatic(),
            atom.GetTotalNumHs(includeNeighbors=True),
        )
