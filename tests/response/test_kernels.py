"""The kernel on a made-up grid, with functionals whose derivatives can be written down."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch

from hpcml.response.density_variables import Block, Stored, ThirdDerivatives
from hpcml.response.kernel_terms import second_order_terms
from hpcml.response.kernels import PAIRS, Kernel

POINTS, FUNCTIONS, OCCUPIED = 40, 7, 3


def local(z):
    """f = -rho^(4/3) - 0.3 rho_a rho_b / (1 + rho): spin by spin where there are two."""
    exchange = -torch.sum(z ** (4 / 3), dim=0)
    return exchange - 0.3 * (z[0] * z[-1]) / (1.0 + z.sum(dim=0))


def gradient_corrected(z):
    """f = -sum rho^(4/3) (1 + 0.05 s) with s = sigma / (rho^2 + sigma), plus a mixed term."""
    channels = 1 if len(z) == 2 else 2
    rho, sigma = z[:channels], z[channels:]
    own = sigma[[0]] if channels == 1 else sigma[[0, 2]]
    value = -torch.sum(rho ** (4 / 3) * (1.0 + 0.05 * own / (rho**2 + own)), dim=0)
    return value + 0.02 * sigma[1] / (1.0 + rho.sum(dim=0)) if channels == 2 else value


def kinetic(z):
    """The gradient-corrected one times 1 + 0.1 tau / (1 + tau), tau of all electrons."""
    channels = 1 if len(z) == 3 else 2
    tau = z[-channels:].sum(dim=0)
    own = 0.03 * torch.sum(z[-channels:] ** 1.5 / (1.0 + z[:channels]), dim=0)
    return gradient_corrected(z[:-channels]) * (1.0 + 0.1 * tau / (1.0 + tau)) + own


def derivatives(energy, variables, order):
    """Derivatives of an order at every point, by automatic differentiation."""
    for _ in range(order):
        energy = torch.func.jacfwd(energy)
    found = torch.func.vmap(energy, in_dims=1, out_dims=-1)(torch.tensor(variables))
    return found.numpy()


def functional_of(energy):
    return lambda variables: (derivatives(energy, variables, 1), derivatives(energy, variables, 2))


class Model:
    """Random smooth functions on random points, some occupied orbitals, and the energy there."""

    def __init__(self, energy, channels: int, gradients: bool, exact: bool = False) -> None:
        self.kinetic, functional = energy is kinetic, functional_of(energy)
        random = np.random.default_rng(3)
        components = 4 if gradients else 1
        values = 0.4 * random.standard_normal((components, POINTS, FUNCTIONS))
        values[0] += 0.5
        weights = random.uniform(0.5, 1.0, POINTS)
        half = POINTS // 2
        everything = np.arange(FUNCTIONS)
        self.blocks = [
            Block(weights[:half], everything, Stored(values[:, :half]), self.kinetic),
            # not kept in memory
            Block(weights[half:], everything, lambda: values[:, half:], self.kinetic),
        ]
        self.weights, self.values, self.functional = weights, values, functional
        self.orbitals = [random.standard_normal((FUNCTIONS, OCCUPIED)) for _ in range(channels)]
        self.changes = [random.standard_normal((4, FUNCTIONS, OCCUPIED)) for _ in range(channels)]
        third = ThirdDerivatives("torch", lambda z: derivatives(energy, z, 3)) if exact else None
        self.kernel = Kernel(self.blocks, functional, self.orbitals, third)

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
        if self.kinetic:
            variables += [
                0.5 * np.einsum("xpm,mn,xpn->p", self.values[1:], d, self.values[1:])
                for d in densities
            ]
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
            if self.kinetic:
                tau = self.weights * first[s - len(densities)]
                matrix += 0.5 * np.einsum("p,xpm,xpn->mn", tau, self.values[1:], self.values[1:])
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
    pytest.param(kinetic, 1, True, id="meta-GGA, closed shell"),
    pytest.param(kinetic, 2, True, id="meta-GGA, open shell"),
]
DIFFERENCES = [model for model in MODELS if "meta" not in model.id]
EXACT = [pytest.param(*model.values, True, id=f"{model.id}, exact") for model in MODELS] + [
    pytest.param(*model.values, False, id=f"{model.id}, by differences") for model in DIFFERENCES
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
    for part, potential, orbitals in zip(
        model.kernel.on_occupied(model.changes), found, model.orbitals, strict=True
    ):
        np.testing.assert_allclose(part, potential @ orbitals, atol=1e-10)


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize(("functional", "channels", "gradients"), MODELS)
def test_second_order_terms_are_traces_with_the_potentials(
    functional, channels, gradients, static
) -> None:
    model = Model(functional, channels, gradients)
    random = np.random.default_rng(5)
    x = model.changes
    y = x if static else [random.standard_normal(each.shape) for each in x]
    pairs = [((0, 0.1), (1, 0.1)), ((0, -0.1), (2, 0.1)), ((3, -0.2), (3, -0.2))]
    inside = [random.standard_normal((len(pairs), OCCUPIED, OCCUPIED)) for _ in range(channels)]
    inside = [each + each.transpose(0, 2, 1) for each in inside]
    found = second_order_terms(model.kernel, x, y, pairs, inside)
    potentials = model.kernel.potentials([one + other for one, other in zip(x, y, strict=True)])
    expected = np.zeros_like(found)
    for s, orbitals in enumerate(model.orbitals):
        for index, ((b, w_b), (c, w_c)) in enumerate(pairs):
            x_b, y_b = (x[s][b], y[s][b]) if w_b > 0 else (y[s][b], x[s][b])
            x_c, y_c = (x[s][c], y[s][c]) if w_c > 0 else (y[s][c], x[s][c])
            density = x_b @ y_c.T + x_c @ y_b.T + orbitals @ inside[s][index] @ orbitals.T
            expected[:, index] += np.einsum("amn,mn->a", potentials[s], density)
    np.testing.assert_allclose(found, (2.0 if channels == 1 else 1.0) * expected, rtol=1e-9)


@pytest.mark.parametrize(("functional", "channels", "gradients", "exact"), EXACT)
def test_third_order_is_a_second_difference_of_potentials(
    functional, channels, gradients, exact
) -> None:
    model = Model(functional, channels, gradients, exact)
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
        assert value == pytest.approx(expected, rel=1e-5 if exact else 1e-4, abs=1e-5)


@pytest.mark.parametrize(("functional", "channels", "gradients"), MODELS)
def test_third_order_keeps_its_value_when_the_densities_change_places(
    functional, channels, gradients
) -> None:
    kernel = Model(functional, channels, gradients, exact=True).kernel
    changes = Model(functional, channels, gradients).changes
    orders = list(permutations((1, 3, 2)))
    found = [
        kernel.third_order([change[list(order)] for change in changes], [(0, 1, 2)])[0]
        for order in orders
    ]
    np.testing.assert_allclose(found, found[0], rtol=1e-12)


@pytest.mark.parametrize(("functional", "channels", "gradients"), MODELS)
def test_second_order_potentials_are_second_differences_of_potentials(
    functional, channels, gradients
) -> None:
    """Along orbitals C_0 + F C_1, whose density has D_b's own second order among the blocks."""
    model = Model(functional, channels, gradients, exact=True)
    three = [change[:3] for change in model.changes]
    inside = np.random.default_rng(5).standard_normal((channels, 6, OCCUPIED, OCCUPIED))
    inside = inside + inside.transpose(0, 1, 3, 2)
    found = model.kernel.second_order_potentials(three, inside)
    factor, step = 2.0 if channels == 1 else 1.0, 2e-4

    def potential(field):
        densities = []
        for c_0, c_1, blocks in zip(model.orbitals, three, inside, strict=True):
            moved = c_0 + np.einsum("b,bno->no", field, c_1)
            second = sum(
                (0.5 if b == c else 1.0) * field[b] * field[c] * blocks[index]
                for index, (b, c) in enumerate(PAIRS)
            )
            densities.append(factor * (moved @ moved.T + c_0 @ second @ c_0.T))
        return model.potential(densities)

    for index, (b, c) in enumerate(PAIRS):
        along = {name: np.eye(3)[axis] * step for name, axis in (("b", b), ("c", c))}
        corners = {
            (i, j): potential(i * along["b"] + j * along["c"]) for i in (1, -1) for j in (1, -1)
        }
        for s in range(channels):
            difference = sum(i * j * corners[i, j][s] for i, j in corners) / (4.0 * step**2)
            np.testing.assert_allclose(found[s][index], difference, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize(("functional", "channels", "gradients"), MODELS)
def test_basis_functions_are_evaluated_once_a_product(functional, channels, gradients) -> None:
    model, asked = Model(functional, channels, gradients), []
    values, everything = model.values, np.arange(FUNCTIONS)

    def evaluate():
        asked.append(1)
        return values

    block = Block(model.weights, everything, evaluate, model.kinetic)
    kernel = Kernel([block], model.functional, model.orbitals)
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
        model.functional,
        model.orbitals,
    )
    calls = []

    def broken(variables):
        first, second = model.functional(variables)
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


def test_points_of_negative_weight_count_as_others() -> None:
    """Lebedev's spheres of 74, 230 and 266 points have some."""
    model = Model(gradient_corrected, 1, True)
    turned = Kernel(
        [Block(-block.weights, block.functions, block.evaluate) for block in model.blocks],
        model.functional,
        model.orbitals,
    )
    assert turned.electrons == pytest.approx(-model.kernel.electrons)
    for found, expected in zip(
        turned.potentials(model.changes), model.kernel.potentials(model.changes), strict=True
    ):
        np.testing.assert_allclose(found, -expected, rtol=1e-10)
