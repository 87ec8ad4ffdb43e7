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
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hpcml.errors import ConvergenceError, InputError

Array = NDArray[np.float64]

PlusProduct = Callable[[Array], tuple[Array, Array]]
"""(k, N) -> (A + B) t and (A - B) t of the trials, (k, N) each."""

MinusProduct = Callable[[Array], Array]
"""(k, N) -> (A - B) t."""

Preconditioner = Callable[[Array, Array, Array], tuple[Array, Array]]
"""Residuals of both equations, (k, N) each, and frequencies (k,) -> trials for P and for M."""

_DEPENDENT = 1e-10  # of a normalized trial's square: what is less than that is not new
_ROUGHLY, _ROUGH_STEPS = 1e-2, 30  # convergence of a nested solver
_ON_POLE = 1e-4  # hartree
_SMALLEST_DETERMINANT = 1e-3  # hartree^2; keeps the preconditioner finite at a zeroth-order pole


@dataclass(frozen=True)
class Solution:
    """First-order parameters of D directions at F frequencies.

    plus, minus   (D, F, N): P = X + Y and M = X - Y
    residuals     (D, F): the norm of both equations' residuals over the norm of 2 h
    iterations    rounds of products
    products      trial vectors multiplied: (plus, minus)
    excitations   (E,): estimates, from above, of excitation energies that the perturbations
                  reach, hartree, ascending; none where all frequencies are zero
    stable        whether the ground state is a minimum as far as the subspace can see
    """

    plus: Array
    minus: Array
    residuals: Array
    iterations: int
    products: tuple[int, int]
    excitations: Array
    stable: bool


def solve(
    gaps: Array,
    gradients: Array,
    frequencies: Array,
    plus_product: PlusProduct,
    minus_product: MinusProduct,
    *,
    convergence: float = 1e-5,
    max_iterations: int = 50,
    precondition: Preconditioner | None = None,
) -> Solution:
    """Solve the response equations for every direction at every frequency in one subspace.

    Parameters
    ----------
    gaps : (N,) array
        Virtual minus occupied orbital energies, hartree.
    gradients : (D, N) array
        h, the perturbations' occupied-virtual elements.
    frequencies : (F,) array
        In hartree, not negative.
    plus_product, minus_product : callable
        The matrices, see ``PlusProduct`` and ``MinusProduct``.
    convergence : float
        Norm of both equations' residuals over that of 2 h at which an equation is solved.
    max_iterations : int
        Rounds of products.
    precondition : Preconditioner, optional
        Better than orbital energies alone, if there is something better.

    Raises
    ------
    ConvergenceError
        With the residual, if an equation does not get below ``convergence``.
    InputError
        If a frequency lies on an excitation energy.
    """
    # one equation after the other: index = direction * F + frequency
    right = np.repeat(-2.0 * gradients, len(frequencies), axis=0)
    equations = Equations(right, np.zeros_like(right), np.tile(frequencies, len(gradients)))
    subspace = Subspace(gaps.size, plus_product, minus_product)
    found = subspace.solve(
        equations,
        precondition or orbital_energies(gaps),
        convergence=convergence,
        max_iterations=max_iterations,
    )
    excitations = subspace.excitations()
    for frequency in frequencies[frequencies > 0.0]:
        for excitation in excitations[np.abs(excitations - frequency) < _ON_POLE]:
            raise InputError(
                f"frequency {frequency:.6f} hartree lies on a pole of the response, the excitation "
                f"energy {excitation:.6f} hartree: choose a frequency away from it"
            )
    worst = int(np.argmax(found.residuals))
    residual = float(found.residuals[worst])
    if not residual <= convergence:
        raise ConvergenceError(
            f"the response equations did not converge: residual {residual:.1e} at "
            f"frequency {equations.omega[worst]:.6f} hartree after {found.iterations} iterations "
            f"(wanted {convergence:.1e})"
            + (
                f"; the first excitation energy is near {excitations[0]:.4f} hartree, and "
                "frequencies near or above it are hard"
                if len(excitations)
                else ""
            ),
            residual,
        )
    shape = (len(gradients), len(frequencies))
    return Solution(
        found.plus.reshape(*shape, -1),
        found.minus.reshape(*shape, -1),
        found.residuals.reshape(shape),
        found.iterations,
        (subspace.products[0], subspace.products[1]),
        excitations,
        subspace.stable,
    )


def orbital_energies(gaps: Array) -> Preconditioner:
    """The inverse of the part of the equations that orbital energies make up.

    Parameters
    ----------
    gaps : (N,) array
        Of the orbital energies, in hartree.
    """

    def precondition(plus: Array, minus: Array, omega: Array) -> tuple[Array, Array]:
        w = omega[:, None]
        determinant = gaps**2 - w**2
        small = np.abs(determinant) < _SMALLEST_DETERMINANT
        determinant[small] = np.copysign(_SMALLEST_DETERMINANT, determinant[small])
        return (gaps * plus + w * minus) / determinant, (gaps * minus + w * plus) / determinant

    return precondition


def nested(gaps: Array, plus_product: PlusProduct, minus_product: MinusProduct) -> Preconditioner:
    """The same equations with cheaper products, solved roughly.

    What its subspace has learned serves the next residuals too.

    Parameters
    ----------
    gaps : (N,) array
        Of the orbital energies, in hartree.
    """
    subspace = Subspace(gaps.size, plus_product, minus_product)
    inner = orbital_energies(gaps)

    def precondition(plus: Array, minus: Array, omega: Array) -> tuple[Array, Array]:
        found = subspace.solve(
            Equations(plus, minus, omega), inner, convergence=_ROUGHLY, max_iterations=_ROUGH_STEPS
        )
        return found.plus, found.minus

    return precondition


@dataclass(frozen=True)
class Equations:
    """Right sides (n, N) of (A + B) P - w M and (A - B) M - w P, and the frequencies (n,)."""

    plus: Array
    minus: Array
    omega: Array

    @property
    def norms(self) -> Array:
        """(n,): norms of the right sides, 1 where they are zero."""
        norms: Array = np.sqrt(np.sum(self.plus**2 + self.minus**2, axis=1))
        norms[norms == 0.0] = 1.0
        return norms


@dataclass(frozen=True)
class SubspaceSolution:
    """Solutions of n ``Equations`` in a subspace.

    plus, minus     (n, N): P and M
    plus_residual, minus_residual   (n, N): right sides less left sides
    residuals       (n,): norm of both together over the norm of the right side
    iterations      rounds of products that it took
    """

    plus: Array
    minus: Array
    plus_residual: Array
    minus_residual: Array
    residuals: Array
    iterations: int = 0


class _Space:
    """Orthonormal trial vectors (rows of ``basis``), and what a matrix makes of them."""

    def __init__(self, size: int) -> None:
        self.basis = np.empty((0, size))
        self.images = np.empty((0, size))

    def outside(self, candidates: Array, images: Array | None = None) -> tuple[Array, Array]:
        """Orthonormal rows that span what of the candidates lies outside the space.

        The images, if given, follow every step, so that they stay the matrix's products.
        """
        norms = np.linalg.norm(candidates, axis=1)
        norms[norms == 0.0] = 1.0
        rows = candidates / norms[:, None]
        images = self.images[:0] if images is None else images / norms[:, None]
        for _ in range(2):  # the second pass mends the first one's rounding
            inside = rows @ self.basis.T
            rows = rows - inside @ self.basis
            if len(images):
                images = images - inside @ self.images
            values, vectors = np.linalg.eigh(rows @ rows.T)
            keep = values > _DEPENDENT
            mix = (vectors[:, keep] / np.sqrt(values[keep])).T
            rows = mix @ rows
            if len(images):
                images = mix @ images
        return rows, images

    def append(self, rows: Array, images: Array) -> None:
        self.basis = np.vstack([self.basis, rows])
        self.images = np.vstack([self.images, images])


class Subspace:
    """Trial vectors and their products, shared by all equations that are solved with it."""

    def __init__(self, size: int, plus_product: PlusProduct, minus_product: MinusProduct) -> None:
        self._plus, self._minus = _Space(size), _Space(size)
        self._plus_product, self._minus_product = plus_product, minus_product
        self.products = [0, 0]

    def solve(
        self,
        equations: Equations,
        precondition: Preconditioner,
        *,
        convergence: float,
        max_iterations: int,
    ) -> SubspaceSolution:
        """Solve to ``convergence``, residual over the right side's norm.

        Ends without complaint where iterations or new trials run out.
        """
        omega = equations.omega
        active = np.full(omega.shape, True)
        plus_residual, minus_residual = equations.plus, equations.minus
        if len(self._plus.basis):
            known = self._galerkin(equations)
            plus_residual, minus_residual = known.plus_residual, known.minus_residual
        iteration = 0
        while True:
            iteration += 1
            grown = self.extend(
                *precondition(plus_residual[active], minus_residual[active], omega[active]),
                dynamic=bool(np.any(omega > 0.0)),
            )
            found = self._galerkin(equations)
            plus_residual, minus_residual = found.plus_residual, found.minus_residual
            active = found.residuals > convergence
            if not grown or not active.any() or iteration == max_iterations:
                return replace(found, iterations=iteration)

    @property
    def spaces(self) -> tuple[_Space, _Space]:
        """Trials for P and for M, with their images."""
        return self._plus, self._minus

    @property
    def stable(self) -> bool:
        """Whether A + B has no negative eigenvalue in the space."""
        reduced, _ = self.reduced()
        return bool(np.all(np.linalg.eigvalsh(reduced) > 0.0))

    def excitations(self) -> Array:
        """Excitation energies in the spaces, hartree, ascending; none without minus space.

        (A + B) P = w M and (A - B) M = w P are one eigenvalue problem for w^2 and P.

        Returns
        -------
        (m,) array
            In hartree; (0,) without minus space.
        """
        found = self.excited_states()
        return np.empty(0) if found is None else found[0]

    def excited_states(self) -> tuple[Array, Array, Array] | None:
        """The same with their P and M as combinations of the trials, normalized to P M = 1.

        Returns
        -------
        (m,), (m, plus space) and (m, minus space) arrays, or None without minus space
        """
        reduced_plus, reduced_minus = self.reduced()
        if not len(reduced_minus) or np.linalg.eigvalsh(reduced_minus)[0] <= 0.0:
            return None
        overlap = self._plus.basis @ self._minus.basis.T
        metric = _symmetric(overlap @ np.linalg.solve(reduced_minus, overlap.T))
        values, vectors = np.linalg.eigh(metric)
        root = vectors[:, values > 0.0] / np.sqrt(values[values > 0.0])
        squares, turned = np.linalg.eigh(root.T @ reduced_plus @ root)
        real = squares > 0.0
        omega, p = np.sqrt(squares[real]), (root @ turned[:, real]).T
        m = omega[:, None] * np.linalg.solve(reduced_minus, overlap.T @ p.T).T
        scale = 1.0 / np.sqrt(np.sum((p @ overlap) * m, axis=1))[:, None]
        return omega, scale * p, scale * m

    def reduced(self) -> tuple[Array, Array]:
        """A + B in the plus space and A - B in the minus space.

        Returns
        -------
        (m, m) arrays
            One for each space, as large as it is.
        """
        return (
            _symmetric(self._plus.basis @ self._plus.images.T),
            _symmetric(self._minus.basis @ self._minus.images.T),
        )

    def extend(self, plus: Array, minus: Array, *, dynamic: bool = True) -> bool:
        """Take new trials into the spaces; False if none of them is new.

        Parameters
        ----------
        plus, minus : (k, N) arrays
            For P and for M.
        dynamic : bool
            Whether the minus space is wanted.
        """
        trials, _ = self._plus.outside(plus)
        if len(trials):
            images, minus_images = self._plus_product(trials)
            self._plus.append(trials, images)
            self.products[0] += len(trials)
            if dynamic:
                self._minus.append(*self._minus.outside(trials, minus_images))
        grown = len(trials) > 0
        if dynamic:
            trials, _ = self._minus.outside(minus)
            if len(trials):
                self._minus.append(trials, self._minus_product(trials))
                self.products[1] += len(trials)
                grown = True
        return grown

    def _galerkin(self, equations: Equations) -> SubspaceSolution:
        """P and M whose residuals are orthogonal to the spaces."""
        plus, minus, omega = self._plus, self._minus, equations.omega
        reduced_plus, reduced_minus = self.reduced()
        overlap = plus.basis @ minus.basis.T
        right_plus = equations.plus @ plus.basis.T
        right_minus = equations.minus @ minus.basis.T
        p: Array = np.empty((len(omega), len(plus.basis)))
        m: Array = np.zeros((len(omega), len(minus.basis)))
        for frequency in np.unique(omega):
            chosen = omega == frequency
            if frequency == 0.0:
                p[chosen] = np.linalg.solve(reduced_plus, right_plus[chosen].T).T
                continue
            # the second equation gives M = (A - B)^-1 (right + w P); the first is one for P then
            back = np.linalg.solve(reduced_minus, np.hstack([overlap.T, right_minus[chosen].T]))
            of_plus, of_right = back[:, : len(overlap)], back[:, len(overlap) :]
            p[chosen] = np.linalg.solve(
                reduced_plus - frequency**2 * overlap @ of_plus,
                right_plus[chosen].T + frequency * overlap @ of_right,
            ).T
            m[chosen] = of_right.T + frequency * p[chosen] @ of_plus.T
        w = omega[:, None]
        plus_solution, minus_solution = p @ plus.basis, m @ minus.basis
        plus_residual: Array = np.asarray(equations.plus - p @ plus.images + w * minus_solution)
        minus_residual: Array = np.asarray(equations.minus - m @ minus.images + w * plus_solution)
        squares = np.sum(plus_residual**2 + minus_residual**2, axis=1)
        return SubspaceSolution(
            plus=plus_solution,
            minus=minus_solution,
            plus_residual=plus_residual,
            minus_residual=minus_residual,
            residuals=np.sqrt(squares) / equations.norms,
        )


def _symmetric(matrix: Array) -> Array:
    return 0.5 * (matrix + matrix.T)
