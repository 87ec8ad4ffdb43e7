"""Parsl: where the MPI programs of a campaign are started.

One Parsl task is one start of the MPI program over one block (this machine, an allocation, or a
pilot job): a bash_app on a HighThroughputExecutor with a single worker, which runs ``mpiexec`` or
``srun`` there.  Molecules are shared out inside the MPI program, not by Parsl: a Parsl task for
each would start Psi4 each time.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import socket
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

from parsl.app.app import bash_app
from parsl.config import Config
from parsl.dataflow.dflow import DataFlowKernel
from parsl.executors import HighThroughputExecutor
from parsl.executors.high_throughput.executor import DEFAULT_LAUNCH_CMD
from parsl.launchers import SimpleLauncher
from parsl.monitoring import MonitoringHub
from parsl.providers import LocalProvider, SlurmProvider
from parsl.providers.base import ExecutionProvider

from hpcml.cluster.launch import mpi_command, mpi_environment, shell_line
from hpcml.cluster.processes import tethered
from hpcml.cluster.run_folder import RunFolder
from hpcml.cluster.site import Site
from hpcml.errors import PlatformError, SettingsError
from hpcml.generation.protocol.task import TaskFolder

_LOOPBACK = "127.0.0.1"
_POOL = "process_worker_pool.py"


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


@contextmanager
def plain_folder(run_folder: RunFolder, site: Site) -> Iterator[Path]:
    """A folder for Parsl's own files, in RUN/logs, whose path a shell takes for one word.

    Parsl puts this path into its scripts without quoting it.  Where the run's own path has spaces
    or quotes, a link elsewhere on this host stands for it; pilot jobs could not follow it.
    """
    folder = run_folder.logs / "parsl"
    if _is_plain(folder) or site.kind == "slurm":
        check_path(folder)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="hpcml-") as temporary:
        check_path(Path(temporary))
        folder.mkdir(mode=0o700, exist_ok=True)
        link = Path(temporary) / "parsl"
        link.symlink_to(folder)
        yield link


class Blocks:
    """The blocks of a site, as long as the context lasts; ``start`` runs a task on one."""

    def __init__(self, site: Site, run_folder: RunFolder) -> None:
        self.site = site
        self.run_folder = run_folder
        self._open = ExitStack()

    def __enter__(self) -> Blocks:
        with ExitStack() as stack:
            folder = stack.enter_context(plain_folder(self.run_folder, self.site))
            kernel = DataFlowKernel(_configuration(self.site, self.run_folder, folder))
            stack.callback(kernel.cleanup)
            self._app = bash_app(_mpi_program, data_flow_kernel=kernel)
            self._open = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def start(self, task: TaskFolder, calculator: str, site: Site) -> Future[int]:
        """Start the MPI program of a task on the next free block; what it prints: task.output.

        site   as this program sees it: its ranks, threads and memory
        """
        arguments = [str(task.path), "--calculator", calculator]
        command = mpi_command(
            site.ranks, "hpcml.generation.ranks.generate_program", arguments, site
        )
        line = shell_line(tethered(command), mpi_environment(site))
        future: Future[int] = self._app(line, stdout=str(task.output), stderr=str(task.output))
        return future


def _configuration(site: Site, run_folder: RunFolder, folder: Path) -> Config:
    # A machine's own blocks talk over the loopback interface and nothing else; pilot jobs need
    # one address of this host, and reach no other.  The traffic is encrypted in both cases.
    remote = site.kind == "slurm"
    pool = f"{shlex.quote(sys.executable)} -m parsl.executors.high_throughput.process_worker_pool"
    executor = HighThroughputExecutor(
        label="blocks",
        provider=_provider(site),
        address=_address(site) if remote else _LOOPBACK,
        loopback_address=_LOOPBACK,
        encrypted=True,
        max_workers_per_node=1,
        heartbeat_period=5,
        heartbeat_threshold=30,
        # A block near its end takes no further program.
        drain_period=int(site.seconds - 2 * site.margin) if remote else None,
        interchange_launch_cmd=tethered(
            [sys.executable, "-m", "parsl.executors.high_throughput.interchange"]
        ),
        launch_cmd=DEFAULT_LAUNCH_CMD.replace(_POOL, pool),
    )
    return Config(
        executors=[executor],
        run_dir=str(folder),
        strategy="simple" if remote else "none",
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


def _provider(site: Site) -> ExecutionProvider:
    if site.kind != "slurm":
        return LocalProvider(
            init_blocks=1, min_blocks=1, max_blocks=1, launcher=SimpleLauncher(debug=False)
        )
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
