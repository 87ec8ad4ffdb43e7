"""Errors that Psi4 raises, told in one line with what to do.

An error is Psi4's if Psi4's own code raised it: its driver (by the place in the traceback) or its
compiled core (by the words that the core puts before every error of its own).  All other errors
are bugs here and pass as they are.
"""

from __future__ import annotations

import difflib
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hpcml.errors import (
    ConvergenceError,
    EngineError,
    HpcmlError,
    InputError,
    PlatformError,
    ResourceError,
    SettingsError,
)
from hpcml.molecules.molecule import Molecule
from hpcml.response import refusals
from hpcml.response.level import Level
from hpcml.response.raised_by import raised_by

_OF_THE_CORE = re.compile(r"Fatal Error:|Error occurred in file:|PSIO_?ERROR")
_MEMORY = re.compile(r"not enough memory|memory requirement|out of memory|bad_alloc", re.IGNORECASE)
_ROTATED = "does not support rotated V builds"  # second-order SCF of a meta-GGA
_NO_DFTD3 = (
    "the program dftd3 is not installed; leave the dispersion correction out of the method's name, "
    "it changes neither dipole, alpha nor beta"
)
_ACCELERATOR = re.compile(r"[AE]DIIS minimization failed")  # a bare Exception, since 1.6


@contextmanager
def psi4s_errors_named(psi4: Any, molecule: Molecule, level: Level) -> Iterator[None]:
    """Turn Psi4's own errors inside the ``with`` into hpcml's; let all others pass."""
    try:
        yield
    except HpcmlError:
        raise
    except Exception as error:
        if not _is_of_psi4(psi4, error):
            raise
        raise named(psi4, error, molecule, level) from error


def _is_of_psi4(psi4: Any, error: Exception) -> bool:
    unconverged = psi4.driver.p4util.exceptions.SCFConvergenceError
    if isinstance(error, MemoryError | unconverged) or _OF_THE_CORE.search(str(error)):
        return True
    return raised_by(error, Path(psi4.__file__).parent)


def named(psi4: Any, error: Exception, molecule: Molecule, level: Level) -> HpcmlError:
    """The error of ours that says what the user can do about one of Psi4's."""
    where = f"{molecule.name or molecule.formula} at {level.label}"
    text = " ".join(str(error).split())
    if isinstance(error, psi4.driver.p4util.exceptions.SCFConvergenceError):
        error.wfn.finalize()  # Psi4 aborts at its exit where an SCF has not been closed
        residual = float(getattr(error, "d_conv", float("nan")))
        return ConvergenceError(
            f"{where}: the SCF did not converge in {getattr(error, 'iteration', '?')} iterations "
            f"(orbital gradient {residual:.1e}); another recipe of the SCF or another geometry may",
            residual,
        )
    if _ACCELERATOR.search(text) or _ROTATED in text:
        return ConvergenceError(f"{where}: this recipe of the SCF fails: {text[:200]}")
    if isinstance(error, MemoryError) or _MEMORY.search(text):
        return ResourceError(f"{where}: not enough memory; raise memory_mb ({text[:200]})")
    if type(error).__name__ == "BasisSetNotFound":
        return InputError(
            f"{where}: Psi4 has no fitting set for some element of it; compute with exact "
            f"integrals (exact = true, --exact) ({text[:160]})"
        )
    if "dftd3" in text:
        return PlatformError(f"{where}: {_NO_DFTD3}")
    return EngineError(f"{where}: Psi4 fails: {type(error).__name__}: {text[:300]}")


def missing_program(psi4: Any, level: Level) -> str:
    """One line where the method's dispersion correction needs a program that is not there."""
    functional = psi4.driver.dft.functionals.get(level.method.lower(), {})
    if not str(functional.get("dispersion", {}).get("type", "")).startswith("d3"):
        return ""
    there = shutil.which("dftd3") or shutil.which("s-dftd3") or find_spec("dftd3")
    return "" if there else _NO_DFTD3


def check_method(psi4: Any, level: Level) -> None:
    """Refuse what is no functional, and functionals without a response.

    Raises
    ------
    SettingsError
    """
    if level.is_hartree_fock:
        return
    known = psi4.driver.dft.functionals
    name = level.method.lower()
    if name in known and "c_mp2" in known[name]:
        raise SettingsError(f"method {level.method!r} {refusals.DOUBLE_HYBRID}")
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        raise SettingsError(
            f"method {level.method!r} is neither HF nor a functional of this Psi4"
            + (f"; near: {', '.join(near)}" if near else "")
            + ('; PySCF has it (engine = "pyscf", --engine pyscf)' if _pyscf_has(name) else "")
        )
    if psi4.driver.dft.build_superfunctional(name, True)[0].needs_vv10():
        raise SettingsError(f"method {level.method!r} {refusals.NON_LOCAL}")


def _pyscf_has(name: str) -> bool:
    """Whether the other engine is installed and has a functional that this Psi4 has not."""
    if find_spec("pyscf") is None:
        return False
    from hpcml.response.pyscf.functional_names import FUNCTIONALS

    return name in FUNCTIONALS
