"""Damped polarizabilities against dense algebra, sums over states and analytic continuation."""

from __future__ import annotations

import numpy as np
import pytest

from hpcml.errors import ConvergenceError, SettingsError
from hpcml.molecules.molecule import Molecule
from hpcml.response import Level, Request, ResponseProperties, compute
from hpcml.response import damped_response as damped

WATER = Molecule([8, 1, 1], [[0.05, 0.02, -0.06], [0.1, 0.76, 0.55], [-0.07, -0.72, 0.6]])


class Problem:
    """Random A and B of a stable ground state: gaps on the diagonal, couplings beside it."""

    def __init__(self, size: int = 120) -> None:
        random = np.random.default_rng(0)
        self.gaps = np.sort(random.uniform(0.4, 8.0, size))
        coupling = random.standard_normal((2, size, size)) * 0.25 / np.sqrt(size)
        self.plus, self.minus = (np.diag(self.gaps) + each + each.T for each in coupling)
        self.gradients = random.standard_normal((3, size))

    def plus_product(self, trials):
        return trials @ self.plus, trials @ self.minus

    def minus_product(self, trials):
        return trials @ self.minus

    def excitations(self):
        return np.sqrt(np.sort(np.linalg.eigvals(self.minus @ self.plus).real))


def _solve(problem, frequencies, **settings):
    return damped.solve(
        problem.gaps,
        problem.gradients,
        np.array(frequencies),
        problem.plus_product,
        problem.minus_product,
        **settings,
    )


def _dense(problem, z):
    matrix = problem.plus - z**2 * np.linalg.inv(problem.minus)
    return np.linalg.solve(matrix, -2.0 * problem.gradients.T.astype(complex)).T


def test_solutions_are_those_of_dense_algebra_on_and_off_a_pole() -> None:
    problem = Problem()
    pole = float(problem.excitations()[1])
    frequencies = [0.1 + 0.004j, pole + 0.004j, 0.3j]
    found, residuals = _solve(problem, frequencies, convergence=1e-9)
    assert residuals.max() <= 1e-9
    for column, z in enumerate(frequencies):
        expected = _dense(problem, z)
        np.testing.assert_allclose(found[:, column], expected, atol=1e-6 * np.abs(expected).max())


def test_cheap_products_serve_as_a_preconditioner() -> None:
    problem, near = Problem(), Problem()
    near.plus = problem.plus + 1e-3 * np.diag(np.sin(np.arange(len(problem.gaps))))
    calls = []
    plain = problem.plus_product
    problem.plus_product = lambda trials: (calls.append(len(trials)), plain(trials))[1]
    _solve(problem, [0.2 + 0.01j], convergence=1e-7)
    alone = sum(calls)
    calls.clear()
    nested = damped.nested(near.gaps, near.plus_product, near.minus_product)
    found, _ = _solve(problem, [0.2 + 0.01j], convergence=1e-7, precondition=nested)
    np.testing.assert_allclose(found[:, 0], _dense(problem, 0.2 + 0.01j), atol=1e-5)
    assert sum(calls) < alone / 2


def test_what_does_not_converge_is_an_error_with_the_residual(monkeypatch) -> None:
    monkeypatch.setattr(damped, "_MOST_STEPS", 2)
    with pytest.raises(ConvergenceError, match="damped response") as caught:
        _solve(Problem(), [0.1 + 0.01j], convergence=1e-12)
    assert 1e-12 < caught.value.residual < 1.0


def _level(method: str, **settings) -> Level:
    return Level(
        method=method, basis="6-31G", exact=True, kernel_grid=(50, 194), scf_convergence=1e-8,
        response_convergence=1e-6, **settings,
    )  # fmt: skip


def _alpha(method: str, frequencies: tuple[float, ...], damping: float) -> list[np.ndarray]:
    request = Request(properties=("alpha",), frequencies=frequencies)
    found = compute(WATER, _level(method, damping=damping), request).polarizability[1:]
    return [each.tensor + 1j * each.imaginary for each in found]


def test_far_from_poles_little_damping_changes_little() -> None:
    undamped = compute(WATER, _level("HF"), Request(properties=("alpha",), frequencies=(0.1,)))
    (found,) = _alpha("HF", (0.1,), 1e-5)
    np.testing.assert_allclose(found.real, undamped.polarizability[1].tensor, atol=1e-5)
    assert np.linalg.eigvalsh(found.imag).min() > 0.0  # it absorbs


@pytest.mark.parametrize("method", ["HF", "B3LYP"])
def test_alpha_is_an_analytic_function_of_the_complex_frequency(method) -> None:
    """d alpha / d gamma = i d alpha / d w (Cauchy and Riemann)."""
    w, gamma, step = 0.2, 0.02, 2e-3
    below, above = _alpha(method, (w - step, w + step), gamma)
    (less,), (more,) = (_alpha(method, (w,), gamma + sign * step) for sign in (-1, 1))
    by_frequency, by_damping = (above - below) / (2.0 * step), (more - less) / (2.0 * step)
    np.testing.assert_allclose(by_damping, 1j * by_frequency, atol=2e-3 * np.abs(by_damping).max())


def test_on_a_pole_absorption_is_a_lorentzian() -> None:
    """Half the height at one damping from the pole, and a finite refraction on it."""
    request = Request(properties=("excitation",))
    pole = compute(WATER, _level("HF"), request).provenance["first_excitation"]
    gamma = 2e-4
    on, off = _alpha("HF", (pole, pole + gamma), gamma)
    np.testing.assert_allclose(
        np.trace(off.imag) / np.trace(on.imag), 0.5, atol=0.02
    )  # the excitation's own digits
    assert np.isfinite(on.real).all()


def test_static_values_and_other_properties_stay_as_they_are() -> None:
    request = Request(frequencies=(0.1,))
    plain, found = (
        compute(WATER, _level("HF", **more), request) for more in ({}, {"damping": 0.01})
    )
    np.testing.assert_allclose(
        found.polarizability[0].tensor, plain.polarizability[0].tensor, atol=1e-6
    )
    np.testing.assert_allclose(
        found.hyperpolarizability[0].tensor, plain.hyperpolarizability[0].tensor, atol=1e-5
    )
    assert found.polarizability[0].imaginary is None
    assert found.provenance["damping"] == 0.01
    again = ResponseProperties.from_json(found.to_json())
    np.testing.assert_array_equal(
        again.polarizability[1].imaginary, found.polarizability[1].imaginary
    )
    assert "imaginary" not in plain.to_json()["polarizability"][1]


def test_a_dynamic_beta_with_damping_is_refused_in_one_line() -> None:
    request = Request(processes=("shg",), frequencies=(0.1,))
    with pytest.raises(SettingsError, match="damping is of alpha alone"):
        compute(WATER, _level("HF", damping=0.01), request)
    with pytest.raises(SettingsError, match="must lie between 0"):
        _level("HF", damping=0.5)
