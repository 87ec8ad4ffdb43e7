"""Densities that fields induce, as whoever integrates them over space wants them: point by point.

A density matrix costs n^2 operations a point, n functions; an induced density is a sum of
products of a few orbitals, of which all orders share most, and costs n times the occupied ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hpcml.response.kernels import PAIRS

Array = NDArray[np.float64]


class InducedDensities(Protocol):
    """D densities: three of first order, dD / dF_j, then six of second, by ``kernels.PAIRS``."""

    def __len__(self) -> int: ...

    @property
    def matrices(self) -> Array:
        """(D, n, n) array, symmetric, in basis functions; atomic units."""

    def at(self, values: Array, local: NDArray[np.int64]) -> Array:
        """The densities at points.

        Parameters
        ----------
        values : (p, m) array
            Of the basis functions that are not zero there.
        local : (m,) array of int
            Their numbers.

        Returns
        -------
        (D, p) array
        """


@dataclass(frozen=True, eq=False)
class OrbitalDensities:
    """Sums of products of orbitals: 2 phi_i x_bi, and 2 (phi_i r_bci + x_bi x_ci).

    Parameters
    ----------
    channels : sequence of (n, 10, o) arrays
        For each spin o occupied orbitals phi, their x_b in the three fields, and r_bc in the six
        pairs of fields.
    occupation : float
        Electrons in an orbital.
    """

    channels: Sequence[Array]
    occupation: float

    def __len__(self) -> int:
        return 3 + len(PAIRS)

    @property
    def matrices(self) -> Array:
        """See ``InducedDensities``."""
        size = len(self.channels[0])
        found = np.zeros((9, size, size))
        for orbitals in self.channels:
            occupied, first = orbitals[:, 0], orbitals[:, 1:4]
            halves = np.einsum("mo,nbo->bmn", occupied, orbitals[:, 1:], optimize=True)
            for index, (b, c) in enumerate(PAIRS):
                halves[3 + index] += first[:, b] @ first[:, c].T
            found += self.occupation * (halves + halves.transpose(0, 2, 1))
        return found

    def at(self, values: Array, local: NDArray[np.int64]) -> Array:
        """See ``InducedDensities``."""
        found = np.zeros((9, len(values)))
        for orbitals in self.channels:
            _, kinds, count = orbitals.shape
            flat = values @ orbitals[local].reshape(len(local), kinds * count)
            there = flat.reshape(len(values), kinds, count)
            halves = np.einsum("po,pbo->bp", there[:, 0], there[:, 1:])
            for index, (b, c) in enumerate(PAIRS):
                halves[3 + index] += np.einsum("po,po->p", there[:, 1 + b], there[:, 1 + c])
            found += 2.0 * self.occupation * halves
        return found


@dataclass(frozen=True, eq=False)
class MatrixDensities:
    """Densities of which only the matrices are known.

    Parameters
    ----------
    matrices : (D, n, n) array
        Symmetric.
    """

    matrices: Array

    def __len__(self) -> int:
        return len(self.matrices)

    @classmethod
    def of(cls, first: Array, second: Array) -> MatrixDensities:
        """From all components.

        Parameters
        ----------
        first : (3, n, n) array
        second : (3, 3, n, n) array
        """
        return cls(np.concatenate([first, [second[pair] for pair in PAIRS]]))

    def at(self, values: Array, local: NDArray[np.int64]) -> Array:
        """See ``InducedDensities``."""
        there = self.matrices[:, local[:, None], local]
        return np.array([np.einsum("pm,pm->p", values @ one, values) for one in there])
