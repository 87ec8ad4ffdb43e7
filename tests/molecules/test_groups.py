"""Functional groups of molecules that everyone knows."""

import pytest
from rdkit import Chem

from hpcml.molecules.groups import GROUPS, in_ring, occurrences


def molecule(smiles):
    return Chem.AddHs(Chem.MolFromSmiles(smiles))


@pytest.mark.parametrize(
    ("smiles", "expected"),
    [
        ("CCO", {"methyl": 1, "methylene": 1, "alcohol": 1}),
        ("COC", {"methyl": 2, "ether": 1}),
        ("CC(=O)O", {"methyl": 1, "carboxylic acid": 1}),
        ("CC(=O)OC", {"methyl": 2, "ester": 1}),
        ("CC(N)=O", {"methyl": 1, "amide": 1}),
        ("CC=O", {"methyl": 1, "aldehyde": 1}),
        ("C=O", {"aldehyde": 1}),
        ("CC(C)=O", {"methyl": 2, "ketone": 1}),
        ("CN", {"methyl": 1, "primary amine": 1}),
        ("CNC", {"methyl": 2, "secondary amine": 1}),
        ("CN(C)C", {"methyl": 3, "tertiary amine": 1}),
        ("CC#N", {"methyl": 1, "nitrile": 1}),
        ("C=C", {"alkene": 1}),
        ("C#C", {"alkyne": 1}),
        ("CC=N", {"methyl": 1, "imine": 1}),
        ("C1CO1", {"methylene": 2, "epoxide": 1, "three-membered ring": 3}),
        ("c1ccccc1", {"aromatic carbon": 6, "six-membered ring": 6}),
        ("c1cc[nH]c1", {"aromatic carbon": 4, "aromatic nitrogen": 1, "five-membered ring": 5}),
        ("c1ccoc1", {"aromatic carbon": 4, "aromatic oxygen": 1, "five-membered ring": 5}),
        ("CC(C)(C)F", {"methyl": 3, "quaternary carbon": 1, "fluorine": 1}),
        ("CC(C)C", {"methyl": 3, "methine": 1}),
        ("C1CCC1", {"methylene": 4, "four-membered ring": 4}),
    ],
)
def test_groups_of_known_molecules(smiles, expected):
    mol = molecule(smiles)
    found = {name: len(occurrences(mol, smarts)) for name, smarts in GROUPS.items()}
    assert {name: count for name, count in found.items() if count} == expected


def test_hydrogens_belong_to_the_group():
    """The methyl of ethanol is its carbon and three hydrogens, the alcohol O and H."""
    mol = molecule("CCO")
    (methyl,) = occurrences(mol, GROUPS["methyl"])
    symbols = sorted(mol.GetAtomWithIdx(int(i)).GetSymbol() for i in methyl)
    assert symbols == ["C", "H", "H", "H"]
    (alcohol,) = occurrences(mol, GROUPS["alcohol"])
    assert sorted(mol.GetAtomWithIdx(int(i)).GetSymbol() for i in alcohol) == ["H", "O"]


def test_ring_atoms():
    assert in_ring(molecule("C1CC1C")).sum() == 3
