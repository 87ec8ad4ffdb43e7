"""Every message between the processes of a campaign: one page of protocol.

    rank 0's server    <->  ranks            ToServer, ToRank       by MPI
    rank               <->  other ranks      ToRank (MemberLetter)  by MPI
    rank               <->  its node's first ToWriter, Written      by MPI
    rank               <->  its keeper       ToKeeper, FromKeeper   by pipes
    keeper             <->  Psi4 process     ToPsi4, FromPsi4       by pipes

A *try* is one calculation of a molecule; a *rung* is the step of the SCF's ladder of fallbacks
that a try stands on.  The life of an assignment, as the server sees it:

    handed out   Work goes to its ranks: they have it *in hand* and compute
    answered     a rank's calculations have ended (Free): it gets other work before it writes
    committed    the row is in the node's journal, or the failure is known (Committed); rows of
                 short calculations are written together (``SECONDS_OF_A_GROUP``)
"""

from __future__ import annotations

from typing import Any

import msgspec
from numpy.typing import NDArray

from hpcml.generation.protocol import wire
from hpcml.generation.protocol.task import Assignment

SECONDS_OF_A_GROUP = 0.25
_SECONDS_BETWEEN_MESSAGES = 1e-4


def seconds_of_a_group(ranks: int) -> float:
    """How long molecules that are handed out together may last, and rows wait to be written.

    What a rank has not said to be done is computed again when it is killed.  Where ranks are many,
    groups last longer: rank 0 hears each of them once in that time, and has a tenth of a
    millisecond for each.
    """
    return max(SECONDS_OF_A_GROUP, _SECONDS_BETWEEN_MESSAGES * ranks)


class Message(msgspec.Struct, tag=True):
    """Base of all: the class's name travels with it and tells the messages apart."""


# --- what a calculation came to ----------------------------------------------------------------


class Values(Message):
    """A calculation that ended well: the row's columns, each in the schema's shape.

    values       column -> (...) array, in the schema's units
    properties   ``ResponseProperties.to_json``, where the whole result was asked for
    """

    values: dict[str, NDArray[Any]]
    provenance: dict[str, Any]
    properties: dict[str, Any] | None = None


class Error(Message):
    """A calculation that gave nothing.

    cause       as in failures.jsonl, or ``letters.LOST``
    message     one line
    by_signal   the Psi4 process was ended by a signal, which may be no fault of the calculation
    """

    cause: str
    message: str
    by_signal: bool = False


# --- keeper and Psi4 process -------------------------------------------------------------------


class Member(msgspec.Struct, frozen=True):
    """A process's place in the group that computes a molecule together: ``rank`` of ``size``."""

    rank: int
    size: int


class Try(msgspec.Struct):
    """One calculation: this molecule (``wire.pack_molecule``) on this rung."""

    molecule: bytes
    rung: int
    member: Member | None = None
    whole: bool = False


class Tries(Message):
    """To the Psi4 process: compute these one after the other."""

    tries: list[Try]


class Letter(Message):
    """To the Psi4 process: what it waits for.  None: that member has ended, none will come."""

    content: bytes | None


class Ready(Message):
    """From a Psi4 process, and from a keeper whose Psi4 process is ready: give me work."""

    process: int


class TryEnded(msgspec.Struct):
    """How a try ended; ``start`` and ``end`` are seconds since the epoch.

    values   ``Values``, encoded: the keeper passes them on as they are; none where there is an
             error
    """

    error: Error | None
    values: msgspec.Raw
    start: float
    end: float


class TriesEnded(Message):
    """From the Psi4 process: the next of its tries have ended, in their order.

    Short ones are told of together, so that a message does not cost more than they do; who is being
    computed meanwhile stands in memory that the keeper shares (``pulse``).
    """

    ended: list[TryEnded]


class SendLetter(Message):
    """From the Psi4 process to these members of its group."""

    members: list[int]
    content: bytes


class WantLetter(Message):
    """From the Psi4 process: it waits for the next letter of this member."""

    member: int


# --- rank and keeper ---------------------------------------------------------------------------


class Pin(Message):
    """To the keeper: the cores of its calculations, from now on."""

    cpus: list[int]


class Question(msgspec.Struct):
    """A molecule that is to be computed, with as many tries as it takes.

    limit    seconds after which a try counts as hung
    member   where several ranks compute it together: then ``rung`` is the one to try, once
    whole    the answer is to hold the properties, not the row's columns alone
    """

    molecule: bytes
    limit: float
    member: Member | None = None
    rung: int = 0
    whole: bool = False


class Compute(Message):
    """To the keeper: compute these, one that is long or several that are short.

    Each has its own tries and its own limit, and fails alone.
    """

    questions: list[Question]


class Answer(msgspec.Struct):
    """What became of a molecule.

    tries        calculations that were begun
    start, end   of the first and the last, in seconds since the epoch
    busy         seconds inside calculations
    """

    error: Error | None
    values: msgspec.Raw
    tries: int
    start: float
    end: float
    busy: float

    @property
    def result(self) -> Values | Error:
        """The error, or the values decoded."""
        if self.error is not None:
            return self.error
        values: Values = wire.decode(self.values, Values)
        return values


class Answers(Message):
    """From the keeper: what became of the next molecules that it was asked for, in their order."""

    answers: list[Answer]


class NoPsi4(Message):
    """From the keeper, its last word: no Psi4 process can be started here."""

    message: str


# --- ranks -------------------------------------------------------------------------------------


class Free(Message):
    """To the server: nothing is being computed here; what was, has been answered."""


class Outcome(Message):
    """What became of a molecule: the row is written, or there is none for this reason."""

    error: Error | None
    tries: int
    start: float
    end: float
    busy: float


class Committed(Message):
    """To the server: these are done with, in the order in which they were handed out."""

    outcomes: list[Outcome]


class Signalled(Message):
    """To the server: this rank was asked to stop by a signal."""


class Leaving(Message):
    """To the server: this rank can compute nothing more, and gives back what it has in hand."""

    reason: str


class Bye(Message):
    """To the server: this rank was told to stop, and has closed its files."""


class Finished(msgspec.Struct, array_like=True):
    """A row to be written.

    molecule   ``wire.pack_molecule``
    values     ``Values``, encoded
    tries      all that were made at it
    ranks      that computed it together
    """

    key: str
    molecule: bytes
    values: msgspec.Raw
    tries: int
    ranks: int = 1


class Rows(Message):
    """To the rank that writes for its node: make these permanent, then say so."""

    rows: list[Finished]


class Ended(Message):
    """To the rank that writes for its node: nothing more will come from this rank."""


class Written(Message):
    """To a rank: its next ``Rows`` are on the disk."""


class Work(Message):
    """To a rank: compute these one after the other: one that is long, or several short ones."""

    assignments: list[Assignment]


class Stop(Message):
    """To a rank: drop what you compute, close your files, say bye."""


class MemberLetter(Message):
    """From rank to rank of a group: a letter in the assignment of this number, or None (ended)."""

    number: int
    member: int
    content: bytes | None


ToPsi4 = Tries | Letter
FromPsi4 = Ready | TriesEnded | SendLetter | WantLetter
ToKeeper = Compute | Pin | Letter
FromKeeper = Ready | Answers | SendLetter | WantLetter | NoPsi4
ToServer = Free | Committed | Signalled | Leaving | Bye
ToRank = Work | Stop | MemberLetter | Written
ToWriter = Rows | Ended
