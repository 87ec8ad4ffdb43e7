"""Data sets in the forms that other programs read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from hpcml.errors import SettingsError
from hpcml.store.dataset import Dataset
from hpcml.store.exports.csv_table import write_csv
from hpcml.store.exports.extxyz import write_extxyz
from hpcml.store.exports.parquet import write_parquet
from hpcml.store.exports.pyg import to_pyg, write_pyg
from hpcml.store.exports.qcschema import write_qcschema

__all__ = ["FORMATS", "export", "to_pyg"]


class Format(NamedTuple):
    """A form that ``export`` writes: by what, and the ending of its files."""

    write: Callable[[Dataset, Path], None]
    ending: str


FORMATS = {
    "extxyz": Format(write_extxyz, ".xyz"),
    "csv": Format(write_csv, ".csv"),
    "parquet": Format(write_parquet, ".parquet"),
    "qcschema": Format(write_qcschema, ".jsonl"),
    "pyg": Format(write_pyg, ".pt"),
}
"""What ``export`` can write, by the word of the command line."""


def export(dataset: Dataset | Path | str, form: str, destination: Path | str) -> int:
    """Write a data set as one file in another form: the number of rows.

    form   extxyz (extended XYZ), csv (one number a column), parquet, qcschema (one JSON document
           a line), pyg (a list for PyTorch Geometric, see ``to_pyg``)

    The file appears when it is whole.  Raises SettingsError for an unknown form, PlatformError
    if the form's library is missing, ResourceError if the disk is full.
    """
    if form not in FORMATS:
        raise SettingsError(f"cannot export to {form!r}; there are {', '.join(FORMATS)}")
    opened = dataset if isinstance(dataset, Dataset) else Dataset.open(dataset, verified=True)
    FORMATS[form].write(opened, Path(destination))
    return len(opened)
