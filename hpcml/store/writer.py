"""Writing rows as they are computed: journal first, shards when there are enough."""

from __future__ import annotations

import secrets
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from hpcml.errors import HpcmlError, InputError, PlatformError
from hpcml.store import shards
from hpcml.store.journal import FOLDER as JOURNALS
from hpcml.store.journal import SUFFIX, Journal
from hpcml.store.lines import is_name, manifest_file
from hpcml.store.manifest import finished_shards
from hpcml.store.rows import Row, check_row, pack
from hpcml.store.schema import Schema

_MOST_BYTES = 1 << 26  # of a journal: large molecules make shards of fewer rows


class ShardWriter:
    """Writes rows into a data set, one writer a process.

    Once ``append`` has returned, the row outlives a kill of the process and of the machine.
    Rows become visible to readers in shards of ``rows_per_shard``, and the rest at ``close``.
    A writer that was killed is recovered by the next one of the same name, or by ``recover``.

        with ShardWriter(folder, schema, "host-rank0") as writer:
            writer.append(row)  # or several: one wait for the disk
    """

    def __init__(
        self, folder: Path | str, schema: Schema, writer: str, *, rows_per_shard: int = 512
    ) -> None:
        """PlatformError if another process writes under this name."""
        if not is_name(writer):
            raise InputError(f"{writer!r} cannot name a writer: use letters, digits, _.+@-")
        self.folder = Path(folder)
        self.schema = schema
        self.writer = writer
        self.rows_per_shard = rows_per_shard
        self._rows: list[Row] = []
        self._shard = ""
        self._journal = Journal(self.folder, writer)
        _write_pending(self.folder, self._journal, writer)
        self._begin()

    def append(self, *rows: Row) -> None:
        """Commit a row, or several at the price of one.

        Raises ResourceError or PlatformError if the disk does not take it: then the row is not
        committed, the data set is as before, and the same row can be appended again.  Of several,
        those that a shard had room for may be committed.
        """
        for row in rows:
            check_row(row, self.schema)
        while rows:
            room = self.rows_per_shard - len(self._rows)
            if room <= 0 or self._journal.bytes > _MOST_BYTES:
                self.flush()
                continue
            self._journal.append(*rows[:room])
            self._rows.extend(rows[:room])
            rows = rows[room:]

    def flush(self) -> None:
        """Write the rows of the journal as a shard.

        If that raises (disk full), the rows are still in the journal: flush again.
        """
        if self._rows:
            _write_shard(self.folder, self._shard, self.schema, self._rows, self.writer)
            self._rows = []
            self._begin()

    def close(self) -> None:
        """Write the last shard and remove the journal."""
        try:
            self.flush()
        finally:
            self._journal.close(remove=not self._rows)

    def _begin(self) -> None:
        self._shard = f"{self.writer}-{secrets.token_hex(6)}"
        self._journal.begin(self._shard, self.schema)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@dataclass
class Recovered:
    """What ``recover`` found: rows brought home, and the writers that still live."""

    rows: int = 0
    alive: list[str] = field(default_factory=list)


def recover(folder: Path | str) -> Recovered:
    """Bring the rows of killed writers into shards and remove their journals.

    Safe to call at any time and from any process: a writer that lives is left alone, as its lock
    shows.  On a file system without locks, call it only when no writer is at work.

    Raises InputError for a journal that cannot be read, after all others have been brought home.
    """
    folder = Path(folder)
    found = Recovered()
    compacted: set[str] | None = None
    refused: HpcmlError | None = None
    for path in sorted((folder / JOURNALS).glob(f"*{SUFFIX}")):
        writer = path.name.removesuffix(SUFFIX)
        try:
            journal = Journal(folder, writer)
        except PlatformError:
            found.alive.append(writer)
            continue
        try:
            if compacted is None:
                compacted = finished_shards(manifest_file(folder))
            found.rows += _write_pending(folder, journal, writer, compacted)
        except InputError as error:  # one journal or manifest that is not what it should be
            refused = refused or error
            journal.close(remove=False)
        except BaseException:
            journal.close(remove=False)
            raise
        else:
            journal.close(remove=True)
    if refused is not None:
        raise refused
    return found


def _write_pending(
    folder: Path, journal: Journal, writer: str, compacted: Container[str] | None = None
) -> int:
    """Write what a journal holds, unless its shard was finished: rows written.

    A shard is finished if the writer's own manifest names it or, after a compaction, the folder's
    (``compacted``).  Nobody else's does, so that a thousand journals need not read a thousand
    manifests each.
    """
    pending = journal.pending()
    if pending is None or not pending.rows:
        return 0
    if compacted is None:
        compacted = finished_shards(manifest_file(folder))
    if pending.shard in compacted or pending.shard in finished_shards(
        manifest_file(folder, writer)
    ):
        return 0
    for row in pending.rows:
        check_row(row, pending.schema)
    _write_shard(folder, pending.shard, pending.schema, pending.rows, writer)
    return len(pending.rows)


def _write_shard(folder: Path, name: str, schema: Schema, rows: list[Row], writer: str) -> None:
    shards.write(
        folder,
        name,
        pack(rows, schema),
        {"schema": schema.to_json()},
        units=schema.own_units,
        writer=writer,
    )
