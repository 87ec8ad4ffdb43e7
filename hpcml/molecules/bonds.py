"""Which atoms are bonded, and how: from the SMILES where it fits the geometry, else from it.

The SMILES knows bond orders and formal charges, the geometry knows which atom is which.  They
are brought together by matching the two graphs of heavy atoms.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from rdkit.Chem import rdDetermineBonds
from scipy.sparse.csgraph import connected_components

from hpcml.errors import InputError
from hpcml.molecules.molecule import Molecule

_TABLE = Chem.GetPeriodicTable()
# Covalent radii in angstrom by atomic number, index 0 unused.
_RADII = np.array([0.0] + [_TABLE.GetRcovalent(number) for number in range(1, 119)])
_LONGEST_BOND = 1.3  # in units of the sum of covalent radii
_MOST_NEIGHBOURS = {1: 1, 5: 4, 6: 4, 7: 4, 8: 3, 9: 1}
_MOST_MATCHES = 5000
_BOND_ORDER_STEPS = 100_000

Bonds = list[tuple[int, int]]


def perceive(molecule: Molecule) -> Chem.Mol:
    """An RDKit molecule with bonds, formal charges, aromaticity and stereochemistry.

    Its atoms are those of ``molecule`` in the same order, hydrogens explicit, with the geometry
    as its conformer; stereochemistry is that of the geometry, with isotopes taken as the same
    element.  InputError where no bonding
    pattern fits the charge.
    """
    ratios = _distance_ratios(molecule)
    mol = _from_smiles(molecule, ratios) if molecule.smiles else None
    if mol is None:
        mol = _from_geometry(molecule, ratios)
    conformer = Chem.Conformer(len(molecule))
    conformer.Set3D(True)
    conformer.SetPositions(np.array(molecule.positions))
    mol.RemoveAllConformers()
    mol.AddConformer(conformer, assignId=True)
    Chem.AssignStereochemistryFrom3D(mol)  # without isotopes: the electrons do not see them
    for atom, isotope in zip(mol.GetAtoms(), molecule.isotopes.tolist(), strict=True):
        atom.SetIsotope(isotope)
    return mol


def pieces(molecule: Molecule) -> int:
    """How many pieces the geometry falls into, with no bond between any two of them."""
    bonded = _distance_ratios(molecule) < _LONGEST_BOND
    return int(connected_components(bonded, directed=False, return_labels=False))


def _distance_ratios(molecule: Molecule) -> NDArray[np.float64]:
    """Distances in units of the sum of covalent radii, (n, n); the diagonal is infinite."""
    radii = _RADII[molecule.numbers]
    differences = molecule.positions[:, None] - molecule.positions[None]
    ratios: NDArray[np.float64] = np.sqrt((differences**2).sum(axis=2)) / np.add.outer(radii, radii)
    np.fill_diagonal(ratios, np.inf)
    return ratios


# ---- from the SMILES ------------------------------------------------------------------------


def _from_smiles(molecule: Molecule, ratios: NDArray[np.float64]) -> Chem.Mol | None:
    """The molecule of the SMILES on the atoms of the geometry, or None where they do not fit."""
    with rdBase.BlockLogs():
        parsed = Chem.MolFromSmiles(molecule.smiles)
        if parsed is None or Chem.GetFormalCharge(parsed) != molecule.charge:
            return None
        for atom in parsed.GetAtoms():
            atom.SetIsotope(0)  # RDKit keeps deuterium as an atom of the graph
        parsed = Chem.RemoveHs(parsed)
    numbers = molecule.numbers
    hydrogens = [atom.GetTotalNumHs() for atom in parsed.GetAtoms()]
    elements = [atom.GetAtomicNum() for atom in parsed.GetAtoms()]
    heavy = np.flatnonzero(numbers > 1)
    if sorted(elements) != sorted(numbers[heavy].tolist()) or sum(hydrogens) != len(numbers) - len(
        heavy
    ):
        return None
    # As many bonds as the SMILES has, the shortest ones: no threshold can be wrong.
    bonds = _shortest_bonds(ratios, parsed.GetNumBonds() + sum(hydrogens))
    owner = _hydrogen_owners(numbers, bonds)
    if owner is None:
        return None
    place = {int(atom): at for at, atom in enumerate(heavy)}
    counts = np.bincount(list(owner.values()), minlength=len(numbers))
    frame = _skeleton(
        numbers[heavy].tolist(),
        counts[heavy].tolist(),
        [(place[i], place[j]) for i, j in bonds if i in place and j in place],
    )
    parsed_bonds = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in parsed.GetBonds()]
    query = _skeleton(elements, hydrogens, parsed_bonds)
    orders = [bond.GetBondTypeAsDouble() for bond in parsed.GetBonds()]
    one = max(orders, default=1.0) == 1.0 and not any(
        a.GetFormalCharge() for a in parsed.GetAtoms()
    )
    matches = frame.GetSubstructMatches(
        query, uniquify=False, maxMatches=1 if one else _MOST_MATCHES
    )
    if not matches:
        return None
    match = (
        matches[0] if len(matches) == 1 else _tightest(matches, parsed_bonds, orders, ratios, heavy)
    )
    return _on_atoms(parsed, [int(heavy[at]) for at in match], owner)


def _shortest_bonds(ratios: NDArray[np.float64], count: int) -> Bonds:
    first, second = np.triu_indices(len(ratios), 1)
    values = ratios[first, second]
    if count >= len(values):
        chosen = np.arange(len(values))
    else:
        chosen = np.argpartition(values, count)[:count]
    return list(zip(first[chosen].tolist(), second[chosen].tolist(), strict=True))


def _hydrogen_owners(numbers: NDArray[np.int64], bonds: Bonds) -> dict[int, int] | None:
    """The heavy atom of each hydrogen; None where one has none, or more than one neighbour."""
    owner: dict[int, int] = {}
    for pair in bonds:
        for hydrogen, other in (pair, pair[::-1]):
            if numbers[hydrogen] == 1:
                if hydrogen in owner or numbers[other] == 1:
                    return None
                owner[hydrogen] = other
    return owner if len(owner) == int((numbers == 1).sum()) else None


def _skeleton(elements: Sequence[int], hydrogens: Sequence[int], bonds: Bonds) -> Chem.Mol:
    """Heavy atoms with plain bonds; the isotope label, which a match compares, counts hydrogens."""
    skeleton = Chem.RWMol()
    for element, count in zip(elements, hydrogens, strict=True):
        atom = Chem.Atom(element)
        atom.SetIsotope(1 + count)
        atom.SetNoImplicit(True)
        skeleton.AddAtom(atom)
    for first, second in bonds:
        skeleton.AddBond(first, second, Chem.BondType.SINGLE)
    return skeleton


def _tightest(
    matches: Sequence[Sequence[int]],
    bonds: Bonds,
    orders: Sequence[float],
    ratios: NDArray[np.float64],
    heavy: NDArray[np.int64],
) -> Sequence[int]:
    """The match that lays the higher bond orders on the shorter bonds.

    All matches cover the same bonds, so that the sum of order times length orders them.
    """
    atoms = heavy[np.array(matches)]  # (matches, heavy atoms)
    ends = np.array(bonds)
    lengths = ratios[atoms[:, ends[:, 0]], atoms[:, ends[:, 1]]]
    return matches[int(np.argmin(lengths @ np.array(orders)))]


def _on_atoms(parsed: Chem.Mol, heavy: list[int], owner: dict[int, int]) -> Chem.Mol:
    """``parsed`` with hydrogens added and its atoms put in the molecule's order."""
    mol = Chem.AddHs(parsed)
    waiting: dict[int, list[int]] = {}
    for hydrogen, atom in owner.items():
        waiting.setdefault(atom, []).append(hydrogen)
    order = [0] * mol.GetNumAtoms()
    for at, atom in enumerate(heavy):
        order[atom] = at
    for added in range(len(heavy), mol.GetNumAtoms()):
        neighbour = mol.GetAtomWithIdx(added).GetNeighbors()[0].GetIdx()
        order[waiting[heavy[neighbour]].pop()] = added
    return Chem.RenumberAtoms(mol, order)


# ---- from the geometry alone ----------------------------------------------------------------


def _from_geometry(molecule: Molecule, ratios: NDArray[np.float64]) -> Chem.Mol:
    bare = Chem.RWMol()
    for number in molecule.numbers.tolist():
        atom = Chem.Atom(number)
        atom.SetNoImplicit(True)
        bare.AddAtom(atom)
    for first, second in _connected(molecule.numbers, ratios):
        bare.AddBond(first, second, Chem.BondType.SINGLE)
    for charged_fragments in (True, False):  # the second leaves radical electrons instead
        mol = Chem.Mol(bare)
        try:
            with rdBase.BlockLogs():
                rdDetermineBonds.DetermineBondOrders(
                    mol,
                    charge=molecule.charge,
                    allowChargedFragments=charged_fragments,
                    embedChiral=False,
                    maxIterations=_BOND_ORDER_STEPS,
                )
                Chem.SanitizeMol(mol)
        except (ValueError, RuntimeError):
            continue
        unpaired = sum(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms())
        if charged_fragments or unpaired == molecule.multiplicity - 1:
            return mol
    raise InputError(
        f"{molecule.name or molecule.formula}: no bonding pattern fits the geometry with charge "
        f"{molecule.charge}: give its SMILES"
    )


def _connected(numbers: NDArray[np.int64], ratios: NDArray[np.float64]) -> Bonds:
    """Pairs within 1.3 covalent radii; an atom keeps its closest neighbours, up to its most."""
    first, second = np.nonzero(np.triu(ratios < _LONGEST_BOND, 1))
    by_length = np.argsort(ratios[first, second], kind="stable")
    room = [_MOST_NEIGHBOURS.get(int(number), 8) for number in numbers]
    bonds = []
    for i, j in zip(first[by_length].tolist(), second[by_length].tolist(), strict=True):
        if room[i] and room[j]:
            room[i] -= 1
            room[j] -= 1
            bonds.append((i, j))
    return bonds
