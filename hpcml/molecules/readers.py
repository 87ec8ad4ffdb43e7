"""Reading molecules from a file, whatever its format."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from hpcml.errors import InputError
from hpcml.molecules.molecule import Molecule
from hpcml.molecules.records import Defect
from hpcml.molecules.sdf import read_sdf
from hpcml.molecules.smiles_tables import read_csv, read_smi
from hpcml.molecules.xyz import read_xyz

_READERS: dict[str, Callable[[Path], Iterator[Molecule | Defect]]] = {
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


def read(path: Path | str) -> Iterator[Molecule | Defect]:
    """The molecules of a file, in its order; a record that gives none comes as its Defect.

    The suffix tells the format: .xyz and .extxyz (one frame or many), .sdf and .mol, .smi,
    .csv and .tsv.  UTF-8 and UTF-16 are read.  An ``InputWarning`` tells where a record may be
    meant in more than one way, such as an odd number of electrons without a charge.
    InputError at once if the file is not there, is of another kind or is empty, and at the
    end if it held no record.
    """
    path = Path(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(_READERS)
        raise InputError(f"{path}: unknown suffix {path.suffix!r}, expected one of {known}")
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected a file")
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path}: is empty, expected molecules")
        with path.open("rb"):
            pass
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    return _at_least_one(path, reader)


def _at_least_one(
    path: Path, reader: Callable[[Path], Iterator[Molecule | Defect]]
) -> Iterator[Molecule | Defect]:
    record = None
    for record in reader(path):
        yield record
    if record is None:
        raise InputError(f"{path}: holds no molecules")
