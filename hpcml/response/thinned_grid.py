"""Which points of an atom's quadrature the kernel can do without: those of a fine sphere near it.

Near a nucleus a density is nearly spherical, and its variations too, so that few directions will do
there (Treutler and Ahlrichs, J. Chem. Phys. 102, 346 (1995)).  A shell keeps its radius and its
weight; what changes is the number of points on it.  Two points of five are left out.

Pure numpy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpcml.response.level import Grid

Array = NDArray[np.float64]

THINNED: tuple[tuple[float, int], ...] = ((0.25, 26), (0.5, 50), (1.0, 110))
"""(r, points): shells below r times the element's radius have so many points at most.  It moves
beta by less than 1e-6 of its largest component (glycine, H2CS: B3LYP, 6-31+G(d); HCN: PBE,
aug-cc-pVDZ; on (75, 302))."""

_RADII = (0.8, 0.9)  # bohr, of hydrogen and helium
_RADIUS = 1.0  # bohr, of all others
_SAME = 1e-9  # bohr, of two points' distances from the nucleus of their shell


def spheres(grid: Grid) -> list[tuple[int, float, float]]:
    """(points of a sphere, from, to): shells between these multiples of the radius have so many.

    grid   (radial, spherical): of the shells furthest out
    """
    found, start = [], 0.0
    for end, count in THINNED:
        if count < grid[1]:
            found.append((count, start, end))
            start = end
    return [*found, (grid[1], start, np.inf)]


def radius(number: int) -> float:
    """An element's, bohr, in multiples of which ``spheres`` counts."""
    return _RADII[number - 1] if 0 < number <= len(_RADII) else _RADIUS


def shells(points: Array, positions: Array, numbers: Sequence[int], spherical: int) -> Array:
    """The radius of each point's shell over that of its element; infinite far out.

    A grid does not say to which atom a point belongs; its distance does, which it shares with the
    other points of its sphere.

    Parameters
    ----------
    points : (p, 3) array
        Of a whole grid, bohr.
    positions : (a, 3) array
        Of the nuclei, bohr.
    numbers : sequence of int
        Their elements.
    spherical : int
        Points on a sphere.

    Returns
    -------
    (p,) array
    """
    furthest = THINNED[-1][0]
    found = np.full(len(points), np.inf)
    for position, number in zip(positions, numbers, strict=True):
        unit = radius(number)
        near = np.flatnonzero(np.abs(points[:, 0] - position[0]) < furthest * unit)
        distances = np.linalg.norm(points[near] - position, axis=1)
        order = np.argsort(distances)
        order = order[: np.searchsorted(distances[order], furthest * unit)]
        ranked = distances[order]
        sphere = np.cumsum(np.diff(ranked, prepend=-1.0) > _SAME) - 1
        whole = np.bincount(sphere, minlength=1)[sphere] > spherical // 2
        mine = near[order[whole]]
        found[mine] = ranked[whole] / unit
    return found
