"""The manifest: one JSON line for each shard that is whole and on the disk.

A folder has ``manifest.jsonl`` and, beside it, one ``manifest.WRITER.jsonl`` for each process
that writes there, so that no two processes on a parallel file system append to one file.  A
shard without a line does not exist for a reader.  The line tells where in the file each column
lies, so that opening a data set reads no shard, and reading one needs no HDF5 library.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from hpcml.errors import InputError
from hpcml.files import append_line, read_file, write_whole
from hpcml.store.schema import SCHEMA_VERSION

DTYPES = ("|b1", "|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<f4", "<u8", "<i8", "<f8")
"""Types a column may have: plain numbers, little-endian."""

LARGEST_SHARD = 1 << 33
"""Bytes; a sparse file of terabytes costs its maker nothing and its reader everything."""

_LARGEST_MANIFEST = 1 << 32  # bytes; two million shards

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@-]{0,199}")
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}")


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


@dataclass(frozen=True)
class Problem:
    """Something found wrong: which shard or file, and what; ``str()`` is the one clear line.

    ``loses_rows`` is False for traces of a crash that cost nothing (a torn last line, whose
    shard is written again from the journal).
    """

    where: str
    message: str
    loses_rows: bool = True

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


@dataclass
class Manifest:
    """The shards of a folder, in the order of their names' files and lines.

    entries   name -> Entry, those that this version of hpcml can read
    replaced  names that a compaction has superseded and not yet deleted
    problems  lines that cannot be used, and why
    listed    manifest file -> names of the shards that its lines name; empty where nothing was
              ever written
    """

    folder: Path
    entries: dict[str, Entry] = field(init=False, default_factory=dict)
    replaced: set[str] = field(init=False, default_factory=set)
    problems: list[Problem] = field(init=False, default_factory=list)
    listed: dict[Path, list[str]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.folder = Path(self.folder)
        for path in sorted(self.folder.glob("manifest*.jsonl")):
            self.listed[path] = []
            self._read(path)
        for name in self.replaced:
            self.entries.pop(name, None)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries.values())

    def __len__(self) -> int:
        return len(self.entries)

    def has(self, name: str) -> bool:
        """Whether this shard was ever finished, even if a compaction has replaced it."""
        return name in self.entries or name in self.replaced

    @property
    def fingerprint(self) -> str:
        """Hash of the checksums of all shards, whatever their order: 64 hexadecimal digits."""
        lines = sorted(f"{entry.name} {entry.checksum}" for entry in self)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def _read(self, path: Path) -> None:
        lines = read_file(path, _LARGEST_MANIFEST).split(b"\n")
        torn = lines.pop()
        for number, line in enumerate(lines, 1):
            if not line:
                continue
            where = f"{path.name} line {number}"
            try:
                record = _decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self.problems.append(_why_unreadable(where, line))
                continue
            if isinstance(record, Replaces):
                self.replaced.update(record.names)
            elif record.schema_version > SCHEMA_VERSION:
                self.problems.append(_newer(record.name, record.schema_version))
            else:
                try:
                    record.check()
                except InputError as error:
                    self.problems.append(Problem(where, str(error)))
                else:
                    self.entries[record.name] = record
                    self.listed[path].append(record.name)
        if torn:
            self.problems.append(
                Problem(f"{path.name} line {len(lines) + 1}", "torn by a crash", loses_rows=False)
            )


def is_name(name: str) -> bool:
    """Whether ``name`` may name a shard or a writer: letters, digits, and _ . + @ - inside."""
    return _NAME.fullmatch(name) is not None


def manifest_file(folder: Path, writer: str = "") -> Path:
    """The manifest that this writer appends to."""
    return folder / (f"manifest.{writer}.jsonl" if writer else "manifest.jsonl")


def add_entry(folder: Path, entry: Entry, writer: str = "") -> None:
    """Let a shard exist: append its line, durably."""
    append_line(manifest_file(folder, writer), msgspec.json.encode(entry))


def write_manifest(path: Path, records: list[Entry | Replaces]) -> None:
    """Replace a manifest file by these lines, all at once."""
    write_whole(path, b"".join(msgspec.json.encode(record) + b"\n" for record in records))


def _newer(name: str, version: int) -> Problem:
    return Problem(
        f"shard {name}",
        f"has schema version {version}, this hpcml reads up to {SCHEMA_VERSION}; update hpcml",
    )


def _why_unreadable(where: str, line: bytes) -> Problem:
    """A newer schema may have lines of another shape: say so rather than "broken"."""
    try:
        raw = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Problem(where, "torn by a crash", loses_rows=False)
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        return _newer(str(raw.get("name"))[:200], version)
    return Problem(where, "is not a line of a manifest")


_decoder: msgspec.json.Decoder[Entry | Replaces] = msgspec.json.Decoder(Entry | Replaces)
