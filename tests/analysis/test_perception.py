"""What is kept of RDKit's view of molecules, beside RDKit asked molecule by molecule."""

import numpy as np
import pytest
from rdkit import Chem

from hpcml.analysis.perception import HYBRIDIZATIONS, Perceived
from hpcml.molecules import Molecule, molecule_from_smiles, perceive
from hpcml.molecules.groups import GROUPS, in_ring, occurrences
from hpcml.store.rows import offsets_of

SMILES = ["CCO", "C1CC1C", "c1ccccc1O", "CC#N", "NCC=O", "[H][H]", "CC(=O)OC"]


@pytest.fixture(scope="module")
def molecules():
    """The molecules, and in their midst one whose bonds nobody can make out."""
    made = [molecule_from_smiles(smiles) for smiles in SMILES]
    methane = molecule_from_smiles("C")
    lost = Molecule(methane.numbers, methane.positions, charge=5, multiplicity=2)
    return [*made[:3], lost, *made[3:]]


@pytest.fixture(scope="module")
def perceived(molecules):
    return Perceived(molecules, offsets_of([len(molecule) for molecule in molecules]))


def test_atoms_are_as_rdkit_has_them(molecules, perceived):
    for number, molecule in enumerate(molecules):
        if number == 3:
            continue
        mine = slice(*perceived.offsets[number : number + 2])
        mol = perceive(molecule)
        neighbours = [
            sum(n.GetAtomicNum() == 1 for n in atom.GetNeighbors()) for atom in mol.GetAtoms()
        ]
        assert perceived.hydrogens[mine].tolist() == neighbours
        assert perceived.in_ring[mine].tolist() == in_ring(mol).tolist()
        aromatic = set(mol.GetSubstructMatches(Chem.MolFromSmarts("a")))
        assert np.flatnonzero(perceived.aromatic[mine]).tolist() == sorted(a for (a,) in aromatic)
    nitrile = [HYBRIDIZATIONS[h] for h in perceived.hybridization[slice(*perceived.offsets[4:6])]]
    assert nitrile[:3] == ["sp3", "sp", "sp"]


def test_groups_are_where_they_are(molecules, perceived):
    values = np.random.default_rng(0).normal(size=int(perceived.offsets[-1]))
    for name, smarts in GROUPS.items():
        sums, where = [], []
        for number, molecule in enumerate(molecules):
            if number == 3:
                continue
            own = values[slice(*perceived.offsets[number : number + 2])]
            for atoms in occurrences(perceive(molecule), smarts):
                sums.append(own[atoms].sum())
                where.append(number)
        found = perceived.groups[name]
        assert found.molecules.tolist() == where
        np.testing.assert_allclose(found.sums(values), sums)
        assert np.flatnonzero(perceived.holds(name)).tolist() == sorted(set(where))


def test_molecules_come_back_and_unknown_ones_are_none(molecules, perceived):
    assert len(perceived) == len(molecules)
    assert perceived[3] is None and not perceived.known[3]
    assert perceived.known.sum() == len(SMILES)
    for mol, smiles in zip([*perceived[:3], *perceived[4:]], SMILES, strict=True):
        assert Chem.MolToSmiles(Chem.RemoveHs(mol)) == Chem.CanonSmiles(smiles)
    lost = slice(*perceived.offsets[3:5])
    assert not perceived.in_ring[lost].any() and not perceived.hydrogens[lost].any()
