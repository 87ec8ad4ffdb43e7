"""Every rule against a slow plain one, unit by unit, written from the papers' formulas."""

import pytest
import torch

from hpcml.relevance.engine.rules import (
    AlphaBeta,
    Epsilon,
    Flat,
    Gamma,
    Term,
    WSquare,
    z_plus,
)
from hpcml.relevance.engine.spreading import spread

EPSILON = 1e-3


def stabilized(z):
    return z + EPSILON if z >= 0 else z - EPSILON


def plus(x):
    return max(x, 0.0)


def minus(x):
    return min(x, 0.0)


def share_in_proportion(parts, bias_part, relevance):
    """parts[i] / (sum of parts and bias) of the relevance: to the inputs, bias, epsilon."""
    total = sum(parts) + bias_part
    scale = relevance / stabilized(total)
    return [part * scale for part in parts], bias_part * scale, relevance - total * scale


def plain_epsilon(a, w, b, relevance):
    return [share_in_proportion([ai * wi for ai, wi in zip(a, w, strict=True)], b, relevance)]


def positive_and_negative(a, w, b):
    products = [ai * wi for ai, wi in zip(a, w, strict=True)]
    return ([plus(p) for p in products], plus(b)), ([minus(p) for p in products], minus(b))


def plain_alpha_beta(a, w, b, relevance, alpha=2.0):
    up, down = positive_and_negative(a, w, b)
    return [
        share_in_proportion(*up, alpha * relevance),
        share_in_proportion(*down, (1.0 - alpha) * relevance),
    ]


def plain_z_plus(a, w, b, relevance):
    return [share_in_proportion(*positive_and_negative(a, w, b)[0], relevance)]


def plain_gamma(a, w, b, relevance, gamma=0.25):
    """Contributions a_i w_ij of the output's own sign count 1 + gamma times."""
    z = sum(ai * wi for ai, wi in zip(a, w, strict=True)) + b
    favoured = plus if z >= 0 else minus
    parts = [ai * wi + gamma * favoured(ai * wi) for ai, wi in zip(a, w, strict=True)]
    return [share_in_proportion(parts, b + gamma * favoured(b), relevance)]


def plain_flat(a, w, b, relevance):
    return [share_in_proportion([1.0 for _ in a], 0.0, relevance)]


def plain_w_square(a, w, b, relevance):
    return [share_in_proportion([wi * wi for wi in w], 0.0, relevance)]


RULES = {
    "epsilon": (Epsilon(EPSILON), plain_epsilon),
    "gamma": (Gamma(0.25, EPSILON), plain_gamma),
    "alpha_beta": (AlphaBeta(2.0, EPSILON), plain_alpha_beta),
    "z_plus": (z_plus(EPSILON), plain_z_plus),
    "flat": (Flat(EPSILON), plain_flat),
    "w_square": (WSquare(EPSILON), plain_w_square),
}


@pytest.fixture
def layer():
    generator = torch.Generator().manual_seed(11)

    def draw(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    weight, bias, inputs, relevance = draw(4, 5), draw(4), draw(6, 5), draw(6, 4)
    inputs[0] = 0.0  # nothing but the bias to share with
    inputs[1] = inputs[1].abs()
    return weight, bias, inputs, relevance


@pytest.mark.parametrize("name", RULES)
def test_rule_is_its_formula(name, layer):
    rule, plain = RULES[name]
    weight, bias, inputs, relevance = layer
    outputs = inputs @ weight.T + bias
    found = spread(rule, [Term(inputs, weight)], bias, outputs=outputs, relevance=relevance)
    for row in range(len(inputs)):
        expected = torch.zeros(5, dtype=torch.float64)
        to_bias = to_epsilon = 0.0
        for unit in range(len(weight)):
            for parts, bias_part, absorbed in plain(
                inputs[row].tolist(),
                weight[unit].tolist(),
                float(bias[unit]),
                float(relevance[row, unit]),
            ):
                expected += torch.tensor(parts)
                to_bias += bias_part
                to_epsilon += absorbed
        torch.testing.assert_close(found.inputs[0][row], expected)
        assert found.bias[row] == pytest.approx(to_bias)
        assert found.epsilon[row] == pytest.approx(to_epsilon)


@pytest.mark.parametrize("name", RULES)
def test_nothing_is_lost(name, layer):
    rule, _ = RULES[name]
    weight, bias, inputs, relevance = layer
    outputs = inputs @ weight.T + bias
    found = spread(rule, [Term(inputs, weight)], bias, outputs=outputs, relevance=relevance)
    whole = found.inputs[0].sum(1) + found.bias + found.epsilon
    torch.testing.assert_close(whole, relevance.sum(1), rtol=0, atol=1e-12)


def test_without_epsilon_what_has_no_parts_is_absorbed():
    """LRP-0 of a unit that receives nothing: no division by zero, and the relevance is told."""
    weight, bias = torch.ones(1, 2), torch.zeros(1)
    zeros, one = torch.zeros(1, 2), torch.ones(1, 1)
    outputs = torch.zeros(1, 1)
    found = spread(Epsilon(0.0), [Term(zeros, weight)], bias, outputs=outputs, relevance=one)
    assert found.inputs[0].tolist() == [[0.0, 0.0]]
    assert found.epsilon.tolist() == [1.0]
