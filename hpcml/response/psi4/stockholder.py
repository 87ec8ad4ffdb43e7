"""Hirshfeld's stockholder weights on Psi4's quadrature: moments of densities, atom by atom."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcml.response.induced_densities import InducedDensities
from hpcml.response.shares import AtomicMoments

Array = NDArray[np.float64]

_SMALLEST_DENSITY = 1e-30  # of the free atoms together; beyond, no atom holds a share


def atomic_moments(psi4: Any, wavefunction: Any, densities: InducedDensities) -> AtomicMoments:
    """Stockholder charges and dipoles of densities.

    The free atoms are those of Psi4's superposition of atomic densities: spherical, neutral, the
    valence electrons spread evenly over the valence shell, in the molecule's own basis.  The
    quadrature is the one that Psi4's options name.

    Parameters
    ----------
    densities : InducedDensities
    """
    functions = wavefunction.basisset()
    molecule = functions.molecule()
    positions = np.array(molecule.geometry())
    count = len(positions)
    centres = np.array([functions.function_to_center(i) for i in range(functions.nbf())])
    free_atoms = _free_atoms(psi4, functions)
    sums = np.zeros((count, 5, len(densities)))  # of rho, of rho r, of |rho|
    # Any functional will do: it is never evaluated, the grid and the functions on it are wanted.
    functional = psi4.driver.dft.build_superfunctional("svwn", True)[0]
    potential = psi4.core.VBase.build(functions, functional, "RV")
    potential.initialize()
    evaluate = potential.properties()[0]
    for index in range(potential.nblocks()):
        block = potential.get_block(index)
        evaluate.compute_functions(block)
        local = np.array(block.functions_local_to_global(), dtype=np.int64)
        values = np.asarray(evaluate.basis_values()["PHI"])[: block.npoints(), : len(local)]
        points = np.column_stack([np.array(axis()) for axis in (block.x, block.y, block.z)])
        weights = np.array(block.w()) * _stockholder(values, local, centres, free_atoms, count)
        rho = densities.at(values, local)
        integrands = np.array([rho, *(rho * axis for axis in points.T), np.abs(rho)])
        sums += np.tensordot(weights, integrands, axes=(1, 2))
    charges, spread = -sums[:, 0].T, sums[:, 4].T
    dipoles = -sums[:, 1:4].transpose(2, 0, 1) - charges[:, :, None] * positions
    return AtomicMoments(charges, dipoles, spread)


def _stockholder(
    values: Array, local: NDArray[np.int64], centres: NDArray[np.int64], free: Array, count: int
) -> Array:
    """Weights (n, p) at the points of a block: an atom's free density over the sum of all."""
    densities = np.zeros((count, len(values)))
    for atom in np.unique(centres[local]):
        mine = centres[local] == atom
        own = values[:, mine]
        block = free[np.ix_(local[mine], local[mine])]
        densities[atom] = np.einsum("pm,pm->p", own @ block, own)
    total = densities.sum(axis=0)
    held = total > _SMALLEST_DENSITY
    return np.asarray(np.where(held, densities / np.where(held, total, 1.0), 0.0))


def _free_atoms(psi4: Any, functions: Any) -> Array:
    """Block-diagonal density (nbf, nbf) of the neutral, spherical atoms."""
    core = psi4.core
    atoms = core.BasisSet.build(
        functions.molecule(),
        "BASIS",
        core.get_global_option("BASIS"),
        return_atomlist=True,
        quiet=True,
    )
    core.set_local_option("SCF", "SAD_SCF_TYPE", "DIRECT")  # the fitted one wants fitting sets
    guess = core.SADGuess.build_SAD(functions, atoms)
    guess.compute_guess()
    alpha, beta = np.array(guess.Da()), np.array(guess.Db())
    return np.asarray(alpha + beta)
