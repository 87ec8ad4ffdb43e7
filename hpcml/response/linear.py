"""The linear response equations, solved for all directions and frequencies at once.

With real orbitals and P = X + Y, M = X - Y the equations for a perturbation h at frequency w,

    [ A  B ] [X]     [ 1  0 ] [X]     [h]
    [ B  A ] [Y] - w [ 0 -1 ] [Y] = - [h]

(Olsen and Jorgensen, J. Chem. Phys. 82, 3235 (1985); Karna and Dupuis, J. Comput. Chem. 12, 487
(1991)) separate into

    (A + B) P - w M = -2 h        (A - B) M - w P = 0

and P (of symmetric densities) and M (of antisymmetric ones) get a trial space each, shared by
all directions and frequencies (paired trial vectors: Olsen, Jensen and Jorgensen, J. Comput.
Phys. 74, 265 (1988); the split by symmetry: Kauczor, Jorgensen and Norman, J. Chem. Theory
Comput. 7, 1610 (2011)).  One product with a plus trial yields A - B on it for nothing, so that
the minus space contains the plus space.

Pure numpy: the matrices are known by their products only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcml.errors import ConvergenceError

Array = NDArray[np.float64]

PlusProduct = Callable[[Array], tuple[Array, Array]]
MinusProduct = Callable[[Array], Array]

_DEPENDENT = 1e-10  # of a normalized trial's square: what is less than that is not new
_NEAR_POLE = 1e-4  # hartree; a projected excitation this close to a frequency is a pole


@dataclass(frozen=True)
class Solution:
    """First-order parameters of D directions at F frequencies.

    plus, minus   (D, F, N): P = X + Y and M = X - Y
    residuals     (D, F): the norm of both equations' residuals over the norm of 2 h
    iterations    rounds of products
    products      trial vectors multiplied: (plus, minus)
    """

    plus: Array
    minus: Array
    residuals: Array
    iterations: int
    products: tuple[int, int]


class _Space:
    """Orthonormal trial vectors (rows of ``basis``), and what a matrix makes of them."""

    def __init__(self, size: int) -> None:
        self.basis = np.empty((0, size))
        self.images = np.empty((0, size))

    def __len__(self) -> int:
        return len(self.basis)

    def outside(self, candidates: Array, images: Array | None = None) -> tuple[Array, Array]:
        """Orthonormal rows that span what of the candidates lies outside the space.

        The images, if given, follow every step, so that they stay the matrix's products.
        """
        norms = np.linalg.norm(candidates, axis=1)
        norms[norms == 0.0] = 1.0
        rows = candidates / norms[:, None]
        images = np.zeros_like(rows) if images is None else images / norms[:, None]
        for _ in range(2):  # the second pass mends the first one's rounding
            inside = rows @ self.basis.T
            rows, images = rows - inside @ self.basis, images - inside @ self.images
            values, vectors = np.linalg.eigh(rows @ rows.T)
            keep = values > _DEPENDENT
            mix = (vectors[:, keep] / np.sqrt(values[keep])).T
            rows, images = mix @ rows, mix @ images
        return rows, images

    def append(self, rows: Array, images: Array) -> None:
        self.basis = np.vstack([self.basis, rows])
        self.images = np.vstack([self.images, images])


def solve(
    gaps: Array,
    gradients: Array,
    frequencies: Array,
    plus_product: PlusProduct,
    minus_product: MinusProduct,
    *,
    convergence: float = 1e-5,
    max_iterations: int = 50,
) -> Solution:
    """Solve the response equations for every direction at every frequency in one subspace.

    gaps            (N,): virtual minus occupied orbital energies, hartree
    gradients       (D, N): h, the perturbations' occupied-virtual elements
    frequencies     (F,): hartree, not negative
    plus_product    (k, N) -> (A + B) t and (A - B) t of the trials, (k, N) each
    minus_product   (k, N) -> (A - B) t

    Raises ConvergenceError, with the residual, if an equation does not get below
    ``convergence`` or a frequency lies on an excitation energy.
    """
    size = gaps.size
    directions = len(gradients)
    # one right side after the other: index = direction * F + frequency
    right = np.repeat(-2.0 * gradients, len(frequencies), axis=0)
    omega = np.tile(frequencies, directions)
    scale = np.linalg.norm(right, axis=1)
    scale[scale == 0.0] = 1.0
    dynamic = bool(np.any(frequencies > 0.0))

    plus, minus = _Space(size), _Space(size)
    products = [0, 0]
    residuals = np.full(omega.shape, np.inf)

    def precondition(plus_residual: Array, minus_residual: Array, w: Array) -> tuple[Array, Array]:
        """The inverse of the orbital-energy part, [[gaps, -w], [-w, gaps]]."""
        determinant = gaps**2 - w[:, None] ** 2
        small = np.abs(determinant) < 1e-3
        determinant[small] = np.copysign(1e-3, determinant[small])
        return (
            (gaps * plus_residual + w[:, None] * minus_residual) / determinant,
            (gaps * minus_residual + w[:, None] * plus_residual) / determinant,
        )

    new_plus, new_minus = precondition(right, np.zeros_like(right), omega)
    for iteration in range(1, max_iterations + 1):
        trials, _ = plus.outside(new_plus)
        added = len(trials)
        if len(trials):
            images, minus_images = plus_product(trials)
            plus.append(trials, images)
            products[0] += len(trials)
            if dynamic:
                minus.append(*minus.outside(trials, minus_images))
        if dynamic:
            trials, _ = minus.outside(new_minus)
            added += len(trials)
            if len(trials):
                minus.append(trials, minus_product(trials))
                products[1] += len(trials)

        p, m = _project(plus, minus, right, omega)
        plus_solution, minus_solution = p @ plus.basis, m @ minus.basis
        plus_residual = right - p @ plus.images + omega[:, None] * minus_solution
        minus_residual = omega[:, None] * plus_solution - m @ minus.images
        residuals = (
            np.sqrt(np.sum(plus_residual**2, axis=1) + np.sum(minus_residual**2, axis=1)) / scale
        )
        active = residuals > convergence
        if not active.any():
            shape = (directions, len(frequencies))
            return Solution(
                plus_solution.reshape(*shape, size),
                minus_solution.reshape(*shape, size),
                residuals.reshape(shape),
                iteration,
                (products[0], products[1]),
            )
        if not added:
            break
        new_plus, new_minus = precondition(
            plus_residual[active], minus_residual[active], omega[active]
        )
    worst = int(np.argmax(residuals))
    raise ConvergenceError(
        f"the response equations did not converge: residual {residuals[worst]:.1e} at frequency "
        f"{omega[worst]:.6f} hartree after {iteration} iterations (wanted {convergence:.1e}); "
        "a frequency near or above the first excitation energy is the usual reason",
        float(residuals[worst]),
    )


def _project(plus: _Space, minus: _Space, right: Array, omega: Array) -> tuple[Array, Array]:
    """Galerkin solution in the trial spaces: coefficients (n, plus) and (n, minus)."""
    reduced_plus = _symmetric(plus.basis @ plus.images.T)
    reduced_minus = _symmetric(minus.basis @ minus.images.T)
    metric = plus.basis @ minus.basis.T
    reduced_right = right @ plus.basis.T
    p = np.empty((len(right), len(plus)))
    m = np.zeros((len(right), len(minus)))
    for frequency in np.unique(omega):
        chosen = omega == frequency
        if frequency == 0.0:
            p[chosen] = np.linalg.solve(reduced_plus, reduced_right[chosen].T).T
            continue
        # the second equation gives m = w (A - B)^-1 p; the first, then, is one for p alone
        back = np.linalg.solve(reduced_minus, metric.T)
        effective = reduced_plus - frequency**2 * metric @ back
        p[chosen] = np.linalg.solve(effective, reduced_right[chosen].T).T
        m[chosen] = frequency * p[chosen] @ back.T
    return p, m


def _symmetric(matrix: Array) -> Array:
    return 0.5 * (matrix + matrix.T)
