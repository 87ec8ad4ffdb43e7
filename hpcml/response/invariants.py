"""Numbers that do not change when the molecule turns: what is tabulated and learnt.

Tensors are in atomic units, Taylor convention, physical sign; ``beta[i, j, k]`` is
beta_ijk(-w_sigma; w_1, w_2) with i belonging to w_sigma.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

_UNIT = np.eye(3)
SMALLEST_DIPOLE = 1e-6
"""Norm of the dipole (e bohr) below which "along the dipole" has no meaning."""


def isotropic(alpha: ArrayLike) -> float:
    """Mean polarizability alpha_iso = (alpha_xx + alpha_yy + alpha_zz) / 3.

    Parameters
    ----------
    alpha : (3, 3) array
        In bohr^3.

    Returns
    -------
    float
        In bohr^3.
    """
    return float(np.trace(np.asarray(alpha, float))) / 3.0


def anisotropy(alpha: ArrayLike) -> float:
    """Anisotropy of the polarizability.

    (Delta alpha)^2 = 1/2 [(xx-yy)^2 + (yy-zz)^2 + (zz-xx)^2] + 3 [xy^2 + yz^2 + zx^2]
    (Barron, "Molecular Light Scattering and Optical Activity", 2nd ed., chapter 2.3), which is
    3/2 the squared norm of the traceless symmetric part of alpha.

    Parameters
    ----------
    alpha : (3, 3) array
        In bohr^3.

    Returns
    -------
    float
        In bohr^3, not negative.
    """
    tensor = np.asarray(alpha, float)
    traceless = 0.5 * (tensor + tensor.T) - isotropic(tensor) * _UNIT
    return math.sqrt(1.5 * float(np.vdot(traceless, traceless)))


def beta_vector(beta: ArrayLike) -> NDArray[np.float64]:
    """Vector part beta_j = 1/3 sum_i (beta_iij + beta_iji + beta_jii).

    With Kleinman symmetry this is sum_i beta_iij.  It exists for every molecule, with a dipole
    or without (Kanis, Ratner and Marks, Chem. Rev. 94, 195 (1994)).

    Parameters
    ----------
    beta : (3, 3, 3) array
        In atomic units.

    Returns
    -------
    (3,) array
        In atomic units.
    """
    tensor = np.asarray(beta, float)
    # einsum says it in a line and takes four times as long, a tenth of what a whole row costs
    return np.asarray(
        (tensor.trace() + tensor.trace(axis1=0, axis2=2) + tensor.trace(axis1=1, axis2=2)) / 3.0
    )


def beta_parallel(beta: ArrayLike, dipole: ArrayLike) -> float:
    """beta_|| = 1/(5 |mu|) sum_ij (beta_iij + beta_iji + beta_jii) mu_j, for any symmetry.

    The component along the dipole that an EFISH measurement sees (Shelton and Rice, Chem. Rev.
    94, 3 (1994)); with the dipole along +z it is 3/5 beta_z.

    Parameters
    ----------
    beta : (3, 3, 3) array
        In atomic units.
    dipole : (3,) array
        In e bohr, physical sign: from minus to plus.

    Returns
    -------
    float
        In atomic units; NaN where |mu| is below ``SMALLEST_DIPOLE``, because the direction is then
        undefined (beta_|| is not zero).
    """
    return _along(3.0 / 5.0 * beta_vector(beta), dipole)


def beta_parallel_kleinman(beta: ArrayLike, dipole: ArrayLike) -> float:
    """beta_|| = 3/(5 |mu|) sum_ij beta_iij mu_j, the short form for a fully symmetric beta.

    Equal to ``beta_parallel`` in the static limit; at other frequencies it keeps one of the
    three contractions only, as some programs print.

    Parameters
    ----------
    beta : (3, 3, 3) array
        In atomic units.
    dipole : (3,) array
        In e bohr, physical sign.

    Returns
    -------
    float
        In atomic units; NaN as in ``beta_parallel``.
    """
    return _along(3.0 / 5.0 * np.einsum("iij->j", np.asarray(beta, float)), dipole)


def beta_hrs(beta: ArrayLike) -> float:
    """Hyper-Rayleigh hyperpolarizability sqrt(<beta_ZZZ^2> + <beta_XZZ^2>).

    What unpolarized scattered light of a liquid sees, dipole or not (Castet et al.,
    Acc. Chem. Res. 46, 2656 (2013)).

    Parameters
    ----------
    beta : (3, 3, 3) array
        In atomic units.

    Returns
    -------
    float
        In atomic units.
    """
    return math.sqrt(sum(_scattering_averages(np.asarray(beta, float))))


def depolarization_ratio(beta: ArrayLike) -> float:
    """<beta_ZZZ^2> / <beta_XZZ^2>: 5 for one beta_zzz alone, 3/2 for a pure octupole.

    Source: Castet et al., Acc. Chem. Res. 46, 2656 (2013).

    Parameters
    ----------
    beta : (3, 3, 3) array
        In any unit.

    Returns
    -------
    float
        NaN for a beta that vanishes (centrosymmetric molecules).
    """
    parallel, perpendicular = _scattering_averages(np.asarray(beta, float))
    return parallel / perpendicular if perpendicular > 0.0 else math.nan


def gamma_parallel(gamma: ArrayLike) -> float:
    """gamma_|| = 1/15 sum_ij (gamma_iijj + gamma_ijij + gamma_ijji), the mean over orientations.

    Source: Shelton and Rice, Chem. Rev. 94, 3 (1994).

    Parameters
    ----------
    gamma : (3, 3, 3, 3) array
        In atomic units.

    Returns
    -------
    float
        In atomic units.
    """
    tensor = np.asarray(gamma, float)
    return float(sum(np.einsum(pairs, tensor) for pairs in ("iijj", "ijij", "ijji"))) / 15.0


def _along(vector: NDArray[np.float64], dipole: ArrayLike) -> float:
    """Component of the vector along the dipole; NaN where the dipole has no direction."""
    mu = np.asarray(dipole, float)
    norm = float(np.linalg.norm(mu))
    return float(vector @ mu) / norm if norm >= SMALLEST_DIPOLE else math.nan


def _scattering_averages(beta: NDArray[np.float64]) -> tuple[float, float]:
    """Averages over all orientations (<beta_ZZZ^2>, <beta_XZZ^2>), no symmetry assumed."""
    flat = beta.ravel()
    sixth, fourth = (flat @ form @ flat for form in _scattering_forms())
    return max(0.0, float(sixth)), max(0.0, 0.5 * float(fourth - sixth))


@cache
def _scattering_forms() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Quadratic forms in the 27 elements of beta: (<beta_ZZZ^2>, <beta_XZZ^2> 2 + <beta_ZZZ^2>).

    With Z a random unit vector, <Z_i Z_j Z_k Z_l> = (3 pairings) / 15 and
    <Z_i Z_j Z_k Z_l Z_m Z_n> = (15 pairings) / 105; X is random in the plane normal to Z, so
    <X_i X_l> = (delta_il - Z_i Z_l) / 2.  For beta symmetric in its last two indices this is
    the result of Cyvin, Rauch and Decius, J. Chem. Phys. 43, 4083 (1965).

    Returns
    -------
    two (27, 27) arrays
    """
    units = np.eye(27).reshape(27, 3, 3, 3)  # beta[i, j, k] = sum_e beta_e units[e, i, j, k]
    permuted = [units.transpose(0, *(1 + i for i in p)) for p in _PERMUTATIONS]
    traces = sum(np.einsum("eiij->ej", tensor) for tensor in permuted[::2])
    # Of the 15 pairings of (ijk)(lmn), 6 pair each index of one with one of the other and
    # 9 trace both tensors first.
    crossed = sum(tensor.reshape(27, 27) for tensor in permuted)
    sixth = (crossed + traces @ traces.T) / 105.0

    inner = np.einsum("eijj->ei", units)
    paired = np.eye(27) + units.transpose(0, 1, 3, 2).reshape(27, 27)
    fourth = (inner @ inner.T + paired) / 15.0
    return sixth, fourth


# Even-numbered entries are the cyclic ones: their first-pair traces are the three distinct ones.
_PERMUTATIONS = ((0, 1, 2), (0, 2, 1), (1, 2, 0), (1, 0, 2), (2, 0, 1), (2, 1, 0))
