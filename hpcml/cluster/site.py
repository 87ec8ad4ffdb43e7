"""Where a campaign runs: a machine, a cluster seen from its login node, or an allocation."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from typing import Literal

import msgspec

from hpcml.cluster.deadline import seconds
from hpcml.errors import SettingsError

LEAST_MEMORY_MB = 500
"""Of a rank, its keeper and its Psi4 process together."""


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
    margin          seconds before the walltime's end by which every calculation that is begun
                    must be expected to end; what takes longer is dropped at half of it
    partition, account, qos, constraint   as sbatch knows them; empty: the cluster's default
    gpus_per_node   for training and explaining; Psi4 uses none
    gpus_for_all    every job asks for them: some partitions take no job that does not
    hint            sbatch --hint; empty: none
    exclusive       jobs take their nodes whole; false: only the cores and memory that they ask for
    requeue         a job whose time is over puts itself into the queue again
    array           where requeueing is not allowed: so many jobs, one after another, each going on
                    where the one before it was stopped; 0: none
    sbatch_options  further options, each a whole word, e.g. "--licenses=scratch"
    modules         loaded by ``module load`` at the start of a job
    setup           shell lines that follow, e.g. "source $HOME/hpcml/bin/activate"
    mpi_options     further words for srun or mpiexec
    address         host name or address under which pilot jobs reach the login node;
                    empty: its host name
    scratch         for Psi4's files; empty: $TMPDIR, else /tmp
    pin             give each rank's calculations cores of their own; unset: in a job, but not on
                    this machine (local), where another program's ranks may have the same cores
    tries           calculations of one molecule before it counts as failed
    hang_seconds    after which a calculation counts as hung, as long as too little is known
                    to expect less
    molecules_per_process   after so many, a Psi4 process is replaced by a fresh one, but where they
                    are short not before its start has paid a hundred times, or half its memory is
                    taken
    rows_per_shard  of the data set
    large_functions   molecules with at least so many basis functions are large; 0: none is
    large_ranks     so many ranks compute a large molecule together, each with a share of its
                    response vectors
    large_threads   so many threads each of them has then, in a program of its own whose fewer
                    ranks have the memory of those whose cores they take; 0: ``threads``, in the
                    program of the small ones, which fill the time in which ranks would idle
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
    gpus_for_all: bool = False
    hint: str = "nomultithread"
    exclusive: bool = True
    requeue: bool = True
    array: int = 0
    sbatch_options: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    mpi_options: tuple[str, ...] = ()
    address: str = ""
    scratch: str = ""
    pin: bool | None = None
    tries: int = 4
    hang_seconds: float = 14400.0
    molecules_per_process: int = 500
    rows_per_shard: int = 512
    large_functions: int = 0
    large_ranks: int = 1
    large_threads: int = 0
    monitoring: bool = False

    def __post_init__(self) -> None:
        for name in ("nodes", "blocks", "threads", "tries", "molecules_per_process",
                     "rows_per_shard", "large_ranks"):  # fmt: skip
            if getattr(self, name) < 1:
                raise SettingsError(f"site: {name} must be at least 1")
        for name in ("ranks_per_node", "gpus_per_node", "margin", "array", "large_functions",
                     "large_threads"):  # fmt: skip
            if getattr(self, name) < 0:
                raise SettingsError(f"site: {name} must not be negative")
        if self.memory_mb < LEAST_MEMORY_MB:
            raise SettingsError(
                f"site: memory_mb must be at least {LEAST_MEMORY_MB}: Psi4 alone takes 300"
            )
        if self.large_functions and self.large_ranks == 1 and not self.large_threads:
            raise SettingsError("site: large_functions needs large_ranks or large_threads as well")
        if self.hang_seconds <= 0:
            raise SettingsError("site: hang_seconds must be positive")
        self._check_lines()
        self._check_cluster()

    def _check_lines(self) -> None:
        """Nothing may smuggle a second line into a script."""
        words = [self.partition, self.account, self.qos, self.constraint, self.hint, self.address]
        for line in [*words, *self.sbatch_options, *self.modules, *self.setup, *self.mpi_options]:
            if any(character in line for character in "\n\r\0"):
                raise SettingsError(f"site: {line!r} must be one line")

    def _check_cluster(self) -> None:
        if self.kind != "local" and self.ranks_per_node == 0:
            raise SettingsError("site: ranks_per_node must be given for a cluster")
        if self.kind == "slurm" and not self.walltime:
            raise SettingsError("site: walltime must be given for a cluster's jobs")
        if self.walltime and seconds(self.walltime) <= self.margin:
            raise SettingsError(
                f"site: walltime = {self.walltime} leaves nothing beside margin = {self.margin:g} s"
            )
        if self.kind == "slurm" and seconds(self.walltime) <= 2 * self.margin:
            raise SettingsError(
                f"site: walltime = {self.walltime} must be longer than twice "
                f"margin = {self.margin:g} s, or jobs end before they have computed anything"
            )

    def here(self, environment: Mapping[str, str]) -> Site:
        """This site as seen from this process: inside a job, a cluster is the job's nodes."""
        if self.kind != "slurm" or "SLURM_JOB_ID" not in environment:
            return self
        nodes = int(environment.get("SLURM_JOB_NUM_NODES", self.nodes))
        return msgspec.structs.replace(self, kind="allocation", nodes=nodes, blocks=1)

    def with_shape(self, *, ranks_per_node: int, threads: int, memory_mb: int) -> Site:
        """The same site with other ranks."""
        return msgspec.structs.replace(
            self, ranks_per_node=ranks_per_node, threads=threads, memory_mb=memory_mb
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
    def pins(self) -> bool:
        return self.kind != "local" if self.pin is None else self.pin

    @property
    def scratch_folder(self) -> str:
        return self.scratch or tempfile.gettempdir()
