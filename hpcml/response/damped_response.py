"""The linear response equations at complex frequencies: polarizabilities near and on a pole.

With a lifetime 1 / gamma of the excited states a frequency w becomes z = w + i gamma, and the
equations of ``linear_response``,

    (A + B) P - z M = -2 h        (A - B) M - z P = 0

have complex solutions, finite everywhere (complex polarization propagator: Norman, Bishop, Jensen
and Oddershede, J. Chem. Phys. 115, 10323 (2001); 123, 194103 (2005)).  A + B and A - B are real, so
that the spaces of trials stay real: real and imaginary parts of a residual are two trials, and only
the reduced equations are complex (Kauczor, Jorgensen and Norman, J. Chem. Theory Comput. 7, 1610
(2011)).

Pure numpy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcml.errors import ConvergenceError
from hpcml.response.linear_response import MinusProduct, PlusProduct, Subspace

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

Preconditioner = Callable[[Complex, Complex, Complex], tuple[Complex, Complex]]
"""Residuals of both equations, (k, N) each, and z (k,) -> trials for P and for M."""

_ROUGHLY, _ROUGH_STEPS = 1e-2, 60  # convergence of a nested solver
_MOST_STEPS = 150  # near a pole many small steps are wanted
_SMALLEST_DETERMINANT = 1e-3  # hartree^2


@dataclass(frozen=True)
class _Solved:
    """P and M (n, N), both equations' residuals (n, N), their norm over that of the right side."""

    plus: Complex
    minus: Complex
    plus_residual: Complex
    minus_residual: Complex
    residuals: Array


def solve(
    gaps: Array,
    gradients: Array,
    frequencies: Complex,
    plus_product: PlusProduct,
    minus_product: MinusProduct,
    *,
    convergence: float = 1e-5,
    precondition: Preconditioner | None = None,
) -> tuple[Complex, Array]:
    """P of every direction at every complex frequency, from one subspace.

    Parameters
    ----------
    gaps : (N,) array
        Virtual minus occupied orbital energies, hartree.
    gradients : (D, N) array
        h, the perturbations' occupied-virtual elements.
    frequencies : (F,) complex array
        z = w + i gamma, hartree.
    plus_product, minus_product : callable
        As for ``linear_response.solve``.
    convergence : float
        Norm of both equations' residuals over that of 2 h.
    precondition : Preconditioner, optional
        Better than orbital energies alone, if there is something better.

    Returns
    -------
    plus : (D, F, N) complex array
    residuals : (D, F) array

    Raises
    ------
    ConvergenceError
        With the residual, if an equation does not get below ``convergence``.
    """
    right = np.repeat(-2.0 * gradients, len(frequencies), axis=0).astype(complex)
    z = np.tile(frequencies, len(gradients))
    subspace = Subspace(gaps.size, plus_product, minus_product)
    found = _solve(
        subspace,
        (right, np.zeros_like(right), z),
        precondition or orbital_energies(gaps),
        (convergence, _MOST_STEPS),
    )
    worst = int(np.argmax(found.residuals))
    if not found.residuals[worst] <= convergence:
        raise ConvergenceError(
            f"the damped response equations did not converge: residual "
            f"{found.residuals[worst]:.1e} at frequency {z[worst].real:.6f} hartree with damping "
            f"{z[worst].imag:.6f} (wanted {convergence:.1e}); a larger damping is easier",
            float(found.residuals[worst]),
        )
    shape = (len(gradients), len(frequencies))
    return found.plus.reshape(*shape, -1), found.residuals.reshape(shape)


def orbital_energies(gaps: Array) -> Preconditioner:
    """The inverse of the part of the equations that orbital energies make up.

    Parameters
    ----------
    gaps : (N,) array
        In hartree.
    """

    def precondition(plus: Complex, minus: Complex, z: Complex) -> tuple[Complex, Complex]:
        w = z[:, None]
        determinant = gaps**2 - w**2
        size = np.maximum(np.abs(determinant), 1e-12)
        determinant = determinant / size * np.maximum(size, _SMALLEST_DETERMINANT)
        return (gaps * plus + w * minus) / determinant, (gaps * minus + w * plus) / determinant

    return precondition


def nested(gaps: Array, plus_product: PlusProduct, minus_product: MinusProduct) -> Preconditioner:
    """The same equations with cheaper products, solved roughly.

    Parameters
    ----------
    gaps : (N,) array
        In hartree.
    """
    subspace = Subspace(gaps.size, plus_product, minus_product)
    inner = orbital_energies(gaps)

    def precondition(plus: Complex, minus: Complex, z: Complex) -> tuple[Complex, Complex]:
        found = _solve(subspace, (plus, minus, z), inner, (_ROUGHLY, _ROUGH_STEPS))
        return found.plus, found.minus

    return precondition


def _solve(
    subspace: Subspace,
    equations: tuple[Complex, Complex, Complex],
    precondition: Preconditioner,
    limits: tuple[float, int],
) -> _Solved:
    """Solutions in a subspace that grows; ends without complaint where steps or trials run out.

    equations   right sides of both, (n, N) each, and z (n,)
    limits      convergence and the most steps
    """
    plus_residual, minus_residual, z = equations
    active = np.full(len(z), True)
    if len(subspace.spaces[0].basis):
        known = _galerkin(subspace, equations)
        plus_residual, minus_residual = known.plus_residual, known.minus_residual
    convergence, most = limits
    step = 0
    while True:
        step += 1
        trials = precondition(plus_residual[active], minus_residual[active], z[active])
        grown = subspace.extend(*(np.vstack([each.real, each.imag]) for each in trials))
        found = _galerkin(subspace, equations)
        plus_residual, minus_residual = found.plus_residual, found.minus_residual
        active = found.residuals > convergence
        if not grown or not active.any() or step == most:
            return found


def _galerkin(subspace: Subspace, equations: tuple[Complex, Complex, Complex]) -> _Solved:
    """P and M whose residuals are orthogonal to the real spaces."""
    right_plus, right_minus, z = equations
    plus, minus = subspace.spaces
    reduced_plus, reduced_minus = subspace.reduced()
    overlap = plus.basis @ minus.basis.T
    size = len(plus.basis)
    matrix = np.zeros((size + len(minus.basis),) * 2, dtype=complex)
    matrix[:size, :size], matrix[size:, size:] = reduced_plus, reduced_minus
    right = np.hstack([right_plus @ plus.basis.T, right_minus @ minus.basis.T])
    solved = np.empty_like(right)
    for frequency in np.unique(z):
        matrix[:size, size:], matrix[size:, :size] = -frequency * overlap, -frequency * overlap.T
        chosen = z == frequency
        solved[chosen] = np.linalg.solve(matrix, right[chosen].T).T
    p, m, w = solved[:, :size], solved[:, size:], z[:, None]
    plus_solution: Complex = np.asarray(p @ plus.basis)
    minus_solution: Complex = np.asarray(m @ minus.basis)
    plus_residual: Complex = np.asarray(right_plus - p @ plus.images + w * minus_solution)
    minus_residual: Complex = np.asarray(right_minus - m @ minus.images + w * plus_solution)
    norms = np.linalg.norm(np.hstack([right_plus, right_minus]), axis=1)
    norms[norms == 0.0] = 1.0
    residuals = np.linalg.norm(np.hstack([plus_residual, minus_residual]), axis=1) / norms
    return _Solved(plus_solution, minus_solution, plus_residual, minus_residual, residuals)
