"""First-order Fock matrices, and the products (A + B) t and (A - B) t made of them.

Per spin channel, with C_0 the occupied orbitals and a trial t (occupied, virtual) as first-order
orbitals C_1 = C_virtual t^T, one Coulomb and one exchange matrix of the density C_0 C_1^T give
both products, since K[D^T] = K[D]^T:

    (A + B) t = gaps t + 2 (J[D_total] - c_x (K + K^T) / 2 + V_xc)_occupied,virtual
    (A - B) t = gaps t - c_x (K - K^T)_occupied,virtual

A range-separated hybrid adds c_lr times the long-range exchange to c_x K.

Pure numpy: integrals come in by callbacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hpcml.response.kernels import Kernel
from hpcml.response.quadratic import FirstOrder

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Orbitals:
    """One spin channel: orbitals (n, o) and (n, v), and their energies in hartree."""

    occupied: Array
    virtual: Array
    occupied_energies: Array
    virtual_energies: Array

    @property
    def shape(self) -> tuple[int, int]:
        return self.occupied.shape[1], self.virtual.shape[1]

    @property
    def gaps(self) -> Array:
        """(o, v): virtual minus occupied energies."""
        return self.virtual_energies[None, :] - self.occupied_energies[:, None]


class TwoElectron(Protocol):
    def __call__(self, left: Array, rights: Sequence[Array]) -> tuple[list[Array], list[Array]]:
        """Coulomb J and scaled exchange c_x K (+ long range) of densities left right^T.

        left (n, o) is shared; each of rights is (n, o).  With no exchange in the functional the
        second list holds zeros.
        """


class FockResponse:
    """Response of the Fock (Kohn-Sham) matrices to changes of the orbitals."""

    def __init__(
        self, channels: Sequence[Orbitals], two_electron: TwoElectron, kernel: Kernel | None
    ) -> None:
        self.channels = list(channels)
        self.kernel = kernel
        self._two_electron = two_electron
        self.occupation = 2.0 if len(self.channels) == 1 else 1.0

    @property
    def gaps(self) -> Array:
        """(N,): all channels' gaps, flat."""
        return np.concatenate([channel.gaps.ravel() for channel in self.channels])

    def gradients(self, operators: Array) -> Array:
        """(D, N): occupied-virtual elements of operators (D, n, n), flat over channels."""
        return np.array(
            [
                np.concatenate(
                    [(c.occupied.T @ operator @ c.virtual).ravel() for c in self.channels]
                )
                for operator in operators
            ]
        )

    def split(self, vectors: Array) -> list[Array]:
        """Flat vectors (k, N) as one (k, o, v) for each channel."""
        bounds = np.cumsum([np.prod(channel.shape) for channel in self.channels])[:-1]
        return [
            part.reshape(-1, *channel.shape)
            for part, channel in zip(np.split(vectors, bounds, axis=1), self.channels, strict=True)
        ]

    def plus_product(self, trials: Array) -> tuple[Array, Array]:
        """(A + B) t and (A - B) t of trials (k, N)."""
        parts = self.split(trials)
        coulomb, exchange = self._integrals(parts)
        potentials = self._potentials(parts)
        plus, minus = [], []
        for s, channel in enumerate(self.channels):
            diagonal = channel.gaps * parts[s]
            plus_s, minus_s = np.empty_like(diagonal), np.empty_like(diagonal)
            for k in range(len(trials)):
                forward, backward = _occupied_virtual(channel, exchange[s][k])
                fock = 2.0 * coulomb[k]
                if potentials is not None:
                    fock = fock + 2.0 * potentials[s][k]
                plus_s[k] = channel.occupied.T @ fock @ channel.virtual - (forward + backward)
                minus_s[k] = backward - forward
            plus.append((diagonal + plus_s).reshape(len(trials), -1))
            minus.append((diagonal + minus_s).reshape(len(trials), -1))
        return np.hstack(plus), np.hstack(minus)

    def minus_product(self, trials: Array) -> Array:
        """(A - B) t of trials (k, N)."""
        parts = self.split(trials)
        _, exchange = self._integrals(parts)
        products = []
        for s, channel in enumerate(self.channels):
            product = channel.gaps * parts[s]
            for k in range(len(trials)):
                forward, backward = _occupied_virtual(channel, exchange[s][k])
                product[k] += backward - forward
            products.append(product.reshape(len(trials), -1))
        return np.hstack(products)

    def first_order(self, operators: Array, plus: Array, minus: Array) -> list[list[FirstOrder]]:
        """Parameters and Fock blocks of m perturbations: [channel][perturbation].

        operators     (m, n, n): each perturbation's own operator
        plus, minus   (m, N): P = X + Y and M = X - Y
        """
        x, y = self.split(0.5 * (plus + minus)), self.split(0.5 * (plus - minus))
        static = not np.any(minus)
        coulomb, exchange_x = self._integrals(x)
        exchange_y = exchange_x
        if not static:
            coulomb_y, exchange_y = self._integrals(y)
            coulomb = [a + b for a, b in zip(coulomb, coulomb_y, strict=True)]
        else:
            coulomb = [2.0 * matrix for matrix in coulomb]
        potentials = self._potentials(self.split(plus))
        result = []
        for s, channel in enumerate(self.channels):
            perturbations = []
            for m, operator in enumerate(operators):
                # D_1 = C_1x C_0^T + C_0 C_1y^T
                fock = operator + coulomb[m] - exchange_x[s][m].T - exchange_y[s][m]
                if potentials is not None:
                    fock = fock + potentials[s][m]
                perturbations.append(
                    FirstOrder(
                        x[s][m],
                        y[s][m],
                        channel.occupied.T @ fock @ channel.occupied,
                        channel.virtual.T @ fock @ channel.virtual,
                    )
                )
            result.append(perturbations)
        return result

    def first_order_orbitals(self, vectors: Array) -> list[Array]:
        """(k, n, o) for each channel: C_1 = C_virtual t^T."""
        return self._orbitals(self.split(vectors))

    def _orbitals(self, parts: Sequence[Array]) -> list[Array]:
        return [
            np.einsum("mv,kov->kmo", channel.virtual, part, optimize=True)
            for channel, part in zip(self.channels, parts, strict=True)
        ]

    def _integrals(self, parts: Sequence[Array]) -> tuple[list[Array], list[list[Array]]]:
        """Coulomb matrices of the whole density, exchange per channel, of densities C_0 C_1^T."""
        coulomb: list[Array] = []
        exchange = []
        for channel, orbitals in zip(self.channels, self._orbitals(parts), strict=True):
            j, k = self._two_electron(channel.occupied, list(orbitals))
            coulomb = [a + b for a, b in zip(coulomb, j, strict=True)] if coulomb else j
            exchange.append(k)
        return [self.occupation * matrix for matrix in coulomb], exchange

    def _potentials(self, parts: Sequence[Array]) -> list[Array] | None:
        return None if self.kernel is None else self.kernel.potentials(self._orbitals(parts))


def _occupied_virtual(channel: Orbitals, matrix: Array) -> tuple[Array, Array]:
    """The (o, v) block of a matrix, and that of its transpose."""
    return (
        channel.occupied.T @ matrix @ channel.virtual,
        (channel.virtual.T @ matrix @ channel.occupied).T,
    )
