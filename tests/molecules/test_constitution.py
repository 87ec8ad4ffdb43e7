"""Which molecules are one, beside RDKit's InChI and drawings that a look alone does not part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from hpcml.molecules import Molecule, constitutions, molecule_from_smiles, perceive, read

QUICKSTART = Path(__file__).parents[2] / "jobs" / "quickstart.xyz"


def numbered(molecules: list[Molecule]) -> list[int]:
    return constitutions(
        np.concatenate([one.numbers for one in molecules]),
        np.concatenate([one.positions for one in molecules]),
        np.cumsum([0, *map(len, molecules)]),
        np.array([[one.charge, one.multiplicity] for one in molecules]),
    ).tolist()


def conformer(smiles: str, seed: int) -> Molecule:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert rdDistGeom.EmbedMolecule(mol, randomSeed=seed) == 0
    numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
    return Molecule(numbers, mol.GetConformer().GetPositions())


def test_two_molecules_are_one_where_their_inchi_skeletons_are():
    molecules = [one for one in read(QUICKSTART) if isinstance(one, Molecule)]
    molecules += [conformer(Chem.MolToSmiles(perceive(one)), 7) for one in molecules[::8]]
    ours = numbered(molecules)
    skeletons = [Chem.MolToInchiKey(perceive(one))[:14] for one in molecules]
    assert sorted(set(ours)) == list(range(80))
    assert len(set(zip(ours, skeletons, strict=True))) == len(set(skeletons)) == 80


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("CCCC", "CC(C)C", False),
        ("C/C=C/C", "C/C=C\\C", True),  # stereoisomers
        ("C[C@H](N)O", "C[C@@H](N)O", True),
        ("Cc1nccnc1", "CC1=CN=CC=N1", True),  # drawn in two ways
        ("C1CCC2CCCCC2C1", "C1CCC(C1)C1CCCC1", False),  # the same colours, two graphs
        ("CC#N", "C[N+]#[C-]", False),
    ],
)
def test_known_pairs(one, other, same):
    first, second = numbered([molecule_from_smiles(one), molecule_from_smiles(other)])
    assert (first == second) == same


def test_ions_and_states_are_not_their_parents_and_isotopes_are():
    water = molecule_from_smiles("O")
    nuclei = water.numbers, water.positions
    cation, triplet = Molecule(*nuclei, 1, 2), Molecule(*nuclei, 0, 3)
    heavy = Molecule(*nuclei, isotopes=np.array([0, 2, 2]))
    assert numbered([water, cation, triplet, heavy]) == [0, 1, 2, 0]


def test_atoms_and_parts():
    helium = Molecule(np.array([2]), np.zeros((1, 3)))
    pair = Molecule(np.array([2, 2]), np.array([[0.0, 0, 0], [0, 0, 9]]))
    nearer = Molecule(np.array([2, 2]), np.array([[0.0, 0, 0], [0, 5, 0]]))
    assert numbered([helium, pair, helium, nearer]) == [0, 1, 0, 1]


def test_read_some_at_a_time_they_are_numbered_alike(monkeypatch):
    """Copies in other blocks, and graphs that colours do not part, are met again."""
    molecules = [one for one in read(QUICKSTART) if isinstance(one, Molecule)][:12]
    molecules += molecules[::-1]
    molecules += [molecule_from_smiles(s) for s in ("C1CCC2CCCCC2C1", "C1CCC(C1)C1CCCC1")]
    whole = numbered(molecules)
    assert whole == [*range(12), *reversed(range(12)), 12, 13]
    monkeypatch.setattr("hpcml.molecules.constitution._AT_ONCE", 5)
    assert numbered(molecules) == whole
