"""Shards compared byte by byte with what was written, once: what was compared is remembered.

A data set's folder keeps in ``verified.json`` which file (size, times, inode) was found to be what
which manifest line says, so that every stage can ask for verified shards and only the first one
reads them for it.  Where the folder cannot be written to, each stage reads them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from hpcml.errors import HpcmlError, InputError
from hpcml.files import read_file, storage_error, write_whole
from hpcml.progress import progress
from hpcml.store.layout import layout
from hpcml.store.lines import Entry, encode_line
from hpcml.store.reader import check_rows
from hpcml.store.shards import Shard

FILE = "verified.json"
_LARGEST_FILE = 1 << 28  # bytes


class _Seen(msgspec.Struct, frozen=True, array_like=True):
    """A file as it was when it was verified, and the digest of its manifest line."""

    bytes: int
    modified: int
    changed: int
    inode: int
    line: str


def check_shard(shard: Shard) -> None:
    """InputError unless a shard holds, to the last byte, what was written."""
    name = shard.entry.name
    if shard.checksum() != shard.entry.checksum:
        raise InputError(f"shard {name}: its bytes are not those written")
    columns = layout(shard.path).columns
    if columns.keys() != shard.entry.columns.keys():
        raise InputError(f"shard {name}: the file's columns are not those of the manifest")
    for column, extent in shard.entry.columns.items():
        if columns[column] != extent:
            raise InputError(
                f"shard {name}: {column!r} is {columns[column]} in the file, {extent} in the "
                "manifest"
            )
    if "schema" in shard.entry.attributes:
        check_rows(shard)


def check_once(folder: Path, entries: Sequence[Entry]) -> dict[str, InputError]:
    """What ``check_shard`` finds, by the shard's name; files that it has seen before are trusted.

    A file counts as seen while its size, times and inode are those of then.
    """
    known = _read(folder)
    seen: dict[str, _Seen] = {}
    wrong: dict[str, InputError] = {}
    unseen = []
    for entry in entries:
        shard = Shard(folder, entry)
        try:
            now = _look(shard)
        except InputError as error:
            wrong[entry.name] = error
            continue
        if known.get(entry.name) == now:
            seen[entry.name] = now
        else:
            unseen.append((shard, now))
    if unseen:
        with progress("verify", len(unseen)) as advance:
            for number, (shard, now) in enumerate(unseen, 1):
                try:
                    check_shard(shard)
                except InputError as error:
                    wrong[shard.entry.name] = error
                else:
                    seen[shard.entry.name] = now
                advance(number)
        _write(folder, seen)
    return wrong


def _look(shard: Shard) -> _Seen:
    shard.check_file()
    try:
        status = shard.path.stat()
    except OSError as error:
        raise storage_error(error, f"shard {shard.entry.name}") from error
    line = hashlib.blake2b(encode_line(shard.entry), digest_size=8).hexdigest()
    return _Seen(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, line)


def _read(folder: Path) -> dict[str, _Seen]:
    try:
        return msgspec.json.decode(read_file(folder / FILE, _LARGEST_FILE), type=dict[str, _Seen])
    except (HpcmlError, msgspec.DecodeError, UnicodeDecodeError):
        return {}  # nothing is known then, and all is read


def _write(folder: Path, seen: dict[str, _Seen]) -> None:
    try:
        write_whole(folder / FILE, msgspec.json.encode(seen))
    except HpcmlError:
        return  # another's folder or a full disk: the next stage reads the shards again
