"""What a response calculation needs of a program that converges an SCF: the engine.

The room computes with these interfaces alone, and obtains the program behind them from
``engine``.  A further program is a class with the methods of ``Engine``; its ground state and its
surface have the members below, in the conventions told with each.

Everywhere: atomic units; n basis functions in the engine's own order, the same in every array of
one ground state; ``Level`` is binding, and what an engine cannot do at a level is a
SettingsError; an SCF that does not converge is a ConvergenceError, and what the engine itself
complains of otherwise an EngineError.  Any other exception is a bug and passes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from hpcml.errors import PlatformError, PlatformWarning, SettingsError
from hpcml.molecules.molecule import Molecule
from hpcml.response.density_variables import Block, Functional, ThirdDerivatives
from hpcml.response.fock import Orbitals, TwoElectron
from hpcml.response.induced_densities import InducedDensities
from hpcml.response.level import EngineName, Grid, Level
from hpcml.response.shares import AtomicMoments
from hpcml.response.team import Communicator
from hpcml.response.vibrations import PotentialSurface

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Resources:
    """What one calculation of a molecule may use, and which try it is.

    threads, memory_mb   of this process
    scratch         a folder for scratch files; None: the system's own
    attempt         which recipe of the SCF's fallbacks, from 0 (see ``Engine.attempts``)
    communicator    of the processes that compute the molecule together; None: one alone
    """

    threads: int = 1
    memory_mb: int = 2000
    scratch: Path | None = None
    attempt: int = 0
    communicator: Communicator | None = None

    def __post_init__(self) -> None:
        for name, least in (("threads", 1), ("memory_mb", 1), ("attempt", 0)):
            if getattr(self, name) < least:
                raise SettingsError(f"{name} = {getattr(self, name)} must be at least {least}")


class GroundState(Protocol):
    """A converged SCF and the integrals that its response needs, alive as long as its ``with``.

    energy              hartree, with the repulsion of the nuclei
    dipole              (3,) e bohr, physical sign, about ``origin``
    origin              (3,) bohr: the centre of the nuclear charges that the engine sees (an
                        effective core potential leaves the valence charge)
    channels            one for a closed shell (doubly filled orbitals), two (alpha, beta) else;
                        a channel may have no occupied or no virtual orbitals
    dipole_integrals    (3, n, n): the electronic dipole operator, -r, e bohr
    overlap             (n, n), of the basis functions
    centres             (n,): the atom, from 0, on which each basis function sits
    provenance          JSON-able: ``program``, ``program_version``, ``reference``, ``warnings``
                        (a list of lines) and whatever else tells how it was obtained
    """

    @property
    def energy(self) -> float: ...

    @property
    def dipole(self) -> Array:
        """(3,) array, e bohr, about ``origin``."""

    @property
    def origin(self) -> Array:
        """(3,) array, bohr."""

    @property
    def channels(self) -> tuple[Orbitals, ...]: ...

    @property
    def dipole_integrals(self) -> Array:
        """(3, n, n) array, e bohr."""

    @property
    def overlap(self) -> Array:
        """(n, n) array."""

    @property
    def centres(self) -> NDArray[np.int64]:
        """(n,) array of int."""

    @property
    def provenance(self) -> dict[str, Any]: ...

    @property
    def why_not_analytic(self) -> str:
        """Why the response of this functional needs finite fields; empty where it does not."""

    def again(
        self,
        *,
        field: Array | None = None,
        start: Sequence[Array] | None = None,
        convergence: float = np.inf,
    ) -> GroundState:
        """The same molecule's SCF in a static electric field, or from other orbitals.

        With a communicator every rank makes this call.

        Parameters
        ----------
        field : (3,) array, optional
            In hartree / (e bohr); the energy changes by -mu . field.
        start : two (n, o) arrays, optional
            Occupied orbitals of either spin, from which an unrestricted SCF begins; else it is of
            this state's kind and begins at its orbitals.
        convergence : float
            Of the orbital gradient, where the level's is no smaller.

        Returns
        -------
        GroundState
            Alive as long as this one.

        Raises
        ------
        ConvergenceError
            If the SCF does not converge.
        """

    def two_electron(self, right_sides: int) -> TwoElectron:
        """Coulomb and exchange of first-order densities, by the fastest way that memory allows.

        ``two_electron.MatrixBuilder(channels, matrices)`` is one; ``FittedIntegrals`` is faster
        where fitted integrals over molecular orbitals can be had and held.

        Parameters
        ----------
        right_sides : int
            Number of response equations that will be solved with it.
        """

    def matrices(
        self, left: Array, rights: Sequence[Array]
    ) -> tuple[list[Array], list[Array] | None]:
        """Coulomb and exchange matrices of the densities left right^T.

        Parameters
        ----------
        left : (n, o) array
        rights : sequence of (n, o) arrays

        Returns
        -------
        coulomb : list of (n, n) arrays
            J_mn = sum over ls of (mn|ls) D_ls, one for each of ``rights``.
        exchange : list of (n, n) arrays, or None
            K_mn = sum over ls of (ml|ns) D_ls times the functional's share of exact exchange, the
            long-range part with its own share; K[D^T] = K[D]^T.  None without exact exchange.
        """

    def blocks(self, grid: Grid) -> Iterable[Block] | None:
        """The quadrature with the basis functions on it; None for Hartree-Fock.

        Parameters
        ----------
        grid : (radial, spherical)
            Points of an atom.
        """

    def functional(self, closed_shell: bool) -> Functional:
        """First and second derivatives of the functional's semilocal part at points of density.

        Parameters
        ----------
        closed_shell : bool
            One channel (the total density; sigma of the total gradient), or two.
        """

    def third_derivatives(self, closed_shell: bool) -> ThirdDerivatives:
        """Third derivatives of the same, or why there are none; not asked for of Hartree-Fock.

        Parameters
        ----------
        closed_shell : bool
            As for ``functional``.
        """

    def atomic_moments(self, densities: InducedDensities) -> AtomicMoments:
        """Stockholder charges and dipoles of densities (see ``shares.AtomicMoments``)."""


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a level, for an engine.

    method, basis   one line, empty where nothing is
    program         the same of a program that the method needs besides the engine
    uncovered       symbols of elements for which the basis set has no functions
    """

    method: str = ""
    program: str = ""
    basis: str = ""
    uncovered: tuple[str, ...] = ()


class Engine(Protocol):
    """An electronic-structure program."""

    @property
    def attempts(self) -> int:
        """Number of SCF recipes: ``attempt`` runs from 0 to one less; beyond, the last serves."""

    def prepare(self) -> None:
        """Load what a first calculation would load; PlatformError where it is not installed."""

    def find_faults(self, level: Level, elements: tuple[int, ...]) -> Faults:
        """What is wrong with a level for these elements, from names and basis sets alone.

        elements   atomic numbers
        """

    def ground_state(
        self, molecule: Molecule, level: Level, resources: Resources
    ) -> AbstractContextManager[GroundState]:
        """Converge the SCF of a molecule at a level.

        With a communicator every rank makes this call and all have the orbitals of rank 0.

        Raises
        ------
        SettingsError
            For an unknown method or basis.
        InputError
            For an element without basis functions.
        ConvergenceError
            If the SCF does not converge with this attempt's recipe.
        ResourceError
            Where memory does not suffice.
        PlatformError
            If the program is not installed.
        EngineError
            Where the program fails for a reason unknown here.
        """

    def open_surface(
        self, molecule: Molecule, level: Level, resources: Resources
    ) -> AbstractContextManager[PotentialSurface]:
        """The potential-energy surface of a molecule; raises what ``ground_state`` raises."""


# --- which program -------------------------------------------------------------------------------


def engine(name: EngineName | UnsetType = UNSET) -> Engine:
    """The engine of this name; Psi4 where none is named.

    Raises
    ------
    PlatformError
        If the program is not installed.
    """
    # each imports this file's interfaces
    if name in ("pyscf", "gpu4pyscf"):
        try:
            from hpcml.response import pyscf

            if name == "gpu4pyscf":
                from hpcml.response.pyscf import gpu

                return gpu
        except ImportError as error:
            if (error.name or "").startswith("hpcml"):
                raise
            raise PlatformError(f"PySCF cannot be imported ({error}): pip install pyscf") from error
        return pyscf
    from hpcml.response import psi4

    return psi4


def with_engine(level: Level) -> Level:
    """The level with its engine named where it names none and Psi4 is not installed, but PySCF is.

    What is computed by PySCF has a key of its own, so that a level must name it before results are
    looked for.  A ``PlatformWarning`` tells of the choice.
    """
    if level.engine is not UNSET or find_spec("psi4") is not None or find_spec("pyscf") is None:
        return level
    warnings.warn(
        'Psi4 is not installed: computed with PySCF (engine = "pyscf", --engine)',
        PlatformWarning,
        stacklevel=2,
    )
    return msgspec.structs.replace(level, engine="pyscf")
