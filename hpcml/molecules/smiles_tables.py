"""SMILES lists (.smi) and tables (.csv): a molecule a line, geometry from RDKit."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from hpcml.errors import InputError
from hpcml.molecules.conformers import molecule_from_smiles
from hpcml.molecules.molecule import Molecule
from hpcml.molecules.records import Defect, label

_NAME_COLUMNS = ("name", "id", "identifier", "title")


def read_smi(path: Path) -> Iterator[Molecule | Defect]:
    """A SMILES and, behind a blank, a name on each line; ``#`` begins a comment line."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            smiles, *rest = line.split(maxsplit=1)
            if number == 1 and smiles.lower() == "smiles":
                continue  # a heading
            name = label(" ".join(rest)) or f"{path.stem}-{number}"
            yield _molecule(path, f"line {number}", smiles, name)


def read_csv(path: Path) -> Iterator[Molecule | Defect]:
    """A table whose heading names a ``smiles`` column and maybe one of name, id or title."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.reader(file)
        try:
            heading = [word.strip().lower() for word in next(rows, [])]
        except csv.Error as error:
            raise InputError(f"{path}, line 1: is not a table ({error})") from None
        if heading and "smiles" not in heading:
            raise InputError(
                f"{path}, line 1: expected a column named smiles, "
                f"found {label(', '.join(heading)) or 'none'}"
            )
        names = [heading.index(word) for word in _NAME_COLUMNS if word in heading]
        while True:
            number = rows.line_num + 1
            try:
                row = next(rows, None)
            except csv.Error as error:
                yield Defect(str(path), f"line {number}", "", f"is not a table row ({error})")
                continue
            if row is None:
                return
            if not any(word.strip() for word in row):
                continue
            name = next((label(row[i]) for i in names if i < len(row)), "")
            name = name or f"{path.stem}-{number}"
            at = heading.index("smiles")
            smiles = row[at].strip() if at < len(row) else ""
            if not smiles:
                yield Defect(str(path), f"line {number}", name, "expected a SMILES, found none")
                continue
            yield _molecule(path, f"line {number}", smiles, name)


def _molecule(path: Path, where: str, smiles: str, name: str) -> Molecule | Defect:
    try:
        return molecule_from_smiles(smiles, name)
    except InputError as error:
        return Defect(str(path), where, label(name), str(error))
