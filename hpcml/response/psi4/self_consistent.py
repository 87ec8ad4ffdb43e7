"""The self-consistent field by Psi4: a Kohn-Sham SCF on a coarse grid, corrected by the fine one.

Most of a Kohn-Sham SCF is quadrature.  Here its iterations run on a coarse grid, whose potential
is corrected by what it misses at the last density D_k (a defect correction: Stetter, Numer. Math.
29, 425 (1978)),

    F(D) = F_coarse(D) + V_fine(D_k) - V_coarse(D_k)

At the fixed point F is the Fock matrix of the fine grid; each round brings its orbital gradient
down by the relative error of the coarse grid, some 2e-3, so that one round and a check do.  Energy
and gradient are the fine grid's: both are evaluated on it at the end.

Hartree-Fock, meta-GGAs and small grids take Psi4's SCF as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcml.response.level import Grid, Level
from hpcml.response.psi4 import quadrature, versions

Array = NDArray[np.float64]

RECIPES: tuple[dict[str, Any], ...] = (
    {},
    {"soscf": True, "soscf_max_iter": 8, "maxiter": 200},
    {"damping_percentage": 40.0, "damping_convergence": 1e-4, "maxiter": 300},
    {"soscf": True, "basis_guess": "3-21G", "damping_percentage": 20.0, "maxiter": 400},
)
"""What the fallbacks of a failed SCF change in Psi4's options, one after the other."""

attempts = len(RECIPES)
"""Number of recipes: ``attempt`` runs from 0 to one less; beyond, the last one serves."""

DOWNHILL = RECIPES[1]
"""The recipe from a saddle point down: DIIS would find back to it."""

FROM_ORBITALS: dict[str, Any] = {"guess": "read", "basis_guess": "FALSE"}
"""Options to begin at the orbitals of the SCF before (Psi4 refuses a smaller basis beside it)."""

_COARSE_GRID: Grid = (35, 110)
_FINE_OVER_COARSE = 3  # times as many points: below, the rounds cost more than they save
_FIRST_CORRECTION = 1e-4  # orbital gradient on the coarse grid at which the first one is made
_MOST_CORRECTIONS = 6


def method_name(level: Level) -> str:
    """What Psi4 calls the method."""
    return "hf" if level.is_hartree_fock else level.method.lower()


def thresholds(level: Level) -> dict[str, float]:
    """Psi4's options for a level's convergence."""
    return {
        "e_convergence": max(1e-11, min(1e-6, level.scf_convergence * 1e-1)),
        "d_convergence": level.scf_convergence,
    }


def recipe(psi4: Any, level: Level, attempt: int) -> dict[str, Any]:
    """Psi4's options of an attempt."""
    return recipe_options(psi4, level, RECIPES[min(attempt, attempts - 1)])


def recipe_options(psi4: Any, level: Level, chosen: dict[str, Any]) -> dict[str, Any]:
    """Psi4's options of a recipe; second-order SCF is left out where Psi4 has none."""
    options = dict(chosen)
    if "soscf" in options and not level.is_hartree_fock:
        functional = psi4.driver.dft.build_superfunctional(method_name(level), True)[0]
        if functional.is_meta():  # tried, it leaves Psi4's timers in disorder, and the next hangs
            options = {name: value for name, value in options.items() if "soscf" not in name}
    return options


def converge(psi4: Any, molecule: Any, level: Level, attempt: int) -> tuple[float, Any]:
    """Energy in hartree and Psi4's wave function, with the options that a session has set.

    Raises Psi4's SCFConvergenceError.
    """
    if attempt == 0 and _corrects(psi4, level):
        return _corrected(psi4, molecule, level)
    energy, wavefunction = psi4.energy(method_name(level), molecule=molecule, return_wfn=True)
    return float(energy), wavefunction


def from_orbitals(
    psi4: Any,
    molecule: Any,
    level: Level,
    occupied: Sequence[Array],
    field: Array | None,
) -> Any:
    """Psi4's wave function of an SCF that begins at some orbitals, in a static electric field.

    Parameters
    ----------
    occupied : one or two (n, o) arrays
        Of a closed shell, or of both spins of an unrestricted SCF.
    field : (3,) array or None
        In hartree / (e bohr).

    Raises Psi4's SCFConvergenceError.
    """
    core = psi4.core
    reference = core.get_global_option("REFERENCE")
    kind = ("R" if len(occupied) == 1 else "U") + reference[1:]
    options = {"reference": kind, "e_convergence": 1e-11, "d_convergence": level.scf_convergence}
    if kind != reference:
        options |= recipe_options(psi4, level, DOWNHILL)
    if field is not None:
        # Psi4 adds + strength * mu to the Hamiltonian: a field of minus the strength
        strength = [-float(component) for component in field]
        options |= {"perturb_h": True, "perturb_with": "dipole", "perturb_dipole": strength}
    psi4.set_options(options | FROM_ORBITALS)
    try:
        start = core.Wavefunction.build(molecule, core.get_global_option("BASIS"))
        wavefunction = psi4.driver.scf_wavefunction_factory(method_name(level), start, kind)
        versions.forget_iterations(wavefunction)
        # a closed shell's are both spins': only RHF would do with one
        alpha, beta = (
            core.Matrix.from_array(np.ascontiguousarray(occupied[spin])) for spin in (0, -1)
        )
        wavefunction.guess_Ca(alpha)
        wavefunction.guess_Cb(beta)
        wavefunction.compute_energy()
    finally:
        psi4.set_options({"perturb_h": False, "reference": reference, **thresholds(level)})
    return wavefunction


def _corrects(psi4: Any, level: Level) -> bool:
    """Whether a coarse grid with corrections is sound and worth it."""
    fine, coarse = (radial * spherical for radial, spherical in (level.grid, _COARSE_GRID))
    if level.is_hartree_fock or fine <= _FINE_OVER_COARSE * coarse:
        return False
    if psi4.core.get_global_option("SCF_TYPE") == "DIRECT":  # Psi4 starts these by fitting
        return False
    functional, dispersion = psi4.driver.dft.build_superfunctional(method_name(level), True)
    return not (dispersion or functional.is_meta())


def _corrected(psi4: Any, molecule: Any, level: Level) -> tuple[float, Any]:
    core = psi4.core
    guess = "SAD" if molecule.natom() > 1 else "CORE"
    core.set_local_option("SCF", "GUESS", guess)
    start = core.Wavefunction.build(molecule, core.get_global_option("BASIS"))
    with quadrature.grid(core, _COARSE_GRID):
        wavefunction = psi4.driver.scf_wavefunction_factory(
            method_name(level), start, core.get_option("SCF", "REFERENCE")
        )
    try:
        energy = _rounds(psi4, wavefunction, level)
    finally:
        # Psi4 aborts at its exit where an SCF has not been closed
        wavefunction.finalize()
    return energy, wavefunction


def _rounds(psi4: Any, wavefunction: Any, level: Level) -> float:
    core = psi4.core
    versions.forget_iterations(wavefunction)
    wavefunction.initialize()
    # the energy is that of the coarse grid until the end: only the gradient decides
    wavefunction.iterations(e_conv=1.0, d_conv=_FIRST_CORRECTION)
    closed_shell = wavefunction.same_a_b_dens()
    with quadrature.grid(core, level.grid):
        functions, functional = wavefunction.basisset(), wavefunction.functional()
        fine = core.VBase.build(functions, functional, "RV" if closed_shell else "UV")
        fine.initialize()
    fock_of_coarse_grid = wavefunction.form_F
    residual = np.inf
    for _ in range(_MOST_CORRECTIONS):
        wavefunction.form_G()
        potentials, energy_on_fine_grid = _potentials(core, fine, wavefunction)
        corrections = [
            potential - np.asarray(coarse)
            for potential, coarse in zip(
                potentials, (wavefunction.Va(), wavefunction.Vb()), strict=False
            )
        ]

        def form_fock(corrections: list[Array] = corrections) -> None:
            fock_of_coarse_grid()
            for matrix, correction in zip(
                (wavefunction.Fa(), wavefunction.Fb()), corrections, strict=False
            ):
                np.asarray(matrix)[:] += correction

        wavefunction.form_F = form_fock
        wavefunction.form_F()
        residual = wavefunction.compute_orbital_gradient(False, 0)
        if residual < level.scf_convergence:
            coarse_energy = wavefunction.V_potential().quadrature_values()["FUNCTIONAL"]
            return float(wavefunction.compute_E() - coarse_energy + energy_on_fine_grid)
        versions.reset_diis(wavefunction)
        wavefunction.iterations(e_conv=1.0, d_conv=level.scf_convergence)
    raise psi4.driver.p4util.exceptions.SCFConvergenceError(
        "SCF rounds of grids", wavefunction.iteration_, wavefunction, np.nan, residual
    )


def _potentials(core: Any, potential: Any, wavefunction: Any) -> tuple[list[Array], float]:
    """Exchange-correlation matrices, one a channel, and energy on a potential's grid."""
    densities = [wavefunction.Da()]
    if not wavefunction.same_a_b_dens():
        densities.append(wavefunction.Db())
    size = wavefunction.nso()
    matrices = [core.Matrix(size, size) for _ in densities]
    potential.set_D(densities)
    potential.compute_V(matrices)
    energy = float(potential.quadrature_values()["FUNCTIONAL"])
    return [np.array(matrix) for matrix in matrices], energy
