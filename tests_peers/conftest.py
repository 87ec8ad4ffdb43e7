"""Models of other programs, each with random weights, and molecules to ask them about.

TorchScript is switched off before torch is imported: SchNetPack's scatter_add and e3nn's tensor
products are compiled by it, and what it compiles cannot be seen from Python.
"""

import os

os.environ["PYTORCH_JIT"] = "0"
os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"  # e3nn 0.4.4 keeps its constants in a pickle

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pytest
import torch
import torch.utils.data.dataloader
from rdkit import Chem
from rdkit.Chem import AllChem

if not hasattr(torch.utils.data.dataloader, "T_co"):  # SchNetPack 2.1.1 takes it from there
    torch.utils.data.dataloader.T_co = TypeVar("T_co", covariant=True)

SMILES = (
    "CCO", "c1ccccc1O", "CC(=O)NC", "N#CC1CC1", "CCN", "OCC1CO1", "CC(C)(C)O", "c1cc[nH]c1",
)  # fmt: skip
ELEMENTS = (1, 6, 7, 8)


@dataclass
class Molecules:
    """A batch as the programs take it apart.

    smiles, z (A,), x (A, 4) one-hot, positions (A, 3), edges (2, E) bonds both ways,
    near (2, P) all pairs of a molecule, batch (A,)
    """

    smiles: list
    z: torch.Tensor
    x: torch.Tensor
    positions: torch.Tensor
    edges: torch.Tensor
    near: torch.Tensor
    batch: torch.Tensor


def one(smiles, order=None):
    """One molecule, its atoms in another order if asked."""
    molecule = Chem.MolFromSmiles(smiles)
    if order is not None:
        molecule = Chem.RenumberAtoms(molecule, order)
    AllChem.Compute2DCoords(molecule)
    flat = molecule.GetConformer().GetPositions()
    z = torch.tensor([atom.GetAtomicNum() for atom in molecule.GetAtoms()])
    bonds = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in molecule.GetBonds()]
    edges = torch.tensor([*bonds, *((j, i) for i, j in bonds)]).T
    return molecule, z, torch.tensor(np.round(flat, 6)), edges


def joined(parts):
    """A batch of what ``one`` gives."""
    sizes = [len(z) for _, z, _, _ in parts]
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]]).tolist()
    batch = torch.repeat_interleave(torch.arange(len(parts)), torch.tensor(sizes))
    z = torch.cat([z for _, z, _, _ in parts])
    same = batch[:, None] == batch
    return Molecules(
        smiles=[molecule for molecule, *_ in parts],
        z=z,
        x=(z[:, None] == torch.tensor(ELEMENTS)).double(),
        positions=torch.cat([positions for *_, positions, _ in parts]),
        edges=torch.cat([e + at for (*_, e), at in zip(parts, first, strict=True)], 1),
        near=(same & ~torch.eye(len(z), dtype=torch.bool)).nonzero().T.contiguous(),
        batch=batch,
    )


@pytest.fixture(scope="session")
def batch_of():
    """From SMILES, or (SMILES, order), to a batch."""
    return lambda *told: joined([one(t) if isinstance(t, str) else one(*t) for t in told])


@pytest.fixture(scope="session")
def sixty_four(batch_of):
    return batch_of(*(SMILES * 8))


@pytest.fixture
def benzene():
    """A regular hexagon: six atoms that no symmetric model can tell apart."""
    angles = torch.arange(6, dtype=torch.float64) * (torch.pi / 3)
    positions = 1.39 * torch.stack([angles.cos(), angles.sin(), 0 * angles], 1)
    molecule, z, _, _ = one("c1ccccc1")
    ring = torch.stack([torch.arange(6), (torch.arange(6) + 1) % 6])
    return joined([(molecule, z, positions, torch.cat([ring, ring.flip(0)], 1))])
