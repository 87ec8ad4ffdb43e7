"""Reading molecules from a file, whatever its format."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from hpcml.errors import InputError
from hpcml.files import no_such_file
from hpcml.molecules.molecule import Molecule
from hpcml.molecules.records import Defect, Record
from hpcml.molecules.sdf import read_sdf
from hpcml.molecules.smiles_tables import read_csv, read_smi
from hpcml.molecules.xyz import read_xyz

_READERS: dict[str, Callable[[Path], Iterator[Record | Defect]]] = {
    ".xyz": read_xyz,
    ".extxyz": read_xyz,
    ".sdf": read_sdf,
    ".sd": read_sdf,
    ".mol": read_sdf,
    ".smi": read_smi,
    ".smiles": read_smi,
    ".csv": read_csv,
    ".tsv": read_csv,
}

SUFFIXES: tuple[str, ...] = tuple(_READERS)
"""Endings of the files that can be read."""


def read(path: Path | str) -> Iterator[Molecule | Defect]:
    """The molecules of a file, in its order; a record that gives none comes as its Defect.

    The suffix tells the format: .xyz and .extxyz (one frame or many), .sdf and .mol, .smi,
    .csv and .tsv.  UTF-8 and UTF-16 are read.  An ``InputWarning`` tells where a record may be
    meant in more than one way, such as an odd number of electrons without a charge.
    InputError at once if the file is not there, is of another kind or is empty, and at the
    end if it held no record.
    """
    records = read_records(path)
    return (one if isinstance(one, Defect) else one.molecule for one in records)


def read_records(path: Path | str, *, smiles_column: str = "") -> Iterator[Record | Defect]:
    """The same, each molecule with what the file says of it besides.

    smiles_column    of a table, where its heading does not name one so
    """
    path = Path(path)
    reader = _READERS.get(path.suffix.lower())
    if smiles_column:
        if reader is not read_csv:
            raise InputError(f"{path}: is no table (.csv, .tsv) with a column {smiles_column!r}")
        reader = partial(read_csv, smiles_column=smiles_column)
    if reader is None:
        known = ", ".join(_READERS)
        raise InputError(f"{path}: unknown suffix {path.suffix!r}, expected one of {known}")
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected a file")
    try:
        if not path.exists():
            raise InputError(no_such_file(path))
        if path.stat().st_size == 0:
            raise InputError(f"{path}: is empty, expected molecules")
        with path.open("rb"):
            pass
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    return _at_least_one(path, reader)


def _at_least_one(
    path: Path, reader: Callable[[Path], Iterator[Record | Defect]]
) -> Iterator[Record | Defect]:
    record = None
    for record in reader(path):
        yield record
    if record is None:
        raise InputError(f"{path}: holds no molecules")
