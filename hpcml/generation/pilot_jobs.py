"""Pilot jobs by Parsl: a campaign that runs on a cluster's login node.

One Parsl task is one start of the MPI program over one pilot job: a bash_app on a
HighThroughputExecutor with a single worker, which runs ``mpiexec`` or ``srun`` there.  Molecules
are shared out inside the MPI program, not by Parsl: a Parsl task for each would start Psi4 each
time.  Parsl's own processes may die; whoever looks at a program then is told so.
"""

from __future__ import annotations

import importlib.util
import logging
import re
import shlex
import socket
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType

from parsl.app.app import bash_app
from parsl.config import Config
from parsl.dataflow.dflow import DataFlowKernel
from parsl.executors import HighThroughputExecutor
from parsl.executors.high_throughput.executor import DEFAULT_LAUNCH_CMD
from parsl.launchers import SimpleLauncher
from parsl.monitoring import MonitoringHub
from parsl.providers import SlurmProvider

from hpcml.cluster.launch import mpi_environment, shell_line
from hpcml.cluster.processes import tethered
from hpcml.cluster.run_folder import RunFolder
from hpcml.cluster.site import Site
from hpcml.errors import PlatformError, SettingsError
from hpcml.generation.blocks import ProgramRun, task_command
from hpcml.generation.protocol.task import TaskFolder

_LOOPBACK = "127.0.0.1"
_POOL = "process_worker_pool.py"
_SECONDS_TO_CLEAN_UP = 60.0
_LONGEST_WORDS = 200


def _mpi_program(command: str, stdout: str = "", stderr: str = "") -> str:
    return command


def _is_plain(path: Path | str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_./+@=:,-]+", str(path)) is not None


def check_path(path: Path) -> None:
    """SettingsError for a folder that Parsl's shell commands would take apart."""
    if not _is_plain(path):
        raise SettingsError(
            f"{path}: seen from other hosts, a run's folder may have letters, digits and "
            "_ . + @ = : , - in its path, no spaces or quotes; choose another by --run"
        )


class _PilotRun:
    """A program on one of the pilot jobs: Parsl's future, unless Parsl itself has ended."""

    def __init__(self, pilots: PilotJobs, future: Future[int]) -> None:
        self.pilots = pilots
        self.future = future

    def ended(self) -> bool:
        return self.future.done() or self.pilots.ended or self.pilots.broken()

    def error(self) -> str:
        if not self.future.done():
            return (
                "Parsl's interchange, which talks to the pilot jobs, has ended"
                if self.pilots.broken()
                else "the pilot job was ended"
            )
        error = self.future.exception()
        if error is None:
            return ""
        # Parsl repeats its command line, which is long and helps nobody
        words = " ".join(str(error).split())
        return words if len(words) <= _LONGEST_WORDS else f"{words[:_LONGEST_WORDS]} ..."


class PilotJobs:
    """The pilot jobs of a site, as long as the context lasts; see ``blocks.Blocks``."""

    def __init__(self, site: Site, run_folder: RunFolder) -> None:
        self.site = site
        self.run_folder = run_folder
        self.ended = False

    def __enter__(self) -> PilotJobs:
        folder = self.run_folder.logs / "parsl"
        check_path(folder)
        logging.raiseExceptions = False  # a full disk is told once, not for each line of Parsl's
        configuration = _configuration(self.site, self.run_folder, folder)
        (executor,) = configuration.executors
        assert isinstance(executor, HighThroughputExecutor)
        self._executor = executor
        self._kernel = DataFlowKernel(configuration)
        self._app = bash_app(_mpi_program, data_flow_kernel=self._kernel)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # With its interchange dead, Parsl waits for answers that nobody gives.
        cleanup = threading.Thread(target=self._kernel.cleanup, daemon=True)
        jobs = self._job_numbers()
        cleanup.start()
        cleanup.join(_SECONDS_TO_CLEAN_UP)
        if cleanup.is_alive() and jobs:
            subprocess.run(["scancel", *jobs], check=False, timeout=60)

    def start(self, task: TaskFolder, calculator: str, site: Site) -> ProgramRun:
        command = tethered(task_command(task, calculator, site))
        line = shell_line(command, mpi_environment(site))
        return _PilotRun(self, self._app(line, stdout=str(task.output), stderr=str(task.output)))

    def end(self) -> None:
        self.ended = True
        if jobs := self._job_numbers():
            subprocess.run(["scancel", *jobs], check=False, timeout=60)

    def broken(self) -> bool:
        """Whether Parsl's own process, which its futures wait for, has ended."""
        interchange = self._executor.interchange_proc
        return interchange is not None and interchange.poll() is not None

    def _job_numbers(self) -> list[str]:
        return [str(number) for number in self._executor.blocks_to_job_id.values()]


def _configuration(site: Site, run_folder: RunFolder, folder: Path) -> Config:
    # Pilot jobs need one address of this host, and reach no other; the traffic is encrypted.
    pool = f"{shlex.quote(sys.executable)} -m parsl.executors.high_throughput.process_worker_pool"
    executor = HighThroughputExecutor(
        label="blocks",
        provider=_provider(site),
        address=_address(site),
        loopback_address=_LOOPBACK,
        encrypted=True,
        max_workers_per_node=1,
        heartbeat_period=5,
        heartbeat_threshold=30,
        # A block near its end takes no further program.
        drain_period=int(site.seconds - 2 * site.margin),
        interchange_launch_cmd=tethered(
            [sys.executable, "-m", "parsl.executors.high_throughput.interchange"]
        ),
        launch_cmd=DEFAULT_LAUNCH_CMD.replace(_POOL, pool),
    )
    return Config(
        executors=[executor],
        run_dir=str(folder),
        strategy="simple",
        strategy_period=0.25,  # blocks are asked for at this beat, the first one too
        max_idletime=30.0,
        # A task that failed is planned anew with what is missing then; Parsl must not repeat it.
        retries=0,
        usage_tracking=0,
        monitoring=_monitoring(run_folder) if site.monitoring else None,
    )


def _address(site: Site) -> str:
    """The address under which pilot jobs reach this host."""
    name = site.address or socket.gethostname()
    try:
        found = socket.gethostbyname(name)
    except OSError as error:
        raise SettingsError(f"site: address: {name} cannot be resolved ({error})") from None
    if not site.address and found.startswith("127."):
        raise SettingsError(
            f"site: this host's name, {name}, stands for {found}, which no other host can reach: "
            "give address, the login node's name or address in the nodes' network"
        )
    return found


def _monitoring(run_folder: RunFolder) -> MonitoringHub:
    """Parsl's own database of its tasks and blocks, for parsl-visualize."""
    if importlib.util.find_spec("sqlalchemy") is None:
        raise PlatformError(
            "site: monitoring = true needs Parsl's extra packages: pip install 'parsl[monitoring]'"
        )
    return MonitoringHub(
        logging_endpoint=f"sqlite:///{run_folder.logs}/monitoring.db",
        resource_monitoring_enabled=False,
    )


class _Slurm(SlurmProvider):
    """Parsl's provider, asking about its jobs often enough to replace one that was lost."""

    @property
    def status_polling_interval(self) -> int:
        return 20


def _provider(site: Site) -> SlurmProvider:
    # Memory and hint as in our own scripts. A pilot that lost a node is not requeued: Parsl
    # submits another, and what its ranks had in hand is planned again.
    memory = "0" if site.exclusive else f"{site.ranks_per_node * site.memory_mb}M"
    words = [f"--mem={memory}", "--no-requeue", *([f"--hint={site.hint}"] if site.hint else [])]
    options = "\n".join(f"#SBATCH {shlex.quote(word)}" for word in [*words, *site.sbatch_options])
    lines = [f"module load {shlex.quote(module)}" for module in site.modules]
    return _Slurm(
        partition=shlex.quote(site.partition) if site.partition else None,
        account=shlex.quote(site.account) if site.account else None,
        qos=shlex.quote(site.qos) if site.qos else None,
        constraint=shlex.quote(site.constraint) if site.constraint else None,
        nodes_per_block=site.nodes,
        cores_per_node=site.ranks_per_node * site.threads,
        init_blocks=0,
        min_blocks=0,
        max_blocks=site.blocks,
        walltime=_clock(site.seconds),
        scheduler_options=options,
        worker_init="\n".join([*lines, *site.setup]),
        exclusive=site.exclusive,
        launcher=SimpleLauncher(debug=False),
        cmd_timeout=60,
    )


def _clock(seconds: float) -> str:
    """Parsl reads hh:mm:ss only, SLURM knows more ways to write a time."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"
