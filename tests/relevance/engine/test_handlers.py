"""Every layer's way of handing relevance back, against loops over its elements."""

import pytest
import torch
from torch import nn

from hpcml.models import layers
from hpcml.relevance import Composite, Epsilon
from hpcml.relevance.engine.owners import Owner, Owners
from hpcml.relevance.engine.registry import HANDLERS
from hpcml.relevance.engine.trace import Trace
from hpcml.relevance.ledger import LEDGER

ROWS = 6


@pytest.fixture
def draw():
    generator = torch.Generator().manual_seed(17)
    return lambda *shape: torch.randn(*shape, dtype=torch.float64, generator=generator)


def hand_back(layer, inputs, relevance_of, *constants, products="weight"):
    """(relevances of the inputs, ledger column -> (ROWS,)) for relevance made from the output."""
    composite = Composite(above=Epsilon(0.0), products=products)
    rows = torch.arange(ROWS)
    kinds = {"atom": Owner(rows, torch.stack([rows, rows]), ROWS)}
    owners = Owners({**kinds, "molecule": Owner.of_molecules(rows, ROWS)}, ROWS, ROWS)
    with torch.enable_grad(), Trace(layer, owners, composite, HANDLERS) as trace:
        leaves = [trace.source(f"input {n}", "atom", one) for n, one in enumerate(inputs)]
        output = layer(*leaves, *constants)
    relevance = relevance_of(output.detach())
    asked = [*leaves, trace.root]
    *to_inputs, _ = torch.autograd.grad(output, asked, relevance, allow_unused=True)
    ledger = trace.ledger.total()
    given = sum(float(one.sum()) for one in to_inputs if one is not None) + float(ledger.sum())
    assert given == pytest.approx(float(relevance.sum()), abs=1e-12)  # nothing is lost
    return to_inputs, dict(zip(LEDGER, ledger.T, strict=True))


def proportional(output):
    """A relevance that vanishes with the output, as those of networks do."""
    return output * torch.linspace(0.5, 2.0, output.numel(), dtype=output.dtype).view_as(output)


@pytest.mark.parametrize(
    "layer",
    [layers.ReLU(), layers.Tanh(), layers.CELU(0.1), layers.SiLU(), layers.ShiftedSoftplus(),
     nn.GELU(), nn.LeakyReLU(0.1), nn.ELU(), nn.ReLU(inplace=True)],
)  # fmt: skip
def test_identity_rule(layer, draw):
    values = draw(ROWS, 3)
    (found,), _ = hand_back(layer, [values], proportional)
    torch.testing.assert_close(found, proportional(layer(values.clone())))


@pytest.mark.parametrize(
    ("layer", "function", "slope"),
    [
        (layers.Gaussian(), lambda x: (-x * x).exp(), lambda x: -2 * x * (-x * x).exp()),
        (nn.Sigmoid(), torch.sigmoid, lambda x: torch.sigmoid(x) * torch.sigmoid(-x)),
        (nn.Softplus(), lambda x: (1 + x.exp()).log(), torch.sigmoid),
    ],
)
def test_linearized(layer, function, slope, draw):
    """R x f'(x) / f(x) to the argument, the rest is Taylor's."""
    values = draw(ROWS, 2)
    (found,), ledger = hand_back(layer, [values], proportional)
    relevance = proportional(function(values))
    for row in range(ROWS):
        left = 0.0
        for column in range(2):
            x, R = values[row, column], relevance[row, column]
            assert float(found[row, column]) == pytest.approx(float(R * x * slope(x) / function(x)))
            left += float(R - found[row, column])
        assert float(ledger["taylor"][row]) == pytest.approx(left)


def test_sum_with_a_constant(draw):
    first, second, constant = draw(ROWS, 2), draw(ROWS, 2), draw(ROWS, 2)
    found, ledger = hand_back(layers.Sum(), [first, second], proportional, constant)
    total = first + second + constant
    scale = proportional(total) / total
    torch.testing.assert_close(found[0], first * scale)
    torch.testing.assert_close(found[1], second * scale)
    torch.testing.assert_close(ledger["bias"], (constant * scale).sum(1))


def test_product(draw):
    """The gate, broadcast over rows' columns, is a weight, or takes half."""
    signal, gate = draw(ROWS, 3), draw(ROWS, 1)
    relevance = proportional(signal * gate)
    (to_signal, to_gate), _ = hand_back(layers.Product(), [signal, gate], proportional)
    torch.testing.assert_close(to_signal, relevance)
    assert to_gate is None
    halves, _ = hand_back(layers.Product(), [signal, gate], proportional, products="halves")
    torch.testing.assert_close(halves[0], 0.5 * relevance)
    torch.testing.assert_close(halves[1], 0.5 * relevance.sum(1, keepdim=True))
    (alone,), _ = hand_back(layers.Product(), [signal], proportional, gate)
    torch.testing.assert_close(alone, relevance)


def test_scalar_product(draw):
    left, right = draw(ROWS, 3, 2), draw(ROWS, 3, 2)
    found, _ = hand_back(layers.Dot(), [left, right], proportional)
    value = (left * right).sum(1)
    relevance = proportional(value)
    for row in range(ROWS):
        for axis in range(3):
            for feature in range(2):
                term = left[row, axis, feature] * right[row, axis, feature]
                expected = 0.5 * term / value[row, feature] * relevance[row, feature]
                for side in found:
                    assert float(side[row, axis, feature]) == pytest.approx(float(expected))


def test_length(draw):
    vectors = draw(ROWS, 3, 2)
    (found,), ledger = hand_back(layers.Norm(1e-2), [vectors], proportional)
    squares = (vectors**2).sum(1) + 1e-2
    relevance = proportional(torch.sqrt(squares))
    torch.testing.assert_close(found, vectors**2 / squares[:, None] * relevance[:, None])
    torch.testing.assert_close(ledger["taylor"], (1e-2 / squares * relevance).sum(1))


@pytest.mark.parametrize("layer", [layers.ScatterSum(), layers.ScatterMean()])
def test_rows_share_in_proportion(layer, draw):
    """Three rows into one, two into another, one alone, and an empty one."""
    values, index = draw(ROWS, 2), torch.tensor([0, 1, 0, 2, 1, 0])
    (found,), _ = hand_back(layer, [values], proportional, index, ROWS)
    relevance = proportional(layer(values, index, ROWS))
    for row in range(ROWS):
        mates = index == index[row]
        expected = values[row] / values[mates].sum(0) * relevance[index[row]]
        torch.testing.assert_close(found[row], expected)


def test_winner_takes_all_and_equal_winners_share(draw):
    values, index = draw(ROWS, 2), torch.tensor([0, 1, 0, 2, 1, 0])
    values[2] = values[0] * (1 + 1e-15)  # equal but for rounding
    values[5] = values[0] - 1.0
    (found,), _ = hand_back(layers.ScatterMax(), [values], proportional, index, ROWS)
    relevance = proportional(layers.ScatterMax()(values, index, ROWS))
    torch.testing.assert_close(found[0], 0.5 * relevance[0])
    torch.testing.assert_close(found[2], 0.5 * relevance[0])
    torch.testing.assert_close(found[5], torch.zeros(2, dtype=torch.float64))
    torch.testing.assert_close(found[3], relevance[2])
    for column in range(2):
        winner = 1 if values[1, column] > values[4, column] else 4
        assert float(found[winner, column]) == pytest.approx(float(relevance[1, column]))
        assert float(found[5 - winner, column]) == 0.0


def test_histogram_by_finite_differences(draw):
    """Each membership hands x dy/dx / y of its relevance to the feature."""
    values, layer, h = draw(ROWS, 2), layers.Histogram().double(), 1e-6
    (found,), ledger = hand_back(layer, [values], proportional)
    memberships = layer(values)
    relevance = proportional(memberships)
    for row in range(ROWS):
        left = 0.0
        for feature in range(2):
            moved = [values.clone(), values.clone()]
            moved[0][row, feature] += h
            moved[1][row, feature] -= h
            slopes = (layer(moved[0])[row] - layer(moved[1])[row]) / (2 * h)
            share = 0.0
            for k in range(11 * feature, 11 * feature + 11):
                if memberships[row, k] > 1e-12:
                    ratio = relevance[row, k] / memberships[row, k]
                    share += float(values[row, feature] * slopes[k] * ratio)
            assert float(found[row, feature]) == pytest.approx(share, rel=1e-5, abs=1e-8)
            left -= share
        left += float(relevance[row].sum())
        assert float(ledger["taylor"][row]) == pytest.approx(left, rel=1e-5, abs=1e-8)


def test_normalization_by_itself(draw):
    layer = layers.BatchNorm(3).double().eval()
    layer.running_mean.copy_(draw(3))
    layer.running_var.copy_(draw(3).abs() + 0.5)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    values = draw(ROWS, 3)
    (found,), ledger = hand_back(layer, [values], proportional)
    output = layer(values).detach()
    weight = layer.weight.detach()
    relevance = proportional(output)
    for row in range(ROWS):
        to_bias = 0.0
        for k in range(3):
            scale = weight[k] / torch.sqrt(layer.running_var[k] + layer.eps)
            part = values[row, k] * scale
            share = float(part / output[row, k] * relevance[row, k])
            assert float(found[row, k]) == pytest.approx(share)
            to_bias += float(relevance[row, k]) - share
        assert float(ledger["bias"][row]) == pytest.approx(to_bias)


def test_target_scale_and_references(draw):
    values = draw(ROWS, 1)
    layer = layers.Standardize([2.0], [3.0])
    (found,), ledger = hand_back(layer, [values], lambda output: output)
    torch.testing.assert_close(found, 3.0 * values)
    torch.testing.assert_close(ledger["mean"], torch.full((ROWS,), 2.0, dtype=torch.float64))
    reference = layers.AtomReference({1: (0.5,), 6: (-4.0,)})
    numbers = torch.tensor([1, 6, 1, 6, 6, 1])
    _, ledger = hand_back(reference, [], lambda output: output, numbers)
    torch.testing.assert_close(ledger["reference"], reference(numbers)[:, 0])


def test_concatenation_and_gathering_only_move(draw):
    first, second = draw(ROWS, 2), draw(ROWS, 3)
    found, _ = hand_back(layers.Concatenate(), [first, second], proportional)
    relevance = proportional(torch.cat([first, second], dim=1))
    torch.testing.assert_close(torch.cat(found, dim=1), relevance)
    index = torch.tensor([4, 4, 0, 1, 4, 2])
    (found,), _ = hand_back(layers.Gather(), [first], proportional, index)
    relevance = proportional(first[index])
    expected = torch.zeros_like(first).index_add(0, index, relevance)
    torch.testing.assert_close(found, expected)
