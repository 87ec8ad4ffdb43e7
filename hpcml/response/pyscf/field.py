"""The self-consistent field by PySCF, with fitted or exact integrals, and its fallbacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyscf import dft, scf

from hpcml.errors import ConvergenceError
from hpcml.molecules.molecule import Molecule
from hpcml.response.level import Level
from hpcml.response.pyscf.fitting_sets import fitting_sets
from hpcml.response.pyscf.functionals import pyscf_name
from hpcml.response.pyscf.points import quadrature

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Recipe:
    """How an SCF is driven.

    guess         PySCF's name of the first density
    second_order  by Newton's method instead of DIIS
    level_shift   of the virtual orbitals, in hartree
    damping       share of the last Fock matrix
    iterations    the most
    """

    guess: str = "minao"
    second_order: bool = False
    level_shift: float = 0.0
    damping: float = 0.0
    iterations: int = 100


RECIPES = (
    Recipe(),
    Recipe(second_order=True, iterations=50),
    Recipe(level_shift=0.3, damping=0.4, iterations=300),
    Recipe(guess="huckel", second_order=True, iterations=100),
)
"""The SCF's first way, and the fallbacks where it fails, one after the other."""

attempts = len(RECIPES)
"""Number of recipes: ``attempt`` runs from 0 to one less; beyond, the last one serves."""

DOWNHILL = 1
"""The recipe from a saddle point down: DIIS would find back to it."""

_DEPENDENT = 1e-7
"""Eigenvalue of the overlap over the largest one below which functions are left out, as in Psi4."""


def mean_field(mole: Any, level: Level, *, closed_shell: bool) -> tuple[Any, str]:
    """PySCF's SCF of a molecule at a level, not yet converged, and what its integrals are.

    RHF or RKS of a closed shell, else UHF or UKS.
    """
    if level.is_hartree_fock:
        # the classes themselves: the functions of these names make another one of one electron
        field = (scf.hf.RHF if closed_shell else scf.uhf.UHF)(mole)
    else:
        field = (dft.rks.RKS if closed_shell else dft.uks.UKS)(mole, xc=pyscf_name(level))
        field.grids = quadrature(mole, level.grid)
    integrals = "exact"
    if not level.exact:
        functions, names = fitting_sets(level.basis, mole.elements)
        field = field.density_fit(auxbasis=functions)
        integrals = f"density fitting, {names}"
    field.conv_tol = max(1e-11, min(1e-6, level.scf_convergence * 1e-1))
    field.conv_tol_grad = level.scf_convergence * _norm_over_rms(field)
    field.check_linear_dependency = _orthogonalized
    return field, integrals


def converge(
    field: Any, molecule: Molecule, level: Level, attempt: int, start: Array | None = None
) -> Any:
    """The converged field: energies and orbitals are its ``e_tot``, ``mo_coeff``, ...

    Parameters
    ----------
    field
        Of ``mean_field``.
    start : (n, n) or (2, n, n) array, optional
        The first density.

    Raises
    ------
    ConvergenceError
    """
    recipe = RECIPES[min(attempt, attempts - 1)]
    if recipe.second_order:
        field = field.newton()
        # beyond it PySCF's Newton steps work on noise
        field.conv_tol_grad = max(field.conv_tol_grad, 1e-7)
    field.init_guess, field.max_cycle = recipe.guess, recipe.iterations
    field.level_shift, field.damp = recipe.level_shift, recipe.damping
    field.kernel(dm0=start)
    if not field.converged:
        residual = float(np.linalg.norm(field.get_grad(field.mo_coeff, field.mo_occ)))
        residual /= _norm_over_rms(field)
        raise ConvergenceError(
            f"{molecule.name or molecule.formula} at {level.label}: the SCF did not converge in "
            f"{recipe.iterations} iterations (orbital gradient {residual:.1e}); another recipe of "
            "the SCF or another geometry may",
            residual,
        )
    return field


def in_field(field: Any, operator: Array) -> Callable[..., Array]:
    """A ``get_hcore`` of PySCF's with an operator of one electron added to it.

    Parameters
    ----------
    operator : (n, n) array
    """
    without = np.asarray(field.get_hcore())
    return lambda *_: without + operator


def _norm_over_rms(field: Any) -> float:
    """PySCF's norm of the orbital gradient over the root mean square of [F, D] in Psi4's sense.

    Both are made of F_ov: of a closed shell PySCF's is 2 |F_ov|, of an open one |F_ov|, while
    the mean is taken over all n^2 elements of the commutator, in which each counts twice.
    """
    unrestricted = isinstance(field, scf.uhf.UHF)
    return float(field.mol.nao * (np.sqrt(0.5) if unrestricted else np.sqrt(2.0)))


def _orthogonalized(overlap: Array, *_: object) -> Array:
    """Orthonormal combinations of the basis functions; those that depend on others left out."""
    values, vectors = np.linalg.eigh(overlap)
    kept = values > _DEPENDENT * values[-1]
    return np.asarray(vectors[:, kept] / np.sqrt(values[kept]))
