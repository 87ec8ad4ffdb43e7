"""Starting MPI programs: the command, its environment, and a run of it beside this process."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from hpcml.cluster.processes import tethered
from hpcml.cluster.site import Site
from hpcml.cluster.stopping import noted_signals
from hpcml.errors import PlatformError, SettingsError
from hpcml.exits import DONE, WORK_LEFT, WRONG, complaint_in

_SECONDS_BETWEEN_LOOKS = 0.2
_SECONDS_TO_STOP = 60.0  # for a program that was asked to, before it is ended
_SECONDS_TO_END = 5.0
_ENDED = frozenset(
    code
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1)
    for code in (128 + number, -number)
)
"""Codes of mpiexec and srun whose ranks a signal ended: srun ends the others itself, and before a
rank has begun to listen, the signal that asks it to stop ends it."""


def mpi_command(ranks: int, module: str, arguments: Sequence[str], site: Site) -> list[str]:
    """Words that start ``python -m module arguments`` on so many ranks at this site."""
    program = [sys.executable, "-m", module, *arguments]
    if site.launcher == "srun":
        nodes = min(site.nodes, ranks)
        return [
            "srun",
            f"--nodes={nodes}",
            f"--ntasks={ranks}",
            f"--ntasks-per-node={-(-ranks // nodes)}",
            f"--cpus-per-task={site.threads}",
            "--kill-on-bad-exit=1",
            *site.mpi_options,
            *program,
        ]
    return ["mpiexec", "-n", str(ranks), *site.mpi_options, *program]


def mpi_environment(site: Site) -> dict[str, str]:
    """Variables to add for an MPI program.

    Open MPI is told by variables what it would otherwise need its own words for, so that the
    same command serves MPICH and its kin, which do not read them: more ranks than cores may be
    started (a test machine), ranks are not bound (each rank pins its own calculations), and
    root may start them (containers).  The last is set for root alone.
    """
    threads = str(site.threads)
    environment = {
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "HDF5_USE_FILE_LOCKING": "FALSE",
        "PYTHONUNBUFFERED": "1",
    }
    if site.launcher == "srun":
        environment["SRUN_CPUS_PER_TASK"] = threads
    else:
        environment |= {
            "OMPI_MCA_rmaps_base_oversubscribe": "1",
            "OMPI_MCA_hwloc_base_binding_policy": "none",
            "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
            "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
            "PRTE_MCA_hwloc_default_binding_policy": "none",
        }
    if site.kind == "local" and site.launcher == "mpiexec":  # nobody from outside may connect
        for part in (
            "OMPI_MCA_oob_tcp",
            "OMPI_MCA_btl_tcp",
            "PMIX_MCA_ptl_tcp",
            "PRTE_MCA_oob_tcp",
        ):
            environment[f"{part}_if_include"] = "lo"
    if os.geteuid() == 0:
        environment |= {
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            "PRTE_ALLOW_RUN_AS_ROOT": "1",
            "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        }
    return environment


def shell_line(command: Sequence[str], environment: dict[str, str]) -> str:
    """One line for a shell: the variables, then the command in the shell's own place."""
    variables = [f"{name}={shlex.quote(value)}" for name, value in sorted(environment.items())]
    return shlex.join(["exec", "env"]) + " " + " ".join(variables) + " " + shlex.join(command)


def run_mpi(
    ranks: int,
    module: str,
    arguments: Sequence[str],
    site: Site,
    log: Path,
    *,
    watch: Callable[[], None] | None = None,
) -> bool:
    """Run an MPI program to its end; what it prints goes to ``log``.

    watch   called about five times a second while it runs, e.g. to show progress

    A signal that asks this process to stop (``STOP_SIGNALS``) is passed on to the program, which
    has a session of its own, as one SIGUSR1; a program that does not heed it is ended.  False if
    it stopped in time with work left: by exit code 85, or, when it was asked to, by a signal.
    Raises SettingsError if it says so (exit code 2),
    PlatformError if it fails otherwise, with the telling line of the log.  It dies with this
    process.
    """
    command = mpi_command(ranks, module, arguments, site)
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with log.open("ab") as output:
        start = output.tell()
        try:
            process = subprocess.Popen(
                tethered(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a terminal's Ctrl-C is for this process to pass on
                env={**os.environ, **mpi_environment(site)},
            )
        except OSError as error:
            raise PlatformError(f"cannot start {command[0]}: {error.strerror}") from error
        try:
            with noted_signals() as asked:
                while process.poll() is None and not asked:
                    if watch is not None:
                        watch()
                    time.sleep(_SECONDS_BETWEEN_LOOKS)
                if asked:
                    _stop(process)
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if process.returncode == DONE:
        return True
    if process.returncode == WORK_LEFT or (asked and process.returncode in _ENDED):
        return False
    if process.returncode == WRONG:
        # the program's own line: below it mpiexec goes on about exit codes
        raise SettingsError(complaint_in(_last_lines(log, start)) or last_line(log, start))
    words = complaint_in(_last_lines(log, start)) or last_line(log, start)
    raise PlatformError(f"{module} ended with status {process.returncode}: {words} (see {log})")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a program to stop, end it if it does not, and wait until it has ended."""
    asked_again = [(signal.SIGUSR1, 1.0)] * int(_SECONDS_TO_STOP)  # mpiexec loses early ones
    for number, patience in (
        *asked_again,
        (signal.SIGTERM, _SECONDS_TO_END),
        (signal.SIGKILL, None),  # mpiexec's ranks end with it
    ):
        process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            return


def last_line(log: Path, start: int = 0) -> str:
    """The last line in a log that says something about an error, or the last at all."""
    lines = _last_lines(log, start)
    telling = [line for line in lines if "Error" in line or "error:" in line]
    return (telling or lines or [""])[-1]


def _last_lines(log: Path, start: int) -> list[str]:
    """The lines with any words near a log's end, not before byte ``start``."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(start, log.stat().st_size - 20000))
            lines = [s.strip() for s in stream.read().decode(errors="replace").splitlines()]
    except OSError:
        return []
    return [line for line in lines if any(c.isalnum() for c in line)]
