"""A geometry for a molecule of which only the bonds are known."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from hpcml.errors import InputError
from hpcml.molecules.molecule import Molecule
from hpcml.molecules.records import label, sound_molecule

_SEED = 20170417  # fixed: the same SMILES gives the same geometry, hence the same key
_SECONDS = 60
_FORCE_FIELD_STEPS = 2000
_REACTION = re.compile(r"(?<!-)>")  # "->" is a dative bond


def molecule_from_smiles(smiles: str, name: str = "") -> Molecule:
    """The molecule of a SMILES with a geometry from RDKit (ETKDG version 3, then MMFF94).

    Radical electrons are coupled to the highest multiplicity.  An extension behind the SMILES
    (CXSMILES, between bars) is read, and what is kept of both is the canonical SMILES.
    InputError if the SMILES does not parse, has more than one part, or no geometry is found.
    """
    mol = parse_smiles(smiles)
    if "|" in smiles:
        smiles = Chem.MolToSmiles(mol)
    return embed(mol, name=name, smiles=smiles)


def parse_smiles(smiles: str) -> Chem.Mol:
    """An RDKit molecule of a SMILES, implicit hydrogens not yet added; InputError if none."""
    if not smiles.isascii():
        raise InputError(f"SMILES {label(smiles)[:80]!r} does not parse")
    if _REACTION.search(smiles):
        raise InputError(f"SMILES {label(smiles)[:80]!r} is a reaction, expected one molecule")
    settings: Any = Chem.SmilesParserParams()
    settings.strictCXSMILES = False  # what it says beyond the SMILES and is wrong is passed over
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles, settings)
        if mol is not None:
            return mol
        settings.sanitize = settings.removeHs = False
        drawn = Chem.MolFromSmiles(smiles, settings)
    if drawn is None:
        raise InputError(f"SMILES {label(smiles)[:80]!r} does not parse")
    with rdBase.BlockLogs():
        problems = Chem.DetectChemistryProblems(drawn)
    reason = label(problems[0].Message()) if problems else "no valence model fits"
    raise InputError(f"SMILES {label(smiles)[:80]!r} is no molecule: {reason}")


def embed(mol: Chem.Mol, *, name: str, smiles: str) -> Molecule:
    """A Molecule with a geometry found for the bonds of ``mol``; hydrogens are added."""
    if mol.GetNumAtoms() == 0:
        raise InputError("has no atoms")
    if any(atom.GetAtomicNum() == 0 for atom in mol.GetAtoms()):
        raise InputError("holds a wildcard atom (*), expected elements only")
    parts = len(Chem.GetMolFrags(mol))
    if parts > 1:
        raise InputError(f"has {parts} parts without a bond between them, expected one molecule")
    with rdBase.BlockLogs():
        mol = Chem.AddHs(mol)
        if not (_embedded(mol, random_start=False) or _embedded(mol, random_start=True)):
            raise InputError("no geometry was found for these bonds: give one in an XYZ file")
        if rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol):
            rdForceFieldHelpers.MMFFOptimizeMolecule(mol, maxIters=_FORCE_FIELD_STEPS)
        elif rdForceFieldHelpers.UFFHasAllMoleculeParams(mol):
            rdForceFieldHelpers.UFFOptimizeMolecule(mol, maxIters=_FORCE_FIELD_STEPS)
    return sound_molecule(
        np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()], dtype=np.int64),
        np.array(mol.GetConformer().GetPositions(), dtype=np.float64),
        charge=Chem.GetFormalCharge(mol),
        multiplicity=1 + sum(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms()),
        name=name,
        smiles=smiles,
        isotopes=[atom.GetIsotope() for atom in mol.GetAtoms()],
    )


def _embedded(mol: Chem.Mol, *, random_start: bool) -> bool:
    settings: Any = rdDistGeom.ETKDGv3()  # RDKit's type stubs get its members wrong
    settings.randomSeed = _SEED
    settings.timeout = _SECONDS
    settings.useRandomCoords = random_start
    return rdDistGeom.EmbedMolecule(mol, settings) == 0
