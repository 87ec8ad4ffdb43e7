"""SMILES lists (.smi) and tables (.csv, .tsv): a molecule a line, geometry from RDKit."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from hpcml.errors import InputError
from hpcml.molecules.conformers import molecule_from_smiles
from hpcml.molecules.records import Defect, Record, label
from hpcml.molecules.text_files import open_text

# The first of these that is there; PubChem writes isosmiles and canonicalsmiles.
_SMILES_COLUMNS = ("smiles", "isomericsmiles", "isosmiles", "canonicalsmiles")
_NAME_COLUMNS = ("name", "id", "identifier", "title")
_DELIMITERS = ",;\t|"
_CXSMILES = re.compile(r"(\S+(?:\s+\|[^|]*\|)?)(.*)", re.DOTALL)


def read_smi(path: Path) -> Iterator[Record | Defect]:
    """A SMILES and, behind a blank, a name on each line; ``#`` begins a comment line."""
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            found = _CXSMILES.match(line.strip())
            if found is None or line.lstrip().startswith("#"):
                continue
            smiles, rest = found.groups()
            if number == 1 and "smiles" in smiles.lower():
                continue  # a heading
            name = label(rest) or f"{path.stem}-{number}"
            yield _record(path, f"line {number}", smiles, name, {})


def read_csv(path: Path, smiles_column: str = "") -> Iterator[Record | Defect]:
    """A table whose heading names a column of SMILES and maybe one of name, id or title.

    Columns are parted by commas, semicolons, tabs or bars, as the heading shows.

    smiles_column    where the SMILES stand, if the heading does not say it
    """
    with open_text(path, newline="") as file:
        first, skipped = file.readline(), 0
        while first and (not first.strip() or first.lower().startswith("sep=")):
            # Blank, or where Excel is told the delimiter.
            first, skipped = file.readline(), skipped + 1
        delimiter = _delimiter(first, smiles_column)
        rows = csv.reader(chain([first], file), delimiter=delimiter)
        try:
            said = next(rows, [])
            heading = [_plain(word) for word in said]
            at = _smiles_column(heading, smiles_column) if heading else 0
        except (csv.Error, InputError) as error:
            where = f"{path}, line {1 + skipped}"
            if isinstance(error, InputError):
                raise InputError(f"{where}: {error}") from None
            raise InputError(f"{where}: is not a table ({error})") from None
        names = _name_columns(heading)
        while True:
            number = rows.line_num + 1 + skipped
            try:
                row = next(rows, None)
            except csv.Error as error:
                yield Defect(str(path), f"line {number}", "", f"is not a table row ({error})")
                continue
            if row is None:
                return
            if not any(word.strip() for word in row):
                continue
            row = _with_whole_extension(row, at, delimiter)
            name = next((label(row[i]) for i in names if i < len(row)), "")
            name = name or f"{path.stem}-{number}"
            smiles = row[at].strip() if at < len(row) else ""
            if not smiles:
                yield Defect(str(path), f"line {number}", name, "expected a SMILES, found none")
                continue
            fields = {k.strip(): v.strip() for k, v in zip(said, row, strict=False)}
            yield _record(path, f"line {number}", smiles, name, fields)


def _plain(heading: str) -> str:
    return re.sub(r"[\s_-]+", "_", heading.strip().strip("\ufeff\"'").lower())


def _delimiter(heading: str, smiles_column: str) -> str:
    """What parts the columns: the sign by which the heading has one of SMILES."""
    wanted = smiles_column.lower() or "smiles"
    for delimiter in _DELIMITERS:
        words = heading.lower().strip().split(delimiter)
        if any(wanted in word and not set(word) & set(_DELIMITERS) for word in words):
            return delimiter
    return ","


def _smiles_column(heading: list[str], wanted: str) -> int:
    if wanted:
        if _plain(wanted) not in heading:
            raise InputError(f"no column {wanted!r}; there are {label(', '.join(heading))}")
        return heading.index(_plain(wanted))
    plain = [word.replace("_", "") for word in heading]
    for name in _SMILES_COLUMNS:
        if name in plain:
            return plain.index(name)
    found = [at for at, word in enumerate(heading) if "smiles" in word] or [
        at for at, word in enumerate(heading) if word in ("smi", "structure")
    ]
    if len(found) > 1:
        some = ", ".join(label(heading[at]) for at in found)
        raise InputError(f"expected one column of SMILES, found {some}: name the one smiles")
    if not found:
        raise InputError(
            f"expected a column named smiles, found {label(', '.join(heading)) or 'none'}"
        )
    return found[0]


def _name_columns(heading: list[str]) -> list[int]:
    """Columns that may name a molecule, best first."""
    plain = [heading.index(word) for word in _NAME_COLUMNS if word in heading]
    others = [at for at, word in enumerate(heading) if word.endswith(("_name", "_id", "cid"))]
    return plain + [at for at in others if at not in plain]


def _with_whole_extension(row: list[str], at: int, delimiter: str) -> list[str]:
    """The row with the extension of a CXSMILES in one piece: it holds commas, often unquoted."""
    if at >= len(row) or row[at].count("|") != 1:
        return row
    for end in range(at + 1, len(row)):
        if "|" in row[end]:
            return [*row[:at], delimiter.join(row[at : end + 1]), *row[end + 1 :]]
    return row


def _record(
    path: Path, where: str, smiles: str, name: str, fields: dict[str, str]
) -> Record | Defect:
    try:
        return Record(molecule_from_smiles(smiles, name), where, fields)
    except InputError as error:
        return Defect(str(path), where, label(name), str(error))
