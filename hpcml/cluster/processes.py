"""Processes that die with the process that started them.

    python -m hpcml.cluster.processes COMMAND ARGUMENT...

becomes COMMAND in a session of its own, which no terminal's Ctrl-C reaches, and is sent SIGTERM by
the kernel as soon as its parent is gone, however the parent ended: a launcher killed with SIGKILL
leaves nothing behind that computes on.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent(number: signal.Signals = signal.SIGKILL) -> None:
    """Ask Linux to send this process ``number`` when its parent ends (prctl(2)).

    Elsewhere nothing is asked: there the closed pipe is what ends a worker.
    """
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it ended between the two calls
        os.kill(os.getpid(), number)


def tethered(command: list[str]) -> list[str]:
    """``command`` prefixed so that it dies with its parent, and not with its parent's terminal."""
    return [sys.executable, "-m", "hpcml.cluster.processes", *command]


def process_start(process: int) -> int:
    """When a process of this host began, in clock ticks since boot; -1 if there is none.

    With the process id it names a process for good: ids are used again, starts are not.
    """
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return -1
    fields = stat.rpartition(")")[2].split()
    return -1 if fields[0] == "Z" else int(fields[19])


if __name__ == "__main__":
    if os.getsid(0) != os.getpid():
        with contextlib.suppress(PermissionError):  # the leader of a group of its own already
            os.setsid()
    die_with_parent(signal.SIGTERM)
    os.execvp(sys.argv[1], sys.argv[1:])
