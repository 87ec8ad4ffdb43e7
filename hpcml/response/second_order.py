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
from hpcml.response.fock import FockResponse
from hpcml.response.induced_densities import OrbitalDensities
from hpcml.response.kernels import PAIRS
from hpcml.response.quadratic import FirstOrder
from hpcml.response.two_electron import occupied_block

Array = NDArray[np.float64]


def densities(
    fock: FockResponse,
    first_order: Sequence[Sequence[FirstOrder]],
    convergence: float,
) -> OrbitalDensities:
    """Static densities of first and second order, of all electrons.

    Parameters
    ----------
    fock : FockResponse
    first_order : [channel][axis] of FirstOrder
        Static, of the operators -mu (``fock.first_order``).
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
    known = _known_fock(fock, parameters)
    right_sides = []
    for s, channel in enumerate(channels):
        u, axes = parameters[s], first_order[s]
        sides = np.empty((len(PAIRS), *channel.shape))
        for index, (b, c) in enumerate(PAIRS):
            sides[index] = known[s][index]
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
            moved[3 + index] += 0.5 * occupied_block(u[b], u[c]) @ channel.occupied.T
        every = np.concatenate([channel.occupied.T[None], moved])
        orbitals.append(np.ascontiguousarray(every.transpose(2, 0, 1)))
    return OrbitalDensities(orbitals, fock.occupation)


def _known_fock(fock: FockResponse, parameters: list[Array]) -> list[Array]:
    """G_ov per channel, (6, o, v): what the known blocks and the third derivative make."""
    known = fock.two_electron.idempotent_blocks(parameters)
    if fock.kernel is None:
        return known
    potentials = fock.kernel.second_order_potentials(
        fock.first_order_orbitals(parameters),
        [np.array([occupied_block(u[b], u[c]) for b, c in PAIRS]) for u in parameters],
    )
    return [
        total + channel.occupied.T @ potential @ channel.virtual
        for total, channel, potential in zip(known, fock.channels, potentials, strict=True)
    ]
