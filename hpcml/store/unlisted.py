"""Files in shards/ that no manifest names: left by a crash, foreign, or rows whose line is lost.

A writer leaves a shard without a line for a moment, and its journal holds the rows meanwhile; a
compaction that was stopped leaves copies of rows that are elsewhere.  Neither costs anything.  A
whole shard with rows that are nowhere else has lost its line: a damaged disk, a power cut, a
manifest that somebody deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpcml.errors import HpcmlError, InputError
from hpcml.files import make_folder, no_such_file, write_whole
from hpcml.store import journal
from hpcml.store.distinct import WRITTEN_TOGETHER
from hpcml.store.layout import (
    DIGEST_ATTRIBUTE,
    ROWS_ATTRIBUTE,
    VERSION_ATTRIBUTE,
    columns_digest,
    layout,
)
from hpcml.store.lines import Entry, is_name
from hpcml.store.manifest import Manifest, Problem
from hpcml.store.reader import check_rows
from hpcml.store.schema import SCHEMA_VERSION
from hpcml.store.shards import FOLDER, Shard, file_checksum

ASIDE = "aside"
"""Folder of a data set for files that no longer count and were not deleted."""

_UNFINISHED = "unfinished."  # and a token: a file beside the manifests


@dataclass(frozen=True)
class UnlistedShard:
    """A file of shards/ without a line.

    entry   the line that it should have; None if it is no whole shard of hpcml
    lost    whether it holds rows that are nowhere else
    reason  what it is, in words
    """

    path: Path
    entry: Entry | None
    lost: bool
    reason: str

    def __str__(self) -> str:
        return f"{self.path.name}: {self.reason}"


def read_manifest(folder: Path) -> tuple[Manifest, list[UnlistedShard]]:
    """The manifest of a folder, and the files of shards/ that it does not name.

    Raises InputError if no data set was ever there.
    """
    manifest = Manifest(folder)
    unlisted = unlisted_shards(folder, manifest)
    if not manifest.listed and not any(found.lost for found in unlisted):
        if not folder.exists():
            raise InputError(no_such_file(folder, "no data set here, there is no such folder"))
        raise InputError(
            f"{folder}: no data set here (no manifest.jsonl); `hpcml generate` or `hpcml import` "
            "makes one"
        )
    return manifest, unlisted


def lost_rows(found: UnlistedShard, folder: Path) -> Problem:
    """The problem that a shard is whose line is lost."""
    return Problem(f"{FOLDER}/{found.path.name}", f"{found.reason}; `hpcml repair {folder}`")


def unlisted_shards(folder: Path, manifest: Manifest) -> list[UnlistedShard]:
    """Every file of shards/ that the manifest does not name, looked at closely.

    Costs a look into the folder where there is none.  May be called while writers are at work.
    """
    names = _without_line(folder, manifest)
    if not names:
        return []
    names -= _in_journals(folder)
    # a line may have come, and its journal gone, since the manifest was read
    manifest = Manifest(folder)
    names &= _without_line(folder, manifest)
    if not names:
        return []
    known = listed_keys(folder, manifest)
    return [examine(folder / FOLDER / f"{name}.h5", known) for name in sorted(names)]


@contextmanager
def unfinished(folder: Path, token: str) -> Iterator[None]:
    """While the block runs, and if it fails, shards that bear this mark are no data set yet.

    token   the mark: the value of their attribute WRITTEN_TOGETHER
    """
    make_folder(folder)
    marker = folder / f"{_UNFINISHED}{token}"
    write_whole(marker, b"")
    yield
    marker.unlink(missing_ok=True)


def listed_keys(folder: Path, manifest: Manifest) -> NDArray[np.bytes_]:
    """The keys of all rows whose shards the manifest names, (N,) of 16 bytes each.

    Returns
    -------
    (N,) array of 16 bytes each
    """
    return _keys(Shard(folder, entry) for entry in manifest)


def move_aside(folder: Path, path: Path) -> None:
    """Put a file that is in the way where no reader looks and nothing is lost; OSError as it
    comes."""
    make_folder(folder / ASIDE)
    path.replace(folder / ASIDE / path.name)


def examine(path: Path, known: NDArray[np.bytes_]) -> UnlistedShard:
    """What a file without a line is.

    Parameters
    ----------
    path : Path
        The file.
    known : (N,) array of 16 bytes each
        The keys of all rows that the manifest names.
    """
    try:
        entry = entry_of_file(path)
        keys = _keys([_PlacedShard(path, entry)])
    except InputError as error:
        return UnlistedShard(path, None, False, f"in no manifest, and no whole shard: {error}")
    marker = path.parent.parent / f"{_UNFINISHED}{entry.attributes.get(WRITTEN_TOGETHER, '')}"
    if marker.exists():
        message = "in no manifest; left by an import or merge that was stopped"
        return UnlistedShard(path, entry, False, message)
    if len(keys) and np.isin(keys, known).all():
        message = f"in no manifest; its {entry.rows} rows are in other shards"
        return UnlistedShard(path, entry, False, message)
    message = f"a whole shard of {entry.rows} rows that no manifest names: its line is lost"
    return UnlistedShard(path, entry, True, message)


def entry_of_file(path: Path) -> Entry:
    """The manifest line of a shard, made anew out of its file.

    Raises InputError unless the file is a whole shard: by its own digest, or, if version 0.1.0
    wrote it, by its schema, offsets, and the keys of its molecules.
    """
    where = f"shard {path.stem}"
    found = layout(path)
    attributes = dict(found.attributes)
    version = attributes.pop(VERSION_ATTRIBUTE, None)
    rows = attributes.pop(ROWS_ATTRIBUTE, None)
    digest = attributes.pop(DIGEST_ATTRIBUTE, None)
    if not isinstance(version, int):
        raise InputError(f"{where}: is not a shard of hpcml")
    if version > SCHEMA_VERSION:
        raise InputError(f"{where}: has schema version {version}; update hpcml")
    if rows is None and "key" in found.columns:
        rows = found.columns["key"].shape[0]
    if not isinstance(rows, int):
        raise InputError(f"{where}: does not say how many rows it has")
    kinds = (str, int, float)
    entry = Entry(
        name=path.stem,
        rows=rows,
        bytes=path.stat().st_size,
        checksum=file_checksum(path),
        schema_version=version,
        columns=found.columns,
        attributes={key: value for key, value in attributes.items() if isinstance(value, kinds)},
    )
    entry.check()
    shard = _PlacedShard(path, entry)
    if digest is not None:
        if columns_digest({name: shard.column(name) for name in entry.columns}) != digest:
            raise InputError(f"{where}: its bytes are not those written")
    elif "schema" not in entry.attributes:
        raise InputError(f"{where}: has neither a schema nor a digest of its own")
    if "schema" in entry.attributes:
        check_rows(shard)
    return entry


class _PlacedShard(Shard):
    """A shard that may lie elsewhere than in a data set's shards/."""

    def __init__(self, path: Path, entry: Entry) -> None:
        super().__init__(path.parent, entry)
        self.path = path


def _without_line(folder: Path, manifest: Manifest) -> set[str]:
    names = {path.stem for path in (folder / FOLDER).glob("*.h5") if is_name(path.stem)}
    return names - manifest.entries.keys() - manifest.replaced - manifest.newer


def _in_journals(folder: Path) -> set[str]:
    """The shards whose rows a journal holds."""
    names = set()
    for path in (folder / journal.FOLDER).glob(f"*{journal.SUFFIX}"):
        try:
            pending = journal.read_pending(path)
        except HpcmlError:
            continue  # named by verify
        if pending is not None:
            names.add(pending.shard)
    return names


def _keys(shards: Iterable[Shard]) -> NDArray[np.bytes_]:
    """The keys of all rows of these shards, (N,) of 16 bytes; a damaged shard has none."""
    keys = [np.empty(0, "S16")]
    for shard in shards:
        extent = shard.entry.columns.get("key")
        if extent is not None and (extent.dtype, extent.shape[1:]) == ("|u1", (16,)):
            try:
                keys.append(shard.column("key").view("S16")[:, 0])
            except HpcmlError:
                continue
    return np.concatenate(keys)
