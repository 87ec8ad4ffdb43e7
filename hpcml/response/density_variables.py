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
        return self.evaluate()

    def where(self, keep: NDArray[np.bool_]) -> Block:
        """These points only."""
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
    """(4 or 1, points): density of orbitals and its gradient."""
    density: Array = factor * np.einsum("xpi,pi->xp", left, right)
    density[1:] *= 2.0
    return density


def _pairs(channels: int) -> list[tuple[int, int]]:
    return [(0, 0)] if channels == 1 else [(0, 0), (0, 1), (1, 1)]


def variables_of(density: Array) -> Array:
    """z = (rho_s, sigma_st) of densities (channels, 4 or 1, points)."""
    rho = list(density[:, 0])
    if density.shape[1] == 1:
        return np.array(rho)
    gradient = density[:, 1:]
    return np.array(
        rho + [np.sum(gradient[s] * gradient[t], axis=0) for s, t in _pairs(len(density))]
    )


def first_order_variables(density: Array, first: Array) -> Array:
    """z_1 (nz, ..., points) of a first-order density (channels, 4 or 1, ..., points)."""
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
    """Weighted derivative of E2 by rho_s and by grad rho_s, for all k densities.

    densities   (channels, 4 or 1, k, points)
    returns     (channels, k, points) and (channels, 3 or 0, k, points)
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
    """E2(b, c), (k, k), of first-order densities (channels, 4 or 1, k, points)."""
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
