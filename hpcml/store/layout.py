"""What HDF5 itself finds in a shard's file: the columns, where they lie, and the attributes."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hpcml.errors import InputError
from hpcml.store.lines import DTYPES, LARGEST_SHARD, Extent

VERSION_ATTRIBUTE = "hpcml_schema_version"
ROWS_ATTRIBUTE = "hpcml_rows"
DIGEST_ATTRIBUTE = "hpcml_digest"
"""Root attributes of a shard: schema version, rows, ``columns_digest``; the last two since 0.2."""


@dataclass(frozen=True)
class Layout:
    """Columns by name, and the root attributes as plain numbers and texts."""

    columns: dict[str, Extent]
    attributes: dict[str, Any]


def layout(path: Path) -> Layout:
    """Read a shard's layout by the HDF5 library.

    Raises InputError unless it is a plain file that holds flat columns in one piece each and
    nothing else: links to other files, virtual or external storage and stored objects are
    refused.
    """
    where = f"shard {path.stem}"
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_SHARD:
            raise InputError(f"{where}: {path} is not a plain file of the size of a shard")
        with h5py.File(path, "r", locking=False) as file:
            columns = {name: _extent(file, name, where) for name in file}
            attributes = {name: _plain(value) for name, value in file.attrs.items()}
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{where}: not a readable HDF5 file: {error}") from error
    return Layout(columns, attributes)


def _extent(file: h5py.File, name: str, where: str) -> Extent:
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise InputError(f"{where}: {name!r} is a link to somewhere else")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset):
        raise InputError(f"{where}: {name!r} is no data set")
    storage = dataset.id.get_create_plist()
    if storage.get_layout() != h5py.h5d.CONTIGUOUS or storage.get_external_count():
        raise InputError(f"{where}: {name!r} is not stored in one piece in the file")
    if dataset.dtype.str not in DTYPES:
        raise InputError(f"{where}: {name!r} has the type {dataset.dtype}")
    return Extent(dataset.dtype.str, dataset.shape, dataset.id.get_offset() or 0)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def columns_digest(columns: Mapping[str, NDArray[Any]]) -> str:
    """Digest of all columns with their names, types and shapes: 64 hexadecimal digits.

    It stands in the shard itself, which can thus be proved whole without its manifest line.

    Parameters
    ----------
    columns : mapping to (N, ...) arrays
    """
    digest = hashlib.sha256()
    for name in sorted(columns):
        array = np.ascontiguousarray(columns[name])
        digest.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
