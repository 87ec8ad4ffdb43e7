"""Learning rates, losses and averages against their formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hpcml.training import TrainSettings
from hpcml.training.optimization import (
    learning_rate,
    make_optimizer,
    scaled_loss,
    update_average,
)


def rates(times: list[float], reductions: int = 0, **settings) -> list[float]:
    chosen = TrainSettings(learning_rate=0.1, **settings)
    return [learning_rate(chosen, epoch, reductions) for epoch in times]


def test_cosine_after_warmup() -> None:
    found = rates([0, 1, 2, 6, 10], schedule="cosine", warmup_epochs=2, epochs=10)
    assert found == pytest.approx([0.0, 0.05, 0.1, 0.05, 0.0])


def test_exponential_constant_plateau() -> None:
    decay = {"decay_factor": 0.5, "decay_epochs": 4}
    assert rates([0, 4, 6], schedule="exponential", **decay) == pytest.approx(
        [0.1, 0.05, 0.1 * 0.5**1.5]
    )
    assert rates([0, 50], schedule="constant") == [0.1, 0.1]
    assert rates([9], reductions=3, schedule="plateau", **decay) == pytest.approx([0.0125])


@pytest.mark.parametrize("kind", ["mse", "mae", "huber"])
def test_loss_is_torch_mean_times_molecules(kind: str) -> None:
    errors = torch.linspace(-3, 2, 12, dtype=torch.float64).reshape(6, 2)
    oracle = {"mse": torch.nn.MSELoss(), "mae": torch.nn.L1Loss(), "huber": torch.nn.HuberLoss()}
    expected = 6 * oracle[kind](errors, torch.zeros_like(errors))
    torch.testing.assert_close(scaled_loss(kind, errors), expected)


def test_average_is_the_weighted_sum_of_all_states() -> None:
    states = torch.tensor([1.0, 4.0, -2.0, 8.0], dtype=torch.float64)
    average = {"weight": states[:1].clone(), "count": torch.tensor(0)}
    for number, state in enumerate(states[1:], start=1):
        new = {"weight": state[None], "count": torch.tensor(number)}
        update_average(average, new, 0.75)
    weights = np.array([0.75**3, 0.25 * 0.75**2, 0.25 * 0.75, 0.25])
    assert average["weight"].item() == pytest.approx(weights @ states.numpy())
    assert average["count"].item() == 3


def test_adamw_decays_weights_without_gradient_and_adam_does_not_move_them() -> None:
    found = {}
    for optimizer in ("adam", "adamw"):
        weight = torch.nn.Parameter(torch.ones(1))
        settings = TrainSettings(optimizer=optimizer, learning_rate=0.1, weight_decay=0.5)
        stepper = make_optimizer(settings, [weight])
        weight.grad = torch.zeros(1)
        stepper.step()
        found[optimizer] = weight.item()
    # AdamW: 1 - rate * decay; Adam's decay is part of its normalized gradient: one whole rate
    assert found["adamw"] == pytest.approx(0.95)
    assert found["adam"] == pytest.approx(0.9, abs=1e-6)
