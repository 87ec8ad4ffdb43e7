"""The lowest excitation energy: the first pole of the response.

(A + B) P = w M and (A - B) M = w P (time-dependent Hartree-Fock or Kohn-Sham; Casida, in Recent
Advances in Density Functional Methods, World Scientific (1995)), by the paired trial vectors of
``linear_response``, from trials of every symmetry.  Of a closed shell it is that of the singlets.

The kernel on a rough grid finds the vectors; the energy is that of the level's own kernel with
them,  w = (P (A + B) P + M (A - B) M) / (2 P M),  whose error is of second order in theirs
(Thouless, Nucl. Phys. 22, 78 (1961)).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcml.response.linear_response import (
    MinusProduct,
    PlusProduct,
    Subspace,
    orbital_energies,
)

Array = NDArray[np.float64]

_START, _FOLLOWED, _MOST_STEPS = 4, 2, 25  # trials; roots that are refined; rounds
_NOISE = 0.05  # of a start vector, over all excitations: no symmetry is left out
_CONVERGENCE = 2e-3  # norm of both residuals over that of P and M: energies to some 1e-5


@dataclass(frozen=True)
class _Excited:
    """Excitations in a subspace, ascending: P and M (n, N) with P M = 1, energies omega (n,).

    plus_residual, minus_residual   (n, N): of (A + B) P - w M and (A - B) M - w P
    residuals       (n,): norm of both together over that of P and M
    """

    omega: Array
    plus: Array
    minus: Array
    plus_residual: Array
    minus_residual: Array
    residuals: Array


def lowest_excitation(
    gaps: Array, rough_plus: PlusProduct, minus: MinusProduct, plus: PlusProduct
) -> float | None:
    """Lowest excitation energy in hartree; None where there is none, or the state is no minimum.

    Parameters
    ----------
    gaps : (N,) array
        Of the orbital energies, in hartree.
    rough_plus, plus : PlusProduct
        A + B with a rough kernel and with the level's own.
    minus : MinusProduct
        A - B.
    """
    size = len(gaps)
    if not size:
        return None
    subspace = Subspace(size, rough_plus, minus)
    random = np.random.default_rng(0)
    trials = _NOISE * random.standard_normal((min(_START, size), size)) / np.sqrt(size)
    trials[range(len(trials)), np.argsort(gaps)[: len(trials)]] += 1.0
    precondition = orbital_energies(gaps)
    subspace.extend(trials, trials)
    found: _Excited | None = None
    for _ in range(_MOST_STEPS):
        found = _excited(subspace, _FOLLOWED)
        if found is None:
            return None
        wrong = found.residuals > _CONVERGENCE
        residuals = found.plus_residual[wrong], found.minus_residual[wrong]
        if not wrong[0] or not subspace.extend(*precondition(*residuals, found.omega[wrong])):
            break
    assert found is not None
    p, m = found.plus[:1], found.minus[:1]
    own = float(np.vdot(p, plus(p)[0]) + np.vdot(m, minus(m)))
    return own / (2.0 * float(np.vdot(p, m)))


def _excited(subspace: Subspace, count: int) -> _Excited | None:
    """The lowest excitations in a subspace, with their residuals; None where there are none."""
    found = subspace.excited_states()
    if found is None or not len(found[0]) or not subspace.stable:
        return None
    omega, p, m = (part[:count] for part in found)
    plus, minus = subspace.spaces
    w = omega[:, None]
    p_vectors, m_vectors = p @ plus.basis, m @ minus.basis
    plus_residual = w * m_vectors - p @ plus.images
    minus_residual = w * p_vectors - m @ minus.images
    norms = np.sqrt(np.sum(plus_residual**2 + minus_residual**2, axis=1))
    own = np.sqrt(np.sum(p_vectors**2 + m_vectors**2, axis=1))
    return _Excited(omega, p_vectors, m_vectors, plus_residual, minus_residual, norms / own)
