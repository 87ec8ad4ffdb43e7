"""Molecules to feed networks with, and networks with nothing left at its initial value."""

import numpy as np
import pytest
import torch
from rdkit import Chem
from rdkit.Chem import AllChem

from hpcml.models import Scaling, build, collate, example
from hpcml.molecules import Molecule

SMILES = ["O", "CCO", "NC=O", "C#N", "c1ccccc1", "CC(=O)F", "C1CC1O", "C[C@H](N)C(=O)O"]


def _molecule(smiles):
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=7)
    numbers = [atom.GetAtomicNum() for atom in mol.GetAtoms()]
    return Molecule(numbers, mol.GetConformer().GetPositions(), name=smiles)


@pytest.fixture(scope="session")
def molecules():
    """Eight molecules of H, C, N, O, and F with 3 to 13 atoms."""
    return [_molecule(smiles) for smiles in SMILES]


@pytest.fixture(scope="session")
def make_batch():
    """A float64 batch of molecules as a model asks for them."""

    def make(model, molecules, dtype=torch.float64):
        return collate([example(molecule, model.inputs) for molecule in molecules], dtype)

    return make


@pytest.fixture(scope="session")
def make_model():
    """A float64 network in evaluation mode, every parameter and statistic at random."""

    def make(name, hyperparameters=None, *, scaling=None, seed=0):
        torch.manual_seed(seed)
        model = build(name, hyperparameters, scaling=scaling).double().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn_like(parameter) / max(1, parameter.shape[-1]) ** 0.5)
            for module in model.modules():
                if isinstance(module, torch.nn.BatchNorm1d):
                    module.running_mean.normal_()
                    module.running_var.uniform_(0.5, 2.0)
        return model

    return make


@pytest.fixture(scope="session")
def scaling():
    """Two extensive targets with references for every element."""
    rng = np.random.default_rng(3)
    return Scaling(
        mean=(0.3, -2.0),
        std=(1.7, 0.4),
        atom_mean=(0.1, 0.2),
        atom_std=(0.9, 3.0),
        references={z: tuple(rng.normal(size=2)) for z in (1, 6, 7, 8, 9)},
    )


@pytest.fixture(scope="session")
def intensive():
    """Two intensive targets."""
    return Scaling(
        extensive=False,
        mean=(0.3, -2.0),
        std=(1.7, 0.4),
        atom_mean=(0.3, -2.0),
        atom_std=(1.7, 0.4),
    )
