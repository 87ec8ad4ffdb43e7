"""What the functional adds to hyperpolarizabilities, from orbitals on the grid alone.

A beta has the third variation g_xc(D_a, D_b, D_c) and, for each of the three roles, Tr[V_a D_bc]
with V_a the first-order potential (``quadratic``).  The blocks of D_bc are sums of products of
first-order orbitals, so that the trace is E2(D_a, D_bc), taken point by point: no matrix over basis
functions is made.

Pure numpy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpcml.response.density_variables import potential_of
from hpcml.response.fock import FockResponse
from hpcml.response.kernels import Kernel, columns_of
from hpcml.response.quadratic import FirstOrder

Array = NDArray[np.float64]

Signed = tuple[int, float]
"""A perturbation's number and its frequency, of which the sign counts."""
Pair = tuple[Signed, Signed]


def third_derivatives_of(
    fock: FockResponse,
    first_order: Sequence[Sequence[FirstOrder]],
    plus: Array,
    triples: Sequence[Sequence[Signed]],
) -> Array:
    """The functional's part of the third derivatives of the energy along triples of fields.

    Parameters
    ----------
    fock : FockResponse
        With a kernel.
    first_order : [channel][perturbation] of FirstOrder
    plus : (m, N) array
        P of the perturbations.
    triples : sequence of (a, b, c)

    Returns
    -------
    (len(triples),) array
        In atomic units.
    """
    assert fock.kernel is not None
    # symmetric densities: the sign of a frequency does not matter
    indices = [(a[0], b[0], c[0]) for a, b, c in triples]
    values = fock.kernel.third_order(fock.first_order_orbitals(fock.split(plus)), indices)
    roles = [
        (first[0], (min(second, third), max(second, third)))
        for a, b, c in triples
        for first, second, third in ((a, b, c), (b, a, c), (c, a, b))
    ]
    pairs = sorted({pair for _, pair in roles})
    x, y = (
        [np.array([getattr(each, name) for each in channel]) for channel in first_order]
        for name in ("x", "y")
    )
    blocks = [_occupied_blocks(*both, pairs) for both in zip(x, y, strict=True)]
    of_x = fock.first_order_orbitals(x)
    static = all(np.array_equal(one, other) for one, other in zip(x, y, strict=True))
    of_y = of_x if static else fock.first_order_orbitals(y)
    terms = second_order_terms(fock.kernel, of_x, of_y, pairs, blocks)
    each = np.array([terms[a, pairs.index(pair)] for a, pair in roles])
    return np.asarray(values + each.reshape(len(triples), 3).sum(axis=1))


def _occupied_blocks(x: Array, y: Array, pairs: Sequence[Pair]) -> Array:
    """-(Y_b X_c^T + Y_c X_b^T), made symmetric, of pairs: (len(pairs), o, o)."""
    found = []
    for pair in pairs:
        (x_b, y_b), (x_c, y_c) = (
            (x[index], y[index]) if frequency >= 0.0 else (y[index], x[index])
            for index, frequency in pair
        )
        block = y_b @ x_c.T + y_c @ x_b.T
        found.append(-0.5 * (block + block.T))
    return np.array(found)


def second_order_terms(
    kernel: Kernel,
    x: Sequence[Array],
    y: Sequence[Array],
    pairs: Sequence[Pair],
    occupied_blocks: Sequence[Array],
) -> Array:
    """Second variations E2(D_a, D_bc) of first-order densities and blocks of second order.

    The virtual-virtual block of D_bc is X_b^T Y_c + X_c^T Y_b.

    Parameters
    ----------
    kernel : Kernel
    x, y : per channel (m, n, o) arrays
        First-order orbitals C_virtual X^T and C_virtual Y^T; the same object where X is Y.
    pairs : sequence of (b, c)
        Of the m; where a frequency is negative X and Y change places.
    occupied_blocks : per channel (len(pairs), o, o) array
        The occupied-occupied blocks of D_bc, symmetric, of singly filled orbitals.

    Returns
    -------
    (m, len(pairs)) array
        In hartree.
    """
    count = len(x[0])
    # where the sets of orbitals stand: the occupied ones, then X, then Y
    of_x = slice(1, 1 + count)
    of_y = of_x if y is x else slice(1 + count, 1 + 2 * count)
    sets = [x] if y is x else [x, y]
    columns = columns_of(
        [
            np.concatenate([ground[None], *(each[s] for each in sets)])
            for s, ground in enumerate(kernel.occupied)
        ]
    )
    places = [
        [
            (of_x if (frequency >= 0.0) == first else of_y).start + index
            for index, frequency in pair
            for first in (True, False)
        ]
        for pair in pairs
    ]
    found = np.zeros((count, len(pairs)))
    for point in kernel.points:
        kinetic, values = point.block.kinetic, point.block.values
        first, second = [], []
        for s, psi in enumerate(point.occupied):
            orbitals = _at_points(values, columns[s][point.block.functions], psi.shape[-1])
            products = _densities_of_products(orbitals, kinetic=kinetic)
            own = products[:, :, 0, of_x] + products[:, :, 0, of_y]
            first.append(own.transpose(0, 2, 1))
            mixed = _densities_inside(psi, occupied_blocks[s], kinetic=kinetic)
            for index, (x_b, y_b, x_c, y_c) in enumerate(places):
                mixed[:, index] += products[:, :, x_b, y_c] + products[:, :, x_c, y_b]
            second.append(mixed)
        potential = potential_of(point, kernel.factor * np.array(first))
        found += kernel.factor * np.einsum(
            "sxap,sxqp->aq", potential, np.array(second), optimize=True
        )
    return found


def _at_points(values: Array, columns: Array, occupied: int) -> Array:
    """Orbitals with their gradients, (4 or 1, points, k, o), out of ``columns_of``."""
    components, points, functions = values.shape
    found = values.reshape(components * points, functions) @ columns
    return np.asarray(found.reshape(components, points, -1, occupied))


def _densities_of_products(orbitals: Array, *, kinetic: bool) -> Array:
    """Components of the densities of all pairs of sets of orbitals: see ``density_of``.

    orbitals    (4 or 1, points, k, o)
    returns     (c, points, k, k), symmetric
    """
    # a small product a point is faster than einsum
    products = orbitals @ orbitals[0].transpose(0, 2, 1)
    products[1:] += products[1:].transpose(0, 1, 3, 2).copy()
    if not kinetic:
        return np.asarray(products)
    tau = 0.5 * np.sum(orbitals[1:] @ orbitals[1:].transpose(0, 1, 3, 2), axis=0)
    return np.concatenate([products, tau[None]])


def _densities_inside(psi: Array, blocks: Array, *, kinetic: bool) -> Array:
    """Components of the densities psi B psi of symmetric blocks among occupied orbitals.

    psi         (4 or 1, points, o)
    blocks      (q, o, o)
    returns     (c, q, points)
    """
    count, o, _ = blocks.shape
    rows = blocks.transpose(1, 0, 2).reshape(o, count * o)
    left = (psi[0] @ rows).reshape(-1, count, o)
    found = (left @ psi.transpose(1, 2, 0)).transpose(2, 1, 0)
    found = np.concatenate([found[:1], 2.0 * found[1:]])
    if not kinetic:
        return np.asarray(found)
    moved = (psi[1:] @ rows).reshape(3, -1, count, o)
    tau = 0.5 * np.einsum("xpqo,xpo->qp", moved, psi[1:])
    return np.concatenate([found, tau[None]])
