"""A converged ground state of PySCF and the integrals that its response needs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
import pyscf
from numpy.typing import NDArray
from pyscf.dft import libxc

from hpcml.molecules.molecule import Molecule
from hpcml.response.density_variables import Block, Functional, ThirdDerivatives
from hpcml.response.engine import Resources
from hpcml.response.fock import Orbitals, TwoElectron
from hpcml.response.induced_densities import InducedDensities
from hpcml.response.level import Grid, Level
from hpcml.response.libxc import LibXCFunctional
from hpcml.response.orbital_facts import left_out, orbital_facts
from hpcml.response.pyscf import field as scf
from hpcml.response.pyscf import free_atoms, functionals, points
from hpcml.response.pyscf.coulomb_exchange import CoulombExchange
from hpcml.response.pyscf.system import system
from hpcml.response.shares import AtomicMoments
from hpcml.response.team import together
from hpcml.response.two_electron import MatrixBuilder

Array = NDArray[np.float64]

_KERNEL_SHARE = 0.3  # of the memory, for basis functions on the grid


@dataclass(frozen=True, eq=False)
class PySCFGroundState:
    """An ``engine.GroundState`` of PySCF: see there for what each member is."""

    energy: float
    dipole: Array
    origin: Array
    channels: tuple[Orbitals, ...]
    dipole_integrals: Array
    provenance: dict[str, Any]
    _molecule: Molecule
    _level: Level
    _resources: Resources
    _mole: Any
    _solved: Any
    _integrals: CoulombExchange

    @property
    def overlap(self) -> Array:
        """See ``engine.GroundState``."""
        return np.asarray(self._mole.intor("int1e_ovlp"))

    @property
    def centres(self) -> NDArray[np.int64]:
        """See ``engine.GroundState``."""
        return free_atoms.centres(self._mole)

    @property
    def why_not_analytic(self) -> str:
        """See ``engine.GroundState``."""
        return ""

    def again(
        self,
        *,
        field: Array | None = None,
        start: Sequence[Array] | None = None,
        convergence: float = np.inf,
    ) -> PySCFGroundState:
        """See ``engine.GroundState``."""
        closed_shell = start is None and len(self.channels) == 1
        level = self._level
        enough = min(level.scf_convergence, convergence)
        level = msgspec.structs.replace(level, scf_convergence=enough)

        def converge() -> Any:
            unsolved, _ = scf.mean_field(self._mole, level, closed_shell=closed_shell)
            density = self._solved.make_rdm1()
            if field is not None:
                # the energy changes by -mu . field
                operator = -np.einsum("x,xmn->mn", field, self.dipole_integrals)
                unsolved.get_hcore = scf.in_field(unsolved, operator)
            if start is not None:
                density = np.array([occupied @ occupied.T for occupied in start])
            recipe = 0 if start is None else scf.DOWNHILL
            return scf.converge(unsolved, self._molecule, level, recipe, density)

        solved = together(self._resources.communicator, converge)
        found = _found(solved, self._molecule, self._resources, self.dipole_integrals)
        return replace(
            self,
            **found,
            provenance=self.provenance | _described(solved, found["channels"]),
            _solved=solved,
            _integrals=CoulombExchange.of(solved, level, self._resources),
        )

    def two_electron(self, right_sides: int) -> TwoElectron:
        """See ``engine.GroundState``."""
        fitted = self._integrals.over_orbitals(self.channels, right_sides)
        return fitted or MatrixBuilder(self.channels, self.matrices)

    def matrices(
        self, left: Array, rights: Sequence[Array]
    ) -> tuple[list[Array], list[Array] | None]:
        """See ``engine.GroundState``."""
        return self._integrals.matrices(np.array([left @ right.T for right in rights]))

    def blocks(self, grid: Grid) -> Iterator[Block] | None:
        """See ``engine.GroundState``."""
        if self._level.is_hartree_fock:
            return None
        return points.blocks(
            self._mole,
            grid,
            gradients=self._kind != "LDA",
            kinetic=self._kind == "MGGA",
            memory=_KERNEL_SHARE * self._resources.memory_mb * 1e6,
            thinned=self._level.loose,
        )

    def functional(self, closed_shell: bool) -> Functional:
        """See ``engine.GroundState``."""
        return self._of_libxc(closed_shell).second

    def third_derivatives(self, closed_shell: bool) -> ThirdDerivatives:
        """See ``engine.GroundState``."""
        functional = self._of_libxc(closed_shell)
        return ThirdDerivatives(functional.source, functional.third)

    def _of_libxc(self, closed_shell: bool) -> LibXCFunctional:
        return LibXCFunctional(functionals.pyscf_name(self._level), 1 if closed_shell else 2)

    def atomic_moments(self, densities: InducedDensities) -> AtomicMoments:
        """See ``engine.GroundState``; the quadrature is the SCF's."""
        return free_atoms.atomic_moments(self._mole, densities, self._level.grid)

    @property
    def _kind(self) -> str:
        """PySCF's word: LDA, GGA or MGGA."""
        return str(libxc.xc_type(functionals.pyscf_name(self._level)))


@contextmanager
def ground_state(
    molecule: Molecule,
    level: Level,
    resources: Resources,
    *,
    solve: Callable[[Any, Molecule, Level, int], Any] = scf.converge,
) -> Iterator[PySCFGroundState]:
    """See ``engine.Engine``; ``solve`` makes a converged field of one that is not."""
    attempt, communicator = resources.attempt, resources.communicator
    with system(molecule, level, resources) as (mole, basis):
        started = time.perf_counter()

        def converge() -> tuple[Any, str]:
            closed_shell = molecule.multiplicity == 1
            unsolved, integrals = scf.mean_field(mole, level, closed_shell=closed_shell)
            return solve(unsolved, molecule, level, attempt), integrals

        solved, integrals = together(communicator, converge)
        dipole_integrals = -np.asarray(mole.intor("int1e_r"))
        found = _found(solved, molecule, resources, dipole_integrals)
        yield PySCFGroundState(
            **found,
            dipole_integrals=dipole_integrals,
            provenance={
                "program": "PySCF",
                "program_version": pyscf.__version__,
                "method": level.method,
                "basis": basis.provenance(),
                "integrals": integrals,
                "basis_functions": int(mole.nao),
                "orbitals": sum(found["channels"][0].shape),
                "scf_attempt": attempt,
                "scf_seconds": round(time.perf_counter() - started, 3),
                "dipole_origin": found["origin"].tolist(),
                **_described(solved, found["channels"]),
                "warnings": [*basis.warnings, *left_out(mole.nao, sum(found["channels"][0].shape))],
            }
            | ({} if level.is_hartree_fock else {"libxc": libxc.libxc_version()}),
            _molecule=molecule,
            _level=level,
            _resources=resources,
            _mole=mole,
            _solved=solved,
            _integrals=CoulombExchange.of(solved, level, resources),
        )


def _found(
    solved: Any, molecule: Molecule, resources: Resources, dipole_integrals: Array
) -> dict[str, Any]:
    """What a converged field says of the molecule: members of a ground state by name."""
    channels = _channels(solved)
    if resources.communicator is not None:
        channels = resources.communicator.bcast(channels)
    origin, dipole = _dipole(molecule, solved, dipole_integrals)
    return {
        "energy": float(solved.e_tot),
        "dipole": dipole,
        "origin": origin,
        "channels": channels,
    }


def _described(solved: Any, channels: Sequence[Orbitals]) -> dict[str, Any]:
    """What the provenance has of the converged field itself."""
    unrestricted, hartree_fock = len(channels) > 1, not hasattr(solved, "xc")
    return {
        "reference": ("U" if unrestricted else "R") + ("HF" if hartree_fock else "KS"),
        "scf_iterations": int(solved.cycles),
        **orbital_facts(channels, solved.mol.intor("int1e_ovlp")),
    }


def _channels(solved: Any) -> tuple[Orbitals, ...]:
    spins = zip(
        *(
            [part] if np.ndim(solved.mo_energy) == 1 else part
            for part in (solved.mo_coeff, solved.mo_energy, solved.mo_occ)
        ),
        strict=True,
    )
    return tuple(
        Orbitals(
            np.ascontiguousarray(orbitals[:, filled > 0]),
            np.ascontiguousarray(orbitals[:, filled == 0]),
            energies[filled > 0],
            energies[filled == 0],
        )
        for orbitals, energies, filled in spins
    )


def _dipole(molecule: Molecule, solved: Any, dipole_integrals: Array) -> tuple[Array, Array]:
    """Centre of nuclear charge in bohr, and the dipole about it in e bohr."""
    charges, positions = solved.mol.atom_charges(), solved.mol.atom_coords()
    origin = charges @ positions / charges.sum()
    density = np.asarray(solved.make_rdm1()).reshape(-1, *dipole_integrals.shape[1:]).sum(axis=0)
    about_zero = charges @ positions + np.einsum("xmn,mn->x", dipole_integrals, density)
    return origin, about_zero - molecule.charge * origin
