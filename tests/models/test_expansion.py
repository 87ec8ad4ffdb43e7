"""Expansions of distances against their formulas, and their gradients."""

import numpy as np
import torch

from hpcml.models.expansion import GaussianExpansion, SincExpansion, cosine_cutoff

DISTANCES = torch.tensor([0.7, 1.5, 2.9, 4.2, 9.0], dtype=torch.float64)


def test_gaussians_equal_their_formula_with_and_without_gradient():
    expansion = GaussianExpansion(0.0, 20.0, 100, 0.2)
    d = DISTANCES.numpy()[:, None]
    exact = np.exp(-((d - np.linspace(0, 20, 100)) ** 2) / (2 * 0.2**2))
    np.testing.assert_allclose(expansion(DISTANCES), exact, atol=1e-14)
    followed = expansion(DISTANCES.clone().requires_grad_()).detach()
    assert torch.equal(followed, expansion(DISTANCES))
    near = DISTANCES.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: expansion(x)[:, :60].sum(dim=1), near)


def test_gaussians_have_no_subnormal_numbers():
    values = GaussianExpansion(0.0, 20.0, 100, 0.2)(DISTANCES.float())
    assert float(values.min()) >= torch.finfo(torch.float32).tiny


def test_waves_and_cutoff_equal_their_formulas():
    d = DISTANCES.numpy()[:, None]
    n = np.arange(1, 21)
    np.testing.assert_allclose(
        SincExpansion(5.0, 20)(DISTANCES), np.sin(n * np.pi * d / 5.0) / d, atol=1e-14
    )
    cut = cosine_cutoff(DISTANCES, 5.0).numpy()
    np.testing.assert_allclose(cut[:4], (np.cos(np.pi * d[:4, 0] / 5.0) + 1) / 2)
    assert cut[4] == 0.0
