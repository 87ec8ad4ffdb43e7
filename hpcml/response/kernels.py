"""Second and third functional derivatives of the exchange-correlation energy, on a grid.

With E2(b, c) the second variation (see ``density_variables``), the third variation E3(a, b, c)
is E2(b, c) differentiated along the density a.  Engines give no third derivatives: this one is a
central difference, taken point by point: it needs no matrices, and its step follows the density
of each point.

Pure numpy: the blocks of the grid and the functional are handed in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from hpcml.response.density_variables import (
    Block,
    Functional,
    Point,
    density_of,
    potential_of,
    second_variations,
    variables_of,
)

Array = NDArray[np.float64]

DENSITY_CUTOFF = 1e-11
"""Points of lower density (bohr^-3) carry no kernel: moves alpha and beta by less than 1e-7."""

PAIRS = tuple(combinations_with_replacement(range(3), 2))
"""Pairs (b, c) of the axes of two fields, b <= c."""

_BATCH = 8192  # points

_STEP = 1e-3  # of the central difference, relative to the density of the point


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
        """First-order potentials of symmetric densities.

        Parameters
        ----------
        first_order : per channel (k, n, o) array
            First-order orbitals C_1; the density of a channel is (C_0 C_1^T + C_1 C_0^T) / 2 times
            the occupation of its orbitals.

        Returns
        -------
        per channel (k, n, n) array
            In hartree, in basis functions; symmetric.
        """
        count, size = first_order[0].shape[:2]
        columns = _columns(first_order)
        matrices = [np.zeros((count, size, size)) for _ in first_order]
        for point in self._points:
            values = point.block.values
            densities = self._first_order_densities(point, columns, count, values)
            scalar, vector = potential_of(point, densities)
            _add_halves(matrices, point.block, values, scalar, vector)
        return [matrix + matrix.transpose(0, 2, 1) for matrix in matrices]

    def third_order(
        self, first_order: Sequence[Array], triples: Sequence[tuple[int, int, int]]
    ) -> Array:
        """Third variations g_xc(D_a, D_b, D_c) of the energy.

        Parameters
        ----------
        first_order : per channel (m, n, o) array
            As for ``potentials``.
        triples : sequence of (a, b, c)
            Indices of the m densities.

        Returns
        -------
        (len(triples),) array
            In hartree.
        """
        count = len(first_order[0])
        columns = _columns(first_order)
        tensor = np.zeros((count, count, count))
        for points in _batches(self._points):
            ground = np.concatenate([point.density for point in points], axis=-1)
            weights = np.concatenate([point.block.weights for point in points])
            densities = np.concatenate(
                [
                    self._first_order_densities(point, columns, count, point.block.values)
                    for point in points
                ],
                axis=-1,
            )
            for a in sorted({min(triple) for triple in triples}):
                forward, backward, step = self._displaced(ground, densities[:, :, a])
                scale = weights / (2.0 * step)
                tensor[a] += second_variations(*forward, scale, densities)
                tensor[a] -= second_variations(*backward, scale, densities)
        # the smallest index is the one that was differentiated along
        return np.array([tensor[tuple(sorted(triple))] for triple in triples])

    def second_order_potentials(
        self, first_order: Sequence[Array], occupied_blocks: Sequence[Array]
    ) -> list[Array]:
        """Potentials of two static fields, for the pairs of axes in ``PAIRS``.

        The second variation at the blocks of the second-order density that first order gives,
        plus the third at D_b and D_c: the central difference of the potential of D_c along D_b.

        Parameters
        ----------
        first_order : per channel (3, n, o) array
            First-order orbitals of the three fields.
        occupied_blocks : per channel (6, o, o) array
            Those blocks' occupied-occupied part; their virtual-virtual part is that of products of
            first-order orbitals.

        Returns
        -------
        per channel (6, n, n) array
            In hartree, in basis functions; symmetric.
        """
        # elsewhere a first-order density is that of (C_0 C_1^T + C_1 C_0^T) / 2
        columns = _columns([2.0 * orbitals for orbitals in first_order])
        size = first_order[0].shape[1]
        matrices = [np.zeros((len(PAIRS), size, size)) for _ in first_order]
        for point in self._points:
            values = point.block.values
            first = self._first_order_densities(point, columns, 3, values)
            known = self._factor * _known_densities(point, first_order, occupied_blocks, values)
            scalar, vector = potential_of(point, known)
            for b in range(3):
                forward, backward, step = self._displaced(point.density, first[:, :, b])
                later = [index for index, pair in enumerate(PAIRS) if pair[0] == b]
                changes = first[:, :, [PAIRS[index][1] for index in later]]
                for sign, (density, *derivatives) in ((0.5, forward), (-0.5, backward)):
                    weighted = [point.block.weights * derivative for derivative in derivatives]
                    there = Point(point.block, point.occupied, density, *weighted)
                    scalar_there, vector_there = potential_of(there, changes)
                    scalar[:, later] += sign / step * scalar_there
                    vector[:, :, later] += sign / step * vector_there
            _add_halves(matrices, point.block, values, scalar, vector)
        return [matrix + matrix.transpose(0, 2, 1) for matrix in matrices]

    def _ground_state(self, block: Block) -> Point | None:
        values = block.values
        occupied = [values @ orbitals[block.functions] for orbitals in self._occupied]
        density = np.array([density_of(psi, psi[0], self._factor) for psi in occupied])
        keep = density[:, 0].sum(axis=0) > DENSITY_CUTOFF
        if not keep.any():
            return None
        block = block.where(keep)
        occupied = [psi[:, keep] for psi in occupied]
        density = density[:, :, keep]
        first, second = self._derivatives(density)
        return Point(block, occupied, density, block.weights * first, block.weights * second)

    def _derivatives(self, *densities: Array) -> list[Array]:
        """f_z and f_zz' at some densities of the same points, one pair after the other.

        Zero for all of them at points where one has no derivative: such a point carries nothing.
        """
        found = [part for density in densities for part in self._functional(variables_of(density))]
        finite = np.all([np.isfinite(part).all(axis=tuple(range(part.ndim - 1)))
                         for part in found], axis=0)  # fmt: skip
        return [np.where(finite, part, 0.0) for part in found]

    def _first_order_densities(
        self, point: Point, columns: Sequence[Array], count: int, values: Array
    ) -> Array:
        """First-order densities and their gradients at a block's points.

        columns     per channel (n, k o): first-order orbitals, see ``_columns``
        values      of the block, (4 or 1, points, n there): making them anew costs as much as
                    all that follows
        returns     (channels, 4 or 1, k, points)
        """
        components, points, functions = values.shape
        rows = values.reshape(components * points, functions)
        densities = np.empty((len(columns), components, count, points))
        for density, psi, orbitals in zip(densities, point.occupied, columns, strict=True):
            psi_1 = rows @ orbitals[point.block.functions]
            psi_1 = psi_1.reshape(components, points, count, psi.shape[-1])
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
        forward_1, forward_2, backward_1, backward_2 = self._derivatives(forward, backward)
        return (forward, forward_1, forward_2), (backward, backward_1, backward_2), step


def _columns(first_order: Sequence[Array]) -> list[Array]:
    """First-order orbitals (k, n, o) as rows of basis functions, (n, k o)."""
    return [
        np.ascontiguousarray(orbitals.transpose(1, 0, 2)).reshape(n, k * o)
        for orbitals in first_order
        for k, n, o in (orbitals.shape,)
    ]


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
    point: Point, first_order: Sequence[Array], occupied_blocks: Sequence[Array], values: Array
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


def _batches(points: Sequence[Point]) -> Iterator[list[Point]]:
    """Blocks of the grid together, so many that calls cost little and memory is bounded."""
    batch: list[Point] = []
    for point in points:
        batch.append(point)
        if sum(len(member.block.weights) for member in batch) > _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
