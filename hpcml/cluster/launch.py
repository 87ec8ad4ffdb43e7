"""Starting MPI programs: the command, its environment, and a run of it beside this process."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from hpcml.cluster.processes import tethered
from hpcml.cluster.site import Site
from hpcml.cluster.stop_signals import StopSignals
from hpcml.errors import PlatformError, SettingsError
from hpcml.exits import DONE, WORK_LEFT, WRONG, complaint_in

_SECONDS_BETWEEN_LOOKS = 0.2
_SECONDS_TO_STOP = 30.0
_SECONDS_TO_END = 10.0
# How mpiexec or srun ends that was ended, or that had to end a rank: by a signal or as a shell says
_ENDED_BY_SIGNAL = tuple(
    status
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1)
    for status in (128 + number, -number)
)


_INTERFACES = (
    "OMPI_MCA_oob_tcp_if_include",
    "PMIX_MCA_ptl_tcp_if_include",
    "PRTE_MCA_prte_if_include",
    "HYDRA_IFACE",  # MPICH
)
"""Variables by which MPI launchers and libraries are told on which network to listen."""


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
        if site.kind == "local":  # nobody else's business: nothing listens beyond this machine
            environment |= dict.fromkeys(_INTERFACES, "lo")
            environment["OMPI_MCA_btl"] = "self,vader"  # shared memory: its TCP listens everywhere
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

    The first stop signal (``stop_signals``) is passed on to the program as SIGUSR1; what has not
    ended half a minute later is ended.  False if it stopped in time with work left: by exit code
    85, or, when it was asked to, by srun, which ends the other ranks as soon as the first one has
    left with 85.  Raises SettingsError if it says so (exit code 2), PlatformError if it fails
    otherwise, with the telling line of the log.  It dies with this process.
    """
    command = mpi_command(ranks, module, arguments, site)
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with log.open("ab") as output, StopSignals() as stop:
        start = output.tell()
        process = start_program(command, mpi_environment(site), output)
        passed = 0.0  # when the word to stop was passed on
        ended = False  # by us, as it did not heed the word
        try:
            while process.poll() is None:
                if stop.asked:
                    # again and again: before its ranks have begun, mpiexec loses the word
                    process.send_signal(signal.SIGUSR1)
                    passed = passed or time.monotonic()
                if passed and time.monotonic() - passed > _SECONDS_TO_STOP:
                    process.terminate()
                    ended = True
                if watch is not None:
                    watch()
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        except BaseException:
            end_program(process)
            raise
    if process.returncode == DONE:
        return True
    by_signal = process.returncode in _ENDED_BY_SIGNAL
    if process.returncode == WORK_LEFT or ended or (passed and by_signal):
        return False
    if process.returncode == WRONG:
        # the program's own line: below it mpiexec goes on about exit codes
        raise SettingsError(complaint_in(_last_lines(log, start)) or last_line(log, start))
    words = complaint_in(_last_lines(log, start)) or last_line(log, start)
    raise PlatformError(f"{module} ended with status {process.returncode}: {words} (see {log})")


def start_program(
    command: Sequence[str], environment: dict[str, str], output: BinaryIO
) -> subprocess.Popen[bytes]:
    """Start an MPI program that dies with this process, but not with this process's terminal.

    Raises PlatformError if its launcher (mpiexec, srun) is not there.
    """
    if shutil.which(command[0]) is None:
        raise PlatformError(f"cannot start {command[0]}: it is not on the PATH")
    try:
        return subprocess.Popen(
            tethered(list(command)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    except OSError as error:
        raise PlatformError(f"cannot start {command[0]}: {error.strerror}") from error


def end_program(process: subprocess.Popen[bytes]) -> None:
    """End it now, whatever it does: mpiexec and srun end their ranks when they are ended."""
    process.terminate()
    try:
        process.wait(timeout=_SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


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
