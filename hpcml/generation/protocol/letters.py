"""Ranks that compute one large molecule together talk through here.

``hpcml.response`` spreads trial vectors over the ranks of a communicator.  But the processes that
hold Psi4 know nothing of MPI, so that each can be killed and replaced.  So a ``GroupCommunicator``
in such a process hands its letters to its rank, which sends them to the other member's rank, whose
``Letters`` keep them until that member's process asks:

    from a Psi4 process   SendLetter (members, content), WantLetter (member)
    to a Psi4 process     Letter (content), or None in it: that member has ended, none will come

A process is written to only when it waits for a letter, so no pipe ever fills up, and whoever
waits for a member that has ended, well or badly, is told so: a member that crashes, hangs or runs
out of memory costs the group this try at the molecule, and nobody waits for ever.
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable
from typing import Any

from hpcml.errors import ConvergenceError, PlatformError
from hpcml.generation.protocol.messages import Letter, SendLetter, WantLetter

LOST = "lost"
"""Cause of a calculation that ended because another member's had."""


class LostMemberError(PlatformError):
    """Another process of the group has ended; its own answer says why."""

    cause = LOST


class GroupCommunicator:
    """What ``hpcml.response.team`` uses of a communicator, in a process without MPI.

    send      takes a message for the rank
    receive   blocks for the rank's answer to a WantLetter

    Objects are pickled, as mpi4py's own lower-case calls do: they come from processes of the same
    program, never from a file, and they are whatever ``hpcml.response`` shares, exceptions too.
    """

    def __init__(
        self,
        rank: int,
        size: int,
        send: Callable[[SendLetter | WantLetter], None],
        receive: Callable[[], Letter],
    ) -> None:
        self.rank = rank
        self.size = size
        self._send = send
        self._receive = receive

    def bcast(self, obj: Any, root: int = 0) -> Any:
        if self.rank != root:
            return self._from(root)
        others = [member for member in range(self.size) if member != root]
        self._send(SendLetter(others, _pickled(obj)))
        return obj

    def gather(self, sendobj: Any, root: int = 0) -> list[Any] | None:
        if self.rank != root:
            self._send(SendLetter([root], _pickled(sendobj)))
            return None
        return [sendobj if i == root else self._from(i) for i in range(self.size)]

    def _from(self, member: int) -> Any:
        self._send(WantLetter(member))
        letter = self._receive().content
        if letter is None:
            raise LostMemberError(f"process {member} of the {self.size} that shared it has ended")
        return pickle.loads(letter)


def _pickled(obj: Any) -> bytes:
    try:
        return pickle.dumps(obj, pickle.HIGHEST_PROTOCOL)
    except Exception:
        if not isinstance(obj, Exception):
            raise
        # Psi4's error of an SCF that does not converge holds the wave function, which stays here.
        words = " ".join(str(obj).split())[:500]
        return pickle.dumps(ConvergenceError(f"{type(obj).__name__}: {words}"))


class Letters:
    """A rank's letters of the calculation that it shares now, until they are asked for.

    Calculations are numbered upwards.  Letters may come before the word that the calculation has
    begun, and after its end.
    """

    def __init__(self, deliver: Callable[[bytes | None], None]) -> None:
        self._deliver = deliver
        self._number = -1
        self._waiting: dict[int, deque[bytes | None]] = {}
        self._wanted: int | None = None
        self._early: list[tuple[int, int, bytes | None]] = []

    def begin(self, number: int) -> None:
        """From now on letters of this calculation count."""
        self._number = number
        self._waiting = {}
        self._wanted = None
        early, self._early = self._early, []
        for letter in early:
            self.arrived(*letter)

    def end(self) -> None:
        """The process has answered, or is gone: it asks for nothing more."""
        self._wanted = None

    def arrived(self, number: int, member: int, letter: bytes | None) -> None:
        """A letter, or None: this member has ended."""
        if number > self._number:
            self._early.append((number, member, letter))
        elif number == self._number:
            self._waiting.setdefault(member, deque()).append(letter)
            self._hand_over()

    def wanted(self, member: int) -> None:
        """The process waits for the next letter of this member."""
        self._wanted = member
        self._hand_over()

    def _hand_over(self) -> None:
        if self._wanted is None or not (letters := self._waiting.get(self._wanted)):
            return
        self._wanted = None
        # The last word of a member that has ended stays: it may be asked for again.
        self._deliver(letters[0] if letters[0] is None else letters.popleft())
