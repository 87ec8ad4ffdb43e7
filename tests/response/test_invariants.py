"""Invariants against their definitions: explicit averages over rotations, limits, rotation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from hpcml.response import invariants

Array = NDArray[np.float64]


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(20261)


def _turn(tensor: Array, rotation: Array) -> Array:
    for _ in range(tensor.ndim):
        tensor = np.tensordot(tensor, rotation, axes=(0, 1))
    return tensor


def _symmetric(tensor: Array) -> Array:
    return np.mean([tensor.transpose(p) for p in itertools.permutations(range(3))], axis=0)


def _all_orientations() -> Array:
    """Rotation matrices and weights that average a polynomial of degree 6 exactly."""
    cosines, weights = np.polynomial.legendre.leggauss(8)
    angles = np.arange(8) * 2.0 * np.pi / 8
    grid = [(a, math.acos(c), b) for c in cosines for a in angles for b in angles]
    return Rotation.from_euler("ZYZ", grid).as_matrix(), np.repeat(weights, 64) / 128.0


def test_hyper_rayleigh_is_the_average_over_all_orientations(random: np.random.Generator) -> None:
    beta = random.normal(size=(3, 3, 3))  # no symmetry at all
    rotations, weights = _all_orientations()
    parallel = perpendicular = 0.0
    for rotation, weight in zip(rotations, weights, strict=True):
        turned = _turn(beta, rotation)
        parallel += weight * turned[2, 2, 2] ** 2
        perpendicular += weight * turned[0, 2, 2] ** 2
    assert invariants.beta_hrs(beta) == pytest.approx(
        math.sqrt(parallel + perpendicular), rel=1e-12
    )
    assert invariants.depolarization_ratio(beta) == pytest.approx(
        parallel / perpendicular, rel=1e-12
    )


def test_hyper_rayleigh_of_textbook_shapes() -> None:
    dipolar = np.zeros((3, 3, 3))
    dipolar[2, 2, 2] = 10.0
    assert invariants.beta_hrs(dipolar) == pytest.approx(10.0 * math.sqrt(6.0 / 35.0))
    assert invariants.depolarization_ratio(dipolar) == pytest.approx(5.0)
    tetrahedral = np.zeros((3, 3, 3))
    for p in itertools.permutations(range(3)):
        tetrahedral[p] = 7.0
    assert invariants.depolarization_ratio(tetrahedral) == pytest.approx(1.5)
    assert np.abs(invariants.beta_vector(tetrahedral)).max() == 0.0
    assert math.isnan(invariants.depolarization_ratio(np.zeros((3, 3, 3))))


def test_anisotropy_is_the_difference_of_the_principal_values(random: np.random.Generator) -> None:
    rotation = Rotation.random(random_state=3).as_matrix()
    alpha = _turn(np.diag([4.0, 4.0, 9.5]), rotation)
    assert invariants.isotropic(alpha) == pytest.approx(17.5 / 3.0)
    assert invariants.anisotropy(alpha) == pytest.approx(5.5)
    x, y, z = 1.0, 2.5, 7.0
    biaxial = _turn(np.diag([x, y, z]), rotation)
    squared = 0.5 * ((x - y) ** 2 + (y - z) ** 2 + (z - x) ** 2)
    assert invariants.anisotropy(biaxial) == pytest.approx(math.sqrt(squared))
    antisymmetric = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 2.0], [0.0, -2.0, 0.0]])
    assert invariants.anisotropy(biaxial + antisymmetric) == pytest.approx(math.sqrt(squared))


def test_both_forms_of_beta_parallel(random: np.random.Generator) -> None:
    beta = random.normal(size=(3, 3, 3))
    dipole = np.array([0.0, 0.0, 0.8])
    by_axis = sum(beta[i, i, 2] + beta[i, 2, i] + beta[2, i, i] for i in range(3)) / 5.0
    assert invariants.beta_parallel(beta, dipole) == pytest.approx(by_axis)
    assert invariants.beta_parallel(beta, -dipole) == pytest.approx(-by_axis)
    assert invariants.beta_parallel_kleinman(beta, dipole) != pytest.approx(by_axis)

    symmetric = _symmetric(beta)
    mu = random.normal(size=3)
    short = (
        3.0
        / 5.0
        * sum(symmetric[i, i, j] * mu[j] for i in range(3) for j in range(3))
        / float(np.linalg.norm(mu))
    )
    assert invariants.beta_parallel(symmetric, mu) == pytest.approx(short)
    assert invariants.beta_parallel_kleinman(symmetric, mu) == pytest.approx(short)
    assert 5.0 / 3.0 * invariants.beta_parallel(beta, mu) == pytest.approx(
        float(invariants.beta_vector(beta) @ mu / np.linalg.norm(mu))
    )


@pytest.mark.parametrize("size", [0.0, 9e-7])
def test_beta_parallel_without_a_dipole_is_undefined(size: float) -> None:
    beta = np.ones((3, 3, 3))
    assert math.isnan(invariants.beta_parallel(beta, [0.0, size, 0.0]))
    assert math.isnan(invariants.beta_parallel_kleinman(beta, [0.0, size, 0.0]))
    assert math.isfinite(invariants.beta_parallel(beta, [0.0, 2e-6, 0.0]))


def test_invariants_are_invariant(random: np.random.Generator) -> None:
    alpha, beta, dipole = (
        random.normal(size=(3, 3)),
        random.normal(size=(3, 3, 3)),
        random.normal(size=3),
    )
    rotation = Rotation.random(random_state=7).as_matrix()
    turned_alpha, turned_beta, turned_dipole = (_turn(t, rotation) for t in (alpha, beta, dipole))
    for scalar in (invariants.isotropic, invariants.anisotropy):
        assert scalar(turned_alpha) == pytest.approx(scalar(alpha))
    for scalar in (invariants.beta_hrs, invariants.depolarization_ratio):
        assert scalar(turned_beta) == pytest.approx(scalar(beta))
    for along in (invariants.beta_parallel, invariants.beta_parallel_kleinman):
        assert along(turned_beta, turned_dipole) == pytest.approx(along(beta, dipole))
    np.testing.assert_allclose(
        invariants.beta_vector(turned_beta), rotation @ invariants.beta_vector(beta)
    )
