"""Many small shards into few large ones, and several data sets into one."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcml.errors import InputError, PlatformError
from hpcml.files import TEMPORARY_SUFFIX, storage_error
from hpcml.progress import progress
from hpcml.store.dataset import Dataset
from hpcml.store.distinct import WRITTEN_TOGETHER
from hpcml.store.journal import Journal
from hpcml.store.lines import Entry, Replaces, manifest_file, write_manifest
from hpcml.store.manifest import Manifest
from hpcml.store.reader import offset_columns
from hpcml.store.schema import CATALOGUE
from hpcml.store.shards import FOLDER, Shard, put_file, shard_file
from hpcml.store.unlisted import move_aside, unfinished, unlisted_shards
from hpcml.store.writer import recover

ROWS_PER_SHARD = 32768
_PREFIX = "c-"


def compact(path: Path | str, *, rows_per_shard: int = ROWS_PER_SHARD) -> int:
    """Rewrite a data set in place as few large shards, each key once: the number of shards.

    A kill at any moment leaves every row there once, and the next call finishes the work.  No
    writer may be at work meanwhile, and a reader that is has to open the data set again.  What
    was computed for the old shards (relevances) does not fit the new ones.

    Raises PlatformError if a writer lives, InputError if a shard is damaged or has lost its line:
    damage is not given a fresh checksum.
    """
    folder = Path(path)
    alive = recover(folder).alive
    if alive:
        raise PlatformError(f"{folder}: {alive[0]} is writing; compact when it is done")
    dataset = _sound_dataset(folder)
    _remove_replaced(folder)
    old = tuple(entry.name for entry in Manifest(folder))
    entries = _rewrite([dataset], folder, rows_per_shard, secrets.token_hex(4))
    # This line is the moment of change: before it the old shards count, after it the new.
    write_manifest(manifest_file(folder), [Replaces(old), *entries])
    _remove_replaced(folder)
    return len(entries)


def merge(
    sources: Sequence[Path | str],
    destination: Path | str,
    *,
    rows_per_shard: int = ROWS_PER_SHARD,
) -> int:
    """Several data sets of one schema as one new data set, each key once: the number of rows.

    Raises InputError if their schemas differ, one is damaged, or the destination holds a data
    set already.
    """
    folder = Path(destination)
    if Manifest(folder).listed:
        raise InputError(f"{folder}: holds a data set already; merge into a new folder")
    datasets = [_sound_dataset(Path(source)) for source in sources]
    for dataset in datasets[1:]:
        if dataset.schema != datasets[0].schema:
            raise InputError(f"{dataset.folder} and {datasets[0].folder} have different schemas")
    seen: NDArray[Any] = np.empty(0, "V16")
    distinct = []
    for dataset in datasets:
        keys = dataset.column("key").view("V16")[:, 0]
        new = ~np.isin(keys.view("S16"), seen.view("S16"))
        distinct.append(dataset.subset(new))
        seen = np.concatenate([seen, keys[new]])
    token = secrets.token_hex(4)
    with unfinished(folder, token):
        entries = _rewrite(distinct, folder, rows_per_shard, token)
        write_manifest(manifest_file(folder), [*entries])
    return len(seen)


def _sound_dataset(folder: Path) -> Dataset:
    """The data set, after every byte has been compared with its checksum."""
    for entry in Manifest(folder):
        if Shard(folder, entry).checksum() != entry.checksum:
            raise InputError(
                f"shard {entry.name}: its bytes are not those written; `hpcml verify {folder}`"
            )
    return Dataset.open(folder)


def _rewrite(
    datasets: Sequence[Dataset], folder: Path, rows_per_shard: int, token: str
) -> list[Entry]:
    """Shards with the rows of the data sets, not yet in any manifest, all marked by the token."""
    attributes = {"schema": datasets[0].schema.to_json(), WRITTEN_TOGETHER: token}
    entries: list[Entry] = []
    total = sum(map(len, datasets))
    done = 0
    with progress("compact", total) as advance:
        for dataset in datasets:
            for start in range(0, len(dataset), rows_per_shard):
                rows = np.arange(start, min(start + rows_per_shard, len(dataset)))
                name = f"{_PREFIX}{token}-{len(entries):05d}"
                columns = flat_columns(dataset.subset(rows))
                entries.append(
                    put_file(folder, name, columns, attributes, units=datasets[0].schema.own_units)
                )
                done += len(rows)
                advance(done)
    return entries


def flat_columns(dataset: Dataset) -> dict[str, NDArray[Any]]:
    """Every column of a data set, offsets included, as ``shards.write`` takes them.

    Returns
    -------
    dict of (N, ...) arrays
        Ragged columns flat, with their (N + 1,) cuts.
    """
    columns = {name: dataset.column(name) for name in dataset.columns}
    for cuts in offset_columns(dataset.schema):
        name = "numbers" if cuts == "atom_offsets" else cuts.removesuffix("_offsets")
        columns[cuts] = dataset.offsets(name)
    if "warnings" in columns:
        columns["warnings_offsets"] = dataset.offsets("warnings")
    order = [*CATALOGUE, *dataset.schema.own_units]

    def place(name: str) -> tuple[int, str]:
        base = "numbers" if name == "atom_offsets" else name.removesuffix("_offsets")
        return order.index(base), name

    return {name: columns[name] for name in sorted(columns, key=place)}


def _remove_replaced(folder: Path) -> None:
    """Delete the files of shards that a compaction has replaced, and then the trace of them.

    What a compaction left that was stopped is deleted where its rows are in other shards; a file
    that cannot be accounted for is moved aside.
    """
    manifest = Manifest(folder)
    shards = folder / FOLDER
    try:
        for found in unlisted_shards(folder, manifest):
            if found.path.name.startswith(_PREFIX) and not found.lost:
                if found.entry is None:
                    move_aside(folder, found.path)
                else:
                    found.path.unlink(missing_ok=True)
        for name in manifest.replaced:
            shard_file(folder, name).unlink(missing_ok=True)
        for part in shards.glob(f".*{TEMPORARY_SUFFIX}"):
            part.unlink(missing_ok=True)
        if not manifest.replaced:
            return
        own = manifest_file(folder)
        still_listed: set[str] = set()
        for path, listed in manifest.listed.items():
            damaged = path in manifest.damaged
            if path != own and not (
                manifest.replaced.issuperset(listed)
                and _remove_manifest(folder, path, damaged=damaged)
            ):
                still_listed.update(listed)
        kept = [entry for entry in manifest if entry.name not in still_listed]
        replaced = sorted(manifest.replaced & still_listed)
        write_manifest(own, [Replaces(tuple(replaced)), *kept] if replaced else [*kept])
    except OSError as error:
        raise storage_error(error, f"cannot tidy up {folder}") from error


def _remove_manifest(folder: Path, path: Path, *, damaged: bool) -> bool:
    """Remove the manifest of a writer; False if that writer has come back meanwhile."""
    writer = path.name.removeprefix("manifest.").removesuffix(".jsonl")
    try:
        claim = Journal(folder, writer)
    except PlatformError:
        return False
    try:
        if damaged:
            move_aside(folder, path)
        else:
            path.unlink()
    finally:
        claim.close(remove=True)
    return True
