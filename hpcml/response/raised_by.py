"""Whose error it is: a program's own, or a bug of hpcml's."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

_OURS = Path(__file__).parents[1]


def raised_by(error: Exception, program: Path) -> bool:
    """Whether a program raised it, or a library that the program called, and not hpcml's code.

    program   the folder of the program's own Python code
    """
    for place in reversed(_places(error.__traceback__)):
        if _OURS in place.parents:
            return False
        if program in place.parents:
            return True
    return False


def _places(traceback: TracebackType | None) -> list[Path]:
    """The files of a traceback's frames, the innermost last."""
    places = []
    while traceback is not None:
        places.append(Path(traceback.tb_frame.f_code.co_filename))
        traceback = traceback.tb_next
    return places
