"""A molecule with its basis set in PySCF, and what one calculation of it may use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from pyscf import gto, lib

from hpcml.molecules.molecule import Molecule
from hpcml.response import basis as basis_sets
from hpcml.response import refusals, units
from hpcml.response.engine import Resources
from hpcml.response.level import Level
from hpcml.response.pyscf import basis_text
from hpcml.response.pyscf.functionals import check_method
from hpcml.response.pyscf.pyscf_errors import pyscfs_errors_named


class System(NamedTuple):
    """PySCF's molecule, and the basis set that it uses."""

    mole: Any
    basis: basis_sets.BasisSet


def prepare() -> None:
    """See ``engine.Engine``: importing this file has loaded PySCF."""


@contextmanager
def system(molecule: Molecule, level: Level, resources: Resources) -> Iterator[System]:
    """A molecule in PySCF, with threads, memory and scratch folder set while the ``with`` lasts.

    Errors that PySCF itself raises inside become hpcml's; all others pass.

    Raises
    ------
    SettingsError, InputError, ResourceError
        See ``engine.Engine.ground_state``.
    """
    scratch = str(resources.scratch) if resources.scratch else lib.param.TMPDIR
    with (
        pyscfs_errors_named(molecule, level),
        lib.with_omp_threads(resources.threads),
        lib.temporary_env(lib.param, TMPDIR=scratch),
    ):
        check_method(level)
        basis = basis_sets.resolve(level.basis, [int(z) for z in molecule.numbers], None)
        refusals.check_room(molecule, basis)
        yield System(_mole(molecule, basis, resources.memory_mb), basis)


def _mole(molecule: Molecule, basis: basis_sets.BasisSet, memory_mb: int) -> Any:
    shells, potentials = basis_text.in_pyscf(basis, molecule.symbols)
    positions = molecule.positions / units.ANGSTROM
    return gto.M(
        atom=list(zip(molecule.symbols, positions.tolist(), strict=True)),
        unit="Bohr",
        basis=shells,
        ecp=potentials,
        cart=not basis.spherical,
        charge=molecule.charge,
        spin=molecule.multiplicity - 1,
        max_memory=memory_mb,
        verbose=0,
        parse_arg=False,
    )
