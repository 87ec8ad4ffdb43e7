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

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpcml.response import linear_response as linear
from hpcml.response.fock import FockResponse, Orbitals
from hpcml.response.induced_densities import OrbitalDensities
from hpcml.response.kernels import PAIRS
from hpcml.response.quadratic import FirstOrder
from hpcml.response.two_electron import Matrices

Array = NDArray[np.float64]


def densities(
    fock: FockResponse,
    first_order: Sequence[Sequence[FirstOrder]],
    matrices: Matrices,
    convergence: float,
) -> OrbitalDensities:
    """Static densities of first and second order, of all electrons.

    Parameters
    ----------
    fock : FockResponse
    first_order : [channel][axis] of FirstOrder
        Static, of the operators -mu (``fock.first_order``).
    matrices : callable
        J and scaled K of densities left right^T (``two_electron.Matrices``).
    convergence : float
        Of W, as ``linear_response.solve`` takes it.

    Returns
    -------
    OrbitalDensities
        Atomic units, F in hartree / (e bohr).

    Raises
    ------
    ConvergenceError
        Where ``convergence`` is not reached.
    """
    channels = fock.channels
    parameters = [np.array([axis.x for axis in channel]) for channel in first_order]
    known = _known_fock(fock, parameters, matrices)
    right_sides = []
    for s, channel in enumerate(channels):
        u, axes = parameters[s], first_order[s]
        known_block = channel.occupied.T @ known[s] @ channel.virtual
        sides = np.empty((len(PAIRS), *channel.shape))
        for index, (b, c) in enumerate(PAIRS):
            sides[index] = known_block[index]
            for left, right in ((b, c), (c, b)):
                sides[index] -= axes[left].occupied @ u[right] - u[right] @ axes[left].virtual
        right_sides.append(sides.reshape(len(PAIRS), -1))
    solution = linear.solve(
        fock.gaps,
        np.hstack(right_sides),
        np.zeros(1),
        fock.plus_product,
        fock.minus_product,
        convergence=convergence,
    )
    solved = fock.split(0.5 * solution.plus[:, 0])

    orbitals = []
    for channel, u, w in zip(channels, parameters, solved, strict=True):
        moved = np.concatenate([u, w]) @ channel.virtual.T  # (9, o, n)
        for index, (b, c) in enumerate(PAIRS):
            occupied, _ = _idempotency(u[b], u[c])
            moved[3 + index] += 0.5 * occupied @ channel.occupied.T
        every = np.concatenate([channel.occupied.T[None], moved])
        orbitals.append(np.ascontiguousarray(every.transpose(2, 0, 1)))
    return OrbitalDensities(orbitals, fock.occupation)


def _idempotency(u_b: Array, u_c: Array) -> tuple[Array, Array]:
    """The (o, o) and (v, v) blocks of D_bc that need no equation."""
    occupied, virtual = u_b @ u_c.T, u_b.T @ u_c
    return -(occupied + occupied.T), virtual + virtual.T


def _known_fock(fock: FockResponse, parameters: list[Array], matrices: Matrices) -> list[Array]:
    """G per channel, (6, n, n): what the known blocks and the third derivative make."""
    size = len(fock.channels[0].occupied)
    coulomb, exchange = np.zeros((len(PAIRS), size, size)), []
    for channel, u in zip(fock.channels, parameters, strict=True):
        j, k = _known_integrals(channel, u, matrices)
        coulomb += fock.occupation * j
        exchange.append(k)
    known = [coulomb - k for k in exchange]
    if fock.kernel is not None:
        potentials = fock.kernel.second_order_potentials(
            fock.first_order_orbitals(parameters),
            [np.array([_idempotency(u[b], u[c])[0] for b, c in PAIRS]) for u in parameters],
        )
        known = [total + potential for total, potential in zip(known, potentials, strict=True)]
    return known


def _known_integrals(channel: Orbitals, u: Array, matrices: Matrices) -> tuple[Array, Array]:
    """J and scaled K, (6, n, n) each, of one channel's known density blocks."""
    size = len(channel.occupied)
    coulomb, exchange = (np.zeros((len(PAIRS), size, size)) for _ in range(2))
    inside = [channel.occupied @ _idempotency(u[b], u[c])[0] for b, c in PAIRS]
    j, k = matrices(channel.occupied, inside)
    coulomb += np.array(j)
    exchange += 0.0 if k is None else np.array(k)
    moved = [channel.virtual @ u_b.T for u_b in u]
    for b in range(3):
        later = [index for index, pair in enumerate(PAIRS) if pair[0] == b]
        j, k = matrices(moved[b], [moved[PAIRS[index][1]] for index in later])
        coulomb[later] += 2.0 * np.array(j)
        if k is not None:
            exchange[later] += np.array(k) + np.array(k).transpose(0, 2, 1)
    return coulomb, exchange
