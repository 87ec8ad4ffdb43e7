"""Geometry optimization to a minimum, by gradients of a ``vibrations.PotentialSurface``.

Rational-function steps in Cartesian coordinates (Banerjee, Adams, Simons and Shepard, J. Phys.
Chem. 89, 52 (1985)) from Lindh's model Hessian (Lindh, Bernhardsson, Karlstrom and Malmqvist,
Chem. Phys. Lett. 241, 423 (1995)), which knows stretches, bends and torsions, updated by BFGS.
There are no internal coordinates that could break down in linear or dissociating molecules.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcml.errors import ConvergenceError
from hpcml.response.vibrations import PotentialSurface, internal_motions

Array = NDArray[np.float64]

CONVERGED = 1e-4
"""Largest component of the gradient, hartree/bohr, at which an optimization ends."""

_MOST_STEPS = 200
_LONGEST_STEP, _SHORTEST_STEP = 0.3, 1e-3  # bohr, of the atom that moves most
_RISE = 1e-6  # hartree; a step that raises the energy by more is taken back

# Lindh 1995, table 1, by rows of the periodic table (H-He, Li-Ne, below): bohr^-2 and bohr.
_ALPHA = np.array([[1.0000, 0.3949, 0.3949], [0.3949, 0.2800, 0.2800], [0.3949, 0.2800, 0.2800]])
_R_REF = np.array([[1.35, 2.10, 2.53], [2.10, 2.87, 3.40], [2.53, 3.40, 3.40]])
_STRETCH, _BEND, _TORSION = 0.45, 0.15, 0.005  # hartree / bohr^2, hartree / radian^2
_WEAK = 1e-3  # weight below which a pair of atoms takes part in no bend and no torsion
_STRAIGHT = 0.2  # sine of an angle below which a bend or torsion is left out


@dataclass(frozen=True)
class Minimum:
    """Where an optimization ended: positions (n, 3) bohr, hartree, hartree/bohr."""

    positions: Array
    energy: float
    largest_gradient: float
    steps: int


def minimize(
    surface: PotentialSurface,
    numbers: NDArray[np.int64],
    positions: Array,
    advance: Callable[[int], None] = lambda done: None,
) -> Minimum:
    """The minimum near a geometry.

    Parameters
    ----------
    surface : PotentialSurface
    numbers : (n,) array of int
        Atomic numbers.
    positions : (n, 3) array
        In bohr.
    advance : callable
        Hears how many steps are done.

    Raises
    ------
    ConvergenceError
        With the gradient that was reached, after 200 steps or where no step lowers the energy any
        more.
    """
    here = surface.point(positions)
    hessian = model_hessian(numbers, positions)
    trust = _LONGEST_STEP
    for step in range(_MOST_STEPS):
        largest = float(np.abs(here.gradient).max())
        if largest <= CONVERGED:
            return Minimum(positions, here.energy, largest, step)
        move = _step(hessian, here.gradient, positions, trust)
        new = surface.point(positions + move)
        hessian = _bfgs(hessian, move.ravel(), (new.gradient - here.gradient).ravel())
        longest = float(np.linalg.norm(move, axis=1).max())
        if new.energy - here.energy > _RISE:
            trust = 0.4 * longest
            if trust < _SHORTEST_STEP:
                break
        else:
            positions, here = positions + move, new
            trust = min(_LONGEST_STEP, max(trust, 2.0 * longest))
        advance(step + 1)
    raise ConvergenceError(
        f"the geometry optimization stopped after {step + 1} steps with a gradient of "
        f"{largest:.1e} Eh/bohr (wanted: {CONVERGED:.0e}): start from a better geometry, or "
        "from this molecule optimized at a cheaper level",
        largest,
    )


def model_hessian(numbers: NDArray[np.int64], positions: Array) -> Array:
    """Lindh's model Hessian, positive semidefinite.

    A sum over stretches, bends and torsions of k b b^T with b the Wilson vector of the
    coordinate and k a product of pair weights rho = exp(alpha (r_ref^2 - r^2)).

    Parameters
    ----------
    numbers : (n,) array of int
        Atomic numbers.
    positions : (n, 3) array
        In bohr.

    Returns
    -------
    (3n, 3n) array
        In hartree / bohr^2.
    """
    count = len(numbers)
    row = np.where(numbers <= 2, 0, np.where(numbers <= 10, 1, 2))
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    pairs = np.ix_(row, row)
    weight = np.exp(_ALPHA[pairs] * (_R_REF[pairs] ** 2 - distances**2))
    near = (weight > _WEAK) & ~np.eye(count, dtype=bool)
    hessian = np.zeros((3 * count, 3 * count))

    def add(atoms: tuple[int, ...], vector: Array, force_constant: float) -> None:
        where = np.concatenate([np.arange(3 * atom, 3 * atom + 3) for atom in atoms])
        hessian[np.ix_(where, where)] += force_constant * np.outer(vector, vector)

    for i, j in itertools.combinations(range(count), 2):
        unit = (positions[i] - positions[j]) / distances[i, j]
        add((i, j), np.concatenate([unit, -unit]), _STRETCH * weight[i, j])
    for j in range(count):
        for i, k in itertools.combinations(np.flatnonzero(near[j]), 2):
            for vector in _bend(positions[[i, j, k]]):
                add((i, j, k), vector, _BEND * weight[i, j] * weight[j, k])
    for j, k in itertools.combinations(range(count), 2):
        if not near[j, k]:
            continue
        for i, m in itertools.product(np.flatnonzero(near[j]), np.flatnonzero(near[k])):
            dihedral = _torsion(positions[[i, j, k, m]]) if len({i, j, k, m}) == 4 else None
            if dihedral is not None:
                strength = _TORSION * weight[i, j] * weight[j, k] * weight[k, m]
                add((i, j, k, m), dihedral, strength)
    return hessian


def _bend(corners: Array) -> list[Array]:
    """Wilson vectors (9,) of the angle 1-2-3; two perpendicular ones where it is straight."""
    first, second = corners[0] - corners[1], corners[2] - corners[1]
    r, s = np.linalg.norm(first), np.linalg.norm(second)
    u, v = first / r, second / s
    sine = np.linalg.norm(np.cross(u, v))
    if sine > _STRAIGHT:
        normals = [np.cross(u, v) / sine]
    else:
        across = np.cross(u, np.eye(3)[np.argmin(np.abs(u))])
        across /= np.linalg.norm(across)
        normals = [across, np.cross(u, across)]
    vectors = []
    for normal in normals:
        at_first, at_third = np.cross(u, normal) / r, np.cross(normal, v) / s
        vectors.append(np.concatenate([at_first, -at_first - at_third, at_third]))
    return vectors


def _torsion(corners: Array) -> Array | None:
    """Wilson vector (12,) of the dihedral angle 1-2-3-4; None where an angle is straight."""
    b1, b2, b3 = np.diff(corners, axis=0)
    length = np.linalg.norm(b2)
    m, n = np.cross(b1, b2), np.cross(b2, b3)
    sines = (
        np.linalg.norm(m) / (np.linalg.norm(b1) * length),
        np.linalg.norm(n) / (np.linalg.norm(b3) * length),
    )
    if min(sines) < _STRAIGHT:
        return None
    first, last = length * m / (m @ m), -length * n / (n @ n)
    along, against = (b1 @ b2) / length**2, (b3 @ b2) / length**2
    second = -(1.0 + along) * first + against * last
    vector: Array = np.concatenate([first, second, -first - second - last, last])
    return vector


def _step(hessian: Array, gradient: Array, positions: Array, trust: float) -> Array:
    """Rational-function step (n, 3) in the vibrating motions, no atom further than ``trust``."""
    internal = internal_motions(positions, np.ones(positions.size))
    slope = internal.T @ gradient.ravel()
    curvature, directions = np.linalg.eigh(internal.T @ hessian @ internal)
    along = directions.T @ slope
    size = len(slope)
    augmented = np.zeros((size + 1, size + 1))
    augmented[:size, :size] = np.diag(curvature)
    augmented[size, :size] = augmented[:size, size] = along
    shift = np.linalg.eigvalsh(augmented)[0]
    move: Array = (internal @ directions @ (-along / (curvature - shift))).reshape(-1, 3)
    longest = float(np.linalg.norm(move, axis=1).max())
    return move * min(1.0, trust / longest)


def _bfgs(hessian: Array, move: Array, change: Array) -> Array:
    """BFGS update, damped after Powell so that the Hessian stays positive definite."""
    product = hessian @ move
    expected = float(move @ product)
    observed = float(move @ change)
    if observed < 0.2 * expected:
        mixing = 0.8 * expected / (expected - observed)
        change = mixing * change + (1.0 - mixing) * product
        observed = float(move @ change)
    return np.asarray(
        hessian + np.outer(change, change) / observed - np.outer(product, product) / expected
    )
