"""SDF: MOL blocks (V2000 and V3000) one after the other, each closed by ``$$$$``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rdkit import Chem, rdBase

from hpcml.errors import InputError
from hpcml.molecules.conformers import embed
from hpcml.molecules.molecule import Molecule
from hpcml.molecules.records import Defect, label, sound_molecule


def read_sdf(path: Path) -> Iterator[Molecule | Defect]:
    """Every record of an SDF.  A flat drawing gets a geometry as a SMILES does."""
    for record, (line, block) in enumerate(_blocks(path), start=1):
        name = label(block.split("\n", 1)[0]) or f"{path.stem}-{record}"
        try:
            yield _molecule(block, name)
        except InputError as error:
            yield Defect(str(path), f"record {record}, line {line}", name, str(error))


def _blocks(path: Path) -> Iterator[tuple[int, str]]:
    """The text of each record, with the number of its first line."""
    block: list[str] = []
    first = 1
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if line.startswith("$$$$"):
                yield first, "".join(block)
                block, first = [], number + 1
            else:
                block.append(line)
    if any(line.strip() for line in block):
        yield first, "".join(block)


def _molecule(block: str, name: str) -> Molecule:
    with rdBase.BlockLogs():
        mol = Chem.MolFromMolBlock(block, sanitize=False, removeHs=False, strictParsing=True)
        if mol is None or mol.GetNumAtoms() == 0:
            raise InputError("expected a MOL block with atoms (V2000 or V3000)")
        problems = Chem.DetectChemistryProblems(mol)
        if problems:
            raise InputError(f"is no molecule: {label(problems[0].Message())}")
        Chem.SanitizeMol(mol)
        smiles = Chem.MolToSmiles(Chem.RemoveHs(mol))
    positions = np.array(mol.GetConformer().GetPositions(), dtype=np.float64)
    missing = sum(atom.GetNumImplicitHs() for atom in mol.GetAtoms())
    if not positions[:, 2].any() and (missing or _marked_flat(block)):
        return embed(mol, name=name, smiles=smiles)
    if missing:
        raise InputError(f"{missing} hydrogens have no coordinates, expected all atoms")
    return sound_molecule(
        np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()], dtype=np.int64),
        positions,
        charge=Chem.GetFormalCharge(mol),
        multiplicity=1 + sum(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms()),
        name=name,
        smiles=smiles,
        isotopes=[atom.GetIsotope() for atom in mol.GetAtoms()],
    )


def _marked_flat(block: str) -> bool:
    """Whether the block's second line carries the dimension code 2D (columns 21 and 22)."""
    lines = block.split("\n", 2)
    return len(lines) > 1 and lines[1][20:22] == "2D"
