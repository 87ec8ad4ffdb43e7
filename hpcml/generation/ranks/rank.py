"""The life of a rank: ask for a molecule, have it computed, commit the row, until told to stop.

A rank is a light process: its keeper, and Psi4 below it, are processes of their own, so that a
rank can serve others while its own molecule is computed.  It asks rank 0's ``server`` for what
comes next *before* it commits its rows, so that Psi4 computes while the disk is written.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from types import FrameType

import msgspec

from hpcml.generation.protocol import wire
from hpcml.generation.protocol.letters import Letters
from hpcml.generation.protocol.messages import (
    Answer,
    Answers,
    Bye,
    Committed,
    Compute,
    Ended,
    Finished,
    Free,
    FromKeeper,
    Leaving,
    Letter,
    Member,
    MemberLetter,
    NoPsi4,
    Outcome,
    Question,
    Ready,
    Rows,
    SendLetter,
    Signalled,
    Stop,
    ToKeeper,
    ToRank,
    ToServer,
    WantLetter,
    Work,
    Written,
    seconds_of_a_group,
)
from hpcml.generation.protocol.task import FLIGHT_BYTES, Assignment, Task
from hpcml.generation.ranks.mail import Mail
from hpcml.generation.ranks.node_writer import NodeWriter
from hpcml.generation.ranks.server import Server
from hpcml.store import ShardWriter

# Seconds between looks at MPI's messages: a tenth of the time waited so far, so that nobody waits
# much longer than it must; but while Psi4 computes, each look takes from its core.
_SHORTEST_NAP, _LONGER = 0.0002, 1.1
_LONGEST_NAP, _LONGEST_NAP_UNASKED = 0.004, 0.05
_SECONDS_TO_TIDY = 5.0
_MOST_BYTES_TOGETHER = 1 << 14  # of molecules asked for in one message; a pipe holds 64 KB
_MOST_TOGETHER = 64


class KeeperIsGoneError(Exception):
    """The keeper ended; without it a rank can do nothing, and MPI must not start another."""


class KeeperProcess:
    """The rank's end of its keeper."""

    def __init__(self, task: Task, calculator: str) -> None:
        # one for all keepers of this node, made when there is something to be kept
        log = task.run_folder.logs / f"psi4-{task.identity}-{socket.gethostname()}.log"
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


class _Group:
    """Molecules that have ended and of which the server has not been told."""

    def __init__(self, seconds: float) -> None:
        self.rows: list[Finished] = []
        self._outcomes: list[Outcome] = []
        self._seconds = seconds
        self._due = 0.0

    def __bool__(self) -> bool:
        return bool(self._outcomes)

    def add(self, outcome: Outcome) -> None:
        if not self._outcomes:
            self._due = time.monotonic() + self._seconds
        self._outcomes.append(outcome)

    def is_due(self) -> bool:
        """Whether the first has waited long enough to be written."""
        return bool(self._outcomes) and time.monotonic() >= self._due

    def take(self) -> list[Outcome]:
        taken, self._outcomes, self.rows = self._outcomes, [], []
        return taken


class Rank:
    """One rank.

    server      rank 0's own; the others have None and write to rank 0
    writer      of the node's first rank; the others have None and write to that
    node        the ranks of this node
    in_flight   the node's file of what is in flight
    """

    def __init__(
        self,
        *,
        mail: Mail,
        task: Task,
        keeper: KeeperProcess,
        writer: ShardWriter | None,
        node: Sequence[int],
        in_flight: Path,
        server: Server | None,
    ) -> None:
        self.mail = mail
        self.rank = mail.rank
        self.task = task
        self.keeper = keeper
        self.node = node
        self.writer = NodeWriter(writer, set(node) - {self.rank}) if writer is not None else None
        self.unwritten: deque[list[Outcome]] = deque()  # of what the node's first rank has
        self.in_flight = os.open(in_flight, os.O_WRONLY | os.O_CREAT, 0o600)
        self._noted = 0  # bytes
        self._last: Bye | Leaving | None = None  # what is to be said when all is written
        self._over = False
        self.server = server
        if server is not None:
            server.send = self._send_as_server
        self.hand: deque[Assignment] = deque()  # what it computes, and what comes after it
        self._asked: deque[int] = deque()  # of these, the keeper has so many in each message
        self.group = _Group(seconds_of_a_group(mail.size))
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
        shares = not self.hand or self.hand[0].shared
        return _LONGEST_NAP if shares or self.server is not None else _LONGEST_NAP_UNASKED

    def _at_end(self) -> bool:
        return self._over and (self.server is None or self.server.everyone_is_gone)

    def _turn(self) -> bool:
        """Do whatever can be done now; False if that was nothing."""
        moved = False
        while (post := self.mail.receive()) is not None:
            sender, message = post
            match message:
                case Work() | Stop() | MemberLetter() | Written():
                    self._hear(message)
                case Rows() | Ended():
                    assert self.writer is not None
                    self.writer.hear(sender, message)
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
        if self.group.is_due() or (self.writer is not None and self.writer.asked):
            self._commit()
        self._end_if_all_is_written()
        if self.server is not None:
            self.server.look_around()
        return moved

    def _hear(self, message: ToRank) -> None:
        match message:
            case MemberLetter(number, member, content):
                self.letters.arrived(number, member, content)
            case Work(assignments) if not self.stopping:
                self._take(assignments)
            case Stop() if not self.stopping:
                # Told to stop while it computes, it drops that molecule: its time is over.
                self._end(Bye())
            case Written():
                self._tell_server(Committed(self.unwritten.popleft()))

    def _hear_keeper(self, message: FromKeeper) -> None:
        match message:
            case Ready():
                self._tell_server(Free())
            case WantLetter(member):
                self.letters.wanted(member)
            case SendLetter(members, content):
                self._send_letter(content, self.hand[0], members)
            case Answers(answers):
                self._answered(answers)
            case NoPsi4(reason):
                if self.task.site.large_ranks > 1:  # groups are fixed: none could gather
                    raise KeeperIsGoneError(reason)
                print(f"rank {self.rank} leaves: {reason}", file=sys.stderr, flush=True)
                self._end(Leaving(reason))

    def _end(self, last: Bye | Leaving) -> None:
        self.stopping = True
        self.hand.clear()
        self._asked.clear()
        self._note_in_flight()
        self._commit()
        self.keeper.end()
        self._last = last
        if self.writer is not None and isinstance(last, Leaving):
            self._tell_server(last)  # others go on, and this rank writes for them
            self._last = None

    def _end_if_all_is_written(self) -> None:
        """Say the last word when the rows are on the disk, those of others who write through this
        rank included."""
        if self._over or not self.stopping or self.unwritten:
            return
        if self.writer is None:
            self.mail.send(Ended(), self.node[0])
        elif self.writer.others:
            return
        else:
            self.writer.close()
        self._over = True
        if self._last is not None:
            self._tell_server(self._last)

    def _take(self, assignments: list[Assignment]) -> None:
        self.hand.extend(assignments)
        self._asked.clear()
        self._ask()

    def _ask(self) -> None:
        """Let the keeper know what to compute, and what comes next, so that it need not wait."""
        known = sum(self._asked)
        new: list[Compute] = []
        while len(self._asked) < 2 and known < len(self.hand):
            given = self._together(known, ahead=bool(self._asked))
            if not given:
                break
            self._asked.append(len(given))
            known += len(given)
            new.append(Compute([self._question(assignment) for assignment in given]))
        self._note_in_flight()
        for message in new:
            self.keeper.ask(message)

    def _together(self, first: int, *, ahead: bool) -> list[Assignment]:
        """What the next message to the keeper is to hold: short molecules come several in one.

        ahead   the keeper is computing and does not read: the pipe must have room for it
        """
        given: list[Assignment] = []
        size = 0
        for assignment in islice(self.hand, first, first + _MOST_TOGETHER):
            size += len(assignment.entry.molecule)
            if size > _MOST_BYTES_TOGETHER and (given or ahead):
                break
            given.append(assignment)
        return given

    def _question(self, assignment: Assignment) -> Question:
        entry = assignment.entry
        member = None
        if assignment.shared:
            member = Member(assignment.members.index(self.rank), len(assignment.members))
            self.letters.begin(assignment.number)
        return Question(entry.molecule, entry.limit, member, assignment.rung)

    def _answered(self, answers: Sequence[Answer]) -> None:
        """Calculations have ended: see to the next first, then commit these."""
        ended = [(self.hand.popleft(), answer) for answer in answers]
        for _ in ended:  # they may be a part of what was asked for in one message
            self._asked[0] -= 1
            if not self._asked[0]:
                self._asked.popleft()
        for assignment, _ in ended:
            if assignment.shared:
                self._end_sharing(assignment)
        if self.hand:
            self._ask()
        else:
            self._note_in_flight()
            self._tell_server(Free())
        for assignment, answer in ended:
            self._add_to_group(assignment, answer)
        if not self.hand or self.group.is_due():
            self._commit()

    def _end_sharing(self, assignment: Assignment) -> None:
        own = assignment.members.index(self.rank)
        self.letters.end()
        others = [member for member in range(len(assignment.members)) if member != own]
        self._send_letter(None, assignment, others)

    def _add_to_group(self, assignment: Assignment, answer: Answer) -> None:
        entry, members = assignment.entry, assignment.members
        if answer.error is None and members[0] == self.rank:
            tries = assignment.tries + answer.tries
            finished = Finished(entry.key, entry.molecule, answer.values, tries, len(members))
            self.group.rows.append(finished)
        self.group.add(Outcome(answer.error, answer.tries, answer.start, answer.end, answer.busy))

    def _commit(self) -> None:
        """Have the rows of the group written, then tell the server of them: not before."""
        rows = self.group.rows
        if self.writer is not None:
            outcomes = self.group.take()
            if senders := self.writer.write(rows):
                self.mail.send(Written(), *senders)
            if outcomes:
                self._tell_server(Committed(outcomes))
        elif self.group:
            self.unwritten.append(self.group.take())
            self.mail.send(Rows(rows), self.node[0])

    def _send_letter(
        self, content: bytes | None, assignment: Assignment, members: list[int]
    ) -> None:
        ranks = assignment.members
        message = MemberLetter(assignment.number, ranks.index(self.rank), content)
        self.mail.send(message, *(ranks[member] for member in members))

    def _note_in_flight(self) -> None:
        """Write down what the keeper has, before it gets more: one of these would be to blame."""
        keys = [assignment.entry.key for assignment in islice(self.hand, sum(self._asked))]
        data = " ".join(keys).encode()
        place = self.node.index(self.rank) * FLIGHT_BYTES
        os.pwrite(self.in_flight, data.ljust(self._noted), place)
        self._noted = len(data)

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
            self._take(message.assignments)  # Psi4 starts before the last row is committed
        else:
            self._to_self.append(message)
