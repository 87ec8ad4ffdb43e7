"""The manifest of a folder: its lines weighed against each other and, in doubt, the files.

A folder has ``manifest.jsonl`` and, beside it, one ``manifest.WRITER.jsonl`` for each process
that writes there, so that no two processes on a parallel file system append to one file.  A
shard without a line does not exist for a reader.  The line tells where in the file each column
lies, so that opening a data set reads no shard, and reading one needs no HDF5 library.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from hpcml.errors import HpcmlError, InputError
from hpcml.files import read_file
from hpcml.store.layout import layout
from hpcml.store.lines import Entry, Record, Replaces, UnreadableLineError, decode_line
from hpcml.store.schema import SCHEMA_VERSION
from hpcml.store.shards import Shard

_LARGEST_MANIFEST = 1 << 32  # bytes; two million shards


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


class _Claim(NamedTuple):
    """What one line says of a shard, the file it stands in, and whether a digest proves it."""

    entry: Entry
    source: Path
    proven: bool


@dataclass
class Manifest:
    """The shards of a folder, in the order of their names' files and lines.

    entries   name -> Entry, those that this version of hpcml can read
    replaced  names that a compaction has superseded and not yet deleted
    newer     names of shards of a newer schema
    problems  lines and files that cannot be used, and why
    listed    manifest file -> names of the shards that its lines name; empty where nothing was
              ever written
    damaged   manifest files with lines that cannot be read or are wrong

    Where lines disagree about a shard, that one counts which its file bears out.
    """

    folder: Path
    entries: dict[str, Entry] = field(init=False, default_factory=dict)
    replaced: set[str] = field(init=False, default_factory=set)
    newer: set[str] = field(init=False, default_factory=set)
    problems: list[Problem] = field(init=False, default_factory=list)
    listed: dict[Path, list[str]] = field(init=False, default_factory=dict)
    damaged: list[Path] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.folder = Path(self.folder)
        claims: dict[str, list[_Claim]] = {}
        for path in sorted(self.folder.glob("manifest*.jsonl")):
            self._read(path, claims)
        for name, of_shard in claims.items():
            if name not in self.replaced:
                self._settle(name, of_shard)
        self.damaged = list(dict.fromkeys(self.damaged))

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

    def _read(self, path: Path, claims: dict[str, list[_Claim]]) -> None:
        names: list[str] = []
        self.listed[path] = names
        try:
            lines = _lines(path)
        except HpcmlError as error:  # a pipe, a loop of links, a folder, someone else's file
            self.problems.append(Problem(path.name, str(error), loses_rows=False))
            self.damaged.append(path)
            return
        for number, line in lines:
            where = f"{path.name} line {number}"
            try:
                record, proven = decode_line(line, SCHEMA_VERSION)
                if isinstance(record, Replaces):
                    self.replaced.update(record.names)
                    continue
                record.check()
            except UnreadableLineError as error:
                if error.newer:
                    self.newer.add(error.newer)
                    self.problems.append(Problem(f"shard {error.newer}", str(error)))
                else:
                    # whether rows are lost is for the files in shards/ to say: see unlisted.py
                    self.problems.append(Problem(where, str(error), loses_rows=False))
                    self.damaged.append(path)
            except InputError as error:
                self.problems.append(Problem(where, str(error)))
                self.damaged.append(path)
            else:
                names.append(record.name)
                claims.setdefault(record.name, []).append(_Claim(record, path, proven))

    def _settle(self, name: str, claims: list[_Claim]) -> None:
        last = claims[-1]
        if all(claim.entry == last.entry for claim in claims):
            self.entries[name] = last.entry
        elif all(claim.proven and claim.source == last.source for claim in claims):
            self.entries[name] = last.entry  # written again by the same writer, one after the other
        else:
            borne_out = [c.entry for c in reversed(claims) if _bears_out(self.folder, c.entry)]
            if borne_out:
                self.entries[name] = borne_out[0]
                wrong = (c.source for c in claims if c.entry != borne_out[0])
                self.damaged.extend(dict.fromkeys(wrong))
            else:
                message = f"{len(claims)} lines disagree and its file agrees with none"
                self.problems.append(Problem(f"shard {name}", message))


def readable_records(path: Path) -> list[Record]:
    """What the lines of one manifest file say, without those that cannot be read."""
    records = []
    for _, line in _lines(path):
        try:
            records.append(decode_line(line, SCHEMA_VERSION)[0])
        except UnreadableLineError:
            continue
    return records


def finished_shards(path: Path) -> set[str]:
    """Names of the shards that one manifest file knows, replaced ones included."""
    names: set[str] = set()
    if path.exists():
        for record in readable_records(path):
            names.update(record.names if isinstance(record, Replaces) else [record.name])
    return names


def _lines(path: Path) -> list[tuple[int, bytes]]:
    """Number and bytes of each line with something in it.

    A power cut can leave zeros where a line was to be, and take the last line break.
    """
    lines = enumerate(read_file(path, _LARGEST_MANIFEST).split(b"\n"), 1)
    return [(number, line) for number, line in lines if line]


def _bears_out(folder: Path, entry: Entry) -> bool:
    """Whether a shard's file is what this line says, to the last byte and column."""
    shard = Shard(folder, entry)
    try:
        return shard.checksum() == entry.checksum and layout(shard.path).columns == entry.columns
    except HpcmlError:
        return False
