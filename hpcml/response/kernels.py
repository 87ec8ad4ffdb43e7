"""Second and third functional derivatives of the exchange-correlation energy, on a grid.

Second and third variations are those of ``density_variables``.  The third is exact where the third
derivatives of the functional are to be had.  Where they are not, E3(a, b, c) is E2(b, c)
differentiated along the density a by a central difference, taken point by point: it needs no
matrices, and its step follows the density of each point.

Pure numpy: the blocks of the grid and the functional are handed in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from hpcml.response.density_variables import (
    Block,
    Functional,
    Point,
    ThirdDerivatives,
    density_of,
    potential_of,
    second_order_potential_of,
    second_variations,
    third_variations,
    variables_of,
)

Array = NDArray[np.float64]

DENSITY_CUTOFF = 1e-11
"""Points of lower density (bohr^-3) carry no kernel: moves alpha and beta by less than 1e-7."""

ELECTRONS_CUTOFF = 1e-10
"""Electrons that a point stands for below which it carries no kernel either: a sixth of the points,
which move beta by 2e-7 of its largest component (glycine, B3LYP, 6-31+G(d)) and 3e-7 (HCN, PBE,
d-aug-cc-pVDZ)."""

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
        third: ThirdDerivatives | None = None,
    ) -> None:
        """``occupied``: (n, o) occupied orbitals, one for a closed shell, two for an open one.

        ``third``: None where no third variation will be asked for, or a central difference will do.
        """
        self._functional = functional
        self.third = third or ThirdDerivatives("central difference")
        self.occupied = list(occupied)
        self.factor = 2.0 if len(occupied) == 1 else 1.0  # electrons in an orbital
        self.points = [
            point for block in blocks if (point := self._ground_state(block)) is not None
        ]

    @property
    def electrons(self) -> float:
        """The integral of the density: how good the grid is."""
        return float(
            sum(point.block.weights @ point.density[:, 0].sum(axis=0) for point in self.points)
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
        columns = columns_of(first_order)
        matrices = [np.zeros((count, size, size)) for _ in first_order]
        for point in self.points:
            values = point.block.values
            densities = self._first_order_densities(point, columns, count, values)
            _add_halves(matrices, point.block, values, potential_of(point, densities))
        return [matrix + matrix.transpose(0, 2, 1) for matrix in matrices]

    def on_occupied(self, first_order: Sequence[Array]) -> list[Array]:
        """The potentials times the occupied orbitals, which costs less than the potentials.

        Parameters
        ----------
        first_order : per channel (k, n, o) array
            As for ``potentials``.

        Returns
        -------
        per channel (k, n, o) array
            In hartree; rows in basis functions.
        """
        columns = columns_of(first_order)
        found = [np.zeros_like(orbitals) for orbitals in columns]
        count = len(first_order[0])
        for point in self.points:
            values = point.block.values
            densities = self._first_order_densities(point, columns, count, values)
            _add_products(found, point, values, potential_of(point, densities))
        return [
            np.ascontiguousarray(each.reshape(len(each), count, -1).transpose(1, 0, 2))
            for each in found
        ]

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
        columns = columns_of(first_order)
        tensor = np.zeros((count, count, count))
        differentiated = sorted({min(triple) for triple in triples})
        for points in _batches(self.points):
            together = _Together.of(
                points,
                [self._first_order_densities(point, columns, count, point.block.values)
                 for point in points],
            )  # fmt: skip
            third = self._third_derivatives(together.density)
            if third is None:
                self._add_differences(tensor, together, differentiated)
            else:
                tensor += third_variations(
                    together.density,
                    together.second,
                    together.weights * third,
                    together.first_order,
                )
        # the smallest index is the one that was differentiated along
        return np.array([tensor[tuple(sorted(triple))] for triple in triples])

    def _add_differences(
        self, tensor: Array, points: _Together, differentiated: Sequence[int]
    ) -> None:
        for a in differentiated:
            forward, backward, step = self._displaced(points.density, points.first_order[:, :, a])
            scale = points.weights / (2.0 * step)
            tensor[a] += second_variations(*forward, scale, points.first_order)
            tensor[a] -= second_variations(*backward, scale, points.first_order)

    def second_order_potentials(
        self, first_order: Sequence[Array], occupied_blocks: Sequence[Array]
    ) -> list[Array]:
        """Potentials of two static fields, for the pairs of axes in ``PAIRS``.

        The second variation at the blocks of the second-order density that first order gives,
        plus the third at D_b and D_c.

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
        columns = columns_of([2.0 * orbitals for orbitals in first_order])
        size = first_order[0].shape[1]
        matrices = [np.zeros((len(PAIRS), size, size)) for _ in first_order]
        for point in self.points:
            values = point.block.values
            first = self._first_order_densities(point, columns, 3, values)
            known = self.factor * _known_densities(point, first_order, occupied_blocks, values)
            potential = potential_of(point, known)
            third = self._third_derivatives(point.density)
            if third is None:
                self._add_difference_potentials(potential, point, first)
            else:
                weighted = point.block.weights * third
                potential += second_order_potential_of(point, weighted, first, PAIRS)
            _add_halves(matrices, point.block, values, potential)
        return [matrix + matrix.transpose(0, 2, 1) for matrix in matrices]

    def _add_difference_potentials(self, potential: Array, point: Point, first: Array) -> None:
        """The central differences of the potentials of D_c along D_b."""
        for b in range(3):
            forward, backward, step = self._displaced(point.density, first[:, :, b])
            later = [index for index, pair in enumerate(PAIRS) if pair[0] == b]
            changes = first[:, :, [PAIRS[index][1] for index in later]]
            for sign, (density, *derivatives) in ((0.5, forward), (-0.5, backward)):
                weighted = [point.block.weights * derivative for derivative in derivatives]
                there = Point(point.block, point.occupied, density, *weighted)
                potential[:, :, later] += sign / step * potential_of(there, changes)

    def _third_derivatives(self, density: Array) -> Array | None:
        """f_zz'z'' of a density, zero at points that have none; None without a library for it."""
        if self.third.evaluate is None:
            return None
        third = self.third.evaluate(variables_of(density))
        return np.where(np.isfinite(third).all(axis=(0, 1, 2)), third, 0.0)

    def _ground_state(self, block: Block) -> Point | None:
        values = block.values
        occupied = [values @ orbitals[block.functions] for orbitals in self.occupied]
        density = np.array(
            [density_of(psi, psi, self.factor, kinetic=block.kinetic) for psi in occupied]
        )
        total = density[:, 0].sum(axis=0)
        weights = np.abs(block.weights)  # Lebedev has negative ones on 74, 230 and 266 points
        keep = (total > DENSITY_CUTOFF) & (weights * total > ELECTRONS_CUTOFF)
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

        columns     per channel (n, k o): first-order orbitals, see ``columns_of``
        values      of the block, (4 or 1, points, n there): making them anew costs as much as
                    all that follows
        returns     (channels, c, k, points)
        """
        components, points, functions = values.shape
        rows = values.reshape(components * points, functions)
        kinetic = point.block.kinetic
        densities = np.empty((len(columns), components + kinetic, count, points))
        for density, psi, orbitals in zip(densities, point.occupied, columns, strict=True):
            psi_1 = rows @ orbitals[point.block.functions]
            psi_1 = psi_1.reshape(components, points, count, psi.shape[-1])
            # a small product a point is faster than einsum
            turned = np.ascontiguousarray(psi.transpose(1, 2, 0))  # (points, o, 4 or 1)
            density[:components] = (psi_1[0] @ turned).transpose(2, 1, 0)
            if components > 1:
                moved = psi_1[1:] @ turned[:, :, :1]
                density[1:components] += moved[..., 0].transpose(0, 2, 1)
            if kinetic:
                density[-1] = 0.5 * np.einsum("xpi,xpki->kp", psi[1:], psi_1[1:])
        return self.factor * densities

    def _displaced(
        self, density: Array, direction: Array
    ) -> tuple[tuple[Array, Array, Array], tuple[Array, Array, Array], Array]:
        """(density, f_z, f_zz') a step forward and a step backward along a density; the step."""
        total = np.abs(density[:, 0]).sum(axis=0)
        size = np.abs(direction[:, 0]).sum(axis=0)
        if density.shape[1] > 1:
            gradient = np.linalg.norm(density[:, 1:4], axis=1).sum(axis=0)
            change = np.linalg.norm(direction[:, 1:4], axis=1).sum(axis=0)
            size = np.maximum(size, change * total / np.maximum(gradient, total))
        step = _STEP * total / np.maximum(size, total * 1e-6)
        forward = density + step * direction
        backward = density - step * direction
        forward_1, forward_2, backward_1, backward_2 = self._derivatives(forward, backward)
        return (forward, forward_1, forward_2), (backward, backward_1, backward_2), step


def columns_of(first_order: Sequence[Array]) -> list[Array]:
    """First-order orbitals as rows of basis functions.

    Parameters
    ----------
    first_order : per channel (k, n, o) array

    Returns
    -------
    per channel (n, k o) array
    """
    return [
        np.ascontiguousarray(orbitals.transpose(1, 0, 2)).reshape(n, k * o)
        for orbitals in first_order
        for k, n, o in (orbitals.shape,)
    ]


def _add_products(products: Sequence[Array], point: Point, values: Array, potential: Array) -> None:
    """Add to each (n, k o) a block's potentials times the occupied orbitals.

    potential   (channels, c, k, points)
    """
    components, points, functions = values.shape
    rows = values.reshape(components * points, functions)
    for product, psi, own in zip(products, point.occupied, potential, strict=True):
        weighted = np.empty((components, points, own.shape[1], psi.shape[-1]))
        scale = np.ascontiguousarray(own[:components].transpose(2, 1, 0))  # (points, k, 4 or 1)
        np.matmul(scale, np.ascontiguousarray(psi.transpose(1, 0, 2)), out=weighted[0])
        for x in range(1, components):
            np.multiply(scale[:, :, x, None], psi[0, :, None], out=weighted[x])
        if point.block.kinetic:
            weighted[1:] += 0.5 * np.einsum("kp,xpi->xpki", own[4], psi[1:])
        product[point.block.functions] += rows.T @ weighted.reshape(len(rows), -1)


def _add_halves(matrices: Sequence[Array], block: Block, values: Array, potential: Array) -> None:
    """Add to each (k, n, n) what becomes a block's potentials when its transpose is added.

    potential   (channels, c, k, points)
    """
    every = np.array_equal(block.functions, np.arange(matrices[0].shape[-1]))
    place = slice(None) if every else np.ix_(block.functions, block.functions)  # much slower
    weighted, part = np.empty_like(values[0]), np.empty_like(values[0])
    scale = potential[:, : len(values)].copy()
    scale[:, 0] *= 0.5
    for s, k in np.ndindex(potential.shape[0], potential.shape[2]):
        np.einsum("xp,xpn->pn", scale[s, :, k], values, out=weighted)
        added = values[0].T @ weighted
        if block.kinetic:
            for gradient in values[1:]:
                np.multiply(0.25 * potential[s, 4, k, :, None], gradient, out=part)
                added += gradient.T @ part
        matrices[s][k][place] += added


def _known_densities(
    point: Point, first_order: Sequence[Array], occupied_blocks: Sequence[Array], values: Array
) -> Array:
    """(channels, c, 6, points): see ``second_order_potentials``; of singly filled orbitals."""
    kinetic = point.block.kinetic
    components = len(values) + kinetic
    densities = np.empty((len(first_order), components, len(PAIRS), values.shape[1]))
    for density, psi, orbitals, blocks in zip(
        densities, point.occupied, first_order, occupied_blocks, strict=True
    ):
        psi_1 = values @ orbitals[:, None, point.block.functions]  # (axis, 4 or 1, points, o)
        for index, (b, c) in enumerate(PAIRS):
            density[:, index] = density_of(psi_1[b], psi_1[c], 2.0, kinetic=kinetic)
            density[:, index] += density_of(psi, psi @ blocks[index], 1.0, kinetic=kinetic)
    return densities


@dataclass(frozen=True)
class _Together:
    """Points of several blocks: see ``Point``; ``first_order`` is (channels, c, k, points)."""

    density: Array
    second: Array
    weights: Array
    first_order: Array

    @classmethod
    def of(cls, points: Sequence[Point], first_order: Sequence[Array]) -> _Together:
        def joined(parts: Iterable[Array]) -> Array:
            return np.concatenate(list(parts), axis=-1)

        return cls(
            joined(point.density for point in points),
            joined(point.second for point in points),
            joined(point.block.weights for point in points),
            joined(first_order),
        )


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
