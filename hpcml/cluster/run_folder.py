"""A run's folder: the one place that knows where anything of a run lies."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hpcml.errors import PlatformError, SettingsError
from hpcml.files import lock, storage_error

_held: set[Path] = set()  # folders whose lock this process holds


class RunFolder:
    """Paths of a run, and the lock that lets one process work in it at a time.

    RUN/campaign.toml  settings as resolved        RUN/model/       checkpoints, metrics
    RUN/dataset/       shards and manifest         RUN/relevance/   shards, row for row
    RUN/failures.jsonl one line a failed molecule  RUN/analysis/    tables and figures
    RUN/logs/          what programs print         RUN/report/      index.html
    RUN/transfer/      relevances of other data sets, each in a folder of its name
    RUN/vectors/       what the network makes of atoms and molecules, row for row
    RUN/work/          locks and the tasks of MPI programs; needed only while they run
    """

    def __init__(self, path: Path | str) -> None:
        if any(character in str(path) for character in "\n\r\0"):
            raise SettingsError(f"the run's folder {str(path)!r} must be one line: rename it")
        self.path = Path(path).absolute()
        self.campaign_toml = self.path / "campaign.toml"
        self.dataset = self.path / "dataset"
        self.failures = self.path / "failures.jsonl"
        self.model = self.path / "model"
        self.relevance = self.path / "relevance"
        self.vectors = self.path / "vectors"
        self.analysis = self.path / "analysis"
        self.transfer = self.path / "transfer"
        self.report = self.path / "report"
        self.logs = self.path / "logs"
        self.work = self.path / "work"

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def report_page(self) -> Path:
        return self.report / "index.html"

    @property
    def plan(self) -> Path:
        """What the last start of ``generate`` found to do (for ``hpcml status``)."""
        return self.work / "plan.json"

    @property
    def jobs(self) -> Path:
        """SLURM's numbers of the jobs that ``hpcml submit`` handed in, by stage."""
        return self.work / "jobs.json"

    @property
    def heartbeat(self) -> Path:
        """Touched by the launcher as long as it lives."""
        return self.work / "heartbeat"

    @property
    def stop_file(self) -> Path:
        """Holds the epoch second by which running MPI programs are to end."""
        return self.work / "stop"

    @property
    def cut_off(self) -> Path:
        """How often a walltime's end cut molecules off, by key."""
        return self.work / "cut_off.json"

    @property
    def ranks_lock(self) -> Path:
        """Locked, shared, by every rank that lives."""
        return self.work / "ranks.lock"

    def create(self) -> RunFolder:
        """Create the folder and those that every run has, readable by their owner alone."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            for folder in (self.path, self.dataset, self.logs, self.work):
                folder.mkdir(mode=0o700, exist_ok=True)
            self.ranks_lock.touch(mode=0o600)
        except OSError as error:
            raise PlatformError(
                f"cannot create the run's folder {self.path}: {error.strerror}"
            ) from error
        return self

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only process that works in this folder; PlatformError if another does.

        The lock belongs to the open file and ends with the process, so that one killed at any
        moment leaves no stale lock.  May be taken again inside itself.
        """
        real = self.path.resolve()
        if real in _held:
            yield
            return
        self.create()
        path = self.work / "lock"
        try:
            opened = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise storage_error(error, f"cannot open {path}") from error
        with opened as file:
            if not lock(file.fileno(), path):
                file.seek(0)
                holder = file.read().strip() or "another process"
                raise PlatformError(
                    f"{self.path} is in use by {holder}: let it end, or give --run another folder"
                )
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
            _held.add(real)
            try:
                yield
            finally:
                _held.discard(real)
                file.truncate(0)
