"""How a program is asked to stop: by which signals, and what is done about them.

A handler only notes that a signal came, or raises once; the work is done where the program next
looks.  A second signal, and those that a shell sends to every process of a terminal, change
nothing.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (
    signal.SIGINT,  # Ctrl-C
    signal.SIGTERM,
    signal.SIGHUP,  # the terminal is gone
    signal.SIGPIPE,  # the reader of the output is gone
    signal.SIGUSR1,  # the walltime's end is near (sbatch --signal)
)


@contextmanager
def noted_signals(numbers: Sequence[signal.Signals] = STOP_SIGNALS) -> Iterator[list[int]]:
    """Note these signals instead of ending by them; the list holds those that came so far.

    Outside a process's main thread, which alone may handle signals, none is ever noted.
    """
    noted: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        noted.append(number)

    with _handled(numbers, note):
        yield noted


@contextmanager
def interrupted_by_signals(*, at_the_end: bool = False) -> Iterator[None]:
    """Let each stop signal raise KeyboardInterrupt, but only the first that comes.

    at_the_end   the process ends after this: a second signal must not have the last word, so
                 that none counts any more once one came
    """
    came: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        if len(came) == 1:
            raise KeyboardInterrupt

    with _handled(STOP_SIGNALS, interrupt):
        try:
            yield
        finally:
            if came and at_the_end:
                for number in STOP_SIGNALS:
                    signal.signal(number, signal.SIG_IGN)


@contextmanager
def _handled(numbers: Sequence[signal.Signals], handler: signal._HANDLER) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, former in before.items():
            if signal.getsignal(number) is handler:
                signal.signal(number, former)
