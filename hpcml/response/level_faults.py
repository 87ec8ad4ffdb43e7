"""Whether a level's engine can compute at it, from its names and basis sets alone.

``python -m hpcml.response.level_faults`` answers in a process of its own, for those who do not
want the engine in theirs: a JSON request on its input, a JSON ``Faults`` on its output.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from hpcml.errors import PlatformError
from hpcml.response.engine import Faults, engine
from hpcml.response.level import Level

_SECONDS = 300


class _Question(msgspec.Struct, frozen=True):
    level: Level
    elements: tuple[int, ...]


def level_faults(level: Level, elements: tuple[int, ...]) -> Faults:
    """Ask a process of its own what is wrong with a level for these elements.

    elements   atomic numbers

    Raises PlatformError where the engine does not start.
    """
    question = msgspec.json.encode(_Question(level, elements))
    package = str(Path(__file__).parents[2])
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
            raise PlatformError(f"the engine has not started within {_SECONDS} s") from None
    if answer.returncode != 0:
        lines = answer.stderr.decode(errors="replace").strip().splitlines()
        raise PlatformError(lines[-1] if lines else f"the engine ends with {answer.returncode}")
    return msgspec.json.decode(answer.stdout.splitlines()[-1], type=Faults)


def main() -> None:
    """Answer the question that stands on the input."""
    question = msgspec.json.decode(sys.stdin.buffer.read(), type=_Question)
    program = engine(question.level.engine)
    answer = msgspec.json.encode(program.find_faults(question.level, question.elements))
    sys.stdout.flush()  # the engine has printed what it likes
    sys.stdout.buffer.write(b"\n" + answer + b"\n")


if __name__ == "__main__":
    main()
