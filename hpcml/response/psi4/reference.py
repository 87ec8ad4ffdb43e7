"""The ground state, by Psi4: the only file of hpcml that knows Psi4.

Psi4 is imported when the first calculation starts.  Everything happens in C1 and in the frame of
the input geometry.  What differs between Psi4 1.3.2 (Debian) and later versions is kept here too.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcml.errors import ConvergenceError, InputError, PlatformError, ResourceError, SettingsError
from hpcml.molecules.molecule import Molecule
from hpcml.response import units
from hpcml.response.fock import Orbitals, TwoElectron
from hpcml.response.kernels import Kernel
from hpcml.response.level import Level
from hpcml.response.psi4 import basis as basis_sets
from hpcml.response.psi4 import psi4_errors as refusals
from hpcml.response.psi4 import quadrature, self_consistent, stockholder
from hpcml.response.psi4.basis_cache import remember_basis_sets
from hpcml.response.shares import AtomicMoments
from hpcml.response.team import Communicator, together
from hpcml.response.two_electron import FittedChannel, FittedIntegrals, MatrixBuilder

Array = NDArray[np.float64]

_TRIALS_PER_EQUATION = 8
_GRID_OPTIONS = ("dft_radial_points", "dft_spherical_points")
_LEAST_MEMORY_MB = 250  # Psi4's own floor

# Orbital gradient of an SCF in a field: second differences make its error 1e5 times as large.
_CONVERGENCE_IN_FIELDS = 1e-9

# Of the memory that the SCF's integrals leave: the rest is for trial vectors and work arrays.
_INTEGRALS_MEMORY, _KERNEL_MEMORY = 0.5, 0.3

ATTEMPTS = len(self_consistent.RECIPES)
"""Number of SCF recipes: ``attempt`` runs from 0 to one less; beyond, the last one serves."""


@dataclass(frozen=True)
class Resources:
    """What a calculation may use: threads, memory in MB, and a folder for scratch files."""

    threads: int = 1
    memory_mb: int = 2000
    scratch: Path | None = None


@dataclass(frozen=True, eq=False)
class Reference:
    """A converged SCF and the integrals that its response needs.

    energy              hartree
    dipole              (3,) e bohr, physical sign, about ``origin``
    origin              (3,) bohr: the centre of nuclear charge
    channels            one for a closed shell, two (alpha, beta) for an open one
    dipole_integrals    (3, n, n): the electronic dipole operator, -r, e bohr
    provenance          JSON-able
    """

    energy: float
    dipole: Array
    origin: Array
    channels: tuple[Orbitals, ...]
    dipole_integrals: Array
    provenance: dict[str, Any]
    _wavefunction: Any
    _molecule: Any
    _level: Level
    _resources: Resources

    @property
    def why_not_analytic(self) -> str:
        """Why the response of this functional needs finite fields; empty where it does not."""
        if self._wavefunction.functional().is_meta():
            return "Psi4 has no second derivatives of meta-GGA functionals"
        return ""

    def density_in_field(self, field: Array) -> Array:
        """Density (n, n) of all electrons in a field (3,), hartree / (e bohr)."""
        psi4 = _psi4()
        # Psi4 adds + strength * mu to the Hamiltonian: a field of minus the strength
        psi4.set_options(
            {
                "perturb_h": True,
                "perturb_with": "dipole",
                "perturb_dipole": [-float(component) for component in field],
                "guess": "read",
                "d_convergence": min(self._level.scf_convergence, _CONVERGENCE_IN_FIELDS),
                "e_convergence": 1e-11,
            }
        )
        try:
            _, wavefunction = psi4.energy(
                self_consistent.method_name(self._level),
                molecule=self._molecule,
                return_wfn=True,
            )
        finally:
            psi4.set_options({"perturb_h": False, **self_consistent.thresholds(self._level)})
        density: Array = np.array(wavefunction.Da()) + np.array(wavefunction.Db())
        return density

    def two_electron(self, right_sides: int) -> TwoElectron:
        """Coulomb and exchange of first-order densities, by the fastest way that memory allows.

        right_sides   number of response equations that will be solved with it
        """
        wavefunction, functional = self._wavefunction, self._wavefunction.functional()
        jk = wavefunction.jk()
        if not hasattr(jk, "dfh") or functional.is_x_lrc():
            return MatrixBuilder(self.channels, self.matrices)
        fitting = wavefunction.get_basisset("DF_BASIS_SCF").nbf()
        shapes = [channel.shape for channel in self.channels]
        held = 2.0 * sum(fitting * (o + v) ** 2 for o, v in shapes)  # Psi4's copy and ours
        available = _INTEGRALS_MEMORY * self._memory / 8.0
        if held > available:
            return MatrixBuilder(self.channels, self.matrices)
        exchange = sum((o * v) ** 2 for o, v in shapes)
        few = max(o for o, _ in shapes) < _TRIALS_PER_EQUATION * right_sides * 2
        return FittedIntegrals(
            [_fitted_channel(jk.dfh(), channel) for channel in self.channels],
            functional.x_alpha() if functional.is_x_hybrid() else 0.0,
            store_exchange=few and held + exchange < available,
        )

    @property
    def _memory(self) -> float:
        """Bytes that the SCF's integrals leave to the response."""
        jk = self._wavefunction.jk()
        held = 8.0 * jk.dfh().get_AO_size() if hasattr(jk, "dfh") else 0.0
        return max(0.0, self._resources.memory_mb * 1e6 - held)

    def matrices(
        self, left: Array, rights: Sequence[Array]
    ) -> tuple[list[Array], list[Array] | None]:
        """See ``two_electron.Matrices``."""
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
        core = _psi4().core
        jk = self._wavefunction.jk()
        functional = self._wavefunction.functional()
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

    def atomic_moments(self, densities: Array) -> AtomicMoments:
        """Stockholder moments of densities (D, n, n) (see ``stockholder``)."""
        return stockholder.atomic_moments(_psi4(), self._wavefunction, densities)

    def kernel(self, grid: tuple[int, int]) -> Kernel | None:
        """The exchange-correlation response on a grid; None for Hartree-Fock."""
        functional = self._wavefunction.functional()
        if not functional.needs_xc():
            return None
        return Kernel(
            quadrature.blocks(
                _psi4(),
                self._wavefunction.basisset(),
                self._level.method,
                grid,
                _KERNEL_MEMORY * self._memory,
            ),
            quadrature.functional(
                _psi4(), self._level.method, len(self.channels) == 1, functional.is_gga()
            ),
            [channel.occupied for channel in self.channels],
        )


def _psi4() -> Any:
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
    if psi4.__version__.startswith("1.3"):
        _give_jk_more_than_it_estimates(psi4)
    remember_basis_sets(psi4)
    return psi4


def _give_jk_more_than_it_estimates(psi4: Any) -> None:
    """Psi4 1.3 gives the density-fitted J and K exactly what they estimate and the rest to the
    grid's cache; at some sizes the estimate is short by less than a part in a thousand, and the
    SCF ends with "not enough memory for (p shell) AO blocking"."""
    estimate = psi4.core.JK.memory_estimate
    psi4.core.JK.memory_estimate = lambda jk: int(1.25 * estimate(jk))


def _step_aside(folder: str) -> None:
    """Keep the working folder clean of what Psi4 leaves at its exit: timer.dat, and the list of
    its scratch files, which it would look for in the folder it ends in."""
    Path(f"psi.{os.getpid()}.clean").unlink(missing_ok=True)
    os.chdir(folder)


@contextmanager
def ground_state(
    molecule: Molecule,
    level: Level,
    resources: Resources,
    attempt: int = 0,
    communicator: Communicator | None = None,
) -> Iterator[Reference]:
    """Converge the SCF of a molecule at a level; its integrals live as long as the ``with``.

    With a communicator every rank converges its own, and all take the orbitals of rank 0.

    Raises InputError for a molecule that cannot exist, SettingsError for an unknown method or
    basis, ConvergenceError for an SCF that does not converge with this ``attempt``'s recipe, and
    ResourceError where memory does not suffice.
    """
    with session(molecule, level, resources, attempt=attempt) as (psi4, psi4_molecule, basis):
        started = time.perf_counter()
        energy, wavefunction = together(
            communicator, lambda: self_consistent.converge(psi4, psi4_molecule, level, attempt)
        )
        mints = psi4.core.MintsHelper(wavefunction.basisset())
        dipole_integrals = np.array([np.array(matrix) for matrix in mints.ao_dipole()])
        channels = _channels(wavefunction, closed_shell=molecule.multiplicity == 1)
        if communicator is not None:
            channels = communicator.bcast(channels)
        origin, dipole = _dipole(molecule, wavefunction, dipole_integrals)
        warnings = list(basis.warnings)
        if wavefunction.nmo() < wavefunction.nso():
            warnings.append(
                f"{wavefunction.nso() - wavefunction.nmo()} of {wavefunction.nso()} basis "
                "functions are linearly dependent and were left out"
            )
        provenance = {
            "program": "Psi4",
            "program_version": psi4.__version__,
            "method": level.method,
            "reference": wavefunction.name(),
            "basis": basis.provenance(),
            "integrals": wavefunction.jk().name(),
            "basis_functions": wavefunction.nso(),
            "orbitals": wavefunction.nmo(),
            "scf_attempt": attempt,
            "scf_seconds": round(time.perf_counter() - started, 3),
            "scf_iterations": int(wavefunction.iteration_),
            "dipole_origin": origin.tolist(),
            "warnings": warnings,
        }
        yield Reference(
            energy=energy,
            dipole=dipole,
            origin=origin,
            channels=channels,
            dipole_integrals=dipole_integrals,
            provenance=provenance,
            _wavefunction=wavefunction,
            _molecule=psi4_molecule,
            _level=level,
            _resources=resources,
        )


@contextmanager
def session(
    molecule: Molecule, level: Level, resources: Resources, *, attempt: int = 0
) -> Iterator[tuple[Any, Any, basis_sets.BasisSet]]:
    """Psi4 with its options set for one calculation: (psi4, its molecule, the basis set).

    Turns Psi4's exceptions inside the ``with`` into hpcml's, and leaves its options clean.
    """
    refusals.check_molecule(molecule)
    if resources.memory_mb < _LEAST_MEMORY_MB:
        raise ResourceError(
            f"{resources.memory_mb} MB of memory are too little for Psi4: give at least "
            f"{_LEAST_MEMORY_MB}"
        )
    psi4 = _psi4()
    core = psi4.core
    core.clean()
    core.clean_options()
    core.be_quiet()
    core.set_num_threads(resources.threads)
    core.set_memory_bytes(int(resources.memory_mb * 1e6))
    scratch = resources.scratch or Path(tempfile.gettempdir())
    core.IOManager.shared_object().set_default_path(f"{scratch}/")
    basis = basis_sets.resolve(level.basis, [int(z) for z in molecule.numbers], library_folder())
    refusals.check_method(psi4, level)
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
    options: dict[str, Any] = {
        "reference": _reference_name(level, molecule),
        "scf_type": "PK" if level.exact else "DF",
        "save_jk": True,
        **self_consistent.thresholds(level),
        **dict(zip(_GRID_OPTIONS, level.grid, strict=True)),
        "maxiter": 100,
        **self_consistent.RECIPES[min(attempt, ATTEMPTS - 1)],
    }
    if basis.text is None:
        options["basis"] = level.basis
    psi4.set_options(options)
    if basis.text is not None:
        psi4.basis_helper(basis.text, name="hpcml_basis")
    if level.exact and _count_functions(core, psi4_molecule) ** 4 > resources.memory_mb * 1e6:
        # the eighth of n^4 that is unique, 8 bytes each, does not fit
        psi4.set_options({"scf_type": "DIRECT"})
    try:
        yield psi4, psi4_molecule, basis
    except (InputError, SettingsError, ConvergenceError, ResourceError, PlatformError):
        raise
    except Exception as error:
        raise refusals.named(psi4, error, molecule, level) from error
    finally:
        core.clean_options()


def _count_functions(core: Any, psi4_molecule: Any) -> int:
    name = core.get_global_option("BASIS")
    return int(core.BasisSet.build(psi4_molecule, "ORBITAL", name, quiet=True).nbf())


def library_folder() -> Path:
    """Where Psi4 keeps its basis sets."""
    return Path(_psi4().core.get_datadir()) / "basis"


def _reference_name(level: Level, molecule: Molecule) -> str:
    spin = "R" if molecule.multiplicity == 1 else "U"
    return spin + ("HF" if level.is_hartree_fock else "KS")


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


def _fitted_channel(helper: Any, channel: Orbitals) -> FittedChannel:
    """Integrals over molecular orbitals from the fitted ones that the SCF holds."""
    core = _psi4().core
    helper.add_space("o", core.Matrix.from_array(np.ascontiguousarray(channel.occupied)))
    helper.add_space("v", core.Matrix.from_array(np.ascontiguousarray(channel.virtual)))
    names = {"oo": ("o", "o"), "ov": ("o", "v"), "vv": ("v", "v")}
    for name, spaces in names.items():
        helper.add_transformation(name, *spaces)
    helper.transform()
    tensors = {name: np.array(helper.get_tensor(name)) for name in names}
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
