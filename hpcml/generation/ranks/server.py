"""Rank 0's server: hears what ranks say, hands out work, and watches for the end.

It is part of rank 0's loop (``rank``), not a process: a rank's own calculation runs in another
process, so rank 0 can serve the others meanwhile.  ``desk`` knows what became of every molecule,
``dispatch`` who gets which.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hpcml.cluster.processes import process_start
from hpcml.errors import PlatformError
from hpcml.generation.protocol.messages import (
    Bye,
    Committed,
    Free,
    Leaving,
    Signalled,
    Stop,
    ToRank,
    ToServer,
    Work,
)
from hpcml.generation.protocol.task import Assignment, Task
from hpcml.generation.ranks.desk import Desk
from hpcml.generation.ranks.dispatch import Dispatcher

_SECONDS_BETWEEN_CHECKS = 1.0
_SECONDS_WITHOUT_HEARTBEAT = 180.0  # after which a launcher on another host counts as gone


class LauncherIsGoneError(PlatformError):
    """The launcher of this task has ended; its program ends with it."""


class Server:
    """Serves ``ranks`` ranks by ``send(message, *ranks)``."""

    def __init__(
        self, desk: Desk, ranks: int, send: Callable[..., None], lifeline: Lifeline
    ) -> None:
        self.desk = desk
        self.ranks = ranks
        self.send = send
        self.lifeline = lifeline
        self.dispatcher = Dispatcher(desk, ranks, desk.task.site.large_ranks)
        self.left: list[str] = []  # why ranks have left that were not told to stop
        self._checked = 0.0

    def hear(self, sender: int, message: ToServer) -> None:
        """Take note of what a rank says, and hand out what can be handed out now."""
        match message:
            case Free():
                self.desk.answered(sender)
                self.dispatcher.waiting.add(sender)
            case Committed(outcomes):
                for outcome in outcomes:
                    self.desk.committed(sender, outcome)
            case Signalled():
                self.desk.stop(time.time())
            case Bye():
                self.dispatcher.gone.add(sender)
            case Leaving(reason):
                self.desk.give_back(sender)
                self.dispatcher.leave(sender)
                self.left.append(reason)
        self._post(self.dispatcher.hand_out())

    def look_around(self) -> None:
        """Once a second: is the launcher there, is a stop asked for, is the time over."""
        now = time.monotonic()
        if now - self._checked < _SECONDS_BETWEEN_CHECKS:
            return
        self._checked = now
        if self.lifeline.broken():
            raise LauncherIsGoneError("the launcher of this task is gone: ending")
        self.desk.read_stop_file()
        if self.desk.over():
            self.desk.drop()
            self._post(self.dispatcher.stop(list(range(self.ranks))))
        self.desk.report()

    @property
    def everyone_is_gone(self) -> bool:
        return len(self.dispatcher.gone) == self.ranks

    def close(self) -> None:
        """Write down how the task ended; PlatformError where no rank could compute anything."""
        self.desk.report(self.desk.final_state())
        if len(self.left) == self.ranks:
            raise PlatformError(self.left[-1])

    def _post(self, orders: Sequence[tuple[int, list[Assignment]]]) -> None:
        for rank, assignments in orders:
            message: ToRank = Work(assignments) if assignments else Stop()
            self.send(message, rank)


class Lifeline:
    """Whether the launcher that started this task is still there."""

    def __init__(self, task: Task, host: str) -> None:
        self.host, self.process, self.start = task.launcher
        self.same_host = self.host == host
        self.heartbeat: Path = task.run_folder.heartbeat
        self._seen = (0.0, time.monotonic())

    def broken(self) -> bool:
        """True when the launcher has ended, or, seen from another host, is silent too long."""
        if self.same_host:
            return process_start(self.process) != self.start
        stamp = self.heartbeat.stat().st_mtime if self.heartbeat.exists() else 0.0
        if stamp != self._seen[0]:
            self._seen = (stamp, time.monotonic())
        return time.monotonic() - self._seen[1] > _SECONDS_WITHOUT_HEARTBEAT
