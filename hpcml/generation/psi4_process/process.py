"""The process that holds Psi4: molecules in, rows out, for as long as it is fed.

Started by the keeper; speaks ``wire`` messages on standard input and output.  Whatever Psi4
prints goes to standard error, which the keeper points at a file of the scratch folder.

``messages.ToPsi4`` come in, ``messages.FromPsi4`` go out.  ``start`` and ``end`` are seconds since
the epoch around the calculation alone.  Which one is being computed stands in the ``pulse``.
Where several processes compute the molecule together, letters between them pass meanwhile
(``letters``).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from pathlib import Path
from typing import BinaryIO

import msgspec

from hpcml.cluster.processes import die_with_parent
from hpcml.errors import HpcmlError
from hpcml.generation.failures import BUG
from hpcml.generation.protocol import wire
from hpcml.generation.protocol.letters import GroupCommunicator
from hpcml.generation.protocol.messages import (
    Error,
    Letter,
    Member,
    Ready,
    ToPsi4,
    Tries,
    TriesEnded,
    Try,
    TryEnded,
    Values,
)
from hpcml.generation.protocol.pulse import Pulse
from hpcml.generation.protocol.task import Orders
from hpcml.generation.psi4_process.calculators import Calculator, calculator, prepare
from hpcml.response.engine import Resources
from hpcml.store import Row, Schema

_SECONDS_UNSAID = 0.02  # for which what has ended may wait for what is short as well


def compute_try(
    question: Try, orders: Orders, schema: Schema, calculator: Calculator, resources: Resources
) -> TryEnded:
    """Compute one molecule; every error becomes a cause and one line."""
    molecule = wire.unpack_molecule(question.molecule)
    start = time.time()
    error: Error | None = None
    values = wire.NOTHING
    try:
        properties = calculator(molecule, orders.level, orders.request, resources)
        end = time.time()
        row = Row.from_result("", molecule, properties, schema)
        whole = properties.to_json() if question.whole else None
        values = wire.encoded(Values(dict(row.values), dict(row.provenance), whole))
    except HpcmlError as raised:
        end = time.time()
        error = Error(raised.cause, _one_line(raised))
    except MemoryError as raised:
        end = time.time()
        error = Error("resources", f"out of memory {_one_line(raised)}".rstrip())
    except Exception as raised:
        end = time.time()
        traceback.print_exc()  # to the log: a bug needs its traceback
        error = Error(BUG, f"{type(raised).__name__}: {_one_line(raised)}")
    return TryEnded(error, values, start, end)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:500]


def main() -> None:
    """Serve questions until standard input closes."""
    die_with_parent()
    parser = argparse.ArgumentParser(prog="hpcml.generation.psi4_process.process")
    parser.add_argument("--orders", required=True, help="the task's orders as JSON text")
    parser.add_argument("--calculator", required=True)
    parser.add_argument("--scratch", required=True, type=Path)
    parser.add_argument("--pulse", required=True, type=int, help="its file's descriptor")
    arguments = parser.parse_args()

    # Psi4 and its libraries print to descriptor 1; the messages go through a copy of it.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    orders = msgspec.json.decode(arguments.orders, type=Orders)
    schema = Schema.for_request(orders.request)
    compute = calculator(arguments.calculator)
    prepare(arguments.calculator, orders.level)
    pulse = Pulse(arguments.pulse)
    wire.write(replies, Ready(os.getpid()))
    while True:
        try:
            question: ToPsi4 = wire.read(sys.stdin.buffer, ToPsi4)
        except EOFError:
            return
        match question:
            case Tries(tries):
                ended: list[TryEnded] = []
                said = time.monotonic()
                for each in tries:
                    if ended and time.monotonic() - said > _SECONDS_UNSAID:
                        wire.write(replies, TriesEnded(ended))
                        ended, said = [], time.monotonic()
                    resources = Resources(
                        threads=orders.site.threads,
                        memory_mb=orders.calculation_mb,
                        scratch=arguments.scratch,
                        attempt=each.rung,
                        communicator=_communicator(each.member, replies),
                    )
                    pulse.begin()
                    ended.append(compute_try(each, orders, schema, compute, resources))
                wire.write(replies, TriesEnded(ended))
            case Letter():  # too late: the calculation that waited for it has ended
                continue


def _communicator(member: Member | None, replies: BinaryIO) -> GroupCommunicator | None:
    if member is None:
        return None
    return GroupCommunicator(
        member.rank,
        member.size,
        send=lambda message: wire.write(replies, message),
        receive=lambda: wire.read(sys.stdin.buffer, Letter),
    )


if __name__ == "__main__":
    main()
