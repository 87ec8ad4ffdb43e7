"""What cannot be calculated, told in one line with what to do, before Psi4 fails at it or after."""

from __future__ import annotations

import difflib
from typing import Any

import numpy as np

from hpcml.errors import ConvergenceError, InputError, PlatformError, ResourceError, SettingsError
from hpcml.molecules.molecule import Molecule
from hpcml.response.level import Level

_CLOSEST_NUCLEI = 0.35  # angstrom


def check_molecule(molecule: Molecule) -> None:
    """Raises InputError for an impossible multiplicity and for nuclei on top of each other."""
    label = molecule.name or molecule.formula
    electrons, unpaired = molecule.electrons, molecule.multiplicity - 1
    if electrons < 1:
        raise InputError(f"{label}: charge {molecule.charge} leaves {electrons} electrons")
    if unpaired < 0 or unpaired > electrons or (electrons - unpaired) % 2:
        raise InputError(
            f"{label}: {electrons} electrons cannot have multiplicity {molecule.multiplicity}; "
            "check charge and multiplicity"
        )
    distances = np.linalg.norm(
        molecule.positions[:, None, :] - molecule.positions[None, :, :], axis=-1
    )
    distances[np.diag_indices(len(molecule))] = np.inf
    first, second = np.unravel_index(np.argmin(distances), distances.shape)
    if distances[first, second] < _CLOSEST_NUCLEI:
        raise InputError(
            f"{label}: atoms {first + 1} ({molecule.symbols[first]}) and {second + 1} "
            f"({molecule.symbols[second]}) are {distances[first, second]:.3f} angstrom apart; "
            "are the positions in angstrom?"
        )


def check_method(psi4: Any, level: Level) -> None:
    """Raises SettingsError for what is no functional and for functionals without a response."""
    if level.is_hartree_fock:
        return
    known = psi4.driver.dft.functionals
    name = level.method.lower()
    if name in known and "c_mp2" in known[name]:
        raise SettingsError(
            f"method {level.method!r} is a double hybrid: its perturbative correlation has no "
            "response here; choose a functional without it"
        )
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        raise SettingsError(
            f"method {level.method!r} is neither HF nor a functional of this Psi4"
            + (f"; near: {', '.join(near)}" if near else "")
        )
    if psi4.driver.dft.build_superfunctional(name, True)[0].needs_vv10():
        raise SettingsError(
            f"method {level.method!r} has the non-local correlation VV10, of which Psi4 gives "
            "neither the response nor gradients; choose a functional without it (wB97X for "
            "wB97X-V)"
        )


def named(psi4: Any, error: Exception, molecule: Molecule, level: Level) -> Exception:
    """The error of ours that says what the user can do about one of Psi4's."""
    where = f"{molecule.name or molecule.formula} at {level.label}"
    text = " ".join(str(error).split())
    if isinstance(error, psi4.driver.p4util.exceptions.SCFConvergenceError):
        residual = float(getattr(error, "d_conv", float("nan")))
        return ConvergenceError(
            f"{where}: the SCF did not converge in {getattr(error, 'iteration', '?')} iterations "
            f"(orbital gradient {residual:.1e}); try the next attempt, or another geometry",
            residual,
        )
    if isinstance(error, MemoryError) or "memory" in text.lower() or "bad_alloc" in text:
        return ResourceError(f"{where}: not enough memory; raise memory_mb ({text[:200]})")
    if "dftd3" in text:
        return PlatformError(
            f"{where}: the program dftd3 is not installed; leave the dispersion correction out of "
            "the method's name, it changes neither dipole, alpha nor beta"
        )
    return InputError(f"{where}: Psi4 refuses: {text[:300]}")
