"""Whether a converged SCF is a minimum: the lowest eigenvalue of its orbital Hessian.

A restricted determinant is a minimum among unrestricted ones where the triplet Hessian

    (A + B)_triplet t = gaps t - (K + K^T) t + 2 (V_xc of opposite spins)

is positive (Seeger and Pople, J. Chem. Phys. 66, 3045 (1977)); the singlet Hessian adds the Coulomb
matrix, which is positive, so that it is no lower.  An unrestricted determinant has A + B itself.
The eigenvalue is found by a few steps of Davidson's method (J. Comput. Phys. 17, 87 (1975)), from
trials of every symmetry.

An eigenvalue of zero is a rotation that costs nothing: the hole of an open shell sits in one of
several orbitals of the same energy, and the response is that of this choice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hpcml.response.fock import Orbitals, TwoElectron
from hpcml.response.kernels import Kernel

Array = NDArray[np.float64]

ZERO = 5e-3
"""Hartree: what the rough grid and the few steps leave of an eigenvalue that is zero."""

_START, _GROWTH, _MOST_STEPS = 3, 2, 15  # trials, then so many a step
_NOISE = 0.05  # of a start vector, over all excitations: no symmetry is left out
_ENOUGH = 0.1  # residual over the eigenvalue: its sign is known
_ANGLE = 0.5  # largest of the rotations of a step downhill, radian


@dataclass(frozen=True)
class Stability:
    """The lowest eigenvalue of the orbital Hessian, hartree, and the kind of determinant.

    restricted   the Hessian is that of the triplet
    mode         (N,): the eigenvector as far as it is known, of occupied-virtual rotations
    """

    eigenvalue: float
    restricted: bool
    mode: Array = field(default_factory=lambda: np.empty(0))

    @property
    def unstable(self) -> bool:
        return self.eigenvalue < -ZERO

    @property
    def warnings(self) -> list[str]:
        """What the reader of a result must know; empty for a minimum."""
        value = f"lowest eigenvalue of the orbital Hessian {self.eigenvalue:.4f} hartree"
        if self.unstable:
            way = (
                "an unrestricted SCF lies lower (RHF -> UHF instability); another multiplicity may "
                "be the ground state"
                if self.restricted
                else "another solution of the SCF lies lower"
            )
            return [
                f"the SCF solution is not a minimum: {way} ({value}): its response may mean nothing"
            ]
        if self.eigenvalue < ZERO and not self.restricted:
            return [
                f"degenerate open shell: its hole may sit in several orbitals alike ({value}); "
                "the tensors are those of one choice"
            ]
        return []


def downhill(stability: Stability, channels: Sequence[Orbitals], sign: float) -> list[Array]:
    """Occupied orbitals of both spins, a step from a saddle point along its lowest mode.

    Parameters
    ----------
    stability : Stability
        With its mode.
    channels : sequence of Orbitals
        Of the saddle point; of a closed shell one, whose spins turn against each other.
    sign : float
        1 or -1: which way.

    Returns
    -------
    list of two (n, o) arrays
    """
    if stability.restricted:
        (channel,) = channels
        rotation = stability.mode.reshape(channel.shape)
        turns = [(channel, sign * rotation), (channel, -sign * rotation)]
    else:
        sizes = np.cumsum([channel.gaps.size for channel in channels])[:-1]
        parts = np.split(sign * stability.mode, sizes)
        turns = [(c, part.reshape(c.shape)) for c, part in zip(channels, parts, strict=True)]
    largest = max(np.linalg.norm(rotation, 2) for _, rotation in turns if rotation.size)
    return [_turned(channel, rotation * (np.tan(_ANGLE) / largest)) for channel, rotation in turns]


def _turned(channel: Orbitals, rotation: Array) -> Array:
    """The occupied orbitals with this much of the virtual ones, orthonormal."""
    coefficients = np.vstack([np.eye(channel.shape[0]), rotation.T])
    orthonormal, _ = np.linalg.qr(coefficients)
    return np.asarray(np.hstack([channel.occupied, channel.virtual]) @ orthonormal)


def restricted_product(
    channel: Orbitals, two_electron: TwoElectron, kernel: Kernel | None
) -> Callable[[Array], Array]:
    """(A + B) of the triplet, (k, N) -> (k, N), of a closed shell.

    Parameters
    ----------
    channel : Orbitals
        The doubly filled orbitals and the empty ones.
    two_electron : TwoElectron
        Of the closed shell.
    kernel : Kernel or None
        Of two spin channels with the same orbitals; None for Hartree-Fock.
    """

    def product(trials: Array) -> Array:
        parts = trials.reshape(len(trials), *channel.shape)
        images = channel.gaps * parts
        ((_, forward, backward),) = two_electron.occupied_virtual([parts])
        if forward is not None and backward is not None:
            images = images - forward - backward
        if kernel is not None:
            first_order = channel.virtual @ parts.transpose(0, 2, 1)
            potential = kernel.on_occupied([first_order, -first_order])[0]
            images = images + 2.0 * (potential.transpose(0, 2, 1) @ channel.virtual)
        return np.asarray(images.reshape(trials.shape))

    return product


def lowest_mode(gaps: Array, product: Callable[[Array], Array]) -> tuple[float, Array]:
    """Lowest eigenvalue of a symmetric matrix near diag(gaps), to what its sign needs.

    Parameters
    ----------
    gaps : (N,) array
        Hartree.
    product : callable
        (k, N) -> (k, N): the matrix times each row.

    Returns
    -------
    float
        From above; infinite where there is nothing to excite.
    (N,) array
        The eigenvector, as far as it is known.
    """
    size = len(gaps)
    if not size:
        return float("inf"), np.empty(0)
    random = np.random.default_rng(0)
    rows = _NOISE * random.standard_normal((min(_START, size), size)) / np.sqrt(size)
    rows[range(len(rows)), np.argsort(gaps)[: len(rows)]] += 1.0
    basis, images = np.empty((0, size)), np.empty((0, size))
    values, vectors = np.empty(0), np.empty((0, 0))
    for _ in range(_MOST_STEPS):
        new = _outside(basis, rows)
        if not len(new):
            break
        basis, images = np.vstack([basis, new]), np.vstack([images, product(new)])
        reduced = basis @ images.T
        values, vectors = np.linalg.eigh(0.5 * (reduced + reduced.T))
        lowest = vectors[:, :_GROWTH].T
        residuals = lowest @ images - values[: len(lowest), None] * (lowest @ basis)
        norms = np.linalg.norm(residuals, axis=1)
        enough = np.maximum(_ENOUGH * np.abs(values[: len(lowest)]), 0.1 * ZERO)
        if values[0] < -ZERO or np.all(norms < enough):
            break
        distance = gaps - values[: len(lowest), None]
        rows = residuals / np.where(np.abs(distance) < 0.05, 0.05, distance)
    return float(values[0]), vectors[:, 0] @ basis


def _outside(basis: Array, rows: Array) -> Array:
    """Orthonormal rows of what lies outside a basis; at most as many as there are."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows[norms[:, 0] > 0.0] / norms[norms[:, 0] > 0.0]
    for _ in range(2):
        rows = rows - (rows @ basis.T) @ basis
    if not len(rows):
        return rows
    _, singular, right = np.linalg.svd(rows, full_matrices=False)
    return np.asarray(right[singular > 1e-6])
