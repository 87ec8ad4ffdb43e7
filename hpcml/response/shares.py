"""What each atom contributes to a property: shares that sum to it exactly.

Zero-point energy: a mode's energy belongs to the atoms that move in it, by the squares of their
mass-weighted displacements; nothing is arbitrary.

alpha and beta: the induced density of first (second) order is divided over the atoms with
Hirshfeld's stockholder weights (Theor. Chim. Acta 44, 129 (1977)) and its dipole moment becomes

    sum_A  p_A + charge flow,     p_A = - int w_A(r) (r - R_A) rho(r) dr,
                                  q_A = - int w_A(r) rho(r) dr,

an intrinsic part about each nucleus and the charge that flowed between the atoms (Krishtal,
Senet, Yang and Van Alsenoy, J. Chem. Phys. 125, 034312 (2006)).  Written as q_A (R_A - R_0) the
second part would depend, atom by atom, on an origin R_0, and a second molecule far away would move
that origin.  So the flow is resolved into charges Q_AB that pass from B to A, short ways first,
as in LoProp (Gagliardi, Lindh and Karlstrom, J. Chem. Phys. 121, 4494 (2004)), and each passage
Q_AB (R_A - R_B) is shared by its two ends.  Only charge that no chain of neighbours can have
carried, between molecules, is counted from R_0, the centroid of the nuclei.

Pure numpy, atomic units, physical sign, Taylor convention.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rdkit.Chem import GetPeriodicTable

from hpcml.response import units
from hpcml.response.invariants import SMALLEST_DIPOLE

Array = NDArray[np.float64]

PARTITION = "Hirshfeld, with charge flow along bonds as in LoProp"
"""How alpha and beta were divided: for the provenance."""

_NEIGHBOURS = 1e-8  # conductance below which charge does not pass: about three bond lengths


@dataclass(frozen=True, eq=False)
class AtomicMoments:
    """What the stockholder weights say of D induced densities on n atoms.

    charges   (D, n): q_A, in e
    dipoles   (D, n, 3): p_A, each about its own nucleus, in e bohr
    spread    (D, n): integral of w_A |rho|: where an integration error is most likely to sit
    """

    charges: Array
    dipoles: Array
    spread: Array

    def of(self, densities: Sequence[int]) -> AtomicMoments:
        """Those of some of the densities, by their numbers; one may stand there several times."""
        chosen = list(densities)
        return AtomicMoments(self.charges[chosen], self.dipoles[chosen], self.spread[chosen])


def zero_point_shares(frequencies: Array, modes: Array) -> Array:
    """Shares of the zero-point energy: sum_k 1/2 h nu_k sum_c L_(Ac),k^2.

    Parameters
    ----------
    frequencies : (m,) array
        In cm^-1; the imaginary (negative) ones carry no zero-point energy.
    modes : (m, n, 3) array
        Orthonormal mass-weighted displacements.

    Returns
    -------
    (n,) array
        In hartree.
    """
    energies = 0.5 * np.clip(frequencies, 0.0, None) / units.INVERSE_CENTIMETRE
    return np.asarray(np.einsum("k,kac->a", energies, modes**2))


def polarizability_shares(
    alpha: Array, moments: AtomicMoments, numbers: NDArray[np.int64], positions: Array
) -> Array:
    """Shares of alpha_iso, summing to Tr(alpha) / 3.

    Parameters
    ----------
    alpha : (3, 3) array
        Static, in bohr^3.
    moments : AtomicMoments
        Of the three densities d rho / d F_j.
    numbers : (n,) array of int
        Atomic numbers.
    positions : (n, 3) array
        In bohr.

    Returns
    -------
    (n,) array
        In bohr^3.
    """
    return np.asarray(np.einsum("aii->a", atomic_responses(alpha, moments, numbers, positions)) / 3)


def hyperpolarizability_shares(
    beta: Array,
    dipole: Array,
    moments: AtomicMoments,
    numbers: NDArray[np.int64],
    positions: Array,
) -> Array:
    """Shares of beta_parallel, summing to it.

    The three-index average of ``invariants.beta_parallel`` is taken atom by atom.

    Parameters
    ----------
    beta : (3, 3, 3) array
        Static, in atomic units.
    dipole : (3,) array
        In e bohr.
    moments : AtomicMoments
        Of the nine densities d^2 rho / dF_j dF_k, in the order of (j, k).
    numbers : (n,) array of int
        Atomic numbers.
    positions : (n, 3) array
        In bohr.

    Returns
    -------
    (n,) array
        In atomic units; all NaN where there is no dipole.
    """
    norm = float(np.linalg.norm(dipole))
    if norm < SMALLEST_DIPOLE:
        return np.full(len(numbers), math.nan)
    responses = atomic_responses(beta.reshape(3, 9), moments, numbers, positions)
    tensors = responses.reshape(-1, 3, 3, 3)
    vectors = (
        np.einsum("aiij->aj", tensors)
        + np.einsum("aiji->aj", tensors)
        + np.einsum("ajii->aj", tensors)
    )
    return np.asarray(vectors @ dipole / (5.0 * norm))


def atomic_responses(
    total: Array, moments: AtomicMoments, numbers: NDArray[np.int64], positions: Array
) -> Array:
    """Shares of induced dipoles, to which they sum exactly.

    What the quadrature of the moments misses (parts in 1e5) goes to the atoms in proportion to
    the induced density that they hold.

    Parameters
    ----------
    total : (3, D) array
        The induced dipoles.
    moments : AtomicMoments
        Of the D densities.
    numbers : (n,) array of int
        Atomic numbers.
    positions : (n, 3) array
        In bohr.

    Returns
    -------
    (n, 3, D) array
        In the unit of ``total``.
    """
    held = moments.spread.sum(axis=1, keepdims=True)
    # where no density is induced there is nothing to share, and every atom has as much of it
    even = np.full_like(moments.spread, 1.0 / len(positions))
    weights = np.divide(moments.spread, held, out=even, where=held > 0.0)
    charges = moments.charges - weights * moments.charges.sum(axis=1, keepdims=True)
    shares = moments.dipoles + np.array(
        [
            _flow(charge, weight, numbers, positions)
            for charge, weight in zip(charges, weights, strict=True)
        ]
    )
    missed = total.T - shares.sum(axis=1)
    shares += weights[:, :, None] * missed[:, None, :]
    return np.asarray(shares.transpose(1, 2, 0))


def _flow(charges: Array, weights: Array, numbers: NDArray[np.int64], positions: Array) -> Array:
    """Atoms' shares (n, 3) of sum_A q_A R_A, for charges (n,) that sum to zero.

    Of all passages Q_AB = -Q_BA that add up to the charges, those with the smallest
    sum Q_AB^2 / c_AB: Kirchhoff's law with conductances c_AB that fall off with distance.
    """
    conductance = _conductances(numbers, positions)
    flow_dipoles = np.zeros_like(positions)
    origin = positions.mean(axis=0)
    for members in _connected(conductance > _NEIGHBOURS):
        block = np.ix_(members, members)
        excess = charges[members].sum()
        part = weights[members] / weights[members].sum() * excess
        laplacian = np.diag(conductance[block].sum(axis=1)) - conductance[block]
        potential = np.linalg.lstsq(laplacian, charges[members] - part, rcond=1e-14)[0]
        passages = conductance[block] * (potential[:, None] - potential[None, :])
        ways = positions[members][:, None, :] - positions[members][None, :, :]
        flow_dipoles[members] = 0.5 * np.einsum("ab,abx->ax", passages, ways)
        flow_dipoles[members] += part[:, None] * (positions[members] - origin)
    return flow_dipoles


def _conductances(numbers: NDArray[np.int64], positions: Array) -> Array:
    """exp(-2 (R_AB / (r_A + r_B))^2) with covalent radii; 0 between far atoms and on itself.

    LoProp's penalty, there with Bragg and Slater's radii, which end at americium.
    """
    table = GetPeriodicTable()
    radii = np.array([table.GetRcovalent(int(number)) for number in numbers]) / units.ANGSTROM
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    conductance = np.exp(-2.0 * (distances / (radii[:, None] + radii[None, :])) ** 2)
    np.fill_diagonal(conductance, 0.0)
    return np.where(conductance > _NEIGHBOURS, conductance, 0.0)


def _connected(adjacent: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """The connected components of a graph, each as an array of indices."""
    reachable = adjacent | np.eye(len(adjacent), dtype=bool)
    for _ in range(max(1, math.ceil(math.log2(len(adjacent))))):
        reachable = (reachable.astype(float) @ reachable.astype(float)) > 0.0
    return [np.flatnonzero(row) for index, row in enumerate(reachable) if row.argmax() == index]
