"""Does a data set still hold what was written?  Reads every byte and compares."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hpcml.errors import HpcmlError
from hpcml.files import TEMPORARY_SUFFIX
from hpcml.progress import progress
from hpcml.store import journal
from hpcml.store.distinct import distinct_rows
from hpcml.store.manifest import Manifest, Problem
from hpcml.store.shards import FOLDER, Shard
from hpcml.store.unlisted import lost_rows, read_manifest
from hpcml.store.verified import check_shard


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
    manifest, unlisted = read_manifest(folder)
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
                check_shard(shard)
                if "schema" in entry.attributes:
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
    for found in unlisted:
        if found.lost:
            report.problems.append(lost_rows(found, folder))
        else:
            report.notes.append(str(found))
    report.notes += _left_behind(folder, manifest)
    return report


def _left_behind(folder: Path, manifest: Manifest) -> list[str]:
    notes = []
    parts = list((folder / FOLDER).glob(f".*{TEMPORARY_SUFFIX}"))
    if parts:
        notes.append(f"{len(parts)} temporary files of killed writers; the next compaction removes")
    for path in sorted((folder / journal.FOLDER).glob(f"*{journal.SUFFIX}")):
        try:
            pending = journal.read_pending(path)
        except HpcmlError as error:
            notes.append(str(error))
            continue
        if pending and pending.rows and not manifest.has(pending.shard):
            notes.append(f"{path.name}: {len(pending.rows)} rows wait to be recovered")
    return notes
