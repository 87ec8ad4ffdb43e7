"""Quadrature by PySCF: the points of a grid and the basis functions on them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pyscf import dft

from hpcml.response import thinned_grid
from hpcml.response.density_variables import Block, Stored
from hpcml.response.level import Grid

Array = NDArray[np.float64]

_BLOCK_POINTS = 512
_SMALLEST_VALUE = 1e-12  # of a basis function and of its gradient at a block's points


class Part(NamedTuple):
    """Some points (p, 3) of a grid, their weights (p,), the basis functions (n,) that do not
    vanish there, and the values (1 or 4, p, n) of these."""

    points: Array
    weights: Array
    functions: NDArray[np.int64]
    values: Array


def quadrature(mole: Any, grid: Grid, *, thinned: bool = False) -> Any:
    """PySCF's grid of (radial, spherical) points an atom: all, or fewer near the nuclei."""
    grids = dft.gen_grid.Grids(mole)
    grids.atom_grid = grid
    grids.prune = _thinned if thinned else None
    return grids.build(sort_grids=True)


def _thinned(number: int, radii: Array, spherical: int, *_: Any) -> NDArray[np.int64]:
    """Points of each sphere of an atom, as PySCF asks for them."""
    found = np.full(len(radii), spherical)
    shells = np.asarray(radii) / thinned_grid.radius(number)
    for count, start, end in thinned_grid.spheres((len(radii), spherical)):
        found[(start <= shells) & (shells < end)] = count
    return found


def parts(mole: Any, grid: Grid, *, gradients: bool, thinned: bool = False) -> Iterator[Part]:
    """A grid with the basis functions on it, in parts.

    Parameters
    ----------
    grid : (radial, spherical)
    gradients : bool
        Whether the functions' gradients are wanted.
    thinned : bool
        Fewer points near the nuclei (``thinned_grid``).
    """
    grids = quadrature(mole, grid, thinned=thinned)
    for start in range(0, len(grids.weights), _BLOCK_POINTS):
        place = slice(start, start + _BLOCK_POINTS)
        points, weights = grids.coords[place], grids.weights[place]
        values = _evaluated(mole, points, gradients)
        there = np.flatnonzero((np.abs(values) > _SMALLEST_VALUE).any(axis=(0, 1)))
        yield Part(points, weights, there, np.ascontiguousarray(values[:, :, there]))


def blocks(
    mole: Any, grid: Grid, *, gradients: bool, kinetic: bool, memory: float, thinned: bool = False
) -> Iterator[Block]:
    """Quadrature of the kernel.

    Parameters
    ----------
    grid : (radial, spherical)
    gradients : bool
        Whether the functions' gradients are wanted.
    kinetic : bool
        Whether the functional depends on the kinetic-energy density.
    memory : float
        Bytes up to which values of basis functions are stored.
    thinned : bool
        Fewer points near the nuclei (``thinned_grid``).
    """
    for points, weights, functions, values in parts(
        mole, grid, gradients=gradients, thinned=thinned
    ):
        memory -= values.nbytes
        if memory > 0.0:
            yield Block(weights, functions, Stored(values), kinetic)
        else:
            anew = partial(_anew, mole, points, gradients, functions)
            yield Block(weights, functions, anew, kinetic)


def _evaluated(mole: Any, points: Array, gradients: bool) -> Array:
    """(4 or 1, points, all functions)."""
    values = dft.numint.eval_ao(mole, points, deriv=int(gradients))
    return np.asarray(values).reshape(4 if gradients else 1, len(points), -1)


def _anew(mole: Any, points: Array, gradients: bool, functions: NDArray[np.int64]) -> Array:
    return np.ascontiguousarray(_evaluated(mole, points, gradients)[:, :, functions])
