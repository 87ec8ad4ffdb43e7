"""First hyperpolarizability from first-order quantities alone: the 2n + 1 rule.

Karna and Dupuis, J. Comput. Chem. 12, 487 (1991), equations for beta in terms of U and the
perturbed Fock matrices; Olsen and Jorgensen, J. Chem. Phys. 82, 3235 (1985).  With D the
first-order density of a perturbation (its virtual-occupied block X^T, its occupied-virtual
block Y), the occupied-occupied and virtual-virtual blocks of the second-order density follow
from idempotency,

    D_bc(virtual, virtual)  =   X_b^T Y_c + X_c^T Y_b
    D_bc(occupied, occupied) = -(Y_b X_c^T + Y_c X_b^T)

and  beta_abc = -( sum over a, b, c of Tr[F_a D_bc] + g_xc(D_a, D_b, D_c) ),  where F_a is the
whole first-order Fock matrix and g_xc the third functional derivative.  The three frequencies
add up to zero; a perturbation at -w has X and Y of that at w exchanged.

Pure numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Triple = tuple[float, float, float]
Component = tuple[int, int, int]


@dataclass(frozen=True)
class FirstOrder:
    """One perturbation at one frequency, in one spin channel.

    x, y        (occupied, virtual): first-order parameters
    occupied    (occupied, occupied) block of the first-order Fock matrix, [row, column]
    virtual     (virtual, virtual) block
    """

    x: Array
    y: Array
    occupied: Array
    virtual: Array

    def at_negative_frequency(self) -> FirstOrder:
        """The same perturbation at -w: the adjoint of everything."""
        return FirstOrder(self.y, self.x, self.occupied.T, self.virtual.T)


def fock_terms(a: FirstOrder, b: FirstOrder, c: FirstOrder) -> float:
    """Sum over the three roles of Tr[F_a D_bc] in one spin channel, of singly filled orbitals.

    Parameters
    ----------
    a, b, c : FirstOrder
        At frequencies that add up to zero.

    Returns
    -------
    float
        In atomic units; beta_abc is minus this times the orbitals' occupation.
    """
    total = 0.0
    for first, second, third in ((a, b, c), (b, a, c), (c, a, b)):
        for left, right in ((second, third), (third, second)):
            total += float(np.sum((first.virtual @ left.x.T) * right.y.T))
            total -= float(np.sum((first.occupied @ left.y) * right.x))
    return total


def unique_components(frequencies: Triple) -> dict[Component, list[Component]]:
    """Components (i, j, k) that must be computed, each with all that are equal to it.

    beta_ijk(w_i; w_j, w_k) keeps its value when pairs (axis, frequency) change places, and when
    all frequencies change sign (real orbitals, no absorption).
    """
    groups: dict[object, list[Component]] = {}
    for i, j, k in product(range(3), repeat=3):
        signs = (
            tuple(sorted(zip((i, j, k), (sign * w + 0.0 for w in frequencies), strict=True)))
            for sign in (1.0, -1.0)
        )
        groups.setdefault(min(signs), []).append((i, j, k))
    return {members[0]: members for members in groups.values()}


def fill(values: dict[Component, float], frequencies: Triple) -> Array:
    """A tensor from its unique components.

    Parameters
    ----------
    values : mapping of (i, j, k) to float
        Those that ``unique_components`` names.
    frequencies : (w_i, w_j, w_k)
        In hartree.

    Returns
    -------
    (3, 3, 3) array
    """
    tensor = np.empty((3, 3, 3))
    for representative, members in unique_components(frequencies).items():
        for member in members:
            tensor[member] = values[representative]
    return tensor
