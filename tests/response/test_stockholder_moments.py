"""Stockholder moments are those of the free atoms' densities, point by point."""

from __future__ import annotations

import numpy as np
import pytest

from hpcml.response.induced_densities import MatrixDensities
from hpcml.response.stockholder_moments import stockholder_moments


@pytest.mark.parametrize("centres", [[0, 0, 0, 1, 1, 1, 2, 2], [2, 0, 1, 0, 1, 0, 2, 1]])
def test_the_moments_are_those_of_a_sum_over_points(centres: list[int]) -> None:
    """Two atoms alike, functions in any order, some of which vanish in a part of the grid."""
    random = np.random.default_rng(1)
    centres = np.array(centres)
    positions = random.normal(size=(3, 3))
    alike, other = (half @ half.T for half in (random.normal(size=(3, 1)), np.eye(2)))
    free = np.zeros((8, 8))
    for atom, density in enumerate((alike, alike, other)):
        free[np.ix_(centres == atom, centres == atom)] = density
    matrices = random.normal(size=(9, 8, 8))
    densities = MatrixDensities(matrices + matrices.transpose(0, 2, 1))
    grid = [
        (
            random.normal(size=(5, 3)),
            random.uniform(size=5),
            local,
            random.normal(size=(5, len(local))),
        )
        for local in (np.arange(8), np.array([0, 1, 3, 4, 7]))
    ]
    charges, dipoles, spread = np.zeros((9, 3)), np.zeros((9, 3, 3)), np.zeros((9, 3))
    for points, weights, local, values in grid:
        for point, weight, there in zip(points, weights, values, strict=True):
            phi = np.zeros(8)
            phi[local] = there
            mine = [phi[centres == a] @ free[np.ix_(centres == a, centres == a)] @ phi[centres == a]
                    for a in range(3)]  # fmt: skip
            for atom in range(3):
                held = weight * mine[atom] / sum(mine)
                for d, matrix in enumerate(densities.matrices):
                    rho = phi @ matrix @ phi
                    charges[d, atom] -= held * rho
                    dipoles[d, atom] -= held * rho * (point - positions[atom])
                    spread[d, atom] += held * abs(rho)
    found = stockholder_moments(grid, free, centres, positions, densities)
    np.testing.assert_allclose(found.charges, charges, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found.dipoles, dipoles, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found.spread, spread, rtol=1e-10)
