"""CSV: one line a row, one number a column, the unit in the header."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from hpcml.files import text_of_cell
from hpcml.store.dataset import Dataset
from hpcml.store.exports.table import blocks, number, scalars, whole_file

_LABELS = ("key", "name", "smiles", "charge", "multiplicity", "atoms")


def write_csv(dataset: Dataset, destination: Path) -> None:
    """All scalars and tensor components; what belongs to atoms or lists has no place in it.

    The header names column, point on its axes, Cartesian component and unit, such as
    ``polarizability:0.07:xy [atomic units (...)]``.  Numbers have all their digits, and a
    missing one is an empty field.  A text that a spreadsheet would take for a formula begins with
    an apostrophe, which spreadsheets read as "text".
    """
    numbers = scalars(dataset)
    header = [f"{s.label} [{s.unit}]" if s.unit else s.label for s in numbers]
    with (
        whole_file(destination) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file)
        texts = ["warnings"] if "warnings" in dataset.optional_columns else []
        writer.writerow([*_LABELS, *header, *texts])
        for block in blocks(dataset, "csv"):
            arrays = {name: block.column(name) for name in {s.column for s in numbers}}
            columns = [
                block.keys.tolist(),
                [text_of_cell(text) for text in block.texts("name")],
                [text_of_cell(text) for text in block.texts("smiles")],
                block.column("charge").tolist(),
                block.column("multiplicity").tolist(),
                (block.atom_offsets[1:] - block.atom_offsets[:-1]).tolist(),
                *([_text(x) for x in number(arrays[s.column], s).tolist()] for s in numbers),
                *([text_of_cell(text) for text in block.texts(name)] for name in texts),
            ]
            writer.writerows(zip(*columns, strict=True))


def _text(value: float) -> str:
    return "" if math.isnan(value) else repr(value)
