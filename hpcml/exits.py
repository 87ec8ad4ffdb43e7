"""How programs of hpcml end: their exit codes, and the line that tells a launcher why.

An MPI program writes into its log what went wrong as one line, ``complaint``; the launcher, which
sees the exit code and the log, finds it there again by ``complaint_in``.
"""

from __future__ import annotations

from collections.abc import Sequence

from hpcml.errors import InputError, SettingsError

DONE = 0
"""All is done."""
FAILED = 1
"""Something failed, and each failure is named."""
WRONG = 2
"""Usage, settings or input are wrong: the same again would end the same way."""
WORK_LEFT = 85
"""Stopped in time with work left: the same command goes on from here."""

_MARK = "hpcml "


def exit_code(error: Exception) -> int:
    """The code by which a program ends that this error has ended."""
    return WRONG if isinstance(error, SettingsError | InputError) else FAILED


def complaint(stage: str, rank: int, error: Exception) -> str:
    """The line of a program's rank that ends by an error: ``hpcml train: rank 0: words``."""
    return f"{_MARK}{stage}: rank {rank}: {error}"


def complaint_in(lines: Sequence[str]) -> str:
    """The last complaint in a log, without its mark; "" where there is none."""
    complaints = [line for line in lines if line.startswith(_MARK)]
    return complaints[-1].removeprefix(_MARK) if complaints else ""
