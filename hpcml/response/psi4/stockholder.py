"""Hirshfeld's stockholder weights on Psi4's quadrature: moments of densities, atom by atom."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcml.response.induced_densities import InducedDensities
from hpcml.response.shares import AtomicMoments
from hpcml.response.stockholder_moments import Part, stockholder_moments

Array = NDArray[np.float64]


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
    positions = np.array(functions.molecule().geometry())
    centres = np.array([functions.function_to_center(i) for i in range(functions.nbf())])
    free = _free_atoms(psi4, functions)
    return stockholder_moments(_grid(psi4, functions), free, centres, positions, densities)


def _grid(psi4: Any, functions: Any) -> Iterator[Part]:
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
        yield points, np.array(block.w()), local, values


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
