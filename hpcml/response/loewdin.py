"""Loewdin's partition: densities divided over the atoms by the basis functions alone.

No density of a free atom and no quadrature enters, so that it is a second opinion on Hirshfeld's
(``shares``).  With basis functions made orthonormal, the trace over the functions of atom A of a
density, and of the dipole operator times the density, is what A holds of its charge and dipole:

    q_A = - sum_(m in A) P_mm,   p_A = sum_(m in A) (mu P)_mm - q_A R_A,   P = X^-1 D X^-T;

a pair of functions on two atoms is halved between them.  Loewdin's symmetric orthogonalization
(J. Chem. Phys. 18, 365 (1950)) of the functions as they stand would make the charges turn with
the molecule where d functions are Cartesian (Mayer, Chem. Phys. Lett. 393, 209 (2004)), so each
atom's functions are made orthonormal among themselves first: what follows depends on the space
that an atom's functions span, and on nothing else of them (Bruhn, Davidson, Mayer and Clark,
Int. J. Quantum Chem. 106, 2065 (2006)).

Diffuse functions reach over the neighbours, and what they hold is booked to the atom on which
they sit: the shares depend on the basis set more than Hirshfeld's do.  Mulliken's partition, which
leaves the functions as they overlap, suffers far more of it and is not offered.

Pure numpy, atomic units, physical sign.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpcml.response.shares import AtomicMoments

Array = NDArray[np.float64]

PARTITION = "Loewdin, atoms orthonormalized first, with charge flow along bonds as in LoProp"
"""How alpha and beta were divided: for the provenance."""

_DEPENDENT = 1e-10  # eigenvalue of an overlap below which its combination holds nothing


def atomic_moments(
    densities: Array,
    overlap: Array,
    dipole_integrals: Array,
    centres: NDArray[np.int64],
    positions: Array,
) -> AtomicMoments:
    """Loewdin charges and dipoles of densities.

    Parameters
    ----------
    densities : (D, n, n) array
        In basis functions; their symmetric part counts.
    overlap : (n, n) array
    dipole_integrals : (3, n, n) array
        The electronic dipole operator, -r, in e bohr.
    centres : (n,) array of int
        The atom on which each function sits.
    positions : (atoms, 3) array
        In bohr.

    Returns
    -------
    AtomicMoments
        ``spread`` is the trace over an atom's functions of the density's absolute value.
    """
    atoms = len(positions)
    forward, back = _orthonormal(overlap, centres)
    operators = forward.T @ dipole_integrals @ forward
    mine = np.equal.outer(np.arange(atoms), centres).astype(float)
    charges, spread = np.zeros((len(densities), atoms)), np.zeros((len(densities), atoms))
    dipoles = np.zeros((len(densities), atoms, 3))
    for d, density in enumerate(densities):
        held = back @ (0.5 * (density + density.T)) @ back.T
        charges[d] = -mine @ held.diagonal()
        moments = mine @ np.einsum("xmn,nm->mx", operators, held)
        dipoles[d] = moments - charges[d][:, None] * positions
        values, vectors = np.linalg.eigh(held)
        spread[d] = mine @ (vectors**2 @ np.abs(values))
    return AtomicMoments(charges, dipoles, spread)


def _orthonormal(overlap: Array, centres: NDArray[np.int64]) -> tuple[Array, Array]:
    """X and X^-1 with X^T S X = 1: each atom's functions first, then all of them together."""
    within, undone = np.zeros_like(overlap), np.zeros_like(overlap)
    for atom in np.unique(centres):
        block = np.ix_(centres == atom, centres == atom)
        within[block], undone[block] = _roots(overlap[block])
    between, back = _roots(within.T @ overlap @ within)
    return within @ between, back @ undone


def _roots(overlap: Array) -> tuple[Array, Array]:
    """S^-1/2 and S^1/2; combinations of functions that hold nothing are left out of the first."""
    values, vectors = np.linalg.eigh(overlap)
    kept = values > _DEPENDENT
    roots = np.sqrt(np.where(kept, values, 0.0))
    inverse = np.divide(1.0, roots, out=np.zeros_like(roots), where=kept)
    return (vectors * inverse) @ vectors.T, (vectors * roots) @ vectors.T
