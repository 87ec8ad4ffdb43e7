"""A data set whose manifests were damaged, made whole again out of its shards."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hpcml.errors import PlatformError
from hpcml.files import make_folder, storage_error, write_whole
from hpcml.store.journal import Journal
from hpcml.store.lines import Entry, Record, Replaces, is_name, manifest_file, write_manifest
from hpcml.store.manifest import Manifest, Problem, readable_records
from hpcml.store.shards import shard_file
from hpcml.store.unlisted import ASIDE, examine, listed_keys, unlisted_shards
from hpcml.store.writer import recover


@dataclass
class Repaired:
    """What ``repair`` did.

    recovered   rows brought home from the journals of killed writers
    adopted     shards that have a line again: name and rows
    refused     files without a line that were not adopted, and why
    rewritten   names of the manifest files whose unreadable lines were taken out
    alive       writers at work: what they are writing was left alone
    """

    recovered: int = 0
    adopted: list[tuple[str, int]] = field(default_factory=list)
    refused: list[Problem] = field(default_factory=list)
    rewritten: list[str] = field(default_factory=list)
    alive: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"adopted: {name}, {rows} rows" for name, rows in self.adopted]
        lines += [f"left: {problem}" for problem in self.refused]
        lines += [f"still writing: {writer}" for writer in self.alive]
        lines += [f"unreadable lines taken out: {name}, the old file is in {ASIDE}/"
                  for name in self.rewritten]  # fmt: skip
        rows = sum(rows for _, rows in self.adopted)
        return "\n".join([*lines, f"{rows} rows adopted, {self.recovered} recovered from journals"])


def repair(path: Path | str) -> Repaired:
    """Give every whole shard that no manifest names a line again.

    A shard holds its schema, its keys and a digest of its own, so that it can be proved whole
    without its line.  Nothing is deleted: a manifest with unreadable lines is kept in aside/, and
    a shard that an earlier compaction moved there is brought back if its rows are missing.  Call
    it as often as you like; shards whose bytes are damaged stay as they are (``verify`` names
    them).

    Raises PlatformError or ResourceError if the folder cannot be written to.
    """
    folder = Path(path)
    done = Repaired()
    journals = recover(folder)
    done.recovered, done.alive = journals.rows, journals.alive
    _bring_back(folder)
    manifest = Manifest(folder)
    unlisted = unlisted_shards(folder, manifest)
    lost = [found.entry for found in unlisted if found.lost and found.entry]
    schema = _main_schema(manifest, lost)
    lines: list[Record] = []
    for found in unlisted:
        entry = found.entry
        if entry is None or not found.lost:
            done.refused.append(Problem(found.path.name, found.reason))
        elif entry.attributes.get("schema", "") != schema:
            message = "a whole shard of another schema than the data set's"
            done.refused.append(Problem(found.path.name, message))
        else:
            lines.append(entry)
            done.adopted.append((entry.name, entry.rows))
    if lines:
        write_manifest(manifest_file(folder, f"repair-{secrets.token_hex(4)}"), lines)
    done.rewritten = [file.name for file in manifest.damaged if _take_out(folder, file, manifest)]
    return done


def _main_schema(manifest: Manifest, lost: Sequence[Entry]) -> str:
    """The schema of the data set: that of its listed shards, else of most of the lost rows."""
    rows: Counter[str] = Counter()
    for entry in list(manifest) or lost:
        rows[str(entry.attributes.get("schema", ""))] += entry.rows
    return rows.most_common(1)[0][0] if rows else ""


def _bring_back(folder: Path) -> None:
    """Move whole shards whose rows are missing from aside/ to shards/ again."""
    known = listed_keys(folder, Manifest(folder))
    try:
        for path in sorted((folder / ASIDE).glob("*.h5")):
            place = shard_file(folder, path.stem)
            if not place.exists() and examine(path, known).lost:
                path.replace(place)
    except OSError as error:
        raise storage_error(error, f"cannot repair {folder}") from error


def _take_out(folder: Path, file: Path, manifest: Manifest) -> bool:
    """Write a manifest without its unreadable lines; False if it cannot be touched."""
    writer = file.name.removeprefix("manifest").removesuffix(".jsonl").removeprefix(".")
    if not file.is_file() or not (writer == "" or is_name(writer)):
        return False
    try:
        claim = Journal(folder, writer) if writer else None
    except PlatformError:
        return False  # its writer lives
    try:
        records = [
            record
            for record in readable_records(file)
            if isinstance(record, Replaces) or manifest.entries.get(record.name) == record
        ]
        copy = folder / ASIDE / f"{file.name}.{secrets.token_hex(4)}"
        make_folder(copy.parent)
        write_whole(copy, file.read_bytes())
        write_manifest(file, records)
    except OSError as error:
        raise storage_error(error, f"cannot repair {file}") from error
    finally:
        if claim is not None:
            claim.close(remove=True)
    return True
