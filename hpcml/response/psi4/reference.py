"""A converged ground state of Psi4 and the integrals that its response needs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from hpcml.molecules.molecule import Molecule, atomic_number
from hpcml.response import libxc, units
from hpcml.response.basis import BasisSet
from hpcml.response.density_variables import Block, Functional, ThirdDerivatives
from hpcml.response.engine import Resources
from hpcml.response.fock import Orbitals, TwoElectron
from hpcml.response.induced_densities import InducedDensities
from hpcml.response.level import Grid, Level
from hpcml.response.libxc import LibXCFunctional
from hpcml.response.orbital_facts import left_out, orbital_facts
from hpcml.response.psi4 import (
    composition,
    memory,
    quadrature,
    self_consistent,
    stockholder,
    versions,
)
from hpcml.response.psi4.psi4_errors import psi4s_errors_named
from hpcml.response.psi4.session import Session, session
from hpcml.response.shares import AtomicMoments
from hpcml.response.team import together
from hpcml.response.two_electron import FittedChannel, FittedIntegrals, MatrixBuilder

Array = NDArray[np.float64]

_TRIALS_PER_EQUATION = 8


@dataclass(frozen=True, eq=False)
class Reference:
    """An ``engine.GroundState`` of Psi4: see there for what each member is."""

    energy: float
    dipole: Array
    origin: Array
    channels: tuple[Orbitals, ...]
    dipole_integrals: Array
    provenance: dict[str, Any]
    _molecule: Molecule
    _session: Session
    _wavefunction: Any
    _level: Level
    _resources: Resources
    _found: dict[bool, LibXCFunctional | str] = field(default_factory=dict)

    @property
    def why_not_analytic(self) -> str:
        """See ``engine.GroundState``."""
        if self._wavefunction.functional().is_meta():
            # of a closed shell both are wanted: whether it is a minimum is asked of two channels
            for closed_shell in {False, len(self.channels) == 1}:
                found = self._of_libxc(closed_shell)
                if isinstance(found, str):
                    return f"Psi4 has no second derivatives of meta-GGA functionals, and {found}"
        return ""

    @property
    def overlap(self) -> Array:
        """See ``engine.GroundState``."""
        mints = self._session.psi4.core.MintsHelper(self._wavefunction.basisset())
        return np.array(mints.ao_overlap())

    @property
    def centres(self) -> NDArray[np.int64]:
        """See ``engine.GroundState``."""
        functions = self._wavefunction.basisset()
        return np.array([functions.function_to_center(i) for i in range(functions.nbf())])

    def again(
        self,
        *,
        field: Array | None = None,
        start: Sequence[Array] | None = None,
        convergence: float = np.inf,
    ) -> Reference:
        """See ``engine.GroundState``."""
        psi4, level = self._session.psi4, self._level
        closed_shell = start is None and len(self.channels) == 1
        enough = min(level.scf_convergence, convergence)
        level = msgspec.structs.replace(level, scf_convergence=enough)

        def converge() -> Any:
            orbitals = start or [channel.occupied for channel in self.channels]
            with psi4s_errors_named(psi4, self._molecule, level):
                return self_consistent.from_orbitals(
                    psi4, self._session.molecule, level, orbitals, field
                )

        wavefunction = together(self._resources.communicator, converge)
        found = _found(
            wavefunction, self._molecule, self._resources, self.dipole_integrals, closed_shell
        )
        return replace(
            self,
            energy=float(wavefunction.energy()),
            **found,
            provenance=self.provenance | _described(wavefunction, found["channels"]),
            _wavefunction=wavefunction,
        )

    def two_electron(self, right_sides: int) -> TwoElectron:
        """See ``engine.GroundState``."""
        wavefunction, functional = self._wavefunction, self._wavefunction.functional()
        jk = wavefunction.jk()
        if not hasattr(jk, "dfh") or functional.is_x_lrc():
            return MatrixBuilder(self.channels, self.matrices)
        fitting = wavefunction.get_basisset("DF_BASIS_SCF").nbf()
        shapes = [channel.shape for channel in self.channels]
        held = 2.0 * sum(fitting * (o + v) ** 2 for o, v in shapes)  # Psi4's copy and ours
        available = memory.INTEGRALS_SHARE * self._memory / 8.0
        if held > available:
            return MatrixBuilder(self.channels, self.matrices)
        exchange = 2.0 * sum((o * v) ** 2 for o, v in shapes)
        few = max(o for o, _ in shapes) < _TRIALS_PER_EQUATION * right_sides * 2
        return FittedIntegrals(
            [
                _fitted_channel(self._session.psi4.core, jk.dfh(), channel, fitting)
                for channel in self.channels
            ],
            functional.x_alpha() if functional.is_x_hybrid() else 0.0,
            store_exchange=few and held + exchange < available,
        )

    @property
    def _memory(self) -> float:
        """Bytes that the SCF's integrals leave to the response."""
        held = versions.fitted_integrals_held(
            self._wavefunction.jk(), long_range=self._wavefunction.functional().is_x_lrc()
        )
        return max(0.0, self._resources.memory_mb * 1e6 - held)

    def matrices(
        self, left: Array, rights: Sequence[Array]
    ) -> tuple[list[Array], list[Array] | None]:
        """See ``engine.GroundState``."""
        functional = self._wavefunction.functional()
        if functional.is_x_lrc() and not self._level.exact:
            # Psi4 fits one side of the long-range integrals only, so that K[D^T] is not K[D]^T;
            # its SCF has the mean of both, and so must the response of that SCF
            coulomb, there = self._matrices([left] * len(rights), rights)
            _, back = self._matrices(rights, [left] * len(rights))
            assert there is not None and back is not None
            return coulomb, [0.5 * (a + b.T) for a, b in zip(there, back, strict=True)]
        return self._matrices([left] * len(rights), rights)

    def _matrices(
        self, lefts: Sequence[Array], rights: Sequence[Array]
    ) -> tuple[list[Array], list[Array] | None]:
        core = self._session.psi4.core
        jk = self._wavefunction.jk()
        functional = self._wavefunction.functional()
        if not lefts[0].shape[1]:  # a channel without electrons
            zeros = [np.zeros((len(left), len(left))) for left in lefts]
            exact = functional.is_x_hybrid() or functional.is_x_lrc()
            return zeros, list(zeros) if exact else None
        jk.C_clear()
        for left, right in zip(lefts, rights, strict=True):
            jk.C_left_add(core.Matrix.from_array(np.ascontiguousarray(left)))
            jk.C_right_add(core.Matrix.from_array(np.ascontiguousarray(right)))
        jk.compute()
        coulomb = [np.array(matrix) for matrix in jk.J()]
        parts = []
        if functional.is_x_hybrid():
            parts.append([functional.x_alpha() * np.asarray(matrix) for matrix in jk.K()])
        if functional.is_x_lrc():
            parts.append([functional.x_beta() * np.asarray(matrix) for matrix in jk.wK()])
        jk.C_clear()
        return coulomb, [sum(both) for both in zip(*parts, strict=True)] if parts else None

    def atomic_moments(self, densities: InducedDensities) -> AtomicMoments:
        """See ``engine.GroundState``; the quadrature is the SCF's."""
        return stockholder.atomic_moments(self._session.psi4, self._wavefunction, densities)

    def blocks(self, grid: Grid) -> Iterator[Block] | None:
        """See ``engine.GroundState``."""
        if not self._wavefunction.functional().needs_xc():
            return None
        return quadrature.blocks(
            self._session.psi4,
            self._wavefunction.basisset(),
            self._level.method,
            grid,
            memory.KERNEL_SHARE * self._memory,
            thinned=self._level.loose,
        )

    def functional(self, closed_shell: bool) -> Functional:
        """See ``engine.GroundState``."""
        if self._wavefunction.functional().is_meta():
            exact = self._of_libxc(closed_shell)
            assert not isinstance(exact, str), exact  # see why_not_analytic
            return exact.second
        return quadrature.functional(self._session.psi4, self._level.method, closed_shell)

    def third_derivatives(self, closed_shell: bool) -> ThirdDerivatives:
        """See ``engine.GroundState``."""
        functional = self._of_libxc(closed_shell)
        if isinstance(functional, str):
            return ThirdDerivatives(f"central difference, because {functional}")
        return ThirdDerivatives(functional.source, functional.third)

    def _of_libxc(self, closed_shell: bool) -> LibXCFunctional | str:
        """The functional with all its derivatives, or why there is none."""
        if closed_shell not in self._found:
            blocks = self.blocks(composition.CHECKED_GRID)
            assert blocks is not None  # Hartree-Fock has no functional to ask for
            try:
                self._found[closed_shell] = composition.same_functional(
                    self._session.psi4,
                    self._level.method,
                    [channel.occupied for channel in self.channels],
                    blocks,
                    closed_shell=closed_shell,
                )
                libxc.use_threads(self._resources.threads)
            except libxc.MissingFunctionalError as error:
                self._found[closed_shell] = str(error)
        return self._found[closed_shell]


@contextmanager
def ground_state(molecule: Molecule, level: Level, resources: Resources) -> Iterator[Reference]:
    """See ``engine.Engine``."""
    attempt, communicator = resources.attempt, resources.communicator
    with session(molecule, level, resources) as opened:
        psi4, psi4_molecule, basis = opened
        started = time.perf_counter()

        def converge() -> tuple[float, Any]:
            # named here already: an error that goes to other ranks must hold nothing of Psi4's
            with psi4s_errors_named(psi4, molecule, level):
                return self_consistent.converge(psi4, psi4_molecule, level, attempt)

        energy, wavefunction = together(communicator, converge)
        mints = psi4.core.MintsHelper(wavefunction.basisset())
        dipole_integrals = np.array([np.array(matrix) for matrix in mints.ao_dipole()])
        found = _found(
            wavefunction,
            molecule,
            resources,
            dipole_integrals,
            closed_shell=molecule.multiplicity == 1,
        )
        yield Reference(
            energy=energy,
            **found,
            dipole_integrals=dipole_integrals,
            provenance={
                "program": "Psi4",
                "program_version": psi4.__version__,
                "method": level.method,
                "basis": basis.provenance(),
                "integrals": wavefunction.jk().name(),
                "basis_functions": wavefunction.nso(),
                "orbitals": wavefunction.nmo(),
                "scf_attempt": attempt,
                "scf_seconds": round(time.perf_counter() - started, 3),
                "dipole_origin": found["origin"].tolist(),
                **_described(wavefunction, found["channels"]),
                "warnings": _warnings(psi4.__version__, wavefunction, basis),
                **versions.accelerator(psi4.core),
            },
            _molecule=molecule,
            _session=opened,
            _wavefunction=wavefunction,
            _level=level,
            _resources=resources,
        )


def _found(
    wavefunction: Any,
    molecule: Molecule,
    resources: Resources,
    dipole_integrals: Array,
    closed_shell: bool,
) -> dict[str, Any]:
    """What a converged wave function says of the molecule: members of a ground state by name."""
    channels = _channels(wavefunction, closed_shell=closed_shell)
    if resources.communicator is not None:
        channels = resources.communicator.bcast(channels)
    origin, dipole = _dipole(molecule, wavefunction, dipole_integrals)
    return {
        "dipole": dipole,
        "origin": origin,
        "channels": channels,
    }


def _described(wavefunction: Any, channels: Sequence[Orbitals]) -> dict[str, Any]:
    """What the provenance has of the converged wave function itself."""
    return {
        "reference": wavefunction.name(),
        "scf_iterations": int(wavefunction.iteration_),
        **orbital_facts(channels, np.array(wavefunction.S())),
    }


def _warnings(version: str, wavefunction: Any, basis: BasisSet) -> list[str]:
    warnings = list(basis.warnings)
    potentials = {name: atomic_number(name) for name in basis.ecp}
    warnings += versions.core_potential_warnings(version, potentials)
    functional = wavefunction.functional()
    if functional.is_x_lrc() and functional.x_beta() < 0.0:
        warnings.append(
            "short-range exchange, as in HSE: LibXC's derivatives of its semilocal part are not "
            "exact, and beta is off by up to 3e-3 of its largest component (alpha by 1e-5)"
        )
    return warnings + left_out(wavefunction.nso(), wavefunction.nmo())


def _channels(wavefunction: Any, *, closed_shell: bool) -> tuple[Orbitals, ...]:
    spins = ("a",) if closed_shell else ("a", "b")
    return tuple(
        Orbitals(
            *(
                np.array(getattr(wavefunction, f"C{spin}_subset")("AO", part))
                for part in ("OCC", "VIR")
            ),
            *(
                np.array(getattr(wavefunction, f"epsilon_{spin}_subset")("AO", part))
                for part in ("OCC", "VIR")
            ),
        )
        for spin in spins
    )


def _fitted_channel(core: Any, helper: Any, channel: Orbitals, fitting: int) -> FittedChannel:
    """Integrals over molecular orbitals from the fitted ones that the SCF holds."""
    o, v = channel.shape
    if not o or not v:  # nothing to excite, of which Psi4 dies
        return FittedChannel(*(np.zeros((fitting, *s)) for s in ((o, v), (o, o), (v, v))))
    helper.add_space("o", core.Matrix.from_array(np.ascontiguousarray(channel.occupied)))
    helper.add_space("v", core.Matrix.from_array(np.ascontiguousarray(channel.virtual)))
    names = {"oo": ("o", "o"), "ov": ("o", "v"), "vv": ("v", "v")}
    for name, spaces in names.items():
        helper.add_transformation(name, *spaces)
    helper.transform()
    tensors = {name: np.asarray(helper.get_tensor(name)) for name in names}
    helper.clear_all()
    return FittedChannel(tensors["ov"], tensors["oo"], tensors["vv"])


def _dipole(molecule: Molecule, wavefunction: Any, dipole_integrals: Array) -> tuple[Array, Array]:
    """Centre of nuclear charge in bohr, and the dipole about it in e bohr."""
    positions = molecule.positions / units.ANGSTROM
    charges = np.array([wavefunction.molecule().Z(i) for i in range(len(molecule))])
    origin = charges @ positions / charges.sum()
    density = np.array(wavefunction.Da()) + np.array(wavefunction.Db())
    about_zero = charges @ positions + np.einsum("xmn,mn->x", dipole_integrals, density)
    return origin, about_zero - molecule.charge * origin
