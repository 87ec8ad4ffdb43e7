"""Does a data set still hold what was written?  Reads every byte and compares."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from hpcml.errors import HpcmlError, InputError
from hpcml.files import TEMPORARY_SUFFIX
from hpcml.molecules import molecule_keys
from hpcml.progress import progress
from hpcml.store import journal
from hpcml.store.distinct import distinct_rows
from hpcml.store.manifest import Manifest, Problem
from hpcml.store.reader import ShardReader, check_entry, offset_columns
from hpcml.store.schema import Schema
from hpcml.store.shards import FOLDER, Shard


@dataclass
class Report:
    """What ``verify`` found.

    rows, shards, bytes   of the shards that are good
    duplicates            rows whose key an earlier row has; readers show each key once
    bad                   names of the shards that are not good
    problems              everything found, each one clear line
    notes                 traces of a crash that cost nothing, rows waiting in journals
    """

    rows: int = 0
    shards: int = 0
    bytes: int = 0
    duplicates: int = 0
    bad: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems

    def __str__(self) -> str:
        lines = [f"damaged: {problem}" for problem in self.problems]
        lines += [f"note: {note}" for note in self.notes]
        good = (
            f"{self.rows} rows in {self.shards} shards, {self.bytes / 1e6:.1f} MB, are as written"
        )
        return "\n".join([*lines, good])


def verify(path: Path | str) -> Report:
    """Check every checksum, every key, and the manifest against the files.

    Memory stays that of one shard and 16 bytes a row.  Raises InputError only if there is no
    data set; what is wrong inside it is in the report.
    """
    folder = Path(path)
    manifest = Manifest(folder)
    if not manifest.listed:
        raise InputError(f"{folder}: no data set here (no manifest.jsonl)")
    report = Report()
    for problem in manifest.problems:
        if problem.loses_rows:
            report.problems.append(problem)
        else:
            report.notes.append(str(problem))
    with_keys: list[Shard] = []
    with progress("verify", len(manifest)) as advance:
        for number, entry in enumerate(manifest, 1):
            try:
                shard = Shard(folder, entry)
                if shard.checksum() != entry.checksum:
                    raise InputError(f"shard {entry.name}: its bytes are not those written")
                check_hdf5(shard)
                if "schema" in entry.attributes:
                    _check_rows(shard)
                    with_keys.append(shard)
            except HpcmlError as error:
                report.bad.append(entry.name)
                report.problems.append(Problem(folder.name, str(error)))
            else:
                report.rows += entry.rows
                report.shards += 1
                report.bytes += entry.bytes
            advance(number)
    distinct = distinct_rows(with_keys)
    if distinct is not None:
        report.duplicates = sum(shard.entry.rows for shard in with_keys) - len(distinct)
    if report.duplicates:
        report.notes.append(f"{report.duplicates} rows have the key of another; shown once")
    report.notes += _left_behind(folder, manifest)
    return report


def _check_rows(shard: Shard) -> None:
    """InputError unless offsets cut, and each row is the molecule of its molecule key."""
    schema = Schema.from_json(str(shard.entry.attributes["schema"]))
    check_entry(shard.entry, schema)
    reader = ShardReader(shard, schema)
    for name in offset_columns(schema):
        reader.offsets("numbers" if name == "atom_offsets" else name.removesuffix("_offsets"))
    names = ("numbers", "positions", "atom_offsets", "charge", "multiplicity")
    stored = shard.column("molecule_key")
    columns = {name: shard.column(name) for name in names}
    if "isotopes" in shard.entry.columns:
        columns["isotopes"] = shard.column("isotopes")
    expected = molecule_keys(columns)
    wrong = np.flatnonzero((stored != expected).any(axis=1))
    if wrong.size:
        raise InputError(f"shard {shard.entry.name}: row {wrong[0]} is not the molecule of its key")


def check_hdf5(shard: Shard) -> None:
    """InputError unless HDF5 finds in the file what the manifest says, and nothing else.

    Links to other files, virtual or external storage and stored objects are refused.
    """
    where = f"shard {shard.entry.name}"
    try:
        with h5py.File(shard.path, "r", locking=False) as file:
            if set(file) != set(shard.entry.columns):
                raise InputError(f"{where}: the file's columns are not those of the manifest")
            for name, extent in shard.entry.columns.items():
                if not isinstance(file.get(name, getlink=True), h5py.HardLink):
                    raise InputError(f"{where}: {name!r} is a link to somewhere else")
                dataset = file[name]
                if not isinstance(dataset, h5py.Dataset):
                    raise InputError(f"{where}: {name!r} is no data set")
                storage = dataset.id.get_create_plist()
                if storage.get_layout() != h5py.h5d.CONTIGUOUS or storage.get_external_count():
                    raise InputError(f"{where}: {name!r} is not stored in one piece in the file")
                found = (dataset.dtype.str, dataset.shape, dataset.id.get_offset() or 0)
                if found != (extent.dtype, extent.shape, extent.offset):
                    raise InputError(
                        f"{where}: {name!r} is {found} in the file, "
                        f"{(extent.dtype, extent.shape, extent.offset)} in the manifest"
                    )
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{where}: not a readable HDF5 file: {error}") from error


def _left_behind(folder: Path, manifest: Manifest) -> list[str]:
    notes = []
    for path in sorted((folder / FOLDER).glob("*.h5")):
        if not manifest.has(path.stem):
            notes.append(f"{path.name} is in no manifest: a crash before its line, or foreign")
    parts = list((folder / FOLDER).glob(f".*{TEMPORARY_SUFFIX}"))
    if parts:
        notes.append(f"{len(parts)} temporary files of killed writers; the next compaction removes")
    for path in sorted((folder / journal.FOLDER).glob(f"*{journal.SUFFIX}")):
        try:
            pending = journal.read_pending(path)
        except InputError as error:
            notes.append(str(error))
            continue
        if pending and pending.rows and not manifest.has(pending.shard):
            notes.append(f"{path.name}: {len(pending.rows)} rows wait to be recovered")
    return notes
