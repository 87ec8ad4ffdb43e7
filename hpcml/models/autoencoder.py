"""Denoising autoencoder over the representations of atoms or molecules that a network has made.

P. Vincent, H. Larochelle, Y. Bengio, P.-A. Manzagol, ICML 2008: the input is corrupted, and the
autoencoder learns to give back what it was.  Its narrow middle is a map of what the network
tells apart.  It reads feature vectors, not batches of molecules, so it stands beside the
registry of networks, not in it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import msgspec
import torch
from torch import Tensor, nn

from hpcml.errors import InputError, SettingsError
from hpcml.models.layers import Linear, SiLU, Standardize, Tanh


class AutoencoderSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes and noise.

    hidden        layers on the way to the middle; the way out mirrors them
    latent        size of the middle
    activation    of the hidden layers
    corruption    "mask": features are set to their mean (Vincent 2008); "gaussian": normal
                  noise is added
    noise         share of masked features, or standard deviation of the noise in units of
                  each feature's own
    """

    hidden: tuple[int, ...] = (64,)
    latent: int = 8
    activation: Literal["tanh", "silu"] = "tanh"
    corruption: Literal["mask", "gaussian"] = "mask"
    noise: float = 0.25


class Autoencoder(nn.Module):
    """Forward: (rows, F) -> (rows, F), in the units of the input."""

    def __init__(self, settings: AutoencoderSettings, mean: Tensor, std: Tensor) -> None:
        """mean, std: (F,), of the representations; a std of 0 marks a feature without content."""
        super().__init__()
        self.settings = settings
        scale = torch.where(std > 0, std, 1.0).double()
        self.standardize = Standardize((-mean / scale).tolist(), (1.0 / scale).tolist())
        self.restore = Standardize(mean.tolist(), scale.tolist())
        way_in = (len(mean), *settings.hidden, settings.latent)
        self.encoder = _chain(way_in, settings.activation)
        self.decoder = _chain(way_in[::-1], settings.activation)

    def encode(self, representations: Tensor) -> Tensor:
        """The middle: (rows, F) -> (rows, latent).

        Parameters
        ----------
        representations : (rows, F) Tensor

        Returns
        -------
        (rows, latent) Tensor
        """
        standard = self.standardize(representations).to(representations.dtype)
        if self.training:
            standard = self._corrupt(standard)
        latent: Tensor = self.encoder(standard)
        return latent

    def _corrupt(self, standard: Tensor) -> Tensor:
        if self.settings.corruption == "mask":
            return standard * (torch.rand_like(standard) >= self.settings.noise)
        return standard + self.settings.noise * torch.randn_like(standard)

    def forward(self, representations: Tensor) -> Tensor:
        restored: Tensor = self.restore(self.decoder(self.encode(representations)))
        return restored.to(representations.dtype)


def _chain(sizes: tuple[int, ...], activation: str) -> nn.Sequential:
    """Affine layers with activations between them, none after the last."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [Linear(inputs, outputs), Tanh() if activation == "tanh" else SiLU()]
    return nn.Sequential(*layers[:-1])


def fit_autoencoder(
    representations: Tensor,
    settings: AutoencoderSettings,
    *,
    epochs: int = 100,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> Autoencoder:
    """Train on (rows, F) with Adam to the least squared error in units of each feature's spread.

    The same seed gives the same autoencoder, returned in evaluation mode.

    Parameters
    ----------
    representations : (rows, F) Tensor
    """
    rows = representations.shape[0]
    if rows < 2:
        raise InputError(f"an autoencoder needs at least two rows, got {rows}")
    if epochs < 1 or batch_size < 1:
        raise SettingsError("an autoencoder needs at least one epoch and one row a batch")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        std, mean = torch.std_mean(representations, dim=0, correction=0)
        model = Autoencoder(settings, mean, std)
        model.to(representations).train()
        weight = 1.0 / torch.where(std > 0, std, 1.0)
        optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
        for _ in range(epochs):
            for chosen in torch.randperm(rows).split(batch_size):
                clean = representations[chosen]
                loss = ((model(clean) - clean) * weight).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return model.eval()
