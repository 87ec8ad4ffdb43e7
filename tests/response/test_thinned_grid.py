"""Spheres near the nuclei with fewer points: told apart, and worth what they replace."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from hpcml.molecules.molecule import Molecule
from hpcml.response import Level, Request, compute
from hpcml.response.thinned_grid import THINNED, radius, shells, spheres

THIOFORMALDEHYDE = Molecule(
    [6, 16, 1, 1], [[0, 0, 0], [0, 0.1, 1.61], [0, 0.92, -0.58], [0.05, -0.92, -0.58]]
)


def test_every_shell_is_in_one_part_and_none_gains_points() -> None:
    for grid in ((75, 302), (50, 194), (20, 50), (20, 26)):
        parts = spheres(grid)
        assert parts[0][1] == 0.0
        assert parts[-1][2] == np.inf
        assert [part[1] for part in parts[1:]] == [part[2] for part in parts[:-1]]
        assert max(count for count, _, _ in parts) == grid[1]


def test_a_point_belongs_to_the_nucleus_whose_sphere_it_shares() -> None:
    random = np.random.default_rng(0)
    positions, numbers, count = np.array([[0.0, 0.0, 0.0], [0.0, 0.3, 1.7]]), [6, 1], 50
    radii = np.array([0.1, 0.3, 0.7, 1.2, 3.0])
    directions = random.standard_normal((2, len(radii), count, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    points = positions[:, None, None] + radii[:, None, None] * directions
    expected = radii[None, :] / np.array([radius(number) for number in numbers])[:, None]
    expected = np.where(expected < THINNED[-1][0], expected, np.inf)
    found = shells(points.reshape(-1, 3), positions, numbers, count).reshape(2, len(radii), count)
    np.testing.assert_allclose(found, np.broadcast_to(expected[..., None], found.shape))


@pytest.mark.parametrize("engine", ["psi4", "pyscf"])
def test_beta_moves_by_less_than_the_thresholds(engine, monkeypatch) -> None:
    level = Level(
        method="B3LYP", basis="6-31+G(d)", engine=engine, scf_convergence=1e-8,
        response_convergence=2e-5,
    )  # fmt: skip
    thinned, whole = [], []
    for found, least in ((thinned, 1e-5), (whole, 1e-2)):
        monkeypatch.setattr(sys.modules["hpcml.response.level"], "LOOSE", least)
        found.append(compute(THIOFORMALDEHYDE, level, Request()))
    a, b = (each[0].hyperpolarizability[0].tensor for each in (thinned, whole))
    assert 0.0 < np.abs(a - b).max() < 1e-5 * np.abs(b).max()


def test_a_tight_level_keeps_points_and_precision() -> None:
    level = Level(method="B3LYP", basis="STO-3G")
    assert level.loose
    assert not level.tight().loose
