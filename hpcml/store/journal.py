"""The journal of one writer: rows that are computed and in no shard yet.

One file, overwritten in place from the start for every new shard: an fsync of blocks that exist
already costs a quarter of one that lets a file grow.  Each record names the shard its row is
meant for by a random number, and carries a digest of itself, so that what is left of an older
shard, or of a record cut short, is told apart from what counts.  Once the shard's line is in the
manifest, the shard's journal is void without being touched.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from hpcml.errors import InputError, PlatformError
from hpcml.files import (
    lock_if_possible,
    make_folder,
    read_file,
    storage_error,
    sync_folder,
    write_all,
)
from hpcml.molecules import Molecule
from hpcml.store.rows import Row
from hpcml.store.schema import Schema

FOLDER = "journal"
SUFFIX = ".journal"
_HEAD = struct.Struct("<4sIQI16s")  # magic, sequence number, shard's number, length, digest
_MAGIC = b"hpJ1"
_EXTENT = 1 << 18  # bytes by which the file grows
_LARGEST = 1 << 30  # bytes of a journal


class _Begin(msgspec.Struct, frozen=True):
    shard: str
    schema: Schema


class _Record(msgspec.Struct, frozen=True, array_like=True):
    key: str
    numbers: bytes
    positions: bytes
    charge: int
    multiplicity: int
    name: str
    smiles: str
    values: dict[str, tuple[tuple[int, ...], bytes]]
    provenance: dict[str, Any]
    isotopes: bytes = b""  # as <u2; none where all are the most abundant


@dataclass(frozen=True)
class Pending:
    """What a journal holds: the shard that was to be written, its schema and rows."""

    shard: str
    schema: Schema
    rows: list[Row]


class Journal:
    """The journal of a living writer; holds a lock so that nobody recovers it meanwhile."""

    def __init__(self, folder: Path, writer: str) -> None:
        """Open or create.  PlatformError if another process writes under this name."""
        self.path = Path(folder) / FOLDER / f"{writer}{SUFFIX}"
        make_folder(self.path.parent)
        try:
            while True:
                self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
                if not lock_if_possible(self._file):
                    os.close(self._file)
                    raise PlatformError(f"{self.path}: another process is writing under this name")
                if _is_still(self._file, self.path):
                    break
                os.close(self._file)  # its former owner removed it between our open and lock
        except OSError as error:
            raise storage_error(error, f"cannot open {self.path}") from error
        self._end = 0
        self._sequence = 0
        self._number = 0

    @property
    def bytes(self) -> int:
        """Bytes of the rows appended since ``begin``."""
        return self._end

    def pending(self) -> Pending | None:
        """The rows in the file, up to the first record that is not whole."""
        return read_pending(self.path)

    def begin(self, shard: str, schema: Schema) -> None:
        """Start over for a new shard; void what is there with the next ``append``."""
        self._number = int.from_bytes(secrets.token_bytes(8), "little")
        self._sequence = 0
        self._end = 0
        self._begin = msgspec.msgpack.encode(_Begin(shard, schema))

    def append(self, *rows: Row) -> None:
        """Put rows on the disk, at once.  If this raises, none of them is in the journal."""
        frames = bytearray()
        sequence = self._sequence
        if sequence == 0:
            frames += _frame(0, self._number, self._begin)
            sequence = 1
        for row in rows:
            try:
                frames += _frame(sequence, self._number, _encode(row))
            except UnicodeEncodeError as error:
                words = f"row {row.key}: holds what is no Unicode text: {error}"
                raise InputError(words) from error
            sequence += 1
        try:
            self._reserve(self._end + len(frames))
            os.lseek(self._file, self._end, os.SEEK_SET)
            write_all(self._file, memoryview(frames))
            os.fdatasync(self._file)
        except OSError as error:
            raise storage_error(error, f"cannot write {self.path}") from error
        self._end += len(frames)
        self._sequence = sequence

    def _reserve(self, size: int) -> None:
        """Let the file be this long, with blocks that are really there."""
        there = os.fstat(self._file).st_size
        if size > there:
            os.lseek(self._file, there, os.SEEK_SET)
            write_all(self._file, bytes(max(_EXTENT, size - there)))
            os.fsync(self._file)
            if there == 0:
                sync_folder(self.path.parent)

    def close(self, *, remove: bool) -> None:
        """Let go of the file; ``remove`` it when no row in it counts any more."""
        try:
            if remove:
                self.path.unlink(missing_ok=True)
        finally:
            os.close(self._file)


def _is_still(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def read_pending(path: Path) -> Pending | None:
    """The rows of a journal, up to the first record that is not whole; None if there is none."""
    data = read_file(path, _LARGEST)
    begin: _Begin | None = None
    rows: list[Row] = []
    for payload in _payloads(data):
        try:
            if begin is None:
                begin = msgspec.msgpack.decode(payload, type=_Begin)
            else:
                rows.append(_decode(msgspec.msgpack.decode(payload, type=_Record)))
        except (msgspec.DecodeError, InputError, ValueError, TypeError) as error:
            raise InputError(f"{path}: a record is not what it should be: {error}") from error
    return Pending(begin.shard, begin.schema, rows) if begin else None


def _payloads(data: bytes) -> list[bytes]:
    payloads: list[bytes] = []
    position = 0
    first = None
    while position + _HEAD.size <= len(data):
        magic, sequence, number, length, digest = _HEAD.unpack_from(data, position)
        payload = data[position + _HEAD.size : position + _HEAD.size + length]
        first = number if first is None else first
        if (
            magic != _MAGIC
            or number != first
            or sequence != len(payloads)
            or len(payload) != length
            or digest != _digest(sequence, number, payload)
        ):
            break
        payloads.append(payload)
        position += _HEAD.size + length
    return payloads


def _frame(sequence: int, number: int, payload: bytes) -> bytes:
    digest = _digest(sequence, number, payload)
    return _HEAD.pack(_MAGIC, sequence, number, len(payload), digest) + payload


def _digest(sequence: int, number: int, payload: bytes) -> bytes:
    head = struct.pack("<IQ", sequence, number)
    return hashlib.blake2b(head + payload, digest_size=16).digest()


def _encode(row: Row) -> bytes:
    molecule = row.molecule
    values = {}
    for name, value in row.values.items():
        array = np.ascontiguousarray(value, "<f8")
        values[name] = (np.shape(value), array.tobytes())
    return msgspec.msgpack.encode(
        _Record(
            row.key,
            molecule.numbers.astype("u1").tobytes(),
            molecule.positions.astype("<f8").tobytes(),
            molecule.charge,
            molecule.multiplicity,
            molecule.name,
            molecule.smiles,
            values,
            dict(row.provenance),
            molecule.isotopes.astype("<u2").tobytes() if molecule.isotopes.any() else b"",
        ),
        enc_hook=float,
    )


def _decode(record: _Record) -> Row:
    molecule = Molecule(
        np.frombuffer(record.numbers, "u1"),
        np.frombuffer(record.positions, "<f8").reshape(-1, 3),
        record.charge,
        record.multiplicity,
        record.name,
        record.smiles,
        np.frombuffer(record.isotopes, "<u2"),
    )
    values = {
        name: np.frombuffer(data, "<f8").reshape(shape)
        for name, (shape, data) in record.values.items()
    }
    return Row(record.key, molecule, values, record.provenance)
