"""SDF: MOL blocks (V2000 and V3000) one after the other, each closed by ``$$$$``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rdkit import Chem, rdBase

from hpcml.errors import InputError
from hpcml.molecules.conformers import embed
from hpcml.molecules.molecule import Molecule, atomic_number
from hpcml.molecules.records import Defect, Record, label, sound_molecule, warn_of_unsaid_charge
from hpcml.molecules.text_files import open_text

# RDKit would draw hydrogens on them: an atom of sodium is no sodium hydride.
_METALS = frozenset({3, 4, 11, 12, 13, 19, 20, 37, 38, 55, 56})
_COMMA = re.compile(r"(\d),(\d)")
_PROPERTY = re.compile(r"^>[^<\n]*<([^>\n]+)>[^\n]*\n((?:[^\n]*\S[^\n]*\n?)*)", re.MULTILINE)


def read_sdf(path: Path) -> Iterator[Record | Defect]:
    """Every record of an SDF.  A flat drawing gets a geometry as a SMILES does."""
    for record, (line, block) in enumerate(_blocks(path), start=1):
        name = label(block.split("\n", 1)[0]) or f"{path.stem}-{record}"
        where = f"record {record}, line {line}"
        try:
            molecule = _molecule(block, name)
        except InputError as error:
            yield Defect(str(path), where, name, str(error))
        else:
            stated = molecule.charge or "CHG" in block or "RAD" in block
            if molecule.electrons % 2 and not stated:
                warn_of_unsaid_charge(path, line, molecule)
            yield Record(molecule, where, dict(_PROPERTY.findall(block)))


def _blocks(path: Path) -> Iterator[tuple[int, str]]:
    """The text of each record, with the number of its first line."""
    block: list[str] = []
    first = 1
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if line.startswith("$$$$"):
                yield first, "".join(block)
                block, first = [], number + 1
            else:
                block.append(line)
    if any(line.strip() for line in block):
        yield first, "".join(block)


def _mended(block: str) -> str:
    """Without the blank lines and decimal commas that some programs put between atoms and end."""
    lines = block.split("\n")
    end = next((at for at, line in enumerate(lines) if line.startswith("M  END")), len(lines))
    table = [_COMMA.sub(r"\1.\2", line) for line in lines[4:end] if line.strip()]
    return "\n".join([*lines[:4], *table, *lines[end:]])


def _complaint(block: str) -> str:
    """Why a block is none, in words that name its line."""
    expected = "expected a MOL block with atoms (V2000 or V3000)"
    lines = block.split("\n")
    if len(lines) < 4 or not re.search(r"V[23]000", lines[3]):
        for at, line in enumerate(lines):
            if re.search(r"V[23]000", line):
                return f"{expected}: the line of counts is line {at + 1} of its record, not line 4"
        return f"{expected}: line 4 of the record, the line of counts, says neither"
    if "M  END" not in block:
        return f"{expected}: it has no line M  END"
    counts = lines[3][:3].strip()
    if "V2000" in lines[3] and counts.isdigit():
        for atom, line in enumerate(lines[4 : 4 + int(counts)], start=1):
            element = line[31:34].strip()
            if not element:
                break
            try:
                _ = element in ("D", "T") or atomic_number(element)
            except InputError as error:
                return f"{expected}: atom {atom}: {error}"
    return f"{expected}: its atoms and bonds are not those that line 4 announces"


def _molecule(block: str, name: str) -> Molecule:
    block = _mended(block)
    with rdBase.BlockLogs():
        mol = Chem.MolFromMolBlock(block, sanitize=False, removeHs=False, strictParsing=True)
        if mol is None or mol.GetNumAtoms() == 0:
            raise InputError(_complaint(block))
        for atom in mol.GetAtoms():
            if atom.GetAtomicNum() in _METALS:
                atom.SetNoImplicit(True)
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
