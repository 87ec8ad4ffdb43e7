"""What a graph network is told about a molecule: atoms and pairs of atoms as rows of numbers.

The features are those of the Weave networks as Faber and co-workers used them for QM9
(J. Chem. Theory Comput. 13, 5255 (2017); Kearnes et al., J. Comput.-Aided Mol. Des. 30, 595
(2016)): hydrogens are nodes of their own, all pairs of atoms are edges.  Nothing in them is the
result of an electronic-structure calculation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import Lipinski

from hpcml.errors import InputError
from hpcml.molecules.bonds import perceive
from hpcml.molecules.molecule import Molecule, symbol

_ELEMENTS = (1, 6, 7, 8, 9, 5, 14, 15, 16, 17, 35, 53)
_RING_SIZES = range(3, 10)
_HYBRIDIZATIONS = {
    Chem.HybridizationType.SP: "sp",
    Chem.HybridizationType.SP2: "sp2",
    Chem.HybridizationType.SP3: "sp3",
}
_BOND_TYPES = {
    Chem.BondType.SINGLE: "single",
    Chem.BondType.DOUBLE: "double",
    Chem.BondType.TRIPLE: "triple",
    Chem.BondType.AROMATIC: "aromatic",
}
_FARTHEST_BONDS = 7

ATOM_FEATURES: list[str] = [
    *(f"type_{symbol(number)}" for number in _ELEMENTS),
    "chirality_R",
    "chirality_S",
    *(f"rings_of_{size}" for size in _RING_SIZES),
    *_HYBRIDIZATIONS.values(),
    "acceptor",
    "donor",
    "aromatic",
]
PAIR_FEATURES: list[str] = [
    *_BOND_TYPES.values(),
    *(f"graph_distance_{bonds}" for bonds in range(1, _FARTHEST_BONDS + 1)),
    "same_ring",
    "spatial_distance",
]

_ATOM = {name: column for column, name in enumerate(ATOM_FEATURES)}
_PAIR = {name: column for column, name in enumerate(PAIR_FEATURES)}
_TYPE_COLUMN = np.full(119, -1)
_TYPE_COLUMN[list(_ELEMENTS)] = range(len(_ELEMENTS))


@dataclass(frozen=True)
class Graph:
    """A molecule of n atoms with b bonds as a network sees it; atoms in the molecule's order.

    atom_features   (n, len(ATOM_FEATURES)) float32: element, R/S, number of rings of each
                    size, hybridization, hydrogen-bond acceptor and donor, aromatic
    pair_features   (n, n, len(PAIR_FEATURES)) float32, symmetric, zero on the diagonal: bond
                    type, bonds along the shortest path (one column each, none beyond 7), in a
                    common ring, distance in angstrom
    bonds           (b, 2) int64, each bond once, the lower atom first
    distances       (n, n) float32, angstrom
    """

    atom_features: NDArray[np.float32]
    pair_features: NDArray[np.float32]
    bonds: NDArray[np.int64]
    distances: NDArray[np.float32]


def graph(molecule: Molecule) -> Graph:
    """The features of a molecule.

    Parameters
    ----------
    molecule : Molecule
        Of N atoms; its SMILES, where it has one, says the bonds.

    Returns
    -------
    Graph
        float32 and int64 arrays in the order of the molecule's atoms.

    Raises
    ------
    InputError
        For an element without a column of its own, or bonds that nobody can make out.
    """
    columns = _TYPE_COLUMN[molecule.numbers]
    if columns.min() < 0:
        element = symbol(int(molecule.numbers[int(columns.argmin())]))
        known = " ".join(symbol(number) for number in _ELEMENTS)
        raise InputError(
            f"{molecule.name or molecule.formula}: no graph features for {element}, "
            f"only for {known}"
        )
    mol = perceive(molecule)
    rings = mol.GetRingInfo().AtomRings()
    separation = molecule.positions[:, None] - molecule.positions[None]
    distances = np.sqrt((separation**2).sum(axis=2)).astype(np.float32)
    atoms = _atom_features(mol, columns, rings)
    bonds, pairs = _bonds_and_pairs(mol, rings, distances)
    return Graph(atoms, pairs, bonds, distances)


def _atom_features(
    mol: Chem.Mol, type_columns: NDArray[np.int64], rings: tuple[tuple[int, ...], ...]
) -> NDArray[np.float32]:
    atoms = np.zeros((len(type_columns), len(ATOM_FEATURES)), dtype=np.float32)
    atoms[np.arange(len(type_columns)), type_columns] = 1.0
    for at, atom in enumerate(mol.GetAtoms()):
        if atom.GetAtomicNum() == 1:
            continue
        hybridization = _HYBRIDIZATIONS.get(atom.GetHybridization())
        if hybridization:
            atoms[at, _ATOM[hybridization]] = 1.0
        if atom.GetIsAromatic():
            atoms[at, _ATOM["aromatic"]] = 1.0
        if atom.HasProp("_CIPCode"):
            atoms[at, _ATOM[f"chirality_{atom.GetProp('_CIPCode')}"]] = 1.0
    for ring in rings:
        if len(ring) in _RING_SIZES:
            atoms[list(ring), _ATOM[f"rings_of_{len(ring)}"]] += 1.0
    for name, pattern in (
        ("acceptor", Lipinski.HAcceptorSmarts),
        ("donor", Lipinski.HDonorSmarts),
    ):
        for (at,) in mol.GetSubstructMatches(pattern):
            atoms[at, _ATOM[name]] = 1.0
    return atoms


def _bonds_and_pairs(
    mol: Chem.Mol, rings: tuple[tuple[int, ...], ...], distances: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    n = len(distances)
    pairs = np.zeros((n, n, len(PAIR_FEATURES)), dtype=np.float32)
    bonds = []
    for bond in mol.GetBonds():
        first, second = sorted((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()))
        bonds.append((first, second))
        kind = _BOND_TYPES.get(bond.GetBondType())
        if kind:
            pairs[first, second, _PAIR[kind]] = pairs[second, first, _PAIR[kind]] = 1.0
    steps = Chem.GetDistanceMatrix(mol)  # 1e8 between atoms of different parts
    rows, columns = np.nonzero((steps > 0) & (steps <= _FARTHEST_BONDS))
    nearest = _PAIR["graph_distance_1"]
    pairs[rows, columns, nearest - 1 + steps[rows, columns].astype(np.int64)] = 1.0
    for ring in rings:
        members = np.array(ring)
        pairs[members[:, None], members[None], _PAIR["same_ring"]] = 1.0
    pairs[np.arange(n), np.arange(n), _PAIR["same_ring"]] = 0.0
    pairs[:, :, _PAIR["spatial_distance"]] = distances
    return np.array(bonds, dtype=np.int64).reshape(-1, 2), pairs
