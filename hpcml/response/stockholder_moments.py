"""Hirshfeld's stockholder weights on an engine's quadrature: moments of densities by atom."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from hpcml.response.induced_densities import InducedDensities
from hpcml.response.shares import AtomicMoments

Array = NDArray[np.float64]
Part = tuple[Array, Array, NDArray[np.int64], Array]
"""Some points (p, 3) in bohr, their weights (p,), the numbers (m,) of the basis functions that do
not vanish there, and the values (p, m) of these."""

_SMALLEST_DENSITY = 1e-30  # of the free atoms together; beyond, no atom holds a share
_SMALLEST_OCCUPATION = 1e-14  # of a free atom's natural orbital: below, rounding


def stockholder_moments(
    grid: Iterable[Part],
    free_atoms: Array,
    centres: NDArray[np.int64],
    positions: Array,
    densities: InducedDensities,
) -> AtomicMoments:
    """Stockholder charges and dipoles of densities, each dipole about its nucleus.

    Parameters
    ----------
    grid : iterable of Part
    free_atoms : (n, n) array
        Densities of the atoms by themselves, a block for each; zero between atoms.
    centres : (n,) array of int
        The atom on which each basis function sits.
    positions : (atoms, 3) array
        In bohr.
    densities : InducedDensities
    """
    orbitals, occupations = _natural_orbitals(free_atoms, centres, len(positions))
    sums = np.zeros((len(positions), 5, len(densities)))  # of rho, of rho r, of |rho|
    for points, weights, local, values in grid:
        shares = weights * _stockholder(values @ orbitals[local], occupations)
        rho = densities.at(values, local)
        integrands = np.concatenate([rho, *(rho * axis for axis in points.T), np.abs(rho)])
        sums += (shares @ integrands.T).reshape(sums.shape)
    charges, spread = -sums[:, 0].T, sums[:, 4].T
    dipoles = -sums[:, 1:4].transpose(2, 0, 1) - charges[:, :, None] * positions
    return AtomicMoments(charges, dipoles, spread)


def _natural_orbitals(
    free_atoms: Array, centres: NDArray[np.int64], count: int
) -> tuple[Array, Array]:
    """Orbitals (n, r) and occupations (r, atoms) of the free atoms, zero but on the orbital's own.

    An atom's density has far fewer orbitals than functions, and each is a square at a point.  Each
    atom is taken by itself: the orbitals of two alike would mix.
    """
    orbitals, occupations = np.zeros_like(free_atoms), np.zeros(len(free_atoms))
    for atom in range(count):
        own = np.flatnonzero(centres == atom)
        block = np.ix_(own, own)
        occupations[own], orbitals[block] = np.linalg.eigh(free_atoms[block])
    held = np.abs(occupations) > _SMALLEST_OCCUPATION
    of_atom = occupations[:, None] * (centres[:, None] == np.arange(count))
    return orbitals[:, held], of_atom[held]


def _stockholder(orbitals: Array, occupations: Array) -> Array:
    """Weights (atoms, p): an atom's free density over that of all, from its orbitals (p, r)."""
    densities = (orbitals**2 @ occupations).T
    total = densities.sum(axis=0)
    held = total > _SMALLEST_DENSITY
    return np.asarray(np.where(held, densities / np.where(held, total, 1.0), 0.0))
