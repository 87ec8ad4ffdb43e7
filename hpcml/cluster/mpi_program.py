"""The other end of ``launch``: what every rank of an MPI program does to its own process.

A program's ``main`` calls ``stop_asked`` and looks at it between steps, and is run by ``end_by``,
which ends the process by an exit code of ``hpcml.exits`` and, for an error, by the one line that
``launch.run_mpi`` looks for in the log.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hpcml.cluster.stop_signals import STOP_SIGNALS
from hpcml.errors import HpcmlError, SettingsError
from hpcml.exits import complaint, exit_code

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_MOST_WITHOUT_MMAP = 32 * 2**20  # bytes; glibc takes no more


def keep_freed_memory() -> None:
    """From now on what is freed stays with the process, as the next step needs as much again.

    glibc would hand large blocks back to the system, and take them anew as pages to be zeroed:
    a fifth to a third of the time of a step on a CPU.  Other C libraries are left as they are.
    """
    with suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _MOST_WITHOUT_MMAP)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def stop_asked() -> Callable[[], bool]:
    """From now on stop signals are only noted; the function tells whether one came."""
    asked: list[int] = []
    for number in STOP_SIGNALS:
        signal.signal(number, lambda number, _: asked.append(number))
    return lambda: bool(asked)


def settings_text(path: Path) -> bytes:
    """The bytes of a settings file; SettingsError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error


def end_by(stage: str, main: Callable[[], int]) -> None:
    """Run ``main``, and end the process by its exit code, or by one clear line.

    An error leaves by os._exit: a rank that tidied up would wait for the others, and they for
    it.  The launcher sees the exit code and ends them.
    """
    keep_freed_memory()
    try:
        code = main()
    except Exception as error:
        rank = _rank()
        if not isinstance(error, HpcmlError):
            traceback.print_exc()
        # What rank 0 meets, all meet: it speaks for them.  What another rank meets alone comes
        # a moment later, and rank 0 is by then waiting for it.
        if rank:
            time.sleep(1.0)
        print(complaint(stage, rank, error), file=sys.stderr, flush=True)
        os._exit(exit_code(error))
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(code)


def _rank() -> int:
    """This rank as the launcher counts, known before and after any world."""
    names = ("HOROVOD_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID", "RANK")
    return next((int(os.environ[name]) for name in names if name in os.environ), 0)
