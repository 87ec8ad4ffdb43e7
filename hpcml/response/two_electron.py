"""Coulomb and exchange of first-order densities: two ways to a ``fock.TwoElectron``.

``FittedIntegrals`` holds density-fitted integrals over molecular orbitals.  Making them costs as
much as some 15 trial vectors by way of J/K matrices; every product after that costs a tenth of
one.  ``MatrixBuilder`` asks for J/K matrices in the basis of atomic orbitals: for exact
integrals, for long-range exchange, and where the fitted integrals do not fit into memory.

Pure numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcml.response.fock import Orbitals
from hpcml.response.kernels import PAIRS

Array = NDArray[np.float64]

Matrices = Callable[[Array, Sequence[Array]], tuple[list[Array], list[Array] | None]]
"""C_0 (n, o) and first-order orbitals (n, o) each -> J and scaled K of the densities C_0 C_1^T,
(n, n) each; None instead of K where there is no exact exchange."""


_FEW = 4
_PARTS = 4  # of a stored matrix, one made after the other


class MatrixBuilder:
    """J/K matrices in the basis of atomic orbitals, by a callback."""

    def __init__(self, channels: Sequence[Orbitals], matrices: Matrices) -> None:
        self._channels = list(channels)
        self._matrices = matrices
        self._occupation = 2.0 if len(self._channels) == 1 else 1.0

    def occupied_virtual(
        self, trials: Sequence[Array]
    ) -> list[tuple[Array, Array | None, Array | None]]:
        """See ``fock.TwoElectron``."""
        coulomb, exchange = self._build(trials)
        results: list[tuple[Array, Array | None, Array | None]] = []
        for channel, part in zip(self._channels, exchange, strict=True):
            occupied, virtual = channel.occupied, channel.virtual
            j = occupied.T @ coulomb @ virtual
            if part is None:
                results.append((j, None, None))
                continue
            backward = (virtual.T @ part @ occupied).transpose(0, 2, 1)
            results.append((j, occupied.T @ part @ virtual, backward))
        return results

    def diagonal_blocks(self, x: Sequence[Array], y: Sequence[Array]) -> list[tuple[Array, Array]]:
        """See ``fock.TwoElectron``."""
        coulomb, exchange_x = self._build(x)
        exchange_y = exchange_x
        if all(np.array_equal(a, b) for a, b in zip(x, y, strict=True)):
            coulomb = 2.0 * coulomb
        else:
            coulomb_y, exchange_y = self._build(y)
            coulomb = coulomb + coulomb_y
        results = []
        for channel, k_x, k_y in zip(self._channels, exchange_x, exchange_y, strict=True):
            fock = coulomb
            if k_x is not None and k_y is not None:
                fock = coulomb - k_x.transpose(0, 2, 1) - k_y
            results.append(
                (
                    channel.occupied.T @ fock @ channel.occupied,
                    channel.virtual.T @ fock @ channel.virtual,
                )
            )
        return results

    def idempotent_blocks(self, parameters: Sequence[Array]) -> list[Array]:
        """See ``fock.TwoElectron``."""
        shape = (len(PAIRS), *self._channels[0].occupied.shape[:1] * 2)
        coulomb, exchange = np.zeros(shape), []
        for channel, u in zip(self._channels, parameters, strict=True):
            inside = [channel.occupied @ occupied_block(u[b], u[c]) for b, c in PAIRS]
            j, k = self._matrices(channel.occupied, inside)
            coulomb += self._occupation * np.array(j)
            part = np.zeros(shape) if k is None else np.array(k)
            moved = [channel.virtual @ u_b.T for u_b in u]
            for b in range(3):
                later = [index for index, pair in enumerate(PAIRS) if pair[0] == b]
                j, k = self._matrices(moved[b], [moved[PAIRS[index][1]] for index in later])
                coulomb[later] += 2.0 * self._occupation * np.array(j)
                if k is not None:
                    part[later] += np.array(k) + np.array(k).transpose(0, 2, 1)
            exchange.append(part)
        return [
            channel.occupied.T @ (coulomb - part) @ channel.virtual
            for channel, part in zip(self._channels, exchange, strict=True)
        ]

    def _build(self, parts: Sequence[Array]) -> tuple[Array, list[Array | None]]:
        """Coulomb (k, n, n) of all electrons, and exchange (k, n, n) of each channel."""
        coulomb: Array | None = None
        exchange: list[Array | None] = []
        for channel, part in zip(self._channels, parts, strict=True):
            j, k = self._matrices(channel.occupied, list(channel.virtual @ part.transpose(0, 2, 1)))
            total = self._occupation * np.array(j)
            coulomb = total if coulomb is None else coulomb + total
            exchange.append(None if k is None else np.array(k))
        assert coulomb is not None
        return coulomb, exchange


@dataclass(frozen=True)
class FittedChannel:
    """(Q|pq) of one spin channel, fitted: (pq|rs) = sum over Q of (Q|pq) (Q|rs).

    occupied_virtual    (Q, o, v)
    occupied, virtual   (Q, o, o) and (Q, v, v)
    """

    occupied_virtual: Array
    occupied: Array
    virtual: Array


class FittedIntegrals:
    """Density-fitted integrals over molecular orbitals, in memory."""

    def __init__(
        self, channels: Sequence[FittedChannel], exact_exchange: float, *, store_exchange: bool
    ) -> None:
        """``store_exchange``: keep (ij|ab) and (ib|ja), 2 (o v)^2 numbers of each channel, which
        pays from about o / 2 trial vectors on.  In single precision they would be made in half
        the time, and a row computed again would differ by 1e-5 instead of 1e-6."""
        self._channels = list(channels)
        self._exact_exchange = exact_exchange
        self._occupation = 2.0 if len(self._channels) == 1 else 1.0
        self._stored = [
            (_stored_forward(channel), _stored_backward(channel))
            if store_exchange and exact_exchange
            else None
            for channel in self._channels
        ]

    def occupied_virtual(
        self, trials: Sequence[Array]
    ) -> list[tuple[Array, Array | None, Array | None]]:
        """See ``fock.TwoElectron``."""
        fitted = self._fitted_density(trials)
        results: list[tuple[Array, Array | None, Array | None]] = []
        for channel, stored, part in zip(self._channels, self._stored, trials, strict=True):
            size, o, v = channel.occupied_virtual.shape
            coulomb = fitted @ channel.occupied_virtual.reshape(size, o * v)
            forward = backward = None
            if self._exact_exchange:
                forward, backward = (
                    self._exact_exchange * exchange
                    for exchange in (
                        _of_stored(stored, part)
                        if stored is not None
                        else (_forward(channel, part), _backward(channel, part))
                    )
                )
            results.append((coulomb.reshape(part.shape), forward, backward))
        return results

    def diagonal_blocks(self, x: Sequence[Array], y: Sequence[Array]) -> list[tuple[Array, Array]]:
        """See ``fock.TwoElectron``."""
        fitted = self._fitted_density([a + b for a, b in zip(x, y, strict=True)])
        results = []
        for channel, x_s, y_s in zip(self._channels, x, y, strict=True):
            count, (size, o, v) = len(x_s), channel.occupied_virtual.shape
            occupied = (fitted @ channel.occupied.reshape(size, o * o)).reshape(count, o, o)
            virtual = (fitted @ channel.virtual.reshape(size, v * v)).reshape(count, v, v)
            if self._exact_exchange:
                for m in range(count):
                    occupied_x, virtual_x = _diagonal_exchange(channel, x_s[m])
                    occupied_y, virtual_y = (
                        (occupied_x, virtual_x)
                        if np.array_equal(x_s[m], y_s[m])
                        else _diagonal_exchange(channel, y_s[m])
                    )
                    occupied[m] -= self._exact_exchange * (occupied_x.T + occupied_y)
                    virtual[m] -= self._exact_exchange * (virtual_x.T + virtual_y)
            results.append((occupied, virtual))
        return results

    def idempotent_blocks(self, parameters: Sequence[Array]) -> list[Array]:
        """See ``fock.TwoElectron``."""
        size = len(self._channels[0].occupied_virtual)
        fitted = np.zeros((len(PAIRS), size))
        blocks = []
        for channel, u in zip(self._channels, parameters, strict=True):
            occupied = np.array([occupied_block(u[b], u[c]) for b, c in PAIRS])
            virtual = np.array([u[b].T @ u[c] + u[c].T @ u[b] for b, c in PAIRS])
            for integrals, block in ((channel.occupied, occupied), (channel.virtual, virtual)):
                flat = integrals.shape[1] * integrals.shape[2]
                both = block.reshape(len(PAIRS), flat) @ integrals.reshape(size, flat).T
                fitted += self._occupation * both
            blocks.append((occupied, virtual))
        results = []
        for channel, (occupied, virtual) in zip(self._channels, blocks, strict=True):
            _, o, v = channel.occupied_virtual.shape
            found = fitted @ channel.occupied_virtual.reshape(size, o * v)
            found = found.reshape(len(PAIRS), o, v)
            if self._exact_exchange:
                for index in range(len(PAIRS)):
                    inner = channel.occupied @ occupied[index]
                    exchange = np.tensordot(inner, channel.occupied_virtual, axes=((0, 2), (0, 1)))
                    outer = channel.occupied_virtual @ virtual[index]
                    exchange += np.tensordot(outer, channel.virtual, axes=((0, 2), (0, 1)))
                    found[index] -= self._exact_exchange * exchange
            results.append(found)
        return results

    def _fitted_density(self, parts: Sequence[Array]) -> Array:
        """(k, Q): (Q|D) of the densities C_0 C_1^T of all electrons."""
        fitted = np.zeros((len(parts[0]), len(self._channels[0].occupied_virtual)))
        for channel, part in zip(self._channels, parts, strict=True):
            size, o, v = channel.occupied_virtual.shape
            integrals = channel.occupied_virtual.reshape(size, o * v)
            fitted += self._occupation * part.reshape(len(part), o * v) @ integrals.T
        return fitted


def occupied_block(u_b: Array, u_c: Array) -> Array:
    """The block of a second-order density D_bc that idempotency gives.

    Parameters
    ----------
    u_b, u_c : (o, v) arrays
        Static parameters of first order.

    Returns
    -------
    (o, o) array
    """
    product = u_b @ u_c.T
    return -(product + product.T)


def _stored_forward(channel: FittedChannel) -> Array:
    """(ij|ab) as [i a, j b]."""
    _, o, v = channel.occupied_virtual.shape
    stored = np.empty((o, v, o, v))
    # (Q|ab) is symmetric: half of it will do
    below = np.tril_indices(v)
    virtual = channel.virtual[:, below[0], below[1]]
    unpacked = np.empty((v, v), dtype=np.int64)
    unpacked[below] = unpacked.T[below] = np.arange(len(below[0]))
    rows, columns = np.tril_indices(o)
    # as many pairs in a product as take little memory beside the result
    most = max(1, o * o // _PARTS)
    for start in range(0, len(rows), most):
        some = slice(start, start + most)
        pairs = np.ascontiguousarray(channel.occupied[:, rows[some], columns[some]].T)
        for i, j, integrals in zip(rows[some], columns[some], pairs @ virtual, strict=True):
            stored[i, :, j] = stored[j, :, i] = integrals[unpacked]
    return stored.reshape(o * v, o * v)


def _stored_backward(channel: FittedChannel) -> Array:
    """(ib|ja) as [i a, j b]."""
    size, o, v = channel.occupied_virtual.shape
    integrals = channel.occupied_virtual.reshape(size, o * v)
    stored = (integrals.T @ integrals).reshape(o, v, o, v)
    for i in range(o):
        stored[i] = stored[i].transpose(2, 1, 0).copy()
    return stored.reshape(o * v, o * v)


def _of_stored(stored: tuple[Array, Array], trials: Array) -> list[Array]:
    """K_ia and K_ai of trials (k, o, v); both matrices are symmetric."""
    rows = trials.reshape(len(trials), stored[0].shape[0])
    found = []
    for matrix in stored:
        # of few rows BLAS is slower with all of them together
        few = len(rows) <= _FEW
        product = np.array([matrix @ row for row in rows]) if few else rows @ matrix
        found.append(product.reshape(trials.shape))
    return found


def _forward(channel: FittedChannel, trials: Array) -> Array:
    """K_ia = sum over jb of (ij|ab) t_jb; trials (k, o, v)."""
    result = np.empty_like(trials)
    for k, trial in enumerate(trials):
        # (Q|ja~) with a~ running over what the trial makes of the virtual orbitals
        moved = trial @ channel.virtual
        result[k] = np.tensordot(channel.occupied, moved, axes=((0, 2), (0, 1)))
    return result


def _backward(channel: FittedChannel, trials: Array) -> Array:
    """K_ai as (o, v): sum over jb of (ib|ja) t_jb; trials (k, o, v)."""
    size, o, v = channel.occupied_virtual.shape
    rows = channel.occupied_virtual.reshape(size * o, v)
    result = np.empty_like(trials)
    for k, trial in enumerate(trials):
        inner = (rows @ trial.T).reshape(size, o, o)  # (Q|i j~)
        result[k] = inner.transpose(1, 0, 2).reshape(o, size * o) @ rows
    return result


def _diagonal_exchange(channel: FittedChannel, trial: Array) -> tuple[Array, Array]:
    """K_ij = sum over kb of (ik|jb) t_kb and K_ab = sum over kc of (ak|bc) t_kc; trial (o, v)."""
    inner = channel.occupied_virtual @ trial.T  # (Q|j k~): sum over b of (Q|jb) t_kb
    occupied = np.tensordot(channel.occupied, inner, axes=((0, 2), (0, 2)))
    moved = trial @ channel.virtual  # (Q|k~ b)
    virtual = np.tensordot(channel.occupied_virtual, moved, axes=((0, 1), (0, 1)))
    return occupied, virtual
