"""Second and third functional derivatives of the exchange-correlation energy, on a grid.

E_xc is the integral of f(z), where z are the density variables of a point: rho_s of each spin
channel s and, for a GGA, sigma_st = grad rho_s . grad rho_t.  A closed shell has one channel,
the total density.  For first-order densities rho_1 (and their gradients) the second variation
is, with z_1 the first-order change of z,

    E2(b, c) = int f_zz' z_1b z'_1c + f_sigma 2 (grad rho_b . grad rho_c)

and the third variation E3(a, b, c) is E2(b, c) differentiated along the density a.  Psi4 has no
third derivatives, so this last one is a central difference, taken point by point: it needs no
matrices, and its step follows the density of each point.

Pure numpy: the blocks of the grid and the functional are handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

Functional = Callable[[Array], tuple[Array, Array]]
"""Density variables (nz, points) -> f_z (nz, points) and f_zz' (nz, nz, points)."""

DENSITY_CUTOFF = 1e-11
"""Points of lower density (bohr^-3) carry no kernel: moves alpha and beta by less than 1e-7."""

PAIRS = tuple(combinations_with_replacement(range(3), 2))
"""Pairs (b, c) of the axes of two fields, b <= c."""

_BATCH = 8192  # points

_STEP = 1e-3  # of the central difference, relative to the density of the point


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
class _Point:
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


class Kernel:
    """The exchange-correlation response of one ground state."""

    def __init__(
        self,
        blocks: Iterable[Block],
        functional: Functional,
        occupied: Sequence[Array],
    ) -> None:
        """``occupied``: (n, o) occupied orbitals, one for a closed shell, two for an open one."""
        self._functional = functional
        self._occupied = list(occupied)
        self._factor = 2.0 if len(occupied) == 1 else 1.0  # electrons in an orbital
        self._points = [
            point for block in blocks if (point := self._ground_state(block)) is not None
        ]

    @property
    def electrons(self) -> float:
        """The integral of the density: how good the grid is."""
        return float(
            sum(point.block.weights @ point.density[:, 0].sum(axis=0) for point in self._points)
        )

    def potentials(self, first_order: Sequence[Array]) -> list[Array]:
        """First-order potentials of k symmetric densities, in the basis of atomic orbitals.

        first_order   per channel (k, n, o): first-order orbitals C_1; the density of a channel
                      is (C_0 C_1^T + C_1 C_0^T) / 2 times the occupation of its orbitals
        returns       per channel (k, n, n)
        """
        count, size = first_order[0].shape[:2]
        columns = _columns(first_order)
        matrices = [np.zeros((count, size, size)) for _ in first_order]
        for point in self._points:
            values = point.block.values
            densities = self._first_order_densities(point, columns, count, values)
            scalar, vector = _potential(point, densities)
            _add_halves(matrices, point.block, values, scalar, vector)
        return [matrix + matrix.transpose(0, 2, 1) for matrix in matrices]

    def third_order(
        self, first_order: Sequence[Array], triples: Sequence[tuple[int, int, int]]
    ) -> Array:
        """g_xc(D_a, D_b, D_c) for each triple (a, b, c) of first-order densities.

        first_order   per channel (m, n, o), as for ``potentials``
        """
        count = len(first_order[0])
        columns = _columns(first_order)
        tensor = np.zeros((count, count, count))
        for points in _batches(self._points):
            ground = np.concatenate([point.density for point in points], axis=-1)
            weights = np.concatenate([point.block.weights for point in points])
            densities = np.concatenate(
                [self._first_order_densities(point, columns, count) for point in points], axis=-1
            )
            for a in sorted({min(triple) for triple in triples}):
                forward, backward, step = self._displaced(ground, densities[:, :, a])
                scale = weights / (2.0 * step)
                tensor[a] += _second_variations(*forward, scale, densities)
                tensor[a] -= _second_variations(*backward, scale, densities)
        # the smallest index is the one that was differentiated along
        return np.array([tensor[tuple(sorted(triple))] for triple in triples])

    def second_order_potentials(
        self, first_order: Sequence[Array], occupied_blocks: Sequence[Array]
    ) -> list[Array]:
        """Potentials (6, n, n) per channel of two static fields, for the pairs in ``PAIRS``.

        The second variation at the blocks of the second-order density that first order gives,
        plus the third at D_b and D_c: the central difference of the potential of D_c along D_b.

        first_order       per channel (3, n, o): first-order orbitals of the three fields
        occupied_blocks   per channel (6, o, o): those blocks' occupied-occupied part; their
                          virtual-virtual part is that of products of first-order orbitals
        """
        # elsewhere a first-order density is that of (C_0 C_1^T + C_1 C_0^T) / 2
        columns = _columns([2.0 * orbitals for orbitals in first_order])
        size = first_order[0].shape[1]
        matrices = [np.zeros((len(PAIRS), size, size)) for _ in first_order]
        for point in self._points:
            values = point.block.values
            first = self._first_order_densities(point, columns, 3, values)
            known = self._factor * _known_densities(point, first_order, occupied_blocks, values)
            scalar, vector = _potential(point, known)
            for b in range(3):
                forward, backward, step = self._displaced(point.density, first[:, :, b])
                later = [index for index, pair in enumerate(PAIRS) if pair[0] == b]
                changes = first[:, :, [PAIRS[index][1] for index in later]]
                for sign, (density, *derivatives) in ((0.5, forward), (-0.5, backward)):
                    weighted = [point.block.weights * derivative for derivative in derivatives]
                    there = _Point(point.block, point.occupied, density, *weighted)
                    scalar_there, vector_there = _potential(there, changes)
                    scalar[:, later] += sign / step * scalar_there
                    vector[:, :, later] += sign / step * vector_there
            _add_halves(matrices, point.block, values, scalar, vector)
        return [matrix + matrix.transpose(0, 2, 1) for matrix in matrices]

    def _ground_state(self, block: Block) -> _Point | None:
        values = block.values
        occupied = [values @ orbitals[block.functions] for orbitals in self._occupied]
        density = np.array([_density(psi, psi[0], self._factor) for psi in occupied])
        keep = density[:, 0].sum(axis=0) > DENSITY_CUTOFF
        if not keep.any():
            return None
        block = block.where(keep)
        occupied = [psi[:, keep] for psi in occupied]
        density = density[:, :, keep]
        first, second = self._functional(_variables(density))
        return _Point(block, occupied, density, block.weights * first, block.weights * second)

    def _first_order_densities(
        self,
        point: _Point,
        columns: Sequence[Array],
        count: int,
        values: Array | None = None,
    ) -> Array:
        """(channels, 4 or 1, k, points): first-order densities and their gradients."""
        values = point.block.values if values is None else values
        components, points, _ = values.shape
        densities = np.empty((len(columns), components, count, points))
        for density, psi, orbitals in zip(densities, point.occupied, columns, strict=True):
            psi_1 = (
                point.block.values.reshape(components * points, -1)
                @ (orbitals[point.block.functions])
            )
            psi_1 = psi_1.reshape(components, points, count, -1)
            density[:] = np.einsum("pi,xpki->xkp", psi[0], psi_1)
            density[1:] += np.einsum("xpi,pki->xkp", psi[1:], psi_1[0])
        return self._factor * densities

    def _displaced(
        self, density: Array, direction: Array
    ) -> tuple[tuple[Array, Array, Array], tuple[Array, Array, Array], Array]:
        """(density, f_z, f_zz') a step forward and a step backward along a density; the step."""
        total = np.abs(density[:, 0]).sum(axis=0)
        size = np.abs(direction[:, 0]).sum(axis=0)
        if density.shape[1] > 1:
            gradient = np.linalg.norm(density[:, 1:], axis=1).sum(axis=0)
            change = np.linalg.norm(direction[:, 1:], axis=1).sum(axis=0)
            size = np.maximum(size, change * total / np.maximum(gradient, total))
        step = _STEP * total / np.maximum(size, total * 1e-6)
        forward = density + step * direction
        backward = density - step * direction
        return (
            (forward, *self._functional(_variables(forward))),
            (backward, *self._functional(_variables(backward))),
            step,
        )


def _columns(first_order: Sequence[Array]) -> list[Array]:
    """First-order orbitals (k, n, o) as rows of basis functions, (n, k o)."""
    return [
        np.ascontiguousarray(orbitals.transpose(1, 0, 2)).reshape(orbitals.shape[1], -1)
        for orbitals in first_order
    ]


def _density(left: Array, right: Array, factor: float) -> Array:
    """(4 or 1, points): density of orbitals and its gradient."""
    density: Array = factor * np.einsum("xpi,pi->xp", left, right)
    density[1:] *= 2.0
    return density


def _pairs(channels: int) -> list[tuple[int, int]]:
    return [(0, 0)] if channels == 1 else [(0, 0), (0, 1), (1, 1)]


def _variables(density: Array) -> Array:
    """z = (rho_s, sigma_st) of densities (channels, 4 or 1, points)."""
    rho = list(density[:, 0])
    if density.shape[1] == 1:
        return np.array(rho)
    gradient = density[:, 1:]
    return np.array(
        rho + [np.sum(gradient[s] * gradient[t], axis=0) for s, t in _pairs(len(density))]
    )


def _first_order_variables(density: Array, first: Array) -> Array:
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


def _potential(point: _Point, densities: Array) -> tuple[Array, Array]:
    """Weighted derivative of E2 by rho_s and by grad rho_s, for all k densities.

    densities   (channels, 4 or 1, k, points)
    returns     (channels, k, points) and (channels, 3 or 0, k, points)
    """
    channels = len(densities)
    variables = _first_order_variables(point.density, densities)
    change = np.einsum("yzp,zkp->ykp", point.second, variables)
    vector = np.zeros((channels, densities.shape[1] - 1, *densities.shape[2:]))
    if densities.shape[1] > 1:
        gradient, first_gradient = point.density[:, 1:, None], densities[:, 1:]
        for index, (s, t) in enumerate(_pairs(channels), start=channels):
            vector[s] += change[index] * gradient[t] + point.first[index] * first_gradient[t]
            vector[t] += change[index] * gradient[s] + point.first[index] * first_gradient[s]
    return change[:channels], vector


def _add_halves(
    matrices: Sequence[Array], block: Block, values: Array, scalar: Array, vector: Array
) -> None:
    """Add to each (k, n, n) what becomes a block's potentials when its transpose is added."""
    place = np.ix_(block.functions, block.functions)
    weighted, part = np.empty_like(values[0]), np.empty_like(values[0])
    for s, k in np.ndindex(scalar.shape[:2]):
        np.multiply(0.5 * scalar[s, k, :, None], values[0], out=weighted)
        for x, gradient in enumerate(values[1:]):
            np.multiply(vector[s, x, k, :, None], gradient, out=part)
            weighted += part
        matrices[s][k][place] += values[0].T @ weighted


def _known_densities(
    point: _Point, first_order: Sequence[Array], occupied_blocks: Sequence[Array], values: Array
) -> Array:
    """(channels, 4 or 1, 6, points): see ``second_order_potentials``; of singly filled orbitals."""
    densities = np.empty((len(first_order), len(values), len(PAIRS), values.shape[1]))
    for density, psi, orbitals, blocks in zip(
        densities, point.occupied, first_order, occupied_blocks, strict=True
    ):
        psi_1 = values @ orbitals[:, None, point.block.functions]  # (axis, 4 or 1, points, o)
        for index, (b, c) in enumerate(PAIRS):
            within = psi[0] @ blocks[index]
            density[:, index] = np.einsum("xpi,pi->xp", psi_1[b], psi_1[c, 0])
            density[:, index] += np.einsum("xpi,pi->xp", psi_1[c], psi_1[b, 0])
            density[:, index] += np.einsum("xpi,pi->xp", psi, within)
        density[1:] *= 2.0  # product rule; the two factors of each term may change places
    return densities


def _second_variations(
    density: Array, first: Array, second: Array, weights: Array, densities: Array
) -> Array:
    """E2(b, c), (k, k), of first-order densities (channels, 4 or 1, k, points)."""
    variables = _first_order_variables(density, densities)
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


def _batches(points: Sequence[_Point]) -> Iterator[list[_Point]]:
    """Blocks of the grid together, so many that calls cost little and memory is bounded."""
    batch: list[_Point] = []
    for point in points:
        batch.append(point)
        if sum(len(member.block.weights) for member in batch) > _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
