"""The life of a rank: ask for a molecule, have it computed, commit the row, until told to stop.

A rank is a light process: its keeper, and Psi4 below it, are processes of their own, so that a
rank can serve others while its own molecule is computed.  It asks rank 0's ``server`` for the next
molecule *before* it commits a row, so that Psi4 computes while the disk is written.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
from pathlib import Path
from types import FrameType

import msgspec

from hpcml.generation.protocol import wire
from hpcml.generation.protocol.letters import Letters
from hpcml.generation.protocol.messages import (
    Answer,
    Bye,
    Committed,
    Compute,
    Error,
    Free,
    FromKeeper,
    Leaving,
    Letter,
    Member,
    MemberLetter,
    NoPsi4,
    Ready,
    SendLetter,
    Signalled,
    Stop,
    ToKeeper,
    ToRank,
    ToServer,
    Values,
    WantLetter,
    Work,
)
from hpcml.generation.protocol.task import Assignment, Task
from hpcml.generation.ranks.mail import Mail
from hpcml.generation.ranks.server import Server
from hpcml.store import Row, ShardWriter

# Seconds between looks at MPI's messages: a tenth of the time waited so far, so that nobody waits
# much longer than it must; but while Psi4 computes, each look takes from its core.
_SHORTEST_NAP, _LONGER = 0.0002, 1.1
_LONGEST_NAP, _LONGEST_NAP_UNASKED = 0.004, 0.05
_SECONDS_TO_TIDY = 5.0


class KeeperIsGoneError(Exception):
    """The keeper ended; without it a rank can do nothing, and MPI must not start another."""


class KeeperProcess:
    """The rank's end of its keeper."""

    def __init__(self, task: Task, calculator: str) -> None:
        # MPI, which knows the rank, has not started yet; the log's name does without it.
        own = f"{socket.gethostname()}-{os.getpid()}"
        log = task.run_folder.logs / f"psi4-{task.identity}-{own}.log"
        command = [sys.executable, "-m", "hpcml.generation.psi4_process.keeper"]
        command += ["--orders", msgspec.json.encode(task.orders).decode()]
        command += ["--calculator", calculator]
        command += ["--scratch", task.site.scratch_folder, "--log", str(log)]
        # Psi4's process must not take itself for a rank of this program.
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("OMPI_COMM", "PMIX_", "PMI_", "OMPI_UNIVERSE"))
        }
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # mpiexec kills a rank's group: the keeper has to tidy up yet
        )
        self.questions, answers = wire.ends(self.process)
        self.inbox: wire.Inbox[FromKeeper] = wire.Inbox(answers.fileno(), FromKeeper)

    def ask(self, message: ToKeeper) -> None:
        # A keeper that has left has said why: ``poll`` tells.
        with contextlib.suppress(BrokenPipeError):
            wire.write(self.questions, message)

    def poll(self) -> FromKeeper | None:
        """What it says, if it says anything; KeeperIsGoneError if it has ended."""
        try:
            return self.inbox.poll()
        except EOFError:
            raise KeeperIsGoneError("its keeper ended") from None

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
    """One rank; ``server`` is rank 0's own, the other ranks have None and write to rank 0."""

    def __init__(
        self,
        *,
        mail: Mail,
        task: Task,
        keeper: KeeperProcess,
        writer: ShardWriter,
        in_flight: Path,
        server: Server | None,
    ) -> None:
        self.mail = mail
        self.rank = mail.rank
        self.task = task
        self.keeper = keeper
        self.writer = writer
        self.in_flight = in_flight.open("w")
        self.server = server
        if server is not None:
            server.send = self._send_as_server
        self.assignment: Assignment | None = None
        self.letters = Letters(lambda content: keeper.ask(Letter(content)))
        self.stopping = False
        self.signalled = False
        self._to_self: list[ToRank] = []

    def run(self) -> None:
        """Work until the server says stop; rank 0 until everybody has left."""
        nap = _SHORTEST_NAP
        while not self._at_end():
            if self._turn():
                nap = _SHORTEST_NAP
            else:
                # Wakes at once when Psi4 answers; MPI's messages wait for the nap's end.
                watched = [] if self.stopping else [self.keeper.inbox.descriptor]
                select.select(watched, [], [], nap)
                nap = min(_LONGER * nap, self._longest_nap())
        if self.server is not None:
            self.server.close()

    def on_signal(self, _number: int, _frame: FrameType | None) -> None:
        """A handler for stop signals."""
        self.signalled = True

    def _longest_nap(self) -> float:
        """Somebody may wait for this rank, or it for somebody; else only a stop can come."""
        shares = self.assignment is None or self.assignment.shared
        return _LONGEST_NAP if shares or self.server is not None else _LONGEST_NAP_UNASKED

    def _at_end(self) -> bool:
        if not self.stopping:
            return False
        return self.server is None or self.server.everyone_is_gone

    def _turn(self) -> bool:
        """Do whatever can be done now; False if that was nothing."""
        moved = False
        while (post := self.mail.receive()) is not None:
            sender, message = post
            match message:
                case Work() | Stop() | MemberLetter():
                    self._hear(message)
                case _:
                    assert self.server is not None
                    self.server.hear(sender, message)
            moved = True
        while self._to_self:
            self._hear(self._to_self.pop(0))
            moved = True
        if not self.stopping and (said := self.keeper.poll()) is not None:
            self._hear_keeper(said)
            moved = True
        if self.signalled and not self.stopping:
            self._tell_server(Signalled())
            self.signalled = False
        if self.server is not None:
            self.server.look_around()
        return moved

    def _hear(self, message: ToRank) -> None:
        match message:
            case MemberLetter(number, member, content):
                self.letters.arrived(number, member, content)
            case Work(assignment) if not self.stopping:
                self._begin(assignment)
            case Stop() if not self.stopping:
                # Told to stop while it computes, it drops that molecule: its time is over.
                self._end(Bye())

    def _hear_keeper(self, message: FromKeeper) -> None:
        match message:
            case Ready():
                self._tell_server(Free())
            case WantLetter(member):
                self.letters.wanted(member)
            case SendLetter(members, content):
                self._send_letter(content, members)
            case Answer():
                self._answered(message)
            case NoPsi4(reason):
                if self.task.site.large_ranks > 1:  # groups are fixed: none could gather
                    raise KeeperIsGoneError(reason)
                print(f"rank {self.rank} leaves: {reason}", file=sys.stderr, flush=True)
                self._end(Leaving(reason))

    def _end(self, last: Bye | Leaving) -> None:
        self.stopping = True
        self.assignment = None
        self._note_in_flight("")
        self.keeper.end()
        self.writer.close()
        self._tell_server(last)

    def _begin(self, assignment: Assignment) -> None:
        self.assignment = assignment
        entry = assignment.entry
        self._note_in_flight(entry.key)
        member = None
        if assignment.shared:
            member = Member(assignment.members.index(self.rank), len(assignment.members))
            self.letters.begin(assignment.number)
        self.keeper.ask(Compute(entry.molecule, entry.limit, member, assignment.rung))

    def _answered(self, answer: Answer) -> None:
        """The calculation has ended: fetch the next molecule first, then commit this one."""
        assert self.assignment is not None
        assignment = self.assignment
        own = assignment.members.index(self.rank)
        if assignment.shared:
            self.letters.end()
            self._send_letter(None, [i for i in range(len(assignment.members)) if i != own])
        self.assignment = None
        self._note_in_flight("")
        self._tell_server(Free())
        result = answer.result
        if isinstance(result, Values) and own == 0:
            self._commit(assignment, result, answer.tries)
        error = result if isinstance(result, Error) else None
        self._tell_server(Committed(error, answer.tries, answer.start, answer.end, answer.busy))

    def _commit(self, assignment: Assignment, result: Values, tries: int) -> None:
        provenance = {**result.provenance, "tries": assignment.tries + tries}
        if assignment.shared:
            provenance["ranks"] = len(assignment.members)
        molecule = wire.unpack_molecule(assignment.entry.molecule)
        self.writer.append(Row(assignment.entry.key, molecule, result.values, provenance))

    def _send_letter(self, content: bytes | None, members: list[int]) -> None:
        assert self.assignment is not None
        ranks = self.assignment.members
        message = MemberLetter(self.assignment.number, ranks.index(self.rank), content)
        self.mail.send(message, *(ranks[member] for member in members))

    def _note_in_flight(self, key: str) -> None:
        os.pwrite(self.in_flight.fileno(), key.ljust(32).encode() + b"\n", 0)

    def _tell_server(self, message: ToServer) -> None:
        if self.server is not None:
            self.server.hear(self.rank, message)
        else:
            self.mail.send(message, 0)

    def _send_as_server(self, message: ToRank, rank: int) -> None:
        """To another rank by mail; to this one at once if it is work, else in the next turn."""
        if rank != self.rank:
            self.mail.send(message, rank)
        elif isinstance(message, Work):
            self._begin(message.assignment)  # Psi4 starts before the last row is committed
        else:
            self._to_self.append(message)
