"""A shard: flat columns in one immutable HDF5 file, written whole or not at all.

Columns are contiguous and uncompressed, so that the manifest's offsets suffice to read them at
the speed of a memory map, and any HDF5 program can read them too.
"""

from __future__ import annotations

import hashlib
import mmap
import stat
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hpcml.errors import InputError
from hpcml.files import make_folder, storage_error, write_whole
from hpcml.store.layout import (
    DIGEST_ATTRIBUTE,
    ROWS_ATTRIBUTE,
    VERSION_ATTRIBUTE,
    columns_digest,
)
from hpcml.store.lines import DTYPES, Entry, Extent, add_entry, is_name
from hpcml.store.schema import CATALOGUE, SCHEMA_VERSION

FOLDER = "shards"
WARNED = "warned"
"""Attribute of shards with a column of warnings: the number of rows that have one."""

_ALIGNMENT = 64  # bytes: a column starts on a cache line
_READ_BYTES = 1 << 22


def shard_file(folder: Path, name: str) -> Path:
    return folder / FOLDER / f"{name}.h5"


def write(
    folder: Path,
    name: str,
    columns: Mapping[str, NDArray[Any]],
    attributes: Mapping[str, str | int | float],
    *,
    units: Mapping[str, str] | None = None,
    writer: str = "",
) -> Entry:
    """Write one shard of any columns; it exists when this returns, and not before.

    Parameters
    ----------
    folder
        The data set's folder; the file becomes folder/shards/NAME.h5.
    columns : mapping of names to (N, ...) arrays of plain numbers
        ``rows`` of the manifest line is the length of the column ``key`` if there is one, else of
        the first column.
    attributes
        Texts and numbers that the manifest line repeats.
    units
        By column, for those that are not in the schema's catalogue.
    writer
        Each process that writes at the same time needs a name of its own.

    A shard of the same name written before is replaced.  Raises ResourceError (disk full,
    quota) or PlatformError (permission); then nothing of the shard is visible, and the same
    call can be made again.
    """
    if writer and not is_name(writer):
        raise InputError(f"{writer!r} cannot name a writer: use letters, digits, _.+@-")
    entry = put_file(folder, name, columns, attributes, units=units)
    add_entry(Path(folder), entry, writer)
    return entry


def put_file(
    folder: Path,
    name: str,
    columns: Mapping[str, NDArray[Any]],
    attributes: Mapping[str, str | int | float],
    *,
    units: Mapping[str, str] | None = None,
) -> Entry:
    """The first half of ``write``: the file is there, and the caller owes the manifest a line.

    Parameters
    ----------
    columns : mapping to (N, ...) arrays
    """
    folder = Path(folder)
    if not is_name(name):
        raise InputError(f"{name!r} cannot name a shard: use letters, digits, _.+@-")
    arrays = {column: _plain(column, array) for column, array in columns.items()}
    if not arrays:
        raise InputError(f"shard {name!r} has no columns")
    rows = len(arrays["key"] if "key" in arrays else next(iter(arrays.values())))
    if "warnings_offsets" in arrays:
        attributes = {**attributes, WARNED: int((np.diff(arrays["warnings_offsets"]) > 0).sum())}
    root = {**attributes, VERSION_ATTRIBUTE: SCHEMA_VERSION, ROWS_ATTRIBUTE: rows,
            DIGEST_ATTRIBUTE: columns_digest(arrays)}  # fmt: skip
    image, extents = _file_image(arrays, root, units or {})
    make_folder(folder / FOLDER)
    write_whole(shard_file(folder, name), image)
    return Entry(
        name=name,
        rows=rows,
        bytes=len(image),
        checksum=f"sha256:{hashlib.sha256(image).hexdigest()}",
        schema_version=SCHEMA_VERSION,
        columns=extents,
        attributes=dict(attributes),
    )


def _plain(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """The array as a little-endian, C-ordered one of a permitted type."""
    plain = np.asarray(array)
    dtype = plain.dtype.newbyteorder("<")
    if dtype.str not in DTYPES or plain.ndim < 1:
        raise InputError(f"column {name!r}: {plain.dtype} of shape {plain.shape} cannot be stored")
    return np.ascontiguousarray(plain, dtype=dtype)


def _file_image(
    arrays: Mapping[str, NDArray[Any]],
    attributes: Mapping[str, str | int | float],
    units: Mapping[str, str],
) -> tuple[bytes, dict[str, Extent]]:
    """An HDF5 file as bytes, and where each column lies in it.

    Made in memory: when a disk fills up inside the HDF5 library, the library cannot close the
    file any more; a plain write of the finished bytes can fail and be repeated.
    """
    with h5py.File(
        "shard",
        "w",
        driver="core",
        backing_store=False,
        alignment_threshold=_ALIGNMENT,
        alignment_interval=_ALIGNMENT,
    ) as file:
        for key, value in attributes.items():
            file.attrs[key] = value
        for name, array in arrays.items():
            dataset = file.create_dataset(name, data=array)
            documented = CATALOGUE.get(name)
            unit = units.get(name, documented.unit if documented else "")
            dataset.attrs["unit"] = unit
            if documented:
                dataset.attrs["description"] = documented.description
        file.flush()
        extents = {
            name: Extent(array.dtype.str, array.shape, file[name].id.get_offset() or 0)
            for name, array in arrays.items()
        }
        return file.id.get_file_image(), extents


class Shard:
    """One shard of a folder, read lazily by the word of its manifest line.

    Raises InputError when the file is missing, is no plain file, or has another size than the
    manifest says (truncated).  Its bytes are compared with the checksum by ``verify`` alone.
    """

    def __init__(self, folder: Path, entry: Entry) -> None:
        self.entry = entry
        self.path = shard_file(Path(folder), entry.name)

    def check_file(self) -> None:
        """InputError unless the file is there, is plain, and has the size it must have."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            raise InputError(f"shard {self.entry.name}: the file {self.path} is missing") from None
        except OSError as error:
            raise storage_error(error, f"shard {self.entry.name}") from error
        if not stat.S_ISREG(found.st_mode):
            raise InputError(f"shard {self.entry.name}: {self.path} is not a plain file")
        if found.st_size != self.entry.bytes:
            raise InputError(
                f"shard {self.entry.name}: {self.path} has {found.st_size} bytes instead of "
                f"{self.entry.bytes}"
            )

    def extent(self, name: str) -> Extent:
        try:
            return self.entry.columns[name]
        except KeyError:
            raise InputError(
                f"shard {self.entry.name} has no column {name!r}; it has "
                + ", ".join(self.entry.columns)
            ) from None

    def column(self, name: str) -> NDArray[Any]:
        """A column, read into memory of its own.

        Returns
        -------
        (rows, ...) array, or (values, ...) array where ragged
        """
        extent = self.extent(name)
        self.check_file()
        values: NDArray[Any] = np.empty(extent.shape, extent.dtype)
        if not extent.bytes:
            return values
        try:
            with self.path.open("rb", buffering=0) as file:
                file.seek(extent.offset)
                rest = values.reshape(-1).view(np.uint8).data
                while rest.nbytes:
                    count = file.readinto(rest)
                    if not count:
                        raise InputError(f"shard {self.entry.name}: {self.path} is truncated")
                    rest = rest[count:]
        except OSError as error:
            raise storage_error(error, f"shard {self.entry.name}: cannot read") from error
        return values

    def view(self, name: str) -> NDArray[Any]:
        """A column as a read-only view of the memory-mapped file: for rows here and there.

        Returns
        -------
        (rows, ...) array, or (values, ...) array where ragged
        """
        extent = self.extent(name)
        if not extent.bytes:
            return np.empty(extent.shape, extent.dtype)
        flat: NDArray[Any] = np.frombuffer(
            self._map, extent.dtype, count=int(np.prod(extent.shape)), offset=extent.offset
        )
        return flat.reshape(extent.shape)

    def prefetch(self, name: str) -> None:
        """Let the kernel fetch a column that is about to be viewed as a whole."""
        extent = self.extent(name)
        if extent.bytes:
            start = extent.offset - extent.offset % mmap.PAGESIZE
            self._map.madvise(mmap.MADV_WILLNEED, start, extent.offset + extent.bytes - start)

    @cached_property
    def _map(self) -> mmap.mmap:
        self.check_file()
        try:
            with self.path.open("rb") as file:
                return mmap.mmap(file.fileno(), self.entry.bytes, access=mmap.ACCESS_READ)
        except OSError as error:
            raise storage_error(error, f"shard {self.entry.name}: cannot map") from error

    def offsets(self, name: str, total: int) -> NDArray[np.int64]:
        """The cuts of a ragged column: (rows + 1,) ascending from 0 to ``total``, checked.

        Returns
        -------
        (rows + 1,) int64 array
        """
        offsets = self.column(name)
        if (
            offsets.shape != (self.entry.rows + 1,)
            or offsets.dtype != np.int64
            or offsets[0] != 0
            or offsets[-1] != total
            or (np.diff(offsets) < 0).any()
        ):
            raise InputError(f"shard {self.entry.name}: {name} does not cut {total} values")
        return offsets

    def checksum(self) -> str:
        """The checksum of the file as it is, read in pieces."""
        self.check_file()
        return file_checksum(self.path)


def file_checksum(path: Path) -> str:
    """ "sha256:" and the 64 hexadecimal digits of a shard's file."""
    digest = hashlib.sha256()
    try:
        with path.open("rb", buffering=0) as file:
            while block := file.read(_READ_BYTES):
                digest.update(block)
    except OSError as error:
        raise storage_error(error, f"shard {path.stem}: cannot read") from error
    return f"sha256:{digest.hexdigest()}"
