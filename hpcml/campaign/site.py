"""Where a campaign runs: a machine, a cluster seen from its login node, or an allocation."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

import msgspec

from hpcml.campaign.deadline import seconds
from hpcml.errors import SettingsError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class Site(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that differs from one machine to the next; one small TOML file.

    kind            local: this machine.  slurm: from a login node, pilot jobs are submitted.
                    allocation: inside a job, over all its nodes
    launcher        what starts MPI programs
    nodes           of one pilot job (slurm), or of an allocation that hpcml submits
    blocks          pilot jobs at a time
    ranks_per_node  0: as many as the machine's cores allow (local)
    threads         cores of one rank's calculations
    memory_mb       of one rank; a calculation that holds more is ended
    walltime        of a job, hh:mm:ss; empty: no end (local)
    margin          seconds before the walltime's end in which no calculation runs any more
    partition ...   as sbatch knows them; empty: the cluster's default
    sbatch_options  further options, each a whole word, e.g. "--licenses=scratch"
    modules         loaded by ``module load`` at the start of a job
    setup           shell lines that follow, e.g. "source $HOME/hpcml/bin/activate"
    mpi_options     further words for srun or mpiexec
    address         host name or address under which pilot jobs reach the login node;
                    empty: its host name
    scratch         for Psi4's files; empty: $TMPDIR, else /tmp
    pin             give each rank's calculations cores of their own
    tries           calculations of one molecule before it counts as failed
    hang_seconds    after which a calculation counts as hung, as long as too little is known
                    to expect less
    molecules_per_process   after so many, a Psi4 process is replaced by a fresh one
    rows_per_shard  of the data set
    monitoring      keep Parsl's monitoring database in RUN/logs
    """

    kind: Literal["local", "slurm", "allocation"] = "local"
    launcher: Literal["mpiexec", "srun"] = "mpiexec"
    nodes: int = 1
    blocks: int = 1
    ranks_per_node: int = 0
    threads: int = 1
    memory_mb: int = 2000
    walltime: str = ""
    margin: float = 120.0
    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    gpus_per_node: int = 0
    exclusive: bool = True
    sbatch_options: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    mpi_options: tuple[str, ...] = ()
    address: str = ""
    scratch: str = ""
    pin: bool = True
    tries: int = 4
    hang_seconds: float = 14400.0
    molecules_per_process: int = 500
    rows_per_shard: int = 512
    monitoring: bool = False

    def __post_init__(self) -> None:
        for name in ("nodes", "blocks", "threads", "tries", "molecules_per_process",
                     "rows_per_shard"):  # fmt: skip
            if getattr(self, name) < 1:
                raise SettingsError(f"site: {name} must be at least 1")
        if self.ranks_per_node < 0 or self.gpus_per_node < 0 or self.margin < 0:
            raise SettingsError(
                "site: ranks_per_node, gpus_per_node and margin must not be negative"
            )
        if self.memory_mb < 500:
            raise SettingsError("site: memory_mb must be at least 500: Psi4 alone takes 300")
        if self.hang_seconds <= 0:
            raise SettingsError("site: hang_seconds must be positive")
        for name in ("partition", "account", "qos", "constraint", "address"):
            if any(c in getattr(self, name) for c in "\n\r\0"):
                raise SettingsError(f"site: {name} must be one line")
        for name in ("sbatch_options", "modules", "setup"):
            if any(c in line for line in getattr(self, name) for c in "\n\r\0"):
                raise SettingsError(f"site: each of {name} must be one line")
        if self.kind != "local" and self.ranks_per_node == 0:
            raise SettingsError("site: ranks_per_node must be given for a cluster")
        if self.kind == "slurm" and not self.walltime:
            raise SettingsError("site: walltime must be given for pilot jobs")
        if self.walltime and seconds(self.walltime) <= self.margin:
            raise SettingsError(
                f"site: walltime = {self.walltime} leaves nothing beside margin = {self.margin:g} s"
            )

    @property
    def ranks(self) -> int:
        """Ranks of one MPI program."""
        if self.ranks_per_node:
            return self.nodes * self.ranks_per_node
        return max(1, len(os.sched_getaffinity(0)) // self.threads)

    @property
    def seconds(self) -> float:
        """The walltime in seconds; infinite where there is none."""
        return seconds(self.walltime) if self.walltime else float("inf")

    @property
    def scratch_folder(self) -> str:
        return self.scratch or tempfile.gettempdir()


def read_site(path: Path | str) -> Site:
    """The site of a TOML file.

    Raises SettingsError, one line with the file and the key, for a file that is not there, is
    no TOML, or has a key or a value that a site does not have.
    """
    try:
        with Path(path).open("rb") as stream:
            document: dict[str, Any] = tomllib.load(stream)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not TOML: {error}") from error
    try:
        return msgspec.convert(document, Site)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{path}: {error}") from error
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error
