"""Psi4 for one calculation: loaded, its options set, its scratch files and memory bounded.

Psi4 is imported when the first calculation starts.  Everything happens in C1 and in the frame of
the input geometry.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from hpcml.errors import PlatformError, ResourceError
from hpcml.molecules.molecule import Molecule
from hpcml.response import basis as basis_sets
from hpcml.response import refusals, units
from hpcml.response.engine import Resources
from hpcml.response.level import Level
from hpcml.response.psi4 import memory, psi4_errors, self_consistent, versions
from hpcml.response.psi4.basis_cache import remember_basis_sets

_GRID_OPTIONS = ("dft_radial_points", "dft_spherical_points")


class Session(NamedTuple):
    """Psi4 with its options set, its molecule, and the basis set that it uses."""

    psi4: Any
    molecule: Any
    basis: basis_sets.BasisSet


def load_psi4() -> Any:
    """The module, loaded once a process; PlatformError where it is not installed."""
    if "psi4" in sys.modules:
        return sys.modules["psi4"]
    # What is registered last runs first: step into a folder of our own, let Psi4 end, remove it.
    folder = tempfile.mkdtemp(prefix="hpcml-psi4-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        import psi4
    except ImportError as error:
        raise PlatformError(
            f"Psi4 cannot be imported ({error}): install it (Debian: apt install psi4; "
            "conda: conda install -c conda-forge psi4)"
        ) from error
    atexit.register(_step_aside, folder)
    versions.give_jk_more_than_it_estimates(psi4.core)
    remember_basis_sets(psi4)
    return psi4


def _step_aside(folder: str) -> None:
    """Keep the working folder clean of what Psi4 leaves at its exit: timer.dat, and the list of
    its scratch files, which it would look for in the folder it ends in."""
    Path(f"psi.{os.getpid()}.clean").unlink(missing_ok=True)
    os.chdir(folder)


def library_folder() -> Path:
    """Where Psi4 keeps its basis sets."""
    return Path(load_psi4().core.get_datadir()) / "basis"


@contextmanager
def session(molecule: Molecule, level: Level, resources: Resources) -> Iterator[Session]:
    """Psi4 with its options set for one calculation.

    Errors that Psi4 itself raises inside the ``with`` become hpcml's; all others pass.  Its
    options are clean afterwards.

    Raises
    ------
    SettingsError, InputError, PlatformError, ResourceError
        See ``engine.Engine.ground_state``.
    """
    if resources.memory_mb < memory.LEAST_MB:
        raise ResourceError(
            f"{resources.memory_mb} MB of memory are too little for Psi4: give at least "
            f"{memory.LEAST_MB}"
        )
    psi4 = load_psi4()
    with psi4_errors.psi4s_errors_named(psi4, molecule, level):
        _clean(psi4.core, resources)
        numbers = [int(z) for z in molecule.numbers]
        basis = basis_sets.resolve(level.basis, numbers, library_folder())
        refusals.check_room(molecule, basis)
        psi4_errors.check_method(psi4, level)
        if lacking := psi4_errors.missing_program(psi4, level):
            # Psi4 finds out in a folder that it made in the user's home, and stays there
            raise PlatformError(f"{molecule.name or molecule.formula} at {level.label}: {lacking}")
        try:
            opened = Session(psi4, _molecule(psi4.core, molecule), basis)
            _set_options(opened, level, resources)
            yield opened
        finally:
            psi4.core.clean_options()


def _clean(core: Any, resources: Resources) -> None:
    core.clean()
    core.clean_options()
    core.be_quiet()
    core.set_num_threads(resources.threads)
    core.set_memory_bytes(int(resources.memory_mb * 1e6))
    scratch = resources.scratch or Path(tempfile.gettempdir())
    core.IOManager.shared_object().set_default_path(f"{scratch}/")


def _molecule(core: Any, molecule: Molecule) -> Any:
    psi4_molecule = core.Molecule.from_arrays(
        geom=(molecule.positions / units.ANGSTROM).ravel(),
        elez=[int(number) for number in molecule.numbers],
        units="Bohr",
        fix_com=True,
        fix_orientation=True,
        fix_symmetry="c1",
        molecular_charge=molecule.charge,
        molecular_multiplicity=molecule.multiplicity,
    )
    psi4_molecule.update_geometry()
    return psi4_molecule


def _set_options(opened: Session, level: Level, resources: Resources) -> None:
    psi4, molecule, basis = opened
    options: dict[str, Any] = {
        "reference": _reference_name(level, molecule.multiplicity()),
        "scf_type": "PK" if level.exact else "DF",
        "save_jk": True,
        **self_consistent.thresholds(level),
        **dict(zip(_GRID_OPTIONS, level.grid, strict=True)),
        "maxiter": 100,
        **versions.accelerator(psi4.core),
        **self_consistent.recipe(psi4, level, resources.attempt),
    }
    if basis.text is None:
        options["basis"] = level.basis
    psi4.set_options(options)
    if basis.text is not None:
        psi4.basis_helper(basis.text, name="hpcml_basis")
    if level.exact and _count_functions(psi4.core, molecule) ** 4 > resources.memory_mb * 1e6:
        # the eighth of n^4 that is unique, 8 bytes each, does not fit
        psi4.set_options({"scf_type": "DIRECT"})


def _count_functions(core: Any, psi4_molecule: Any) -> int:
    name = core.get_global_option("BASIS")
    return int(core.BasisSet.build(psi4_molecule, "ORBITAL", name, quiet=True).nbf())


def _reference_name(level: Level, multiplicity: int) -> str:
    spin = "R" if multiplicity == 1 else "U"
    return spin + ("HF" if level.is_hartree_fock else "KS")
