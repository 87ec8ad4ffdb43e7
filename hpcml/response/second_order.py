"""The second-order density: how the response itself responds to a static field.

Beta needs it nowhere (2n + 1 rule, ``quadratic.py``), but a share of beta does: it asks where the
density is that a pair of fields induces.  With U_b the first-order parameters of dF_b, F_b the
first-order Fock matrices (operator included) and unit occupation, the second derivative of
idempotency D S D = D gives two blocks of the density, and that of [F, D] = 0 the third:

    D_bc(virtual, virtual)   =   U_b^T U_c + U_c^T U_b
    D_bc(occupied, occupied) = -(U_b U_c^T + U_c U_b^T)
    D_bc(occupied, virtual)  =   W_bc,
    (A + B) W_bc = F_b(oo) U_c - U_c F_b(vv) + F_c(oo) U_b - U_b F_c(vv) - G(ov)

where G is the Fock matrix of the known blocks plus the third functional derivative applied to D_b
and D_c (McWeeny, Rev. Mod. Phys. 32, 335 (1960); Karna and Dupuis, J. Comput. Chem. 12, 487
(1991)).  Then beta_ijk = Tr(mu_i D_jk), the n + 1 rule.

Static and pure numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from hpcml.response import kernels
from hpcml.response.fock import FockResponse, Orbitals
from hpcml.response.kernels import Kernel
from hpcml.response.quadratic import FirstOrder
from hpcml.response.two_electron import Matrices

Array = NDArray[np.float64]

_PAIRS = tuple(combinations_with_replacement(range(3), 2))

Solve = Callable[[Array], Array]
"""Right sides g (k, N) -> solutions t (k, N) of (A + B) t = -g."""


def densities(
    fock: FockResponse,
    first_order: Sequence[Sequence[FirstOrder]],
    matrices: Matrices,
    solve: Solve,
) -> tuple[Array, Array]:
    """dD/dF_j (3, n, n) and d^2 D / dF_j dF_k (3, 3, n, n), static, of all electrons.

    first_order   [channel][axis], static, of the operators -mu (``fock.first_order``)
    matrices      J and scaled K of densities left right^T
    solve         the linear response equations, static
    """
    channels = fock.channels
    parameters = [np.array([axis.x for axis in channel]) for channel in first_order]
    known = _known_fock(fock, parameters, matrices)
    right_sides = []
    for s, channel in enumerate(channels):
        u, axes = parameters[s], first_order[s]
        known_block = channel.occupied.T @ known[s] @ channel.virtual
        sides = np.empty((len(_PAIRS), *channel.shape))
        for index, (b, c) in enumerate(_PAIRS):
            sides[index] = known_block[index]
            for left, right in ((b, c), (c, b)):
                sides[index] -= axes[left].occupied @ u[right] - u[right] @ axes[left].virtual
        right_sides.append(sides.reshape(len(_PAIRS), -1))
    solved = fock.split(solve(np.hstack(right_sides)))

    size = len(channels[0].occupied)
    first, second = np.zeros((3, size, size)), np.zeros((3, 3, size, size))
    for s, channel in enumerate(channels):
        for axis, u_b in enumerate(parameters[s]):
            first[axis] += fock.occupation * _symmetrized(channel, u_b)
        for index, (b, c) in enumerate(_PAIRS):
            occupied, virtual = _idempotency(parameters[s][b], parameters[s][c])
            density = _symmetrized(channel, solved[s][index])
            density += channel.occupied @ occupied @ channel.occupied.T
            density += channel.virtual @ virtual @ channel.virtual.T
            second[b, c] += fock.occupation * density
    for b, c in _PAIRS:
        second[c, b] = second[b, c]
    return first, second


def _idempotency(u_b: Array, u_c: Array) -> tuple[Array, Array]:
    """The (o, o) and (v, v) blocks of D_bc that need no equation."""
    occupied, virtual = u_b @ u_c.T, u_b.T @ u_c
    return -(occupied + occupied.T), virtual + virtual.T


def _symmetrized(channel: Orbitals, block: Array) -> Array:
    """An (o, v) block and its transpose in the basis of atomic orbitals."""
    half = channel.occupied @ block @ channel.virtual.T
    return np.asarray(half + half.T)


def _known_fock(fock: FockResponse, parameters: list[Array], matrices: Matrices) -> list[Array]:
    """G per channel, (6, n, n): what the known blocks and the third derivative make."""
    size = len(fock.channels[0].occupied)
    coulomb, exchange = np.zeros((len(_PAIRS), size, size)), []
    for channel, u in zip(fock.channels, parameters, strict=True):
        j, k = _known_integrals(channel, u, matrices)
        coulomb += fock.occupation * j
        exchange.append(k)
    known = [coulomb - k for k in exchange]
    if fock.kernel is not None:
        potentials = _known_potentials(fock, fock.kernel, parameters)
        known = [total + potential for total, potential in zip(known, potentials, strict=True)]
    return known


def _known_integrals(channel: Orbitals, u: Array, matrices: Matrices) -> tuple[Array, Array]:
    """J and scaled K, (6, n, n) each, of one channel's known density blocks."""
    size = len(channel.occupied)
    coulomb, exchange = (np.zeros((len(_PAIRS), size, size)) for _ in range(2))
    inside = [channel.occupied @ _idempotency(u[b], u[c])[0] for b, c in _PAIRS]
    j, k = matrices(channel.occupied, inside)
    coulomb += np.array(j)
    exchange += 0.0 if k is None else np.array(k)
    moved = [channel.virtual @ u_b.T for u_b in u]
    for b in range(3):
        later = [index for index, pair in enumerate(_PAIRS) if pair[0] == b]
        j, k = matrices(moved[b], [moved[_PAIRS[index][1]] for index in later])
        coulomb[later] += 2.0 * np.array(j)
        if k is not None:
            exchange[later] += np.array(k) + np.array(k).transpose(0, 2, 1)
    return coulomb, exchange


def _known_potentials(fock: FockResponse, kernel: Kernel, parameters: list[Array]) -> list[Array]:
    """Exchange-correlation part of G per channel, (6, n, n), on the kernel's grid.

    The second variation at the known densities plus the third at D_b and D_c, the latter as the
    central difference of the potential of D_c along D_b (see ``kernels``).
    """
    size = len(fock.channels[0].occupied)
    moved = [
        channel.virtual @ u.transpose(0, 2, 1)
        for channel, u in zip(fock.channels, parameters, strict=True)
    ]
    inside = [np.array([_idempotency(u[b], u[c])[0] for b, c in _PAIRS]) for u in parameters]
    # the kernel's first-order density is that of (C_0 C_1^T + C_1 C_0^T) / 2
    columns = kernels._columns([2.0 * orbitals for orbitals in moved])
    matrices = [np.zeros((len(_PAIRS), size, size)) for _ in fock.channels]
    for point in kernel._points:
        first = kernel._first_order_densities(point, columns, 3)
        known = _known_densities(point, moved, inside, fock.occupation)
        scalar, vector = kernels._potential(point, known)
        for b in range(3):
            forward, backward, step = kernel._displaced(point.density, first[:, :, b])
            later = [index for index, pair in enumerate(_PAIRS) if pair[0] == b]
            changes = first[:, :, [_PAIRS[index][1] for index in later]]
            for sign, (density, *derivatives) in ((0.5, forward), (-0.5, backward)):
                weighted = [point.block.weights * derivative for derivative in derivatives]
                there = kernels._Point(point.block, point.occupied, density, *weighted)
                scalar_there, vector_there = kernels._potential(there, changes)
                scalar[:, later] += sign / step * scalar_there
                vector[:, :, later] += sign / step * vector_there
        values = point.block.values
        rows, columns_of = np.ix_(point.block.functions, point.block.functions)
        for matrix, scalar_s, vector_s in zip(matrices, scalar, vector, strict=True):
            weighted_values = (0.5 * scalar_s)[:, :, None] * values[0]
            for component, gradient in zip(vector_s, values[1:], strict=True):
                weighted_values += component[:, :, None] * gradient
            half = values[0].T @ weighted_values
            matrix[:, rows, columns_of] += half + half.transpose(0, 2, 1)
    return matrices


def _known_densities(
    point: kernels._Point, moved: list[Array], inside: list[Array], occupation: float
) -> Array:
    """(channels, 4 or 1, 6, points): the known blocks' densities and their gradients."""
    values = point.block.values
    densities = np.empty((len(moved), len(values), len(_PAIRS), values.shape[1]))
    for density, psi, orbitals, blocks in zip(
        densities, point.occupied, moved, inside, strict=True
    ):
        psi_1 = values @ orbitals[:, None, point.block.functions]  # (axis, 4 or 1, points, o)
        for index, (b, c) in enumerate(_PAIRS):
            within = psi[0] @ blocks[index]
            density[:, index] = np.einsum("xpi,pi->xp", psi_1[b], psi_1[c, 0])
            density[:, index] += np.einsum("xpi,pi->xp", psi_1[c], psi_1[b, 0])
            density[:, index] += np.einsum("xpi,pi->xp", psi, within)
        density[1:] *= 2.0  # product rule; the two factors of each term may change places
    return occupation * densities
