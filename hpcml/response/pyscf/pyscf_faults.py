"""What is wrong with a level, for PySCF."""

from __future__ import annotations

from hpcml.errors import SettingsError
from hpcml.response import basis
from hpcml.response.engine import Faults
from hpcml.response.level import Level
from hpcml.response.pyscf.functionals import check_method


def find_faults(level: Level, elements: tuple[int, ...]) -> Faults:
    """See ``engine.Engine``."""
    method = ""
    try:
        check_method(level)
    except SettingsError as error:
        method = str(error)
    try:
        return Faults(method=method, uncovered=basis.uncovered(level.basis, elements, None))
    except SettingsError as error:
        return Faults(method=method, basis=str(error))
