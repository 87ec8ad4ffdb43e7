"""The lines of a manifest: one JSON object for each shard that is whole and on the disk.

A line carries a digest of what it says, so that a digit that has flipped is noticed; the lines of
version 0.1.0 have none and are read as they are.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from hpcml.errors import InputError
from hpcml.files import append_line, write_whole

DTYPES = ("|b1", "|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<f4", "<u8", "<i8", "<f8")
"""Types a column may have: plain numbers, little-endian."""

LARGEST_SHARD = 1 << 33
"""Bytes; a sparse file of terabytes costs its maker nothing and its reader everything."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@-]{0,199}")
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}")
_DIGEST = "digest"  # the field of a line that holds its digest


class Extent(msgspec.Struct, frozen=True, array_like=True):
    """Where a column lies in its file: numpy dtype, shape, offset in bytes."""

    dtype: str
    shape: tuple[int, ...]
    offset: int

    @property
    def itemsize(self) -> int:
        return np.dtype(self.dtype).itemsize

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.itemsize


class Entry(msgspec.Struct, frozen=True, tag="shard", tag_field="type"):
    """The manifest's line for one shard.

    name        file shards/NAME.h5
    rows        number of rows
    bytes       size of the file
    checksum    "sha256:" and 64 hexadecimal digits, of the whole file
    columns     name -> where it lies
    attributes  what the writer says about the shard (texts and numbers)
    """

    name: str
    rows: int
    bytes: int
    checksum: str
    schema_version: int
    columns: dict[str, Extent]
    attributes: dict[str, str | int | float] = {}

    def check(self) -> None:
        """InputError unless every number in the line is possible.

        A manifest may come from anywhere: nothing is read or allocated on its word alone.
        """
        where = f"shard {self.name[:60]!r}"
        if not is_name(self.name):
            raise InputError(f"{where}: not a name for a shard")
        if self.schema_version < 1:
            raise InputError(f"{where}: there is no schema version {self.schema_version}")
        if not _CHECKSUM.fullmatch(self.checksum):
            raise InputError(f"{where}: {self.checksum[:40]!r} is not a checksum")
        if self.rows < 0 or self.bytes < 0:
            raise InputError(f"{where}: negative size")
        if self.bytes > LARGEST_SHARD:
            raise InputError(f"{where}: {self.bytes} bytes are more than a shard may have")
        for name, extent in self.columns.items():
            if extent.dtype not in DTYPES:
                raise InputError(f"{where}: column {name!r} has the type {extent.dtype[:20]!r}")
            if len(extent.shape) not in range(1, 9) or min((*extent.shape, extent.offset)) < 0:
                raise InputError(f"{where}: column {name!r} has an impossible shape or offset")
            # An empty axis must not hide absurd ones behind it.
            span = math.prod(max(length, 1) for length in extent.shape) * extent.itemsize
            if extent.offset + span > self.bytes:
                raise InputError(
                    f"{where}: column {name!r} would end at byte {extent.offset + span} "
                    f"of a file of {self.bytes}"
                )


class Replaces(msgspec.Struct, frozen=True, tag="replaces", tag_field="type"):
    """A line of a compaction: these shards are in others now and wait to be deleted."""

    names: tuple[str, ...]


Record = Entry | Replaces


class UnreadableLineError(Exception):
    """Nothing can be taken from a line; ``newer`` is the name of a shard of a newer schema."""

    def __init__(self, why: str, newer: str = "") -> None:
        super().__init__(why)
        self.newer = newer


def encode_line(record: Record) -> bytes:
    """A record as its line, without the line break."""
    line = msgspec.json.encode(record)
    return line[:-1] + f',"{_DIGEST}":"{_digest(json.loads(line))}"}}'.encode()


def decode_line(line: bytes, newest: int) -> tuple[Record, bool]:
    """What a line says, and whether its digest proves that it was written so.

    newest   the highest schema version that can be read

    Raises UnreadableLineError if it is no line of a manifest, is not as it was written, or tells
    of a newer schema.
    """
    try:
        content = msgspec.json.decode(line.strip(b"\0"))  # zeros: what a power cut leaves
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UnreadableLineError("torn by a crash") from None
    if not isinstance(content, dict):
        raise UnreadableLineError("is not a line of a manifest")
    digest = content.pop(_DIGEST, None)
    if digest is not None and digest != _digest(content):
        raise UnreadableLineError("is not as it was written: its digest disagrees")
    version = content.get("schema_version")
    if isinstance(version, int) and version > newest:
        # such a line may well have another shape
        raise UnreadableLineError(
            f"has schema version {version}, this hpcml reads up to {newest}; update hpcml",
            newer=str(content.get("name"))[:200],
        )
    try:
        record: Record = msgspec.convert(content, Record)
    except msgspec.ValidationError:
        raise UnreadableLineError("is not a line of a manifest") from None
    return record, digest is not None


def _digest(content: Any) -> str:
    """Of what a line says, however it is spaced and in whatever order."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def is_name(name: str) -> bool:
    """Whether ``name`` may name a shard or a writer: letters, digits, and _ . + @ - inside."""
    return _NAME.fullmatch(name) is not None


def manifest_file(folder: Path, writer: str = "") -> Path:
    """The manifest that this writer appends to."""
    return folder / (f"manifest.{writer}.jsonl" if writer else "manifest.jsonl")


def add_entry(folder: Path, entry: Entry, writer: str = "") -> None:
    """Let a shard exist: append its line, durably."""
    append_line(manifest_file(folder, writer), encode_line(entry))


def write_manifest(path: Path, records: list[Record]) -> None:
    """Replace a manifest file by these lines, all at once."""
    write_whole(path, b"".join(encode_line(record) + b"\n" for record in records))
