"""Molecules as a person gives them: objects, SMILES, files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hpcml.errors import InputError
from hpcml.molecules import Defect, Molecule, molecule_from_smiles, read

One = Molecule | str
Many = Path | Iterable[One]


def as_molecule(given: One) -> Molecule:
    """The molecule itself, or that of a SMILES with a geometry by force field (and its name)."""
    return given if isinstance(given, Molecule) else molecule_from_smiles(given, given)


def as_molecules(given: One | Many) -> list[Molecule]:
    """One molecule, several, or those of a file (a ``Path``; text is a SMILES).

    Raises InputError for a SMILES or a record of the file that is none, and where there is none
    at all.
    """
    if isinstance(given, Path):
        records = list(read(given))
        for record in records:
            if isinstance(record, Defect):
                raise InputError(str(record))
        molecules = [record for record in records if isinstance(record, Molecule)]
    elif isinstance(given, Molecule | str):
        molecules = [as_molecule(given)]
    else:
        molecules = [as_molecule(one) for one in given]
    if not molecules:
        raise InputError("no molecules were given")
    return molecules
