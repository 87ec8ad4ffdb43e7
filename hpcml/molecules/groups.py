"""Functional groups and rings by SMARTS."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

GROUPS = {
    "methyl": "[CX4H3]",
    "methylene": "[CX4H2]",
    "methine": "[CX4H1]",
    "quaternary carbon": "[CX4H0]",
    "alkene": "[CX3]=[CX3]",
    "alkyne": "[CX2]#[CX2]",
    "aromatic carbon": "c",
    "aromatic nitrogen": "n",
    "aromatic oxygen": "o",
    "alcohol": "[OX2H1;$(O[#6;!$(C=O)])]",
    "ether": "[OX2H0;$(O([#6])[#6]);!$(OC=O);!r3]",
    "epoxide": "[OX2;r3]",
    "aldehyde": "[CX3;H1,H2;!$(C[O,N])]=[OX1]",
    "ketone": "[CX3;$(C([#6])([#6])=O)]=[OX1]",
    "carboxylic acid": "[CX3](=[OX1])[OX2H1]",
    "ester": "[CX3](=[OX1])[OX2H0;$(O[#6])]",
    "amide": "[CX3](=[OX1])[NX3]",
    "primary amine": "[NX3;H2;$(N[#6]);!$(N[#6]=[O,N,S])]",
    "secondary amine": "[NX3;H1;$(N([#6])[#6]);!$(N[#6]=[O,N,S])]",
    "tertiary amine": "[NX3;H0;$(N([#6])([#6])[#6]);!$(N[#6]=[O,N,S])]",
    "imine": "[CX3]=[NX2]",
    "nitrile": "[CX2]#[NX1]",
    "fluorine": "[F]",
    "three-membered ring": "[r3]",
    "four-membered ring": "[r4]",
    "five-membered ring": "[r5]",
    "six-membered ring": "[r6]",
}
"""Name -> SMARTS. Ring entries are atoms in a smallest ring of that size."""


@lru_cache(maxsize=256)
def _pattern(smarts: str) -> Chem.Mol:
    return Chem.MolFromSmarts(smarts)


def occurrences(mol: Chem.Mol, smarts: str) -> list[NDArray[np.int64]]:
    """Atoms of each match of ``smarts``, with the hydrogens bound to them.

    Parameters
    ----------
    mol : Mol
        With explicit hydrogens, as ``hpcml.molecules.perceive`` gives it.
    smarts : str

    Returns
    -------
    list of (k,) integer array
        Atoms of each match, ascending.
    """
    found = []
    for match in mol.GetSubstructMatches(_pattern(smarts)):
        atoms = set(match)
        for index in match:
            neighbours = mol.GetAtomWithIdx(index).GetNeighbors()
            atoms |= {n.GetIdx() for n in neighbours if n.GetAtomicNum() == 1}
        found.append(np.array(sorted(atoms), dtype=np.int64))
    return found


def in_ring(mol: Chem.Mol) -> NDArray[np.bool_]:
    """Whether each atom lies in a ring.

    Returns
    -------
    (n,) boolean array
    """
    return np.array([atom.IsInRing() for atom in mol.GetAtoms()], dtype=bool)
