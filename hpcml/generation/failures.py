"""failures.jsonl: one line a molecule that could not be computed, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec

from hpcml.files import write_whole

BUG = "bug"
"""Cause of a failure that is hpcml's own: its traceback stands in the rank's log."""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """One molecule that failed.

    key      the result's key; for a record that is no molecule, where it stands (file: line)
    cause    convergence, crash, engine, hang, resources, input, settings, environment, bug
    tries    calculations that were begun
    """

    key: str
    name: str
    cause: str
    message: str
    tries: int

    @property
    def line(self) -> str:
        """The failure in one line, with the molecule's name."""
        named = self.name and self.name not in self.message
        return f"failed ({self.cause}): {self.name + ': ' if named else ''}{self.message}"


def read(path: Path) -> dict[str, Failure]:
    """The failures of a run by key, the latest line of each; a line cut short is left out."""
    failures: dict[str, Failure] = {}
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return failures
    for line in lines:
        try:
            failure = msgspec.json.decode(line, type=Failure)
        except msgspec.DecodeError:
            continue  # the last line of a process that was killed
        failures[failure.key] = failure
    return failures


def write(path: Path, failures: Iterable[Failure]) -> None:
    """Replace the file as a whole, on the disk when this returns."""
    lines = (msgspec.json.encode(failure) + b"\n" for failure in failures)
    write_whole(path, b"".join(lines))


def by_cause(failures: Iterable[Failure]) -> dict[str, int]:
    """How many failed of each cause, most frequent first."""
    return dict(Counter(failure.cause for failure in failures).most_common())


def forget(path: Path, causes: Iterable[str] = ()) -> list[Failure]:
    """Strike the failures of these causes (of every cause, if none is named) off the file.

    Struck molecules count as missing again, so that the next ``generate`` tries them anew.
    Returns what was struck off.
    """
    causes = set(causes)
    failures = read(path)
    struck = [f for f in failures.values() if not causes or f.cause in causes]
    if struck:
        gone = {failure.key for failure in struck}
        write(path, (f for f in failures.values() if f.key not in gone))
    return struck
