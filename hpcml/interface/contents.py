"""What is in a data set, by column; and one of its molecules, found by what a person calls it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcml.errors import InputError
from hpcml.store import Dataset, Row
from hpcml.store.exports.table import number, properties, scalars

_MOST_NAMES_COMPARED = 20_000
_LEAST_DIGITS = 6  # of a key that stands for it


@dataclass(frozen=True)
class ColumnContents:
    """The numbers of a column, at one point of its axes where it has any.

    label     such as ``alpha_iso:0.0428``
    per       molecule, or atom: what has one number
    known     how many are numbers, of ``of``
    least, median, largest    of these; NaN where there is none
    """

    label: str
    unit: str
    per: str
    known: int
    of: int
    least: float
    median: float
    largest: float


def contents(dataset: Dataset) -> Iterator[ColumnContents]:
    """Each column of one number a molecule or an atom; no components of vectors and tensors."""
    schema = dataset.schema
    wanted = [one for one in scalars(dataset) if "xyz" not in schema.column(one.column).axes]
    for one in wanted:
        values = number(dataset.column(one.column), one).astype(np.float64)
        yield _of_numbers(one.label, one.unit, "molecule", values)
    for name in properties(dataset):
        column = schema.column(name)
        if column.per == "atom" and not column.axes:
            values = dataset.column(name).astype(np.float64)
            yield _of_numbers(name, column.unit, "atom", values)


def _of_numbers(label: str, unit: str, per: str, values: NDArray[np.float64]) -> ColumnContents:
    known = values[np.isfinite(values)]
    nothing = not len(known)
    return ColumnContents(
        label=label,
        unit=unit,
        per=per,
        known=len(known),
        of=len(values),
        least=np.nan if nothing else float(known.min()),
        median=np.nan if nothing else float(np.median(known)),
        largest=np.nan if nothing else float(known.max()),
    )


def find(dataset: Dataset, wanted: str) -> list[int]:
    """The rows that a person calls so: by name, SMILES, the first digits of a key, or number.

    Raises InputError, with the nearest names, where there is none.
    """
    names = dataset.texts("name")
    for texts in (names, dataset.texts("smiles")):
        if found := [row for row, text in enumerate(texts) if text == wanted]:
            return found
    if len(wanted) >= _LEAST_DIGITS:
        keys = (dataset.keys, dataset.molecule_keys)
        starts = np.logical_or(*(np.char.startswith(key, wanted.lower()) for key in keys))
        if starts.any():
            return [int(row) for row in np.flatnonzero(starts)]
    if wanted.isascii() and wanted.isdigit() and int(wanted) < len(dataset):
        return [int(wanted)]
    near = difflib.get_close_matches(wanted, names[:_MOST_NAMES_COMPARED], 3)
    hint = f"did you mean {', '.join(near)}?" if near else f"names are such as {names[0]!r}"
    raise InputError(
        f"{dataset.folder}: no molecule of name, SMILES, key or row number {wanted!r}: {hint}"
        if len(dataset)
        else f"{dataset.folder}: is empty"
    )


def row_document(row: Row, dataset: Dataset) -> dict[str, Any]:
    """A row for programs: the molecule, and each column's value and unit; null for NaN."""
    molecule = row.molecule
    return {
        "key": row.key,
        "name": molecule.name,
        "smiles": molecule.smiles,
        "charge": molecule.charge,
        "multiplicity": molecule.multiplicity,
        "symbols": molecule.symbols,
        "geometry": molecule.positions.tolist(),
        "values": {
            name: {"unit": dataset.unit(name), "value": _plain(np.asarray(value))}
            for name, value in row.values.items()
        },
        "frequencies": list(dataset.schema.frequencies),
        "processes": [list(process) for process in dataset.schema.processes],
        "provenance": dict(row.provenance),
    }


def _plain(values: NDArray[Any]) -> Any:
    """Nested lists of numbers, null for what is none."""
    if values.dtype.kind != "f":
        return values.tolist()
    plain = values.astype(object)
    plain[~np.isfinite(values)] = None
    return plain.tolist()
