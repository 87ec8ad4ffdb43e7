"""The autoencoder: linear it is PCA, and it mends what was corrupted."""

import numpy as np
import pytest
import torch

from hpcml.errors import InputError
from hpcml.models.autoencoder import Autoencoder, AutoencoderSettings, fit_autoencoder


@pytest.fixture(scope="module")
def plane():
    """200 points of a plane in ten dimensions with a little noise, of unlike scales."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(200, 2)) @ rng.normal(size=(2, 10)) + 0.1 * rng.normal(size=(200, 10))
    return torch.from_numpy(points * np.logspace(-2, 2, 10) + 5.0)


def test_without_hidden_layers_and_noise_it_is_pca(plane):
    settings = AutoencoderSettings(hidden=(), latent=2, noise=0.0)
    model = fit_autoencoder(plane, settings, epochs=400, batch_size=200, learning_rate=0.03, seed=1)
    standard = ((plane - plane.mean(dim=0)) / plane.std(dim=0, correction=0)).numpy()
    got = ((model(plane) - plane) / plane.std(dim=0, correction=0)).square().sum()
    singular = np.linalg.svd(standard, compute_uv=False)
    least = (singular[2:] ** 2).sum()
    assert least * (1 - 1e-9) <= float(got.detach()) <= least * 1.01


@pytest.mark.parametrize("corruption", ["mask", "gaussian"])
def test_it_corrupts_as_it_says_and_in_training_alone(corruption, plane):
    settings = AutoencoderSettings(hidden=(4,), latent=3, corruption=corruption, noise=0.3)
    torch.manual_seed(0)
    model = Autoencoder(settings, plane.mean(dim=0), plane.std(dim=0)).double()
    seen = []
    model.encoder[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model.eval()(plane)
    model.train()(plane)
    clean, corrupted = seen
    np.testing.assert_allclose(clean, (plane - plane.mean(dim=0)) / plane.std(dim=0), atol=1e-12)
    if corruption == "mask":
        masked = corrupted == 0
        torch.testing.assert_close(corrupted[~masked], clean[~masked])
        assert float(masked.double().mean()) == pytest.approx(0.3, abs=0.04)
    else:
        assert float((corrupted - clean).std()) == pytest.approx(0.3, abs=0.03)


def test_trained_with_masks_it_mends_a_masked_feature(plane):
    settings = AutoencoderSettings(hidden=(16,), latent=4, noise=0.25)
    model = fit_autoencoder(plane, settings, epochs=150, batch_size=50, learning_rate=5e-3)
    broken = plane.clone()
    broken[:, 3] = plane[:, 3].mean()
    before = (broken - plane)[:, 3].square().mean()
    after = (model(broken) - plane)[:, 3].square().mean()
    assert float(after.detach()) < 0.3 * float(before)


def test_the_seed_decides_and_the_callers_generator_is_left_alone(plane):
    settings = AutoencoderSettings(latent=2)
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    first, second = (fit_autoencoder(plane, settings, epochs=2, seed=3) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first(plane), second(plane))
    assert first.encode(plane).shape == (200, 2)


def test_a_constant_feature_is_kept(plane):
    constant = torch.cat([plane, torch.full((200, 1), 7.0, dtype=torch.float64)], dim=1)
    model = fit_autoencoder(constant, AutoencoderSettings(), epochs=1)
    assert torch.isfinite(model(constant)).all()
    with pytest.raises(InputError, match="at least two rows"):
        fit_autoencoder(plane[:1], AutoencoderSettings())
