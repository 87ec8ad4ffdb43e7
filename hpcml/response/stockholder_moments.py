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
    count = len(positions)
    sits = (centres[:, None] == np.arange(count)).astype(np.float64)  # (n, atoms)
    sums = np.zeros((count, 5, len(densities)))  # of rho, of rho r, of |rho|
    for points, weights, local, values in grid:
        shares = weights * _stockholder(values, local, free_atoms, sits[local])
        rho = densities.at(values, local)
        integrands = np.array([rho, *(rho * axis for axis in points.T), np.abs(rho)])
        sums += np.tensordot(shares, integrands, axes=(1, 2))
    charges, spread = -sums[:, 0].T, sums[:, 4].T
    dipoles = -sums[:, 1:4].transpose(2, 0, 1) - charges[:, :, None] * positions
    return AtomicMoments(charges, dipoles, spread)


def _stockholder(values: Array, local: NDArray[np.int64], free: Array, sits: Array) -> Array:
    """Weights (atoms, p) at the points of a block: an atom's free density over the sum of all.

    The density matrix has a block for each atom, so that what a function makes of it belongs to
    the atom that it sits on: ``sits`` (m, atoms), 1 there.
    """
    halves = values @ free[local[:, None], local]
    densities = ((halves * values) @ sits).T
    total = densities.sum(axis=0)
    held = total > _SMALLEST_DENSITY
    return np.asarray(np.where(held, densities / np.where(held, total, 1.0), 0.0))
