import numpy as np
import pytest
from rdkit import Chem

from hpcml.errors import InputError
from hpcml.molecules import Molecule, molecule_from_smiles, perceive


def distance(molecule: Molecule, first: int, second: int) -> float:
    return float(np.linalg.norm(molecule.positions[first] - molecule.positions[second]))


def test_bond_lengths_are_those_of_experiment() -> None:
    # CRC Handbook of Chemistry and Physics, gas-phase structures, angstrom.
    assert distance(molecule_from_smiles("CC"), 0, 1) == pytest.approx(1.535, abs=0.03)
    assert distance(molecule_from_smiles("C=C"), 0, 1) == pytest.approx(1.339, abs=0.03)
    assert distance(molecule_from_smiles("C#C"), 0, 1) == pytest.approx(1.203, abs=0.03)
    assert distance(molecule_from_smiles("C=O"), 0, 1) == pytest.approx(1.203, abs=0.03)


def test_the_same_smiles_gives_the_same_key() -> None:
    assert molecule_from_smiles("CC(N)C(=O)O").key == molecule_from_smiles("CC(N)C(=O)O").key


@pytest.mark.parametrize(
    ("smiles", "charge", "multiplicity"),
    [("C", 0, 1), ("[NH4+]", 1, 1), ("[CH3]", 0, 2), ("[CH2]", 0, 3), ("[O-]O", -1, 1)],
)
def test_electrons(smiles: str, charge: int, multiplicity: int) -> None:
    molecule = molecule_from_smiles(smiles)
    assert (molecule.charge, molecule.multiplicity) == (charge, multiplicity)


@pytest.mark.parametrize("smiles", ["C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", r"F/C=C\F", "F/C=C/F"])
def test_stereochemistry_is_kept(smiles: str) -> None:
    mol = perceive(molecule_from_smiles(smiles))
    assert Chem.MolToSmiles(Chem.RemoveHs(mol)) == Chem.CanonSmiles(smiles)


@pytest.mark.parametrize(
    ("smiles", "message"),
    [
        ("", "no atoms"),
        ("C1CC", "does not parse"),
        ("hello", "does not parse"),
        ("FOO(F)F", "is no molecule: .*permitted"),
        ("c1cccc1", "is no molecule"),
        ("[Na+].[Cl-]", "2 parts"),
        ("CC*", "wildcard"),
        ("[H+]", "leaves 0 electrons"),
    ],
)
def test_no_molecule(smiles: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        molecule_from_smiles(smiles)


@pytest.mark.parametrize(
    ("smiles", "isotopes"),
    [
        ("[2H]O[2H]", [2, 0, 2]),
        ("[3H]C", [3, 0, 0, 0, 0]),
        ("[13CH4]", [13, 0, 0, 0, 0]),
        ("[12CH4]", [0, 0, 0, 0, 0]),
    ],
)
def test_isotopes_of_a_smiles(smiles: str, isotopes: list[int]) -> None:
    assert molecule_from_smiles(smiles).isotopes.tolist() == isotopes
