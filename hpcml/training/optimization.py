"""How the weights move: optimizer, learning rate, and the running average of the weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import cos, pi

import torch
from torch import Tensor, nn

from hpcml.training.train_settings import TrainSettings


def make_optimizer(
    settings: TrainSettings, parameters: Iterable[nn.Parameter]
) -> torch.optim.Optimizer:
    """Adam (arXiv:1412.6980) or AdamW (arXiv:1711.05101), all weights in one pass."""
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    rate, decay = settings.learning_rate, settings.weight_decay
    return kind(parameters, lr=rate, weight_decay=decay, fused=True)


def learning_rate(settings: TrainSettings, epoch: float, reductions: int) -> float:
    """The learning rate at a time in epochs, part epochs included.

    reductions    how often the plateau schedule has found no progress so far
    """
    rate = settings.learning_rate
    if epoch < settings.warmup_epochs:
        return rate * epoch / settings.warmup_epochs
    if settings.schedule == "cosine":
        past = (epoch - settings.warmup_epochs) / max(settings.epochs - settings.warmup_epochs, 1)
        return rate * 0.5 * (1.0 + cos(pi * min(past, 1.0)))
    if settings.schedule == "exponential":
        since = epoch - settings.warmup_epochs
        return float(rate * settings.decay_factor ** (since / settings.decay_epochs))
    if settings.schedule == "plateau":
        return float(rate * settings.decay_factor**reductions)
    return rate


def scaled_loss(kind: str, errors: Tensor) -> Tensor:
    """Sum over molecules of the mean over targets of the loss.

    Parameters
    ----------
    kind : str
        "mse", "mae", or "huber" (threshold one).
    errors : (M, T) Tensor
        Errors in units of the targets' spread.

    Returns
    -------
    () Tensor
    """
    return element_loss(kind, errors).mean(dim=1).sum()


def element_loss(kind: str, errors: Tensor) -> Tensor:
    """Losses of scaled errors, one by one.

    Parameters
    ----------
    errors : (M, T) tensor

    Returns
    -------
    (M, T) tensor
    """
    if kind == "mae":
        each = errors.abs()
    elif kind == "huber":
        each = nn.functional.huber_loss(errors, torch.zeros_like(errors), reduction="none")
    else:
        each = errors * errors
    return each


def masked_loss(
    kind: str,
    output: Tensor,
    values: Tensor,
    *,
    scale: Tensor,
    yes_or_no: Tensor,
) -> Tensor:
    """Sum over molecules of the mean over targets, where what is not known has no loss.

    Parameters
    ----------
    kind
        Of the scaled error of targets that are numbers; cross-entropy is that of the others.
    output, values
        (M, T) from the network and from the data; NaN where the data have none.
    scale
        (T,) by which errors are divided.
    yes_or_no
        (T,) bool, which outputs are logits and their values 0 or 1.

    Returns
    -------
    () tensor
    """
    known = torch.isfinite(values)
    truth = torch.where(known, values, torch.zeros_like(values))
    each = element_loss(kind, (output - truth) / scale)
    if yes_or_no.any():
        logits = nn.functional.binary_cross_entropy_with_logits(output, truth, reduction="none")
        each = torch.where(yes_or_no, logits, each)
    return (each * known).mean(dim=1).sum()


def update_average(average: dict[str, Tensor], state: Mapping[str, Tensor], decay: float) -> None:
    """average <- decay average + (1 - decay) state, in place; what is no weight is copied.

    Parameters
    ----------
    average, state : name -> Tensor of the shape of that weight or buffer
    decay : float
    """
    for name, value in state.items():
        if value.is_floating_point():
            average[name].lerp_(value, 1.0 - decay)
        else:
            average[name].copy_(value)
