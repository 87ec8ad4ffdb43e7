"""The kernel's quadrature: Psi4's grid, its basis functions there, and its functionals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcml.response import thinned_grid
from hpcml.response.density_variables import Block, Functional, Stored
from hpcml.response.psi4 import versions

Array = NDArray[np.float64]

_BLOCK_POINTS = 512
_FUNCTIONAL_POINTS = 4096


@contextmanager
def grid(core: Any, points: tuple[int, int], block_points: int | None = None) -> Iterator[None]:
    """Psi4's options for a grid of (radial, spherical) points an atom, while the ``with`` lasts."""
    wanted = dict(zip(("DFT_RADIAL_POINTS", "DFT_SPHERICAL_POINTS"), points, strict=True))
    if block_points is not None:
        wanted["DFT_BLOCK_MAX_POINTS"] = block_points
    before = {name: core.get_option("SCF", name) for name in wanted}
    try:
        for name, value in wanted.items():
            core.set_local_option("SCF", name, value)
        yield
    finally:
        for name, value in before.items():
            core.set_local_option("SCF", name, value)


def blocks(
    psi4: Any,
    functions: Any,
    method: str,
    points_an_atom: tuple[int, int],
    memory: float,
    *,
    thinned: bool = False,
) -> Iterator[Block]:
    """Quadrature of the kernel with the basis functions on it.

    Parameters
    ----------
    points_an_atom : (radial, spherical)
    memory : float
        Bytes up to which values of basis functions are stored.
    thinned : bool
        Fewer points near the nuclei (``thinned_grid``).
    """
    core = psi4.core
    # only asked whether it needs gradients: that of a closed shell does for an open one too
    functional = psi4.driver.dft.build_superfunctional(method.lower(), True)[0]
    names = ("PHI", "PHI_X", "PHI_Y", "PHI_Z") if functional.is_gga() else ("PHI",)
    points, weights = _points(core, functions, functional, points_an_atom, thinned)
    evaluator = core.RKSFunctions(functions, _BLOCK_POINTS, functions.nbf())
    evaluator.set_deriv(len(names) > 1)
    extents = core.BasisExtents(functions, core.get_option("SCF", "DFT_BASIS_TOLERANCE"))
    for chosen in near_one_another(points, _BLOCK_POINTS):
        columns = *points[chosen].T, weights[chosen]
        vectors = [core.Vector.from_array(np.ascontiguousarray(column)) for column in columns]
        block = core.BlockOPoints(*vectors, extents)
        local = np.array(block.functions_local_to_global(), dtype=np.int64)
        if not len(local):
            continue
        evaluate = partial(_values_on, evaluator, block, names, len(local))
        memory -= 8.0 * len(names) * len(chosen) * len(local)
        yield Block(
            weights[chosen],
            local,
            Stored(evaluate()) if memory > 0.0 else evaluate,
            functional.is_meta(),
        )


def _values_on(evaluator: Any, block: Any, names: Sequence[str], count: int) -> Array:
    evaluator.compute_functions(block)
    found = evaluator.basis_values()
    part = slice(block.npoints()), slice(count)
    return np.array([found[name].np[part] for name in names])


def _points(
    core: Any, functions: Any, functional: Any, points_an_atom: tuple[int, int], thinned: bool
) -> tuple[Array, Array]:
    """Points (p, 3), bohr, and weights (p,) of a grid."""
    radial, spherical = points_an_atom
    parts = thinned_grid.spheres(points_an_atom) if thinned else [(spherical, 0.0, np.inf)]
    molecule = functions.molecule()
    numbers = [int(molecule.Z(atom)) for atom in range(molecule.natom())]
    found = []
    for count, start, end in parts:
        with grid(core, (radial, count), _BLOCK_POINTS):
            potential = core.VBase.build(functions, functional, "RV")
            potential.initialize()
        blocks = [potential.get_block(index) for index in range(potential.nblocks())]
        rows = np.concatenate(
            [[axis().np for axis in (block.x, block.y, block.z, block.w)] for block in blocks],
            axis=1,
        ).T
        if len(parts) > 1:
            shells = thinned_grid.shells(rows[:, :3], np.array(molecule.geometry()), numbers, count)
            rows = rows[(start <= shells) & ((shells < end) | np.isinf(end))]
        found.append(rows)
    every = np.concatenate(found)
    return every[:, :3], every[:, 3]


def near_one_another(points: Array, most: int) -> Iterator[NDArray[np.int64]]:
    """Points in groups that lie together: halved across their longest side until few enough.

    Parameters
    ----------
    points : (p, 3) array
    most : int
        In a group.

    Returns
    -------
    iterator of (g,) arrays of int
    """
    waiting = [np.arange(len(points))]
    while waiting:
        group = waiting.pop()
        if len(group) <= most:
            yield group
            continue
        there = points[group]
        axis = int(np.argmax(np.ptp(there, axis=0)))
        order = np.argpartition(there[:, axis], len(group) // 2)
        waiting += [group[order[len(group) // 2 :]], group[order[: len(group) // 2]]]


def variable_names(functional: Any, closed_shell: bool) -> list[str]:
    """What Psi4 calls the density variables, in the order of ``density_variables.variables_of``."""
    spins = "A" if closed_shell else "AB"
    names = [f"RHO_{spin}" for spin in spins]
    if functional.is_gga() or functional.is_meta():
        names += ["GAMMA_AA"] if closed_shell else ["GAMMA_AA", "GAMMA_AB", "GAMMA_BB"]
    if functional.is_meta():
        names += [f"TAU_{spin}" for spin in spins]
    return names


def energies(psi4: Any, functional: Any, variables: Array, names: Sequence[str]) -> Array:
    """Energy density of a functional of Psi4 at points.

    Parameters
    ----------
    functional : psi4.core.SuperFunctional
    variables : (nz, p) array
    names : sequence of str
        As ``variable_names`` has them.

    Returns
    -------
    (p,) array
        In hartree / bohr^3.
    """
    count = variables.shape[1]
    functional.set_max_points(count)
    functional.set_deriv(1)
    functional.allocate()
    return np.array(_values(psi4, functional, variables, names)["V"])[:count]


def _values(psi4: Any, functional: Any, variables: Array, names: Sequence[str]) -> Any:
    rows = {
        name: psi4.core.Vector.from_array(np.ascontiguousarray(row))
        for name, row in zip(names, variables, strict=True)
    }
    return functional.compute_functional(rows, variables.shape[1])


def functional(psi4: Any, name: str, closed_shell: bool) -> Functional:
    """First and second derivatives of a functional at points: a ``Functional``.

    NaN where Psi4 has none.
    """
    evaluator = psi4.driver.dft.build_superfunctional(name.lower(), closed_shell)[0]
    evaluator.set_max_points(_FUNCTIONAL_POINTS)
    evaluator.set_deriv(2)
    evaluator.allocate()
    names = variable_names(evaluator, closed_shell)
    rows = [f"V_{row}" for row in names]
    pairs = [(i, j) for i in range(len(names)) for j in range(i, len(names))]

    def derivatives(variables: Array) -> tuple[Array, Array]:
        size, count = variables.shape
        try:
            values = _values(psi4, evaluator, variables, names)
        except RuntimeError as error:
            if not versions.is_undefined_functional(error):
                raise
            if count == 1:
                return np.full((size, 1), np.nan), np.full((size, size, 1), np.nan)
            halves = [derivatives(part) for part in np.array_split(variables, 2, axis=1)]
            first, second = (np.concatenate(b, axis=-1) for b in zip(*halves, strict=True))
            return first, second
        first, second = np.empty((size, count)), np.empty((size, size, count))
        for i, row in enumerate(rows):
            first[i] = np.asarray(values[row])[:count]
        for i, j in pairs:
            second[i, j] = second[j, i] = np.asarray(values[f"{rows[i]}_{names[j]}"])[:count]
        return first, second

    def evaluate(variables: Array) -> tuple[Array, Array]:
        size, points = variables.shape
        first, second = np.empty((size, points)), np.empty((size, size, points))
        for start in range(0, points, _FUNCTIONAL_POINTS):
            part = slice(start, min(start + _FUNCTIONAL_POINTS, points))
            first[:, part], second[:, :, part] = derivatives(variables[:, part])
        return first, second

    return evaluate
