"""The process that holds Psi4: one molecule in, one row out, for as long as it is fed.

Started by the keeper; speaks ``wire`` messages on standard input and output.  Whatever Psi4
prints goes to standard error, which the keeper points at a log file.

    in   {"molecule": bytes, "attempt": int, "group": [member, size], "whole": bool}
    out  {"values": {column: array}, "provenance": {...}, "start": s, "end": s}
         {"cause": word, "message": line, "start": s, "end": s}

``start`` and ``end`` are seconds since the epoch around the calculation alone.  Where several
processes compute the molecule together, letters between them pass meanwhile (``relay``).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import msgspec

from hpcml.cluster.processes import die_with_parent
from hpcml.errors import HpcmlError
from hpcml.generation.protocol import wire
from hpcml.generation.protocol.letters import GroupCommunicator
from hpcml.generation.protocol.task import Orders
from hpcml.generation.psi4_process.calculators import Calculator, calculator, prepare
from hpcml.response.engine import Resources
from hpcml.store import Row, Schema


def answer(
    question: dict[str, Any], orders: Orders, schema: Schema, compute: Calculator, at: Resources
) -> dict[str, Any]:
    """Compute one molecule; every error becomes a cause and one line."""
    molecule = wire.unpack_molecule(question["molecule"])
    start = time.time()
    reply: dict[str, Any]
    try:
        properties = compute(molecule, orders.level, orders.request, at)
        end = time.time()
        row = Row.from_result("", molecule, properties, schema)
        reply = {"values": row.values, "provenance": row.provenance}
        if question["whole"]:
            reply["properties"] = properties.to_json()
    except HpcmlError as error:
        end = time.time()
        reply = {"cause": error.cause, "message": _one_line(error)}
    except MemoryError as error:
        end = time.time()
        reply = {"cause": "resources", "message": f"out of memory {_one_line(error)}".rstrip()}
    except Exception as error:
        end = time.time()
        traceback.print_exc()  # to the worker's log: this one is a bug, and bugs need tracebacks
        reply = {"cause": "internal", "message": f"{type(error).__name__}: {_one_line(error)}"}
    return {**reply, "start": start, "end": end}


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:500]


def main() -> None:
    """Serve questions until standard input closes."""
    die_with_parent()
    parser = argparse.ArgumentParser(prog="hpcml.generation.psi4_process.process")
    parser.add_argument("--orders", required=True, help="the task's orders as JSON text")
    parser.add_argument("--calculator", required=True)
    parser.add_argument("--scratch", required=True, type=Path)
    arguments = parser.parse_args()

    # Psi4 and its libraries print to descriptor 1; the messages go through a copy of it.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    orders = msgspec.json.decode(arguments.orders, type=Orders)
    schema = Schema.for_request(orders.request)
    compute = calculator(arguments.calculator)
    prepare(arguments.calculator)
    wire.write(replies, {"ready": os.getpid()})
    while True:
        try:
            question = wire.read(sys.stdin.buffer)
        except EOFError:
            return
        communicator = None
        if "group" in question:
            member, size = question["group"]
            communicator = GroupCommunicator(
                member,
                size,
                send=lambda message: wire.write(replies, message),
                receive=lambda: wire.read(sys.stdin.buffer),
            )
        resources = Resources(
            threads=orders.threads,
            memory_mb=orders.calculation_mb,
            scratch=arguments.scratch,
            attempt=question["attempt"],
            communicator=communicator,
        )
        wire.write(replies, answer(question, orders, schema, compute, resources))


if __name__ == "__main__":
    main()
