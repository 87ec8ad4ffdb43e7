"""First-order Fock matrices, and the products (A + B) t and (A - B) t made of them.

Per spin channel, with C_0 the occupied orbitals and a trial t (occupied, virtual) as first-order
orbitals C_1 = C_virtual t^T, the Coulomb and exchange matrices of the density C_0 C_1^T give both
products, since K[D^T] = K[D]^T:

    (A + B) t = gaps t + 2 (J[D_total] - c_x (K + K^T) / 2 + V_xc)_occupied,virtual
    (A - B) t = gaps t - c_x (K - K^T)_occupied,virtual

Pure numpy: where the two-electron part comes from is the business of a ``TwoElectron``
(``two_electron.py`` has two).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    """Coulomb and exchange of first-order densities; per channel in, per channel out.

    J is that of all electrons.  K is already scaled by the functional's share of exact exchange
    (long-range exchange included).
    """

    def occupied_virtual(
        self, trials: Sequence[Array]
    ) -> list[tuple[Array, Array | None, Array | None]]:
        """J_ia, K_ia and K_ai of densities C_0 C_1^T; trials and results (k, o, v).

        The two last are None where the functional has no exact exchange.

        Parameters
        ----------
        trials : for each channel a (k, o, v) array

        Returns
        -------
        for each channel three (k, o, v) arrays
        """

    def diagonal_blocks(self, x: Sequence[Array], y: Sequence[Array]) -> list[tuple[Array, Array]]:
        """(J - K)_ij and (J - K)_ab, (m, o, o) and (m, v, v), of C_1x C_0^T + C_0 C_1y^T.

        Parameters
        ----------
        x, y : for each channel an (m, o, v) array

        Returns
        -------
        for each channel an (m, o, o) and an (m, v, v) array
        """

    def idempotent_blocks(self, parameters: Sequence[Array]) -> list[Array]:
        """(J - K)_ia of the blocks of the second-order densities that idempotency gives.

        Parameters
        ----------
        parameters : for each channel a (3, o, v) array
            Static ones of first order; the blocks are ``second_order``'s D_bc(oo) and D_bc(vv).

        Returns
        -------
        for each channel a (6, o, v) array
            By ``kernels.PAIRS``.
        """


class FockResponse:
    """Response of the Fock (Kohn-Sham) matrices to changes of the orbitals."""

    def __init__(
        self, channels: Sequence[Orbitals], two_electron: TwoElectron, kernel: Kernel | None
    ) -> None:
        """``kernel``: the functional's part; None for Hartree-Fock."""
        self.channels = list(channels)
        self.kernel = kernel
        self.occupation = 2.0 if len(self.channels) == 1 else 1.0
        self.two_electron = two_electron

    @property
    def gaps(self) -> Array:
        """(N,): all channels' gaps, flat."""
        return np.concatenate([channel.gaps.ravel() for channel in self.channels])

    def gradients(self, operators: Array) -> Array:
        """Occupied-virtual elements of operators.

        Parameters
        ----------
        operators : (D, n, n) array
            In basis functions.

        Returns
        -------
        (D, N) array
            Flat over channels.
        """
        return np.hstack(
            [
                (channel.occupied.T @ operators @ channel.virtual).reshape(
                    len(operators), channel.gaps.size
                )
                for channel in self.channels
            ]
        )

    def split(self, vectors: Array) -> list[Array]:
        """Flat vectors (k, N) as one (k, o, v) for each channel.

        Parameters
        ----------
        vectors : (k, N) array

        Returns
        -------
        for each channel a (k, o, v) array
        """
        bounds = np.cumsum([channel.gaps.size for channel in self.channels])[:-1]
        return [
            part.reshape(len(vectors), *channel.shape)
            for part, channel in zip(np.split(vectors, bounds, axis=1), self.channels, strict=True)
        ]

    def plus_product(self, trials: Array) -> tuple[Array, Array]:
        """(A + B) t and (A - B) t.

        Parameters
        ----------
        trials : (k, N) array

        Returns
        -------
        plus, minus : (k, N) arrays
            In hartree.
        """
        parts = self.split(trials)
        count = len(trials)
        potentials = None
        if self.kernel is not None:
            potentials = self.kernel.on_occupied(self.first_order_orbitals(parts))
        plus, minus = [], []
        for s, (channel, (coulomb, forward, backward)) in enumerate(
            zip(self.channels, self.two_electron.occupied_virtual(parts), strict=True)
        ):
            diagonal = channel.gaps * parts[s]
            plus_s, minus_s = diagonal + 2.0 * coulomb, diagonal
            if forward is not None and backward is not None:
                plus_s -= forward + backward
                minus_s = diagonal + (backward - forward)
            if potentials is not None:
                plus_s += 2.0 * (potentials[s].transpose(0, 2, 1) @ channel.virtual)
            plus.append(plus_s.reshape(count, channel.gaps.size))
            minus.append(minus_s.reshape(count, channel.gaps.size))
        return np.hstack(plus), np.hstack(minus)

    def kernel_blocks(self, plus: Array) -> Array:
        """Blocks of V_xc, of which the products have the occupied-virtual one alone.

        Parameters
        ----------
        plus : (k, N) array
            P = X + Y.

        Returns
        -------
        (k, M) array
            Channel by channel the (o, o) and the (v, v) block; M is 0 without a kernel.
        """
        count = len(plus)
        blocks = [np.empty((count, 0))]
        if self.kernel is not None:
            potentials = self.kernel.potentials(self.first_order_orbitals(self.split(plus)))
            for channel, potential in zip(self.channels, potentials, strict=True):
                for orbitals in (channel.occupied, channel.virtual):
                    blocks.append((orbitals.T @ potential @ orbitals).reshape(count, -1))
        return np.hstack(blocks)

    def minus_product(self, trials: Array) -> Array:
        """(A - B) t.

        Parameters
        ----------
        trials : (k, N) array

        Returns
        -------
        (k, N) array
            In hartree.
        """
        parts = self.split(trials)
        products = []
        for s, (_, forward, backward) in enumerate(self.two_electron.occupied_virtual(parts)):
            product = self.channels[s].gaps * parts[s]
            if forward is not None and backward is not None:
                product += backward - forward
            products.append(product.reshape(len(trials), self.channels[s].gaps.size))
        return np.hstack(products)

    def first_order(self, operators: Array, plus: Array, minus: Array) -> list[list[FirstOrder]]:
        """Parameters and Fock blocks of m perturbations, without the functional's part.

        Parameters
        ----------
        operators : (m, n, n) array
            Each perturbation's own operator.
        plus, minus : (m, N) arrays
            P = X + Y and M = X - Y.

        Returns
        -------
        [channel][perturbation] of FirstOrder
        """
        x, y = self.split(0.5 * (plus + minus)), self.split(0.5 * (plus - minus))
        result = []
        for s, (channel, (occupied, virtual)) in enumerate(
            zip(self.channels, self.two_electron.diagonal_blocks(x, y), strict=True)
        ):
            fock = [
                occupied + channel.occupied.T @ operators @ channel.occupied,
                virtual + channel.virtual.T @ operators @ channel.virtual,
            ]
            result.append([FirstOrder(*blocks) for blocks in zip(x[s], y[s], *fock, strict=True)])
        return result

    def with_kernel(
        self, first_order: Sequence[Sequence[FirstOrder]], kernel_blocks: Array
    ) -> list[list[FirstOrder]]:
        """The first perturbations with the functional's part in their Fock blocks.

        Parameters
        ----------
        first_order : [channel][perturbation] of FirstOrder
        kernel_blocks : (k, M) array
            Of the first k of them, as the function of that name gives them.

        Returns
        -------
        [channel][k] of FirstOrder
        """
        count, start, result = len(kernel_blocks), 0, []
        for channel in first_order:
            members = list(channel[:count])
            for name in ("occupied", "virtual"):
                if not kernel_blocks.shape[1]:
                    break
                shape = getattr(members[0], name).shape
                size = int(np.prod(shape))
                parts = kernel_blocks[:, start : start + size].reshape(count, *shape)
                start += size
                members = [
                    replace(member, **{name: getattr(member, name) + part})
                    for member, part in zip(members, parts, strict=True)
                ]
            result.append(members)
        return result

    def first_order_orbitals(self, parts: Sequence[Array]) -> list[Array]:
        """C_1 = C_virtual t^T for each channel.

        Parameters
        ----------
        parts : for each channel a (k, o, v) array

        Returns
        -------
        for each channel a (k, n, o) array
        """
        return [
            channel.virtual @ part.transpose(0, 2, 1)
            for channel, part in zip(self.channels, parts, strict=True)
        ]
