"""Each layer against its definition, row by row."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from hpcml.errors import InputError
from hpcml.models import layers

INDEX = torch.tensor([2, 0, 2, 2, 0, 4])
SIZE = 5


@pytest.fixture
def values():
    return torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def rows_of(values, target):
    return [value for value, index in zip(values, INDEX.tolist(), strict=True) if index == target]


def test_scatter_sum_mean_and_max_equal_their_loops(values):
    plain_sum, plain_mean, plain_max = torch.zeros(3, SIZE, 3, dtype=torch.float64)
    for target in range(SIZE):
        rows = rows_of(values, target)
        if rows:
            plain_sum[target] = sum(rows)
            plain_mean[target] = sum(rows) / len(rows)
            plain_max[target] = torch.stack(rows).max(dim=0).values
    torch.testing.assert_close(layers.ScatterSum()(values, INDEX, SIZE), plain_sum)
    torch.testing.assert_close(layers.ScatterMean()(values, INDEX, SIZE), plain_mean)
    torch.testing.assert_close(layers.ScatterMax()(values, INDEX, SIZE), plain_max)


def test_scatter_max_gives_the_gradient_to_the_winners_alike():
    values = torch.tensor([[1.0, 2.0], [3.0, 0.0], [3.0, 1.0]], requires_grad=True)
    layers.ScatterMax()(values, torch.zeros(3, dtype=torch.int64), 2).sum().backward()
    assert values.grad.tolist() == [[0.0, 1.0], [0.5, 0.0], [0.5, 0.0]]


def test_scatter_max_has_the_gradient_of_finite_differences(values):
    largest = layers.ScatterMax()
    assert torch.autograd.gradcheck(
        lambda v: largest(v, INDEX, SIZE), values.requires_grad_(), eps=1e-6
    )


def test_gather_repeats_rows(values):
    gathered = layers.Gather()(values, INDEX % 6)
    torch.testing.assert_close(gathered, torch.stack([values[i] for i in (INDEX % 6).tolist()]))


def test_histogram_equals_normalized_normal_densities(values):
    means = np.array([-1.645, -1.080, -0.739, -0.468, -0.228, 0, 0.228, 0.468, 0.739, 1.080, 1.645])
    widths = np.array([0.283, 0.170, 0.134, 0.118, 0.114, 0.114, 0.114, 0.118, 0.134, 0.170, 0.283])
    histogram = layers.Histogram().double()
    plain = np.zeros((6, 3, 11))
    for row, feature in np.ndindex(6, 3):
        density = norm.pdf(values[row, feature], means, widths) / norm.pdf(means, means, widths)
        plain[row, feature] = density / density.sum()
    # the bins are float32 constants
    np.testing.assert_allclose(histogram(values), plain.reshape(6, 33), atol=1e-6)
    assert torch.isfinite(histogram(torch.full((1, 1), 40.0))).all()


@pytest.mark.parametrize(
    ("activation", "formula"),
    [
        (layers.ReLU(), lambda x: np.maximum(x, 0)),
        (layers.Tanh(), np.tanh),
        (layers.CELU(0.1), lambda x: np.where(x > 0, x, 0.1 * np.expm1(x / 0.1))),
        (layers.SiLU(), lambda x: x / (1 + np.exp(-x))),
        (layers.ShiftedSoftplus(), lambda x: np.log(0.5 * np.exp(x) + 0.5)),
        (layers.Gaussian(), lambda x: np.exp(-(x**2))),
    ],
)
def test_activations_and_what_they_say_of_zero(activation, formula, values):
    np.testing.assert_allclose(activation(values), formula(values.numpy()), atol=1e-14)
    assert activation.zero_at_zero == (abs(float(activation(torch.zeros(1)))) < 1e-7)


def test_batch_norm_of_one_row_uses_the_running_statistics():
    norm_layer = layers.BatchNorm(2)
    norm_layer(torch.tensor([[1.0, 2.0], [3.0, 6.0]]))
    row = torch.tensor([[5.0, 5.0]])
    trained = norm_layer(row)
    torch.testing.assert_close(trained, norm_layer.eval()(row))


def test_dot_and_norm_over_space():
    left, right = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    np.testing.assert_allclose(
        layers.Dot()(left, right), np.einsum("axf,axf->af", left.numpy(), right.numpy())
    )
    np.testing.assert_allclose(
        layers.Norm(0.0)(left), np.linalg.norm(left.numpy(), axis=1), atol=1e-14
    )


def test_scaling_keeps_the_digits_of_a_total_energy():
    standardize = layers.Standardize([-11178.966262], [1e-3]).half().float()
    assert float(standardize(torch.zeros(1, 1))) == -11178.966262
    reference = layers.AtomReference({6: [-1035.1], 1: [-13.6]}).float()
    assert reference(torch.tensor([1, 6, 8])).ravel().tolist() == [-13.6, -1035.1, 0.0]
    with pytest.raises(InputError, match="element 6 has 2 values for 1 targets"):
        layers.AtomReference({6: [1.0, 2.0]})
