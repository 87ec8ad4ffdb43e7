"""What is wrong with a level, for Psi4."""

from __future__ import annotations

from hpcml.errors import SettingsError
from hpcml.response import basis
from hpcml.response.engine import Faults
from hpcml.response.level import Level
from hpcml.response.psi4 import session
from hpcml.response.psi4.psi4_errors import check_method, missing_program


def find_faults(level: Level, elements: tuple[int, ...]) -> Faults:
    """See ``engine.Engine``; loads Psi4."""
    psi4, library = session.load_psi4(), session.library_folder()
    method = ""
    try:
        check_method(psi4, level)
    except SettingsError as error:
        method = str(error)
    program = "" if method else missing_program(psi4, level)
    try:
        uncovered = basis.uncovered(level.basis, elements, library)
    except SettingsError as error:
        return Faults(method=method, program=program, basis=str(error))
    return Faults(method=method, program=program, uncovered=uncovered)
