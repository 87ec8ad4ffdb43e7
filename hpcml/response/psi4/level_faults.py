"""Whether Psi4 can compute at a level, from its names and basis sets alone.

``python -m hpcml.response.psi4.level_faults`` answers in a process of its own, for those who do
not want Psi4 in theirs: a JSON request on its input, a JSON ``Faults`` on its output.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from hpcml.errors import InputError, PlatformError, SettingsError
from hpcml.molecules.molecule import symbol
from hpcml.response.level import Level
from hpcml.response.psi4 import basis, session
from hpcml.response.psi4.psi4_errors import check_method, missing_program

_SECONDS = 300


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a level.

    method, basis   one line, empty where nothing is
    program         the same of a program that the method needs besides Psi4
    uncovered       symbols of elements for which the basis set has no functions
    """

    method: str = ""
    program: str = ""
    basis: str = ""
    uncovered: tuple[str, ...] = ()


class _Question(msgspec.Struct, frozen=True):
    level: Level
    elements: tuple[int, ...]


def level_faults(level: Level, elements: tuple[int, ...]) -> Faults:
    """Ask a process of its own what is wrong with a level for these elements.

    elements   atomic numbers

    Raises PlatformError where Psi4 does not start.
    """
    question = msgspec.json.encode(_Question(level, elements))
    package = str(Path(__file__).parents[3])
    places = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    with tempfile.TemporaryDirectory(prefix="hpcml-") as folder:
        try:
            answer = subprocess.run(
                [sys.executable, "-m", __name__],
                input=question,
                capture_output=True,
                cwd=folder,
                env={**os.environ, "PYTHONPATH": places},
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise PlatformError(f"Psi4 has not started within {_SECONDS} s") from None
    if answer.returncode != 0:
        lines = answer.stderr.decode(errors="replace").strip().splitlines()
        raise PlatformError(lines[-1] if lines else f"Psi4 ends with {answer.returncode}")
    return msgspec.json.decode(answer.stdout.splitlines()[-1], type=Faults)


def find_faults(level: Level, elements: tuple[int, ...]) -> Faults:
    """The same in this process, which loads Psi4."""
    psi4, library = session.load_psi4(), session.library_folder()
    method = ""
    try:
        check_method(psi4, level)
    except SettingsError as error:
        method = str(error)
    program = "" if method else missing_program(psi4, level)
    uncovered: list[str] = []
    try:
        basis.resolve(level.basis, (), library)
        for number in elements:
            try:
                basis.resolve(level.basis, (number,), library)
            except InputError:
                uncovered.append(symbol(number))
    except SettingsError as error:
        return Faults(method=method, program=program, basis=str(error))
    return Faults(method=method, program=program, uncovered=tuple(uncovered))


def main() -> None:
    """Answer the question that stands on the input."""
    question = msgspec.json.decode(sys.stdin.buffer.read(), type=_Question)
    answer = msgspec.json.encode(find_faults(question.level, question.elements))
    sys.stdout.flush()  # Psi4 has printed what it likes
    sys.stdout.buffer.write(b"\n" + answer + b"\n")


if __name__ == "__main__":
    main()
