"""The kernel on a made-up grid, with functionals whose derivatives can be written down."""

from __future__ import annotations

import numpy as np
import pytest

from hpcml.response.density_variables import Block, Stored
from hpcml.response.kernels import Kernel

POINTS, FUNCTIONS, OCCUPIED = 40, 7, 3


def local(variables):
    """f = -rho^(4/3) - 0.3 rho_a rho_b / (1 + rho): spin by spin where there are two."""
    channels = len(variables)

    def energy(z):
        total = z.sum(axis=0)
        exchange = -np.sum(z ** (4 / 3), axis=0)
        return exchange - 0.3 * (z[0] * z[-1]) / (1.0 + total)

    return numerical(energy, variables, channels)


def gradient_corrected(variables):
    """f = -sum rho^(4/3) (1 + 0.05 s) with s = sigma / (rho^2 + sigma), plus a mixed term."""
    channels = 1 if len(variables) == 2 else 2

    def energy(z):
        rho, sigma = z[:channels], z[channels:]
        own = sigma[[0]] if channels == 1 else sigma[[0, 2]]
        value = -np.sum(rho ** (4 / 3) * (1.0 + 0.05 * own / (rho**2 + own)), axis=0)
        if channels == 2:
            value = value + 0.02 * sigma[1] / (1.0 + rho.sum(axis=0))
        return value

    return numerical(energy, variables, len(variables))


def numerical(energy, variables, size):
    """First and second derivatives by complex steps and their central differences."""

    def first(z):
        rows = []
        for i in range(size):
            shifted = z.astype(complex)
            shifted[i] += 1e-30j
            rows.append(energy(shifted).imag / 1e-30)
        return np.array(rows)

    second = np.empty((size, size, variables.shape[1]))
    for j in range(size):
        step = 1e-5 * (np.abs(variables[j]) + 1e-3)
        forward, backward = variables.copy(), variables.copy()
        forward[j] += step
        backward[j] -= step
        second[:, j] = (first(forward) - first(backward)) / (2.0 * step)
    return first(variables), second


class Model:
    """Random smooth functions on random points, some occupied orbitals, and the energy there."""

    def __init__(self, functional, channels: int, gradients: bool) -> None:
        random = np.random.default_rng(3)
        components = 4 if gradients else 1
        values = 0.4 * random.standard_normal((components, POINTS, FUNCTIONS))
        values[0] += 0.5
        weights = random.uniform(0.5, 1.0, POINTS)
        half = POINTS // 2
        everything = np.arange(FUNCTIONS)
        self.blocks = [
            Block(weights[:half], everything, Stored(values[:, :half])),
            Block(weights[half:], everything, lambda: values[:, half:]),  # not kept in memory
        ]
        self.weights, self.values, self.functional = weights, values, functional
        self.orbitals = [random.standard_normal((FUNCTIONS, OCCUPIED)) for _ in range(channels)]
        self.changes = [random.standard_normal((4, FUNCTIONS, OCCUPIED)) for _ in range(channels)]
        self.kernel = Kernel(self.blocks, functional, self.orbitals)

    def potential(self, densities) -> list[np.ndarray]:
        """V_xc matrices of density matrices, one a channel, by the plain formula."""
        fields = np.array(
            [
                np.concatenate(
                    [
                        np.einsum("pm,mn,pn->p", self.values[0], d, self.values[0])[None],
                        2.0 * np.einsum("xpm,mn,pn->xp", self.values[1:], d, self.values[0]),
                    ]
                )
                for d in densities
            ]
        )
        rho, gradient = fields[:, 0], fields[:, 1:]
        pairs = [(0, 0)] if len(densities) == 1 else [(0, 0), (0, 1), (1, 1)]
        variables = list(rho)
        if len(self.values) > 1:
            variables += [np.sum(gradient[s] * gradient[t], axis=0) for s, t in pairs]
        first, _ = self.functional(np.array(variables))
        matrices = []
        for s in range(len(densities)):
            matrix = np.einsum(
                "p,pm,pn->mn", self.weights * first[s], self.values[0], self.values[0]
            )
            if len(self.values) > 1:
                vector = np.zeros_like(gradient[0])
                for index, (t, u) in enumerate(pairs, start=len(densities)):
                    if s == t:
                        vector += first[index] * gradient[u]
                    if s == u:
                        vector += first[index] * gradient[t]
                half = np.einsum(
                    "xp,xpm,pn->mn", self.weights * vector, self.values[1:], self.values[0]
                )
                matrix += half + half.T
            matrices.append(matrix)
        return matrices

    def density(self, step, direction=0):
        """Density matrices of the orbitals, moved along a first-order density."""
        factor = 2.0 if len(self.orbitals) == 1 else 1.0
        found = []
        for c_0, c_1 in zip(self.orbitals, self.changes, strict=True):
            half = c_0 @ c_1[direction].T
            found.append(factor * (c_0 @ c_0.T + 0.5 * step * (half + half.T)))
        return found


MODELS = [
    pytest.param(local, 1, False, id="LDA, closed shell"),
    pytest.param(local, 2, False, id="LDA, open shell"),
    pytest.param(gradient_corrected, 1, True, id="GGA, closed shell"),
    pytest.param(gradient_corrected, 2, True, id="GGA, open shell"),
]


@pytest.mark.parametrize(("functional", "channels", "gradients"), MODELS)
def test_first_order_potentials_are_differences_of_potentials(
    functional, channels, gradients
) -> None:
    model = Model(functional, channels, gradients)
    found = model.kernel.potentials(model.changes)
    step = 1e-4
    for direction in range(4):
        forward, backward = (
            model.potential(model.density(sign * step, direction)) for sign in (1, -1)
        )
        for channel in range(channels):
            difference = (forward[channel] - backward[channel]) / (2.0 * step)
            np.testing.assert_allclose(found[channel][direction], difference, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("functional", "channels", "gradients"), MODELS)
def test_third_order_is_a_second_difference_of_potentials(functional, channels, gradients) -> None:
    model = Model(functional, channels, gradients)
    triples = [(0, 0, 0), (1, 0, 0), (0, 2, 0)]
    found = model.kernel.third_order(model.changes, triples)
    step = 1e-3
    forward, middle, backward = (model.potential(model.density(sign * step)) for sign in (1, 0, -1))
    factor = 2.0 if channels == 1 else 1.0
    for value, triple in zip(found, triples, strict=True):
        (other,) = [d for d in triple if d != 0] or [0]
        expected = 0.0
        for s in range(channels):
            second = (forward[s] - 2.0 * middle[s] + backward[s]) / step**2
            half = model.orbitals[s] @ model.changes[s][other].T
            expected += factor * np.sum(second * 0.5 * (half + half.T))
        assert value == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(("functional", "channels", "gradients"), MODELS)
def test_basis_functions_are_evaluated_once_a_product(functional, channels, gradients) -> None:
    model, asked = Model(functional, channels, gradients), []
    values, everything = model.values, np.arange(FUNCTIONS)

    def evaluate():
        asked.append(1)
        return values

    kernel = Kernel([Block(model.weights, everything, evaluate)], functional, model.orbitals)
    within = [np.zeros((6, OCCUPIED, OCCUPIED))] * channels
    three = [change[:3] for change in model.changes]
    for product in (
        lambda: kernel.potentials(model.changes),
        lambda: kernel.third_order(model.changes, [(0, 1, 2)]),
        lambda: kernel.second_order_potentials(three, within),
    ):
        asked.clear()
        product()
        assert len(asked) == 1


def test_a_point_without_derivatives_carries_no_kernel() -> None:
    """As if the point were not there, also where only a displaced density has none."""
    model = Model(gradient_corrected, 1, True)
    lost = 7
    values = np.delete(model.values, lost, axis=1)
    everything = np.arange(FUNCTIONS)
    without = Kernel(
        [Block(np.delete(model.weights, lost), everything, Stored(values))],
        gradient_corrected,
        model.orbitals,
    )
    calls = []

    def broken(variables):
        first, second = gradient_corrected(variables)
        calls.append(variables.shape)
        second[0, 0, lost] = np.nan
        return first, second

    block = Block(model.weights, everything, Stored(model.values))
    with_it = Kernel([block], broken, model.orbitals)
    triples = [(0, 1, 2), (3, 3, 3)]
    np.testing.assert_allclose(
        with_it.third_order(model.changes, triples),
        without.third_order(model.changes, triples),
        rtol=1e-9,
    )
    np.testing.assert_allclose(
        with_it.potentials(model.changes)[0], without.potentials(model.changes)[0], atol=1e-12
    )
    assert len(calls) > 2


def test_electrons_are_counted_with_the_weights() -> None:
    model = Model(local, 2, False)
    (alpha, beta) = model.density(0.0)
    total = np.einsum("p,pm,mn,pn->", model.weights, model.values[0], alpha + beta, model.values[0])
    assert model.kernel.electrons == pytest.approx(total, rel=1e-12)
