"""Vectors through a narrow middle: the denoising autoencoder beside PCA of the same width.

Both are fitted on one half of some molecules and judged on the other: by how much of the held-out
variance they do not give back, in units of each feature's own spread, and by what linear probes
read off their middle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
EPOCHS = 100
STEPS = 5000
"""Of the autoencoder's training at least: few vectors are shown more often."""
_BATCH = 256


@dataclass(frozen=True)
class Compressed:
    """One of the two.

    method            "PCA" or "autoencoder"
    width             of the middle
    fitted, held_out  share of the variance that is not given back, of the vectors that it was
                      fitted to and of the others; 0 is perfect, 1 no better than the mean
    codes             (k, width) the middle of the held-out vectors
    """

    method: str
    width: int
    fitted: float
    held_out: float
    codes: Floats


def compress(fit: Floats, held_out: Floats, width: int, seed: int = 0) -> list[Compressed]:
    """PCA, and the autoencoder with its default settings but the width.

    Parameters
    ----------
    fit : (r, F) array
    held_out : (k, F) array
        Features that do not vary in the vectors of ``fit`` are left out of both.
    width
        Less than the number of features that vary.
    seed
        Of the autoencoder.

    Returns
    -------
    PCA and autoencoder
    """
    import torch
    from sklearn.decomposition import PCA

    from hpcml.models.autoencoder import AutoencoderSettings, fit_autoencoder

    mean, spread = fit.mean(axis=0), fit.std(axis=0)
    varied = spread > 1e-6 * (np.abs(mean) + spread.max(initial=0.0))
    known, unknown = ((one[:, varied] - mean[varied]) / spread[varied] for one in (fit, held_out))
    pca = PCA(width, svd_solver="covariance_eigh").fit(known)
    codes = pca.transform(unknown)
    found = [
        Compressed(
            "PCA",
            width,
            _unexplained(known, pca.inverse_transform(pca.transform(known))),
            _unexplained(unknown, pca.inverse_transform(codes)),
            codes,
        )
    ]
    known32, unknown32 = (torch.from_numpy(one).float() for one in (known, unknown))
    autoencoder = fit_autoencoder(
        known32,
        AutoencoderSettings(latent=width),
        epochs=max(EPOCHS, math.ceil(STEPS / math.ceil(len(known) / _BATCH))),
        batch_size=_BATCH,
        seed=seed,
    )
    with torch.no_grad():
        restored = [autoencoder(one).double().numpy() for one in (known32, unknown32)]
        codes = autoencoder.encode(unknown32).double().numpy()
    pairs = zip((known, unknown), restored, strict=True)
    fitted, lost = (_unexplained(one, again) for one, again in pairs)
    return [*found, Compressed("autoencoder", width, fitted, lost, codes)]


def _unexplained(values: Floats, restored: Floats) -> float:
    """Squared error over squared distance from the mean of what was fitted, which is zero."""
    return float(np.square(values - restored).sum() / np.square(values).sum())
