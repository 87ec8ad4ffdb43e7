"""Harmonic vibrations of a molecule: Hessian, modes, wavenumbers, zero-point energy.

Pure functions of arrays in atomic units; where energies, gradients and Hessians come from is the
business of a ``PotentialSurface`` (an ``engine.Engine`` makes one).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hpcml.molecules import isotope_mass
from hpcml.response import units
from hpcml.response.team import Communicator, Product, lead, on_root

Array = NDArray[np.float64]

LARGEST_GRADIENT = 1e-3
"""Component of the gradient (hartree / bohr) above which a geometry is no stationary point."""

_STEP = 0.005  # bohr; the third derivatives' error of 1e-5 of the Hessian equals the noise of DFT
_LINEAR = 1e-3  # ratio of singular values; an atom 0.1 degree off the axis is still on it


@dataclass(frozen=True)
class SurfacePoint:
    """The surface at one geometry: hartree, (n, 3) hartree/bohr, (3,) e bohr."""

    energy: float
    gradient: Array
    dipole: Array


class PotentialSurface(Protocol):
    """What vibrations need to know of an electronic-structure program; positions in bohr."""

    def point(self, positions: Array) -> SurfacePoint:
        """Energy, gradient and dipole there.

        Parameters
        ----------
        positions : (n, 3) array
            In bohr.

        Returns
        -------
        SurfacePoint
            The dipole of an ion is about the origin of the frame.

        Raises
        ------
        ConvergenceError
            If the SCF does not converge there.
        """

    def analytic_hessian(self, positions: Array) -> tuple[Array, Array] | None:
        """Hessian (3n, 3n) and dipole derivatives (3n, 3), or None where there are none.

        Parameters
        ----------
        positions : (n, 3) array
            In bohr.

        Returns
        -------
        (3n, 3n) array and (3n, 3) array, or None
        """


@dataclass(frozen=True, eq=False)
class Vibrations:
    """Harmonic vibrations, ascending.

    frequencies   (m,) cm^-1; an imaginary one is given as a negative number
    zpve          hartree; 1/2 h nu summed over the real modes
    modes         (m, n, 3) orthonormal mass-weighted displacements L
    intensities   (m,) km/mol, infrared absorption
    warnings      whether this is a minimum, in words; empty where it is
    """

    frequencies: Array
    zpve: float
    modes: Array
    intensities: Array
    warnings: tuple[str, ...]


def vibrate(
    surface: PotentialSurface,
    numbers: NDArray[np.int64],
    positions: Array,
    advance: Callable[[int], None] = lambda done: None,
    communicator: Communicator | None = None,
    *,
    isotopes: NDArray[np.int64] | None = None,
) -> Vibrations:
    """Vibrations about a geometry.

    The Hessian is analytic where the surface has one, else a central difference of 6 n gradients.

    Parameters
    ----------
    surface : PotentialSurface
    numbers : (n,) array of int
        Atomic numbers.
    positions : (n, 3) array
        In bohr.
    advance : callable
        Hears how many of the gradients are done.
    communicator : Communicator, optional
        Every rank makes this call with a surface of its own; they share the gradients, and all get
        the result.
    isotopes : (n,) array of int, optional
        Mass numbers; 0 or none given: the most abundant.

    Raises
    ------
    ConvergenceError
        From a point of the surface.
    """
    here, analytic = on_root(
        communicator, lambda: (surface.point(positions), surface.analytic_hessian(positions))
    )
    hessian, dipole_derivatives = analytic or finite_difference_hessian(
        surface, positions, advance, communicator
    )
    return harmonic(
        hessian, dipole_derivatives, here.gradient, numbers, positions, isotopes=isotopes
    )


def finite_difference_hessian(
    surface: PotentialSurface,
    positions: Array,
    advance: Callable[[int], None] = lambda done: None,
    communicator: Communicator | None = None,
) -> tuple[Array, Array]:
    """Second derivatives by central differences of gradients; other parameters as in ``vibrate``.

    Parameters
    ----------
    positions : (n, 3) array
        In bohr.

    Returns
    -------
    hessian : (3n, 3n) array
        In hartree / bohr^2, symmetric.
    dipole_derivatives : (3n, 3) array
        In e, physical sign.
    """
    steps = _STEP * np.repeat(np.eye(positions.size), 2, axis=0)
    steps[1::2] *= -1.0  # forward and backward in turn, so that each starts from near orbitals
    batch = 2 if communicator is None else 2 * communicator.size

    def points(geometries: Array) -> tuple[Array, Array]:
        found = [surface.point(flat.reshape(-1, 3)) for flat in geometries]
        gradients = np.array([point.gradient.ravel() for point in found])
        return gradients, np.array([point.dipole for point in found])

    def differences(shared: Mapping[str, Product]) -> tuple[Array, Array]:
        gradients, dipoles = np.empty_like(steps), np.empty((len(steps), 3))
        for start in range(0, len(steps), batch):
            part = slice(start, min(start + batch, len(steps)))
            gradients[part], dipoles[part] = shared["points"](positions.ravel() + steps[part])
            advance(part.stop)
        hessian = (gradients[::2] - gradients[1::2]) / (2.0 * _STEP)
        return 0.5 * (hessian + hessian.T), (dipoles[::2] - dipoles[1::2]) / (2.0 * _STEP)

    return lead({"points": points}, communicator, differences)


def harmonic(
    hessian: Array,
    dipole_derivatives: Array,
    gradient: Array,
    numbers: NDArray[np.int64],
    positions: Array,
    *,
    isotopes: NDArray[np.int64] | None = None,
) -> Vibrations:
    """Normal modes of a Hessian with translations and rotations projected out.

    Source: Wilson, Decius and Cross, "Molecular Vibrations" (1955), chapters 2 and 7.

    Parameters
    ----------
    hessian : (3n, 3n) array
        In hartree / bohr^2.
    dipole_derivatives : (3n, 3) array
        In e.
    gradient : (n, 3) array
        In hartree / bohr.
    numbers : (n,) array of int
        Atomic numbers.
    positions : (n, 3) array
        In bohr.
    isotopes : (n,) array of int, optional
        Mass numbers; 0 or none given: the most abundant.
    """
    root_mass = np.repeat(np.sqrt(masses(numbers, isotopes) / units.ATOMIC_MASS_UNIT), 3)
    internal = internal_motions(positions, root_mass)
    force_constants = internal.T @ (hessian / np.outer(root_mass, root_mass)) @ internal
    eigenvalues, vectors = np.linalg.eigh(0.5 * (force_constants + force_constants.T))
    angular = np.sign(eigenvalues) * np.sqrt(np.abs(eigenvalues))
    modes = (internal @ vectors).T
    transition = (modes / root_mass) @ dipole_derivatives
    frequencies = angular * units.INVERSE_CENTIMETRE
    return Vibrations(
        frequencies=frequencies,
        zpve=float(0.5 * angular[angular > 0.0].sum()),
        modes=modes.reshape(-1, len(numbers), 3),
        intensities=(transition**2).sum(axis=1) * units.INFRARED_INTENSITY,
        warnings=_warnings(frequencies, gradient),
    )


def masses(numbers: NDArray[np.int64], isotopes: NDArray[np.int64] | None = None) -> Array:
    """Masses of the atoms.

    Parameters
    ----------
    numbers : (n,) array of int
        Atomic numbers.
    isotopes : (n,) array of int, optional
        Mass numbers; 0 or none given: the most abundant.

    Returns
    -------
    (n,) array
        In unified atomic mass units.
    """
    given = np.zeros_like(numbers) if isotopes is None else isotopes
    return np.array([isotope_mass(int(n), int(a)) for n, a in zip(numbers, given, strict=True)])


def internal_motions(positions: Array, root_mass: Array) -> Array:
    """Orthonormal basis of the mass-weighted motions that vibrate.

    The complement of three translations and of the rotations about the centre of mass, of
    which a linear molecule has two and an atom none.

    Parameters
    ----------
    positions : (n, 3) array
        In bohr.
    root_mass : (3n,) array
        Square root of the mass of each coordinate, in any unit.

    Returns
    -------
    (3n, 3n - 6 or 3n - 5) array
    """
    mass = root_mass.reshape(-1, 3)[:, 0] ** 2
    centred = positions - mass @ positions / mass.sum()
    translations = np.tile(np.eye(3), (len(positions), 1)) * root_mass[:, None]
    rotations = np.stack([np.cross(axis, centred).ravel() for axis in np.eye(3)], axis=1)
    left, singular, _ = np.linalg.svd(rotations * root_mass[:, None], full_matrices=False)
    rotations = left[:, singular > _LINEAR * max(singular[0], 1e-6)]
    rigid = np.hstack([translations, rotations])
    complete, _ = np.linalg.qr(rigid, mode="complete")
    return np.asarray(complete[:, rigid.shape[1] :])


def _warnings(frequencies: Array, gradient: Array) -> tuple[str, ...]:
    warnings = []
    imaginary = [f"{-nu:.0f}i" for nu in frequencies if nu < 0.0]
    if imaginary:
        warnings.append(f"not a minimum: imaginary modes at {', '.join(imaginary)} cm^-1")
    largest = float(np.abs(gradient).max())
    if largest > LARGEST_GRADIENT:
        warnings.append(
            f"not a stationary point at this level: the gradient reaches {largest:.1e} Eh/bohr; "
            "harmonic frequencies want an optimized geometry"
        )
    return tuple(warnings)
