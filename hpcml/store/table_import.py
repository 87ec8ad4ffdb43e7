"""A user's own labels, out of a table, an SDF or an extended xyz, as a data set to learn from."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from hpcml.errors import InputError, SettingsError
from hpcml.molecules import Defect, Molecule, Record, read_records
from hpcml.progress import Advance, progress
from hpcml.store.distinct import WRITTEN_TOGETHER
from hpcml.store.imports import Imported
from hpcml.store.lines import Entry, Replaces, manifest_file, write_manifest
from hpcml.store.manifest import Manifest
from hpcml.store.rows import Row, check_row, pack
from hpcml.store.schema import SCHEMA_VERSION, Column, Schema, own_column
from hpcml.store.shards import put_file
from hpcml.store.unlisted import unfinished

SHARE = "share_"
"""Before a target's name: the column of what each atom contributes to it."""

_ROWS_PER_SHARD = 8192
_MISSING = frozenset({"", "na", "n/a", "nan", "none", "null", "missing"})
_WORDS = {"true": 1.0, "yes": 1.0, "t": 1.0, "false": 0.0, "no": 0.0, "f": 0.0}
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
_LABEL = re.compile(r"(?:([A-Za-z][A-Za-z0-9_]*)=)?(.+)", re.DOTALL)


@dataclass(frozen=True)
class OwnLabel:
    """One label that a file has for its molecules, or for their atoms.

    name    of the target; the labels of atoms are their shares of it
    field   where it stands: heading, property, key or column of atoms
    unit    "" for a number without one
    """

    name: str
    field: str
    unit: str = ""

    @classmethod
    def said(cls, text: str) -> OwnLabel:
        """A label of ``NAME:UNIT``, or ``NAME=FIELD:UNIT`` where the file calls it otherwise."""
        words, _, unit = text.rpartition(":") if ":" in text else (text, "", "")
        found = _LABEL.fullmatch(words.strip())
        if found is None:
            raise SettingsError(f"target {text!r}: expected NAME:UNIT or NAME=FIELD:UNIT")
        name, field = found.groups()
        return cls(name or field, field, unit.strip())


def import_table(
    source: Path | str,
    destination: Path | str,
    *,
    targets: Sequence[OwnLabel],
    atom_targets: Sequence[OwnLabel] = (),
    smiles_column: str = "",
) -> Imported:
    """The molecules of a file with labels of one's own, as a data set in ``destination``.

    A label that is not there is NaN.  A record whose molecule or number is wrong is left out.
    Labels of atoms become the column ``share_NAME``; where there are as many as heavy atoms,
    hydrogens have none.  Nothing is visible before all of it is on the disk.

    Parameters
    ----------
    source
        A table (.csv, .tsv), an SDF (its properties) or an extended xyz (its keys and columns).
    destination
        Folder of the new data set.
    targets, atom_targets
        What is read; each of the second belongs to one of the first.
    smiles_column
        Of a table, where its heading does not name one so.

    Raises
    ------
    InputError
        A name that cannot be a column, a label that no record has, a destination that holds a
        data set already.
    SettingsError
        No target, one twice, or labels of atoms without their target.
    """
    path, folder = Path(source), Path(destination)
    schema = _schema(path, targets, atom_targets)
    if Manifest(folder).listed:
        raise InputError(f"{folder}: holds a data set already; import into a new folder")
    report = Imported()
    reader = _Labels(path, targets, atom_targets)
    rows = reader.rows(read_records(path, smiles_column=smiles_column), report)
    first = next(rows, None)
    if first is None:
        found = f"; the first: {report.defects[0]}" if report.defects else ""
        raise InputError(f"{path}: no molecule with its labels could be read from it{found}")
    attributes = {"schema": schema.to_json(), "source": path.name, WRITTEN_TOGETHER: "table"}
    entries: list[Entry | Replaces] = []
    left = chain([first], rows)
    with unfinished(folder, "table"), progress("import", None) as advance:
        while block := _checked(islice(left, _ROWS_PER_SHARD), schema, report.rows, advance):
            columns = pack(block, schema)
            name = f"table-{len(entries):04d}"
            entries.append(put_file(folder, name, columns, attributes, units=schema.own_units))
            report.rows += len(block)
        reader.check_found()
        write_manifest(manifest_file(folder), entries)
    return report


def _checked(rows: Iterable[Row], schema: Schema, before: int, advance: Advance) -> list[Row]:
    """The rows, each told of as it is read: a geometry for a SMILES takes its time."""
    block = []
    for row in rows:
        check_row(row, schema)
        block.append(row)
        advance(before + len(block))
    return block


def _schema(path: Path, targets: Sequence[OwnLabel], atom_targets: Sequence[OwnLabel]) -> Schema:
    """The columns of these labels."""
    if not targets:
        raise SettingsError("name at least one target, NAME:UNIT")
    names = [target.name for target in targets]
    for label in atom_targets:
        if label.name not in names:
            raise SettingsError(
                f"labels of atoms are shares of a target, and {label.name!r} is none: write one of "
                f"{', '.join(names)}, as NAME=FIELD:UNIT where the file calls it otherwise"
            )
    own = [_column(path, label, "molecule") for label in targets]
    own += [_column(path, label, "atom") for label in atom_targets]
    columns = tuple(column.name for column in own)
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice:
        raise SettingsError(f"{twice!r} is named twice")
    return Schema(columns=columns, own=tuple(own))


def _column(path: Path, label: OwnLabel, per: Literal["molecule", "atom"]) -> Column:
    if per == "molecule":
        return own_column(label.name, label.unit, f"{label.field!r} of {path.name}")
    words = f"what each atom contributes to {label.name}: {label.field!r} of {path.name}"
    return own_column(SHARE + label.name, label.unit, words, "atom")


class _Labels:
    """Reads the labels of records, and knows which it has never met."""

    def __init__(
        self, path: Path, targets: Sequence[OwnLabel], atom_targets: Sequence[OwnLabel]
    ) -> None:
        self._path = path
        self._targets = targets
        self._atom_targets = atom_targets
        self._missing = dict.fromkeys([*targets, *atom_targets])
        self._fields: dict[str, None] = {}  # that the file has

    def rows(self, records: Iterator[Record | Defect], report: Imported) -> Iterator[Row]:
        """The rows of sound records; the others go into the report."""
        seen: set[str] = set()
        for record in records:
            if isinstance(record, Defect):
                report.defects.append(record)
                continue
            self._note_fields(record)
            molecule = record.molecule
            try:
                values = self._values(record)
                key = _key(molecule, values)
                if key in seen:
                    raise InputError("repeats an earlier record, molecule and labels")
            except InputError as error:
                defect = Defect(str(self._path), record.where, molecule.name, str(error))
                report.defects.append(defect)
                continue
            seen.add(key)
            provenance = {"source": self._path.name, "where": record.where}
            yield Row(key, molecule, values, provenance)

    def check_found(self) -> None:
        """InputError where a label was in no record."""
        for label in self._missing:
            raise InputError(
                f"{self._path}: no record has {label.field!r}; there are "
                + (", ".join(self._fields) or "no labels at all")
            )

    def _note_fields(self, record: Record) -> None:
        first = not self._fields
        self._fields.update(dict.fromkeys((*record.fields, *record.atom_fields)))
        names = {**record.fields, **record.atom_fields}
        for label in list(self._missing):
            if _found(names, label.field) is not None:
                del self._missing[label]
        if first and self._path.suffix.lower() in (".csv", ".tsv"):
            self.check_found()  # a table has all its columns in every row: do not read on for hours

    def _values(self, record: Record) -> dict[str, NDArray[np.float64]]:
        values = {}
        for label in self._targets:
            values[label.name] = np.array(_number(label, _found(record.fields, label.field) or ""))
        for label in self._atom_targets:
            texts = _found(record.atom_fields, label.field)
            if texts is None:
                text = _found(record.fields, label.field) or ""
                texts = re.split(r"[\s,;]+", text.strip("[](){} \t\n")) if text.strip() else []
            values[SHARE + label.name] = _of_atoms(label, texts, record.molecule)
        return values


_Field = TypeVar("_Field")


def _found(fields: Mapping[str, _Field], name: str) -> _Field | None:
    """The field of that name, or of one that differs in its capitals alone; None if none."""
    if name in fields:
        return fields[name]
    alike = [key for key in fields if key.lower() == name.lower()]
    return fields[alike[0]] if len(alike) == 1 else None


def _number(label: OwnLabel, text: str) -> float:
    """A number, or NaN for a word that says that there is none."""
    word = text.strip().lower()
    if word in _MISSING:
        return np.nan
    if word in _WORDS:
        return _WORDS[word]
    try:
        value = float(word.replace(",", ".") if _DECIMAL_COMMA.fullmatch(word) else word)
    except ValueError:
        value = np.nan
    if not np.isfinite(value) or "_" in word:
        raise InputError(f"{label.field}: expected a number, found {text.strip()[:60]!r}")
    return value


def _of_atoms(label: OwnLabel, texts: Sequence[str], molecule: Molecule) -> NDArray[np.float64]:
    """(n,) labels of atoms; NaN where there is none."""
    values = np.full(len(molecule), np.nan)
    heavy = np.flatnonzero(molecule.numbers > 1)
    if not texts:
        return values
    numbers = [_number(label, text) for text in texts]
    if len(numbers) == len(molecule):
        values[:] = numbers
    elif len(numbers) == len(heavy):
        values[heavy] = numbers
    else:
        raise InputError(
            f"{label.field}: {len(numbers)} numbers for {len(molecule)} atoms, "
            f"{len(heavy)} of them heavy"
        )
    return values


def _key(molecule: Molecule, values: Mapping[str, NDArray[np.float64]]) -> str:
    """What the row is: its molecule with its labels."""
    said = {name: value.tolist() for name, value in values.items()}
    meaning = json.dumps([SCHEMA_VERSION, molecule.key, said], sort_keys=True)
    return hashlib.sha256(b"hpcml table\0" + meaning.encode()).hexdigest()[:32]
