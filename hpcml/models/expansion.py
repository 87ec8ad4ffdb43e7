"""Distances as the smooth feature vectors that networks read."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

LARGEST_EXPONENT = 40.0
# Tails end at 4e-18, below the resolution of a double beside 1: further out lie subnormal
# numbers, with which a processor multiplies many times slower.


class GaussianExpansion(nn.Module):
    """exp(-(d - mu_k)^2 / (2 width^2)), mu_k evenly from first to last: (E,) -> (E, count)."""

    centres: Tensor

    def __init__(self, first: float, last: float, count: int, width: float) -> None:
        super().__init__()
        centres = torch.linspace(first, last, count, dtype=torch.float64)
        self.register_buffer("centres", centres, persistent=False)
        self.width = width

    def forward(self, distances: Tensor) -> Tensor:
        scale = 1.0 / (math.sqrt(2.0) * self.width)
        centres = (self.centres * scale).to(distances.dtype)
        return gaussian((distances * scale)[:, None] - centres)


class SincExpansion(nn.Module):
    """sin(n pi d / cutoff) / d for n = 1 to count: (E,) -> (E, count).

    J. Gasteiger, J. Gross, S. Guennemann, arXiv:2003.03123, as PaiNN uses it.
    """

    wave_numbers: Tensor

    def __init__(self, cutoff: float, count: int) -> None:
        super().__init__()
        wave_numbers = torch.arange(1, count + 1, dtype=torch.float64) * (math.pi / cutoff)
        self.register_buffer("wave_numbers", wave_numbers, persistent=False)

    def forward(self, distances: Tensor) -> Tensor:
        waves = distances[:, None] * self.wave_numbers.to(distances.dtype)
        return torch.sin(waves) / distances[:, None]


def gaussian(offsets: Tensor) -> Tensor:
    """exp(-x^2) up to the largest exponent; into the offsets themselves where they need no
    gradient.

    Parameters
    ----------
    offsets : (E, count) Tensor
        In units of sqrt(2) widths.

    Returns
    -------
    (E, count) Tensor
    """
    if offsets.requires_grad:
        return torch.exp(-(offsets**2).clamp(max=LARGEST_EXPONENT))
    return offsets.square_().clamp_(max=LARGEST_EXPONENT).neg_().exp_()


def cosine_cutoff(distances: Tensor, cutoff: float) -> Tensor:
    """(cos(pi d / cutoff) + 1) / 2 below the cutoff, zero from there on: (E,) -> (E,).

    Parameters
    ----------
    distances : (E,) Tensor
        Angstrom.

    Returns
    -------
    (E,) Tensor
    """
    falling = 0.5 * (torch.cos(distances * (math.pi / cutoff)) + 1.0)
    return falling * (distances < cutoff)
