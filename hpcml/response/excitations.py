"""The lowest excitation energy: the first pole of the response.

(A + B) P = w M and (A - B) M = w P (time-dependent Hartree-Fock or Kohn-Sham; Casida, in Recent
Advances in Density Functional Methods, World Scientific (1995)), by the paired trial vectors of
``linear_response``, from trials of every symmetry.  Of a closed shell it is that of the singlets.

The kernel on a rough grid finds the vectors; the energy is that of the level's own kernel with
them,  w = (P (A + B) P + M (A - B) M) / (2 P M),  whose error is of second order in theirs
(Thouless, Nucl. Phys. 22, 78 (1961)).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpcml.response.linear_response import MinusProduct, PlusProduct, Subspace, orbital_energies

Array = NDArray[np.float64]

_START, _FOLLOWED, _MOST_STEPS = 4, 2, 25  # trials; roots that are refined; rounds
_NOISE = 0.05  # of a start vector, over all excitations: no symmetry is left out
_CONVERGENCE = 2e-3  # norm of both residuals over that of P and M: energies to some 1e-5


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
    for _ in range(_MOST_STEPS):
        found = subspace.excited(_FOLLOWED)
        if found is None:
            return None
        wrong = found.residuals > _CONVERGENCE
        if not wrong[: max(1, _FOLLOWED // 2)].any():
            break
        residuals = found.plus_residual[wrong], found.minus_residual[wrong]
        if not subspace.extend(*precondition(*residuals, found.omega[wrong])):
            break
    p, m = found.plus[:1], found.minus[:1]
    own = float(np.vdot(p, plus(p)[0]) + np.vdot(m, minus(m)))
    return own / (2.0 * float(np.vdot(p, m)))
