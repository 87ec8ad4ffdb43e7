"""The signals that ask a command to end in order, whoever sends them and how often.

Ctrl-C (INT) and the end of a terminal (HUP) go to every process of the terminal's foreground
group, TERM comes from a person or from SLURM, USR1 from SLURM before a walltime's end, and PIPE
when nobody reads what is printed any more.  Each means: stop in order, with work left.

Programs that a command starts are in sessions of their own (``processes.tethered``), so that the
command alone hears of it and passes the word on, once.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE)


class StopSignals:
    """Notes stop signals, and does nothing else about them, as long as the context lasts.

    Outside the main thread, where signals cannot be caught, none is ever noted.
    """

    def __init__(self) -> None:
        self.received: list[int] = []
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in _to_be_caught():
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.received.append(number)
        drop_dead_streams()

    @property
    def asked(self) -> bool:
        """Whether a stop was asked for."""
        return bool(self.received)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let the first stop signal end what runs inside by KeyboardInterrupt; later ones do nothing.

    For work that keeps nothing half-done: files appear whole.  A StopSignals inside takes over.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(received: int, _frame: FrameType | None) -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        drop_dead_streams()
        raise KeyboardInterrupt(signal.Signals(received).name)

    before = {number: signal.signal(number, interrupt) for number in _to_be_caught()}
    try:
        yield
    except BrokenPipeError:
        drop_dead_streams()
        raise KeyboardInterrupt("SIGPIPE") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _to_be_caught() -> list[signal.Signals]:
    """The stop signals but those that whoever started us has switched off (nohup, a shell's &).

    PIPE is switched off by Python itself.
    """
    return [
        number
        for number in STOP_SIGNALS
        if number is signal.SIGPIPE or signal.getsignal(number) is not signal.SIG_IGN
    ]


def drop_dead_streams() -> None:
    """Point standard output and error to nowhere where nobody is there to read them any more."""
    for descriptor in (1, 2):
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)
