"""The exchange-correlation functional at the points of a grid: variables, variations, potentials.

E_xc is the integral of f(z), where z are the density variables of a point: rho_s of each spin
channel s and, for a GGA, sigma_st = grad rho_s . grad rho_t; for a meta-GGA also the kinetic-energy
density tau_s = 1/2 sum_i |grad psi_i|^2.  A closed shell has one channel, the total density.  With
z_1 the first-order change of z and z_2 that of two densities together, of which only sigma has one,

    E2(b, c)    = int f_zz' z_1b z'_1c + f_z z_2bc
    E3(a, b, c) = int f_zz'z'' z_1a z'_1b z''_1c + f_zz' (z_1a z'_2bc + z_1b z'_2ac + z_1c z'_2ab)

A density at a point has components: rho; for a GGA and beyond grad rho; for a meta-GGA tau.

Pure numpy: the blocks of the grid and the functional are handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

Functional = Callable[[Array], tuple[Array, Array]]
"""Density variables (nz, points) -> f_z (nz, points) and f_zz' (nz, nz, points); NaN at points
where the program has no derivative, which then carry no kernel."""


@dataclass(frozen=True)
class ThirdDerivatives:
    """Third derivatives of a functional, and where they come from.

    source      for the provenance: the library, or why there is none
    evaluate    density variables (nz, points) -> f_zz'z'' (nz, nz, nz, points), NaN as above; None
                where only differences of the second derivatives are to be had
    """

    source: str
    evaluate: Callable[[Array], Array] | None = None


@dataclass(frozen=True)
class Block:
    """Some points of the grid and the basis functions that do not vanish there.

    weights     (points,)
    functions   (n,): indices of the basis functions
    evaluate    gives the functions and their gradients, (4, points, n), or (1, points, n) for an
                LDA; from memory, or anew at every call where memory does not suffice
    kinetic     the functional is a meta-GGA: it depends on tau
    """

    weights: Array
    functions: NDArray[np.int64]
    evaluate: Callable[[], Array]
    kinetic: bool = False

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
        evaluate: Callable[[], Array] = lambda: self.evaluate()[:, keep]  # noqa: E731
        if isinstance(self.evaluate, Stored):
            evaluate = Stored(self.evaluate.values[:, keep])
        return Block(self.weights[keep], self.functions, evaluate, self.kinetic)


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
    density     (channels, c, points): rho; its gradient; tau
    first       (nz, points): weights times f_z
    second      (nz, nz, points): weights times f_zz'
    """

    block: Block
    occupied: list[Array]
    density: Array
    first: Array
    second: Array


def density_of(left: Array, right: Array, factor: float, *, kinetic: bool) -> Array:
    """Components of the density of symmetrized products of orbitals at points.

    Parameters
    ----------
    left, right : (4 or 1, p, o) arrays
        Orbitals with their gradients for a GGA: of (left right^T + right left^T) / 2.
    factor : float
        Electrons in an orbital.
    kinetic : bool
        Whether tau is wanted.

    Returns
    -------
    (c, p) array
        c is 1, 4 or 5; bohr^-3, bohr^-4, bohr^-5.
    """
    components = len(left) + kinetic
    density = np.empty((components, left.shape[1]))
    density[: len(left)] = np.einsum("xpi,pi->xp", left, right[0])
    density[1 : len(left)] += np.einsum("pi,xpi->xp", left[0], right[1:])
    if kinetic:
        density[-1] = 0.5 * np.einsum("xpi,xpi->p", left[1:], right[1:])
    return np.asarray(factor * density)


def _pairs(channels: int) -> list[tuple[int, int]]:
    return [(0, 0)] if channels == 1 else [(0, 0), (0, 1), (1, 1)]


def _gradient_rows(channels: int, components: int) -> list[tuple[int, int, int]]:
    """(row of sigma_st among the variables, s, t); none for an LDA."""
    if components == 1:
        return []
    return [(index, s, t) for index, (s, t) in enumerate(_pairs(channels), start=channels)]


def variables_of(density: Array) -> Array:
    """Density variables z = (rho_s, sigma_st, tau_s).

    Parameters
    ----------
    density : (channels, c, p) array
        rho of each channel, its gradient, tau.

    Returns
    -------
    (nz, p) array
        nz is 1 or 2 for an LDA, 2 or 5 for a GGA, 3 or 7 for a meta-GGA.
    """
    channels, components = density.shape[:2]
    variables = list(density[:, 0])
    for _, s, t in _gradient_rows(channels, components):
        variables.append(np.sum(density[s, 1:4] * density[t, 1:4], axis=0))
    if components == 5:
        variables += list(density[:, 4])
    return np.array(variables)


def first_order_variables(density: Array, first: Array) -> Array:
    """First-order change z_1 of the density variables.

    Parameters
    ----------
    density : (channels, c, p) array
    first : (channels, c, ..., p) array
        First-order densities.

    Returns
    -------
    (nz, ..., p) array
    """
    channels, components = density.shape[:2]
    gradient, change = density[:, 1:4], first[:, 1:4]
    if change.ndim > gradient.ndim:
        gradient = gradient[:, :, None]
    variables = list(first[:, 0])
    for _, s, t in _gradient_rows(channels, components):
        variables.append(np.sum(change[s] * gradient[t] + gradient[s] * change[t], axis=0))
    if components == 5:
        variables += list(first[:, 4])
    return np.array(variables)


def _derivative_by_density(change: Array, density: Array) -> Array:
    """What multiplies the components of a variation of the density, out of what does those of z.

    change      (nz, k, p)
    density     (channels, c, p)
    returns     (channels, c, k, p)
    """
    channels, components = density.shape[:2]
    result = np.zeros((channels, components, *change.shape[1:]))
    result[:, 0] = change[:channels]
    gradient = density[:, 1:4, None]
    for index, s, t in _gradient_rows(channels, components):
        result[s, 1:4] += change[index] * gradient[t]
        result[t, 1:4] += change[index] * gradient[s]
    if components == 5:
        result[:, 4] = change[-channels:]
    return result


def potential_of(point: Point, densities: Array) -> Array:
    """Weighted derivative of E2 by the components of a density, for k first-order densities.

    Parameters
    ----------
    point : Point
        The ground state at p points.
    densities : (channels, c, k, p) array

    Returns
    -------
    (channels, c, k, p) array
    """
    variables = first_order_variables(point.density, densities)
    change = np.einsum("yzp,zkp->ykp", point.second, variables)
    potential = _derivative_by_density(change, point.density)
    for index, s, t in _gradient_rows(*densities.shape[:2]):
        potential[s, 1:4] += point.first[index] * densities[t, 1:4]
        potential[t, 1:4] += point.first[index] * densities[s, 1:4]
    return potential


def second_order_potential_of(
    point: Point, third: Array, densities: Array, pairs: Sequence[tuple[int, int]]
) -> Array:
    """Weighted derivative of E3(a, b, c) by the components of the density a.

    Parameters
    ----------
    point : Point
        The ground state at p points.
    third : (nz, nz, nz, p) array
        Weights times f_zz'z''.
    densities : (channels, c, k, p) array
    pairs : sequence of (b, c)
        Of the k densities.

    Returns
    -------
    (channels, c, len(pairs), p) array
    """
    rows = _gradient_rows(*densities.shape[:2])
    variables = first_order_variables(point.density, densities)
    moved = np.einsum("xyzp,zkp->xykp", third, variables)
    change = np.einsum("yzp,zkp->ykp", point.second, variables)
    total = np.empty((len(variables), len(pairs), variables.shape[-1]))
    for index, (b, c) in enumerate(pairs):
        np.einsum("xyp,yp->xp", moved[:, :, b], variables[:, c], out=total[:, index])
        for row, s, t in rows:
            second_order = np.sum(
                densities[s, 1:4, b] * densities[t, 1:4, c]
                + densities[t, 1:4, b] * densities[s, 1:4, c],
                axis=0,
            )
            total[:, index] += point.second[:, row] * second_order
    potential = _derivative_by_density(total, point.density)
    for index, (b, c) in enumerate(pairs):
        for row, s, t in rows:
            for one, other in ((b, c), (c, b)):
                potential[s, 1:4, index] += change[row, one] * densities[t, 1:4, other]
                potential[t, 1:4, index] += change[row, one] * densities[s, 1:4, other]
    return potential


def second_variations(
    density: Array, first: Array, second: Array, weights: Array, densities: Array
) -> Array:
    """E2(b, c) of k first-order densities, summed over points.

    Parameters
    ----------
    density : (channels, c, p) array
    first, second : (nz, p) and (nz, nz, p) arrays
        f_z and f_zz' there.
    weights : (p,) array
    densities : (channels, c, k, p) array

    Returns
    -------
    (k, k) array
        In hartree.
    """
    variables = first_order_variables(density, densities)
    change = weights * np.einsum("yzp,zkp->ykp", second, variables)
    result: Array = np.einsum("zbp,zcp->bc", change, variables, optimize=True)
    for index, s, t in _gradient_rows(*density.shape[:2]):
        result += _products_of_gradients(weights * first[index], densities, s, t)
    return result


def third_variations(density: Array, second: Array, third: Array, densities: Array) -> Array:
    """E3(a, b, c) of k first-order densities, summed over points.

    Parameters
    ----------
    density : (channels, c, p) array
    second, third : (nz, nz, p) and (nz, nz, nz, p) arrays
        Weights times f_zz' and f_zz'z'' there.
    densities : (channels, c, k, p) array

    Returns
    -------
    (k, k, k) array
        In hartree; symmetric in all axes.
    """
    variables = first_order_variables(density, densities)
    change = np.einsum("yzp,zkp->ykp", second, variables)
    count = variables.shape[1]
    result, mixed = np.empty((count, count, count)), np.zeros((count, count, count))
    for a in range(count):
        moved = np.einsum("xyzp,zp->xyp", third, variables[:, a])
        along = np.einsum("xyp,ybp->xbp", moved, variables)
        result[a] = np.einsum("zbp,zcp->bc", along, variables, optimize=True)
        for index, s, t in _gradient_rows(*density.shape[:2]):
            mixed[a] += _products_of_gradients(change[index, a], densities, s, t)
    return result + mixed + mixed.transpose(1, 0, 2) + mixed.transpose(2, 1, 0)


def _products_of_gradients(weights: Array, densities: Array, s: int, t: int) -> Array:
    """(k, k): the sum over points of weights times z_2bc of sigma_st."""
    gradients = densities[:, 1:4]
    product: Array = np.einsum("xbp,xcp->bc", weights * gradients[s], gradients[t], optimize=True)
    return product + product.T
