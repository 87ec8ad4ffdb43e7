"""The life of a rank: ask for a molecule, have it computed, commit the row, until told to stop.

A rank is a light process: its keeper, and Psi4 below it, are processes of their own, so that a
rank can serve others while its own molecule is computed.  It asks rank 0, which keeps the queue
(``service``, ``dispatch``), for the next molecule *before* it commits a row, so that Psi4 computes
while the disk is written.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import msgspec

from hpcml.generation.protocol import wire
from hpcml.generation.protocol.letters import Letters
from hpcml.generation.protocol.task import Assignment, Task
from hpcml.generation.ranks.dispatch import Dispatcher
from hpcml.generation.ranks.server import Lifeline
from hpcml.store import Row, ShardWriter

if TYPE_CHECKING:
    from hpcml.generation.ranks.generate_program import Mail

# Seconds between looks at MPI's messages: a tenth of the time waited so far, so that nobody waits
# much longer than it must; but while Psi4 computes, each look takes from its core.
_SHORTEST_NAP, _LONGER = 0.0002, 1.1
_LONGEST_NAP, _LONGEST_NAP_UNASKED = 0.004, 0.05
_SECONDS_BETWEEN_CHECKS = 1.0
_SECONDS_TO_TIDY = 5.0


class KeeperIsGoneError(Exception):
    """The keeper ended; without it a rank can do nothing, and MPI must not start another."""


class KeeperProcess:
    """The rank's end of its keeper."""

    def __init__(self, task: Task, calculator: str) -> None:
        # MPI, which knows the rank, has not started yet; the log's name does without it.
        own = f"{socket.gethostname()}-{os.getpid()}"
        log = Path(task.logs) / f"psi4-{task.identity}-{own}.log"
        command = [sys.executable, "-m", "hpcml.generation.psi4_process.keeper"]
        command += ["--orders", msgspec.json.encode(task.orders).decode()]
        command += ["--calculator", calculator, "--scratch", task.scratch, "--log", str(log)]
        # Psi4's process must not take itself for a rank of this program.
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("OMPI_COMM", "PMIX_", "PMI_", "OMPI_UNIVERSE"))
        }
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        self.questions, answers = wire.ends(self.process)
        self.inbox = wire.Inbox(answers.fileno())

    def ask(self, message: dict[str, Any]) -> None:
        try:
            wire.write(self.questions, message)
        except BrokenPipeError:
            raise KeeperIsGoneError from None

    def poll(self) -> dict[str, Any] | None:
        try:
            return self.inbox.poll()
        except EOFError:
            raise KeeperIsGoneError from None

    def end(self) -> None:
        """End keeper and Psi4, whatever they are doing."""
        with contextlib.suppress(BrokenPipeError):
            self.questions.close()  # it sees that, ends Psi4 and empties the scratch folder
        try:
            self.process.wait(timeout=_SECONDS_TO_TIDY)
        except subprocess.TimeoutExpired:
            self.process.kill()  # its Psi4 process dies with it
            self.process.wait()


class Rank:
    """``dispatcher`` is rank 0's; the other ranks have None and write to rank 0."""

    def __init__(
        self,
        *,
        mail: Mail,
        rank: int,
        keeper: KeeperProcess,
        writer: ShardWriter,
        flight: Path,
        dispatcher: Dispatcher | None,
        lifeline: Lifeline,
        stop_file: Path,
    ) -> None:
        self.mail = mail
        self.rank = rank
        self.keeper = keeper
        self.writer = writer
        self.flight = flight.open("w")
        self.dispatcher = dispatcher
        self.lifeline = lifeline
        self.stop_file = stop_file
        self.assignment: Assignment | None = None
        self.letters = Letters(lambda letter: keeper.ask({"letter": letter}))
        self.stopping = False
        self.signalled = False
        self._to_self: list[dict[str, Any]] = []
        self._checked = 0.0

    def run(self) -> None:
        self._tell_desk({"free": True})
        nap = _SHORTEST_NAP
        while not self._at_end():
            if self._turn():
                nap = _SHORTEST_NAP
            else:
                # Wakes at once when Psi4 answers; MPI's messages wait for the nap's end.
                watched = [] if self.stopping else [self.keeper.inbox.descriptor]
                select.select(watched, [], [], nap)
                nap = min(_LONGER * nap, self._longest_nap())
        if self.dispatcher is not None:
            desk = self.dispatcher.desk
            desk.report("stopped" if desk.left() else "finished")

    def on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.signalled = True

    def _longest_nap(self) -> float:
        """Somebody may wait for this rank, or it for somebody; else only a stop can come."""
        shares = self.assignment is None or self.assignment.shared
        return _LONGEST_NAP if shares or self.dispatcher is not None else _LONGEST_NAP_UNASKED

    def _at_end(self) -> bool:
        if not self.stopping:
            return False
        return self.dispatcher is None or len(self.dispatcher.gone) == self.mail.size

    def _turn(self) -> bool:
        """Do whatever can be done now; False if that was nothing."""
        moved = False
        while (post := self.mail.receive()) is not None:
            sender, message = post
            if "letter" in message:
                self.letters.arrived(message["number"], message["from"], message["letter"])
            elif self.dispatcher is None:
                self._hear(message)
            else:
                self._serve(self.dispatcher, sender, message)
            moved = True
        while self._to_self:
            self._hear(self._to_self.pop(0))
            moved = True
        if not self.stopping and (said := self.keeper.poll()) is not None:
            self._from_keeper(said)
            moved = True
        if self.signalled and not self.stopping:
            self._tell_desk({"signal": True})
            self.signalled = False
        if self.dispatcher is not None:
            self._look_around(self.dispatcher)
        return moved

    def _from_keeper(self, said: dict[str, Any]) -> None:
        assert self.assignment is not None
        if "want" in said:
            self.letters.wanted(said["want"])
        elif "to" in said:
            self._send_letter(self.assignment, said["letter"], said["to"])
        else:
            self._landed(said)

    def _send_letter(
        self, assignment: Assignment, letter: bytes | None, members: list[int]
    ) -> None:
        own = assignment.members.index(self.rank)
        message = {"number": assignment.number, "from": own, "letter": letter}
        self.mail.send(message, *(assignment.members[member] for member in members))

    def _landed(self, result: dict[str, Any]) -> None:
        """A result came back: fetch the next molecule first, then commit this one."""
        assert self.assignment is not None
        assignment, self.assignment = self.assignment, None
        own = assignment.members.index(self.rank)
        if assignment.shared:
            self.letters.end()
            others = [member for member in range(len(assignment.members)) if member != own]
            self._send_letter(assignment, None, others)
        self._mark_flight("")
        self._tell_desk({"free": True})
        if "values" in result and own == 0:
            entry = assignment.entry
            provenance = {**result["provenance"], "tries": result["tries"]}
            if assignment.shared:
                provenance["ranks"] = len(assignment.members)
            molecule = wire.unpack_molecule(entry.molecule)
            self.writer.append(Row(entry.key, molecule, result["values"], provenance))
        told = ("tries", "start", "end", "busy", "cause", "message")
        self._tell_desk({"finished": {name: result[name] for name in told if name in result}})

    def _hear(self, message: dict[str, Any]) -> None:
        if "work" in message:
            self._begin(msgspec.convert(message["work"], Assignment))
        elif "stop" in message and not self.stopping:
            # Told to stop while it computes, it drops that molecule: its time is over.
            self.stopping = True
            self.assignment = None
            self.keeper.end()
            self.writer.close()
            self._tell_desk({"bye": True})

    def _begin(self, assignment: Assignment) -> None:
        self.assignment = assignment
        entry = assignment.entry
        self._mark_flight(entry.key)
        question = {"key": entry.key, "molecule": entry.molecule, "limit": entry.limit}
        if assignment.shared:
            member, size = assignment.members.index(self.rank), len(assignment.members)
            question["group"] = (member, size, assignment.attempt)
            self.letters.begin(assignment.number)
        self.keeper.ask(question)

    def _mark_flight(self, key: str) -> None:
        os.pwrite(self.flight.fileno(), key.ljust(32).encode() + b"\n", 0)

    def _tell_desk(self, message: dict[str, Any]) -> None:
        if self.dispatcher is not None:
            self._serve(self.dispatcher, self.rank, message)
        else:
            self.mail.send(message, 0)

    # -- what rank 0 does besides -------------------------------------------------------------

    def _serve(self, dispatcher: Dispatcher, sender: int, message: dict[str, Any]) -> None:
        desk = dispatcher.desk
        if "free" in message:
            desk.landed(sender)
            dispatcher.waiting.add(sender)
        elif "finished" in message:
            desk.finished(sender, message["finished"])
        elif "bye" in message:
            dispatcher.gone.add(sender)
        elif "signal" in message:
            desk.stop(time.time())
        self._post(dispatcher.hand_out())

    def _post(self, orders: list[tuple[int, Assignment | None]]) -> None:
        for rank, assignment in orders:
            message = {"stop": True} if assignment is None else {"work": assignment}
            if rank != self.rank:
                self.mail.send(message, rank)
            elif assignment is not None:
                self._begin(assignment)  # Psi4 starts before the last row is committed
            else:
                self._to_self.append(message)

    def _look_around(self, dispatcher: Dispatcher) -> None:
        """Once a second: is the launcher there, is a stop asked for, is the time over."""
        now = time.monotonic()
        if now - self._checked < _SECONDS_BETWEEN_CHECKS:
            return
        self._checked = now
        desk = dispatcher.desk
        if self.lifeline.broken():
            print("the launcher of this task is gone: ending", file=sys.stderr, flush=True)
            self.keeper.end()
            self.mail.abort()
        if self.stop_file.exists():
            desk.stop(float(self.stop_file.read_text() or 0.0))
        if desk.over():
            desk.stop(time.time())
            self._post(dispatcher.stop(list(range(self.mail.size))))
        desk.report()
