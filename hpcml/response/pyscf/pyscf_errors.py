"""Errors that PySCF raises, told in one line with what to do.

An error is PySCF's if PySCF's own code raised it, or a library below it.  All other errors are
bugs here and pass as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyscf

from hpcml.errors import EngineError, HpcmlError, ResourceError
from hpcml.molecules.molecule import Molecule
from hpcml.response.level import Level
from hpcml.response.raised_by import raised_by


@contextmanager
def pyscfs_errors_named(molecule: Molecule, level: Level) -> Iterator[None]:
    """Turn PySCF's own errors inside the ``with`` into hpcml's; let all others pass."""
    where = f"{molecule.name or molecule.formula} at {level.label}"
    try:
        yield
    except HpcmlError:
        raise
    except MemoryError as error:
        words = " ".join(str(error).split())[:200]
        raise ResourceError(f"{where}: not enough memory; raise memory_mb ({words})") from error
    except Exception as error:
        if not raised_by(error, Path(pyscf.__file__).parent):
            raise
        words = " ".join(str(error).split())[:300]
        raise EngineError(f"{where}: PySCF fails: {type(error).__name__}: {words}") from error
