"""The exchange-correlation functional at the points of a grid: variables, variations, potentials.

E_xc is the integral of f(z), where z are the density variables of a point: rho_s of each spin
channel s and, for a GGA, sigma_st = grad rho_s . grad rho_t.  A closed shell has one channel,
the total density.  For first-order densities rho_1 (and their gradients) the second variation
is, with z_1 the first-order change of z,

    E2(b, c) = int f_zz' z_1b z'_1c + f_sigma 2 (grad rho_b . grad rho_c)

Pure numpy: the blocks of the grid and the functional are handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

Functional = Callable[[Array], tuple[Array, Array]]
"""Density variables (nz, points) -> f_z (nz, points) and f_zz' (nz, nz, points); NaN at points
where the program has no derivative, which then carry no kernel."""


@dataclass(frozen=True)
class Block:
    """Some points of the grid and the basis functions that do not vanish there.

    weights     (points,)
    functions   (n,): indices of the basis functions
    evaluate    gives the functions and their gradients, (4, points, n), or (1, points, n) for an
                LDA; from memory, or anew at every call where memory does not suffice
    """

    weights: Array
    functions: NDArray[np.int64]
    evaluate: Callable[[], Array]

    @property
    def values(self) -> Array:
        """What ``evaluate`` gives: (4, points, n), or (1, points, n)."""
        return self.evaluate()

    def where(self, keep: NDArray[np.bool_]) -> Block:
        """These points only.

        Parameters
        ----------
        keep : (points,) boolean array
        """
        if keep.all():
            return self
        if isinstance(self.evaluate, Stored):
            kept = Stored(self.evaluate.values[:, keep])
            return Block(self.weights[keep], self.functions, kept)
        return Block(self.weights[keep], self.functions, lambda: self.evaluate()[:, keep])


@dataclass(frozen=True)
class Stored:
    """Values of basis functions that stay in memory: an ``evaluate`` for ``Block``."""

    values: Array

    def __call__(self) -> Array:
        return self.values


@dataclass(frozen=True)
class Point:
    """What a block's points know about the ground state.

    occupied    per channel (4 or 1, points, o): occupied orbitals and gradients
    density     (channels, 4 or 1, points): rho and its gradient
    first       (nz, points): weights times f_z
    second      (nz, nz, points): weights times f_zz'
    """

    block: Block
    occupied: list[Array]
    density: Array
    first: Array
    second: Array


def density_of(left: Array, right: Array, factor: float) -> Array:
    """Density of orbitals and its gradient at points.

    Parameters
    ----------
    left, right : (4 or 1, p, o) arrays
        The same orbitals, with their gradients for a GGA.
    factor : float
        Electrons in an orbital.

    Returns
    -------
    (4 or 1, p) array
        In bohr^-3 and bohr^-4.
    """
    density: Array = factor * np.einsum("xpi,pi->xp", left, right)
    density[1:] *= 2.0
    return density


def _pairs(channels: int) -> list[tuple[int, int]]:
    return [(0, 0)] if channels == 1 else [(0, 0), (0, 1), (1, 1)]


def variables_of(density: Array) -> Array:
    """Density variables z = (rho_s, sigma_st).

    Parameters
    ----------
    density : (channels, 4 or 1, p) array
        rho of each channel and its gradient.

    Returns
    -------
    (nz, p) array
        nz is 1 or 2 for an LDA, 2 or 5 for a GGA.
    """
    rho = list(density[:, 0])
    if density.shape[1] == 1:
        return np.array(rho)
    gradient = density[:, 1:]
    return np.array(
        rho + [np.sum(gradient[s] * gradient[t], axis=0) for s, t in _pairs(len(density))]
    )


def first_order_variables(density: Array, first: Array) -> Array:
    """First-order change z_1 of the density variables.

    Parameters
    ----------
    density : (channels, 4 or 1, p) array
    first : (channels, 4 or 1, ..., p) array
        First-order densities and their gradients.

    Returns
    -------
    (nz, ..., p) array
    """
    rho = list(first[:, 0])
    if density.shape[1] == 1:
        return np.array(rho)
    gradient, change = density[:, 1:], first[:, 1:]
    if change.ndim > gradient.ndim:
        gradient = gradient[:, :, None]
    return np.array(
        rho
        + [
            np.sum(change[s] * gradient[t] + gradient[s] * change[t], axis=0)
            for s, t in _pairs(len(density))
        ]
    )


def potential_of(point: Point, densities: Array) -> tuple[Array, Array]:
    """Weighted derivative of E2 by rho_s and by grad rho_s, for k first-order densities.

    Parameters
    ----------
    point : Point
        The ground state at p points.
    densities : (channels, 4 or 1, k, p) array

    Returns
    -------
    scalar : (channels, k, p) array
    vector : (channels, 3 or 0, k, p) array
    """
    channels = len(densities)
    variables = first_order_variables(point.density, densities)
    change = np.einsum("yzp,zkp->ykp", point.second, variables)
    vector = np.zeros((channels, densities.shape[1] - 1, *densities.shape[2:]))
    if densities.shape[1] > 1:
        gradient, first_gradient = point.density[:, 1:, None], densities[:, 1:]
        for index, (s, t) in enumerate(_pairs(channels), start=channels):
            vector[s] += change[index] * gradient[t] + point.first[index] * first_gradient[t]
            vector[t] += change[index] * gradient[s] + point.first[index] * first_gradient[s]
    return change[:channels], vector


def second_variations(
    density: Array, first: Array, second: Array, weights: Array, densities: Array
) -> Array:
    """E2(b, c) of k first-order densities, summed over points.

    Parameters
    ----------
    density : (channels, 4 or 1, p) array
    first, second : (nz, p) and (nz, nz, p) arrays
        f_z and f_zz' there.
    weights : (p,) array
    densities : (channels, 4 or 1, k, p) array

    Returns
    -------
    (k, k) array
        In hartree.
    """
    variables = first_order_variables(density, densities)
    change = weights * np.einsum("yzp,zkp->ykp", second, variables)
    result: Array = np.einsum("zbp,zcp->bc", change, variables, optimize=True)
    if density.shape[1] > 1:
        gradients = densities[:, 1:]
        for index, (s, t) in enumerate(_pairs(len(density)), start=len(density)):
            product = np.einsum(
                "xbp,xcp->bc", weights * first[index] * gradients[s], gradients[t], optimize=True
            )
            result += product + product.T
    return result
