import re
from dataclasses import replace

import numpy as np
import pytest
from rdkit import Chem

from hpcml.errors import InputError
from hpcml.molecules import Molecule, molecule_from_smiles, perceive

REARRANGED = "gdb_133857"  # its cage closed otherwise in the optimization than its SMILES says


def skeleton_smiles(mol: Chem.Mol) -> str:
    """Canonical SMILES without stereochemistry or hydrogens."""
    flat = Chem.Mol(mol)
    Chem.RemoveStereochemistry(flat)
    return str(Chem.CanonSmiles(Chem.MolToSmiles(Chem.RemoveHs(flat)), useChiral=0))


def shuffled(molecule: Molecule, seed: int) -> tuple[Molecule, np.ndarray]:
    order = np.random.default_rng(seed).permutation(len(molecule))
    numbers, positions = molecule.numbers[order], molecule.positions[order]
    return replace(molecule, numbers=numbers, positions=positions), order


def test_the_smiles_is_laid_on_the_atoms_in_their_order(qm9_sample: list[Molecule]) -> None:
    for seed, molecule in enumerate(qm9_sample):
        mixed, order = shuffled(molecule, seed)
        mol, mixed_mol = perceive(molecule), perceive(mixed)
        assert [atom.GetAtomicNum() for atom in mixed_mol.GetAtoms()] == mixed.numbers.tolist()
        assert np.array_equal(mixed_mol.GetConformer().GetPositions(), mixed.positions)
        fits = skeleton_smiles(mol) == Chem.CanonSmiles(molecule.smiles, useChiral=0)
        assert fits == (molecule.name != REARRANGED)
        bonds = {frozenset((b.GetBeginAtomIdx(), b.GetEndAtomIdx())) for b in mol.GetBonds()}
        mixed_bonds = {
            frozenset((int(order[b.GetBeginAtomIdx()]), int(order[b.GetEndAtomIdx()])))
            for b in mixed_mol.GetBonds()
        }
        assert bonds == mixed_bonds


def test_bonds_join_atoms_at_bonding_distance(qm9_sample: list[Molecule]) -> None:
    for molecule in qm9_sample:
        mol = perceive(molecule)
        for bond in mol.GetBonds():
            first, second = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
            assert np.linalg.norm(molecule.positions[first] - molecule.positions[second]) < 1.95
        assert Chem.GetFormalCharge(mol) == molecule.charge


def test_the_geometry_alone_gives_the_same_bonds(qm9_sample: list[Molecule]) -> None:
    """All but resonance forms of charged molecules, for which the formal charges may differ."""
    neutral = [m for m in qm9_sample if "+" not in m.smiles and m.name != REARRANGED]
    assert len(neutral) > 35
    for molecule in neutral:
        mol = perceive(replace(molecule, smiles=""))
        assert skeleton_smiles(mol) == Chem.CanonSmiles(molecule.smiles, useChiral=0)
    for molecule in set(qm9_sample) - set(neutral):
        mol = perceive(replace(molecule, smiles=""))
        assert Chem.GetFormalCharge(mol) == 0
        assert len(Chem.GetMolFrags(mol)) == 1


@pytest.mark.parametrize("wrong", ["CCO", "C(", "[CH3+]", "COC.C", "CC(=O)O"])
def test_a_smiles_that_does_not_fit_is_left_aside(wrong: str) -> None:
    ether = replace(molecule_from_smiles("COC"), smiles=wrong)
    assert skeleton_smiles(perceive(ether)) == "COC"


def test_double_bonds_lie_on_the_short_ones() -> None:
    """Cyclooctatetraene's ring matches itself in 16 ways, half of them with bonds exchanged."""
    molecule = molecule_from_smiles("C1=CC=CC=CC=C1")
    mixed, _ = shuffled(molecule, 7)
    for bond in perceive(mixed).GetBonds():
        length = np.linalg.norm(
            mixed.positions[bond.GetBeginAtomIdx()] - mixed.positions[bond.GetEndAtomIdx()]
        )
        if bond.GetBondType() == Chem.BondType.DOUBLE:
            assert length < 1.38
        elif length > 1.2:  # carbon-carbon
            assert length > 1.42


def test_stereochemistry_is_that_of_the_geometry() -> None:
    left = molecule_from_smiles("C[C@H](N)O")
    mirrored = replace(left, positions=left.positions * [1, 1, -1])
    labels = [
        [atom.GetProp("_CIPCode") for atom in perceive(m).GetAtoms() if atom.HasProp("_CIPCode")]
        for m in (left, mirrored)
    ]
    assert sorted(labels) == [["R"], ["S"]]


@pytest.mark.parametrize(
    ("smiles", "bonds"), [("[H][H]", 1), ("[He]", 0), ("N#N", 1), ("[C-]#[O+]", 1), ("[CH3]", 3)]
)
def test_the_smallest_molecules(smiles: str, bonds: int) -> None:
    molecule = molecule_from_smiles(smiles)
    assert perceive(molecule).GetNumBonds() == bonds
    assert perceive(replace(molecule, smiles="")).GetNumBonds() == bonds


def test_close_bridgeheads_are_not_bonded() -> None:
    """Bicyclo[1.1.1]pentane, whose bridgeheads are 1.87 angstrom apart without a bond."""
    molecule = molecule_from_smiles("C1C2CC1C2")
    for smiles in ("C1C2CC1C2", ""):
        assert perceive(replace(molecule, smiles=smiles)).GetNumBonds() == 6 + 8


@pytest.mark.parametrize(
    "smiles", ["C[N+](=O)[O-]", "CS(=O)(=O)NC(C)=O", "CP(=O)(O)O", "CN=[N+]=[N-]", "[CH3]"]
)
def test_formal_charges_and_radicals_of_the_geometry_alone(smiles: str) -> None:
    alone = replace(molecule_from_smiles(smiles), smiles="")
    assert skeleton_smiles(perceive(alone)) == Chem.CanonSmiles(smiles)


def test_closed_shells_get_no_radicals() -> None:
    """RDKit's way to this one's charges fails; its other way would leave [O] twice."""
    smiles = "CC(=O)Nc1ccc(cc1)S(=O)(=O)NC(=O)c1ccc([N+](=O)[O-])cc1"
    molecule = molecule_from_smiles(smiles)
    assert skeleton_smiles(perceive(molecule)) == Chem.CanonSmiles(smiles)
    with pytest.raises(InputError, match="give its SMILES"):
        perceive(replace(molecule, smiles=""))


def test_no_pattern_fits() -> None:
    impossible = Molecule(
        np.array([6, 1, 1, 1, 1]), molecule_from_smiles("C").positions, charge=5, multiplicity=2
    )
    with pytest.raises(InputError, match=r"CH4: no bonding pattern fits .* charge 5"):
        perceive(impossible)


@pytest.mark.parametrize("smiles", ["[2H]O[2H]", "[2H]C([2H])([2H])[N+](=O)[O-]", "[13CH2]=O"])
def test_bonds_are_those_of_the_common_isotopes(smiles: str) -> None:
    heavy = molecule_from_smiles(smiles)
    plain = re.sub(r"\[2H\]|(?<=\[)13", lambda found: "[H]" if found[0] == "[2H]" else "", smiles)
    light = replace(heavy, isotopes=[], smiles=plain)
    found = perceive(heavy)
    assert [atom.GetIsotope() for atom in found.GetAtoms()] == heavy.isotopes.tolist()
    for atom in found.GetAtoms():
        atom.SetIsotope(0)
    assert Chem.MolToMolBlock(found) == Chem.MolToMolBlock(perceive(light))
    assert Chem.GetFormalCharge(found) == 0
