"""The block solver against dense linear algebra."""

from __future__ import annotations

import numpy as np
import pytest

from hpcml.errors import ConvergenceError
from hpcml.response import linear_response as linear


class Problem:
    """Random A and B of a stable ground state: gaps on the diagonal, couplings beside it."""

    def __init__(self, size: int = 120, directions: int = 3, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.gaps = np.sort(random.uniform(0.4, 8.0, size))
        coupling = random.standard_normal((2, size, size)) * 0.25 / np.sqrt(size)
        self.plus = np.diag(self.gaps) + coupling[0] + coupling[0].T
        self.minus = np.diag(self.gaps) + coupling[1] + coupling[1].T
        self.gradients = random.standard_normal((directions, size))

    def plus_product(self, trials):
        return trials @ self.plus, trials @ self.minus

    def minus_product(self, trials):
        return trials @ self.minus

    def dense(self, frequency: float):
        """P and M from the full matrix of both equations."""
        size = len(self.gaps)
        coupling = -frequency * np.eye(size)
        full = np.block([[self.plus, coupling], [coupling, self.minus]])
        right = np.vstack([-2.0 * self.gradients.T, np.zeros((size, len(self.gradients)))])
        solution = np.linalg.solve(full, right).T
        return solution[:, :size], solution[:, size:]

    def excitations(self):
        return np.sqrt(np.sort(np.linalg.eigvals(self.minus @ self.plus).real))

    def solve(self, frequencies, **settings):
        return linear.solve(
            self.gaps,
            self.gradients,
            np.array(frequencies),
            self.plus_product,
            self.minus_product,
            **settings,
        )


def test_all_directions_and_frequencies_together_equal_the_dense_solution() -> None:
    problem = Problem()
    frequencies = [0.0, 0.1, 0.2]
    solution = problem.solve(frequencies, convergence=1e-10)
    for column, frequency in enumerate(frequencies):
        plus, minus = problem.dense(frequency)
        np.testing.assert_allclose(solution.plus[:, column], plus, atol=1e-8)
        np.testing.assert_allclose(solution.minus[:, column], minus, atol=1e-8)


def test_nested_solver_of_near_matrices_saves_products() -> None:
    problem, near = Problem(), Problem()
    near.plus = problem.plus + 1e-3 * np.diag(np.sin(np.arange(len(problem.gaps))))
    nested = linear.nested(near.gaps, near.plus_product, near.minus_product)
    solution = problem.solve([0.0, 0.1], convergence=1e-7, precondition=nested)
    plain = problem.solve([0.0, 0.1], convergence=1e-7)
    np.testing.assert_allclose(solution.plus, plain.plus, atol=1e-5)
    assert solution.products[0] < plain.products[0] / 2


def test_residual_is_the_true_one() -> None:
    problem = Problem()
    solution = problem.solve([0.0, 0.15], convergence=1e-4)
    for column, frequency in enumerate((0.0, 0.15)):
        plus, minus = solution.plus[:, column], solution.minus[:, column]
        first = plus @ problem.plus - frequency * minus + 2.0 * problem.gradients
        second = minus @ problem.minus - frequency * plus
        true = np.sqrt(np.sum(first**2, axis=1) + np.sum(second**2, axis=1))
        true /= np.linalg.norm(2.0 * problem.gradients, axis=1)
        np.testing.assert_allclose(solution.residuals[:, column], true, rtol=1e-6)
        assert (true < 1e-4).all()


def test_static_equations_need_no_minus_products_and_share_their_trials() -> None:
    problem = Problem()
    together = problem.solve([0.0], convergence=1e-6)
    assert together.products[1] == 0
    alone = sum(
        linear.solve(
            problem.gaps,
            problem.gradients[[axis]],
            np.array([0.0]),
            problem.plus_product,
            problem.minus_product,
            convergence=1e-6,
        ).products[0]
        for axis in range(3)
    )
    assert together.products[0] <= alone


def test_too_few_iterations_are_an_error_with_the_residual() -> None:
    with pytest.raises(ConvergenceError, match="did not converge") as caught:
        Problem().solve([0.1], convergence=1e-12, max_iterations=3)
    assert 1e-12 < caught.value.residual < 1.0


def test_between_two_poles_the_solution_is_the_dense_one() -> None:
    problem = Problem()
    first, second = problem.excitations()[:2]
    frequency = 0.5 * (first + second)
    solution = problem.solve([frequency], convergence=1e-9, max_iterations=100)
    plus, _ = problem.dense(frequency)
    np.testing.assert_allclose(solution.plus[:, 0], plus, rtol=1e-6, atol=1e-6)


def test_zero_perturbation_has_zero_response() -> None:
    problem = Problem()
    problem.gradients[1] = 0.0
    solution = problem.solve([0.0, 0.1], convergence=1e-8)
    assert not solution.plus[1].any()
