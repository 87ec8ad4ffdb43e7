"""Second-order densities: the n + 1 rule against 2n + 1, and against SCF densities in fields."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hpcml.molecules.molecule import Molecule
from hpcml.response import linear, second_order
from hpcml.response.compute import response_tensors
from hpcml.response.fock import FockResponse
from hpcml.response.level import Level, Request
from hpcml.response.reference import Reference, Resources, ground_state, session

Array = NDArray[np.float64]

WATER = Molecule([8, 1, 1], [[0.1, 0.0, 0.1173], [0.0, 0.7572, -0.4692], [0.0, -0.7572, -0.4692]])
AMINO = Molecule(
    [7, 1, 1], [[0.1, 0.0, 0.14], [0.0, 0.8, -0.49], [0.0, -0.8, -0.49]], multiplicity=2
)


def _level(method: str) -> Level:
    return Level(
        method=method, basis="6-31G", exact=True, scf_convergence=1e-9, response_convergence=1e-9
    )


def _densities(reference: Reference, level: Level) -> tuple[Array, Array]:
    fock = FockResponse(
        reference.channels, reference.two_electron(9), reference.kernel(level.kernel_grid)
    )
    operators = -reference.dipole_integrals

    def solve(gradients: Array) -> linear.Solution:
        return linear.solve(
            fock.gaps, gradients, np.zeros(1), fock.plus_product, fock.minus_product,
            convergence=level.response_convergence,
        )  # fmt: skip

    first = solve(fock.gradients(operators))
    return second_order.densities(
        fock,
        fock.first_order(operators, first.plus[:, 0], first.minus[:, 0], first.carried[:, 0]),
        reference._matrices,
        lambda gradients: 0.5 * solve(gradients).plus[:, 0],
    )


@pytest.mark.parametrize(
    ("molecule", "method"),
    [(WATER, "HF"), (WATER, "PBE"), (WATER, "B3LYP"), (WATER, "CAM-B3LYP"), (AMINO, "HF")],
    ids=["RHF", "PBE", "B3LYP", "CAM-B3LYP", "UHF"],
)
def test_n_plus_1_is_2n_plus_1(molecule: Molecule, method: str, tmp_path: Path) -> None:
    level = _level(method)
    reference = ground_state(molecule, level, Resources(scratch=tmp_path))
    alphas, betas, _ = response_tensors(reference, level, Request(properties=("alpha", "beta")))
    first, second = _densities(reference, level)
    mu = reference.dipole_integrals
    np.testing.assert_allclose(
        np.einsum("imn,jmn->ij", mu, first), alphas[0].tensor, rtol=1e-7, atol=1e-7
    )
    # the third derivative of a functional is a central difference here and there
    np.testing.assert_allclose(
        np.einsum("imn,jkmn->ijk", mu, second), betas[0].tensor, rtol=1e-6, atol=1e-6
    )


def test_densities_are_those_of_finite_fields(tmp_path: Path) -> None:
    level, field, axis = _level("HF"), 1e-3, 2
    with session(WATER, level, Resources(scratch=tmp_path)) as (psi4, psi4_molecule, _):
        found = {}
        for steps in (-2, -1, 0, 1, 2):
            # Psi4 adds + strength * mu: a field of minus the strength.
            psi4.set_options(
                {
                    "perturb_h": True,
                    "perturb_with": "dipole",
                    "perturb_dipole": [0.0, 0.0, -field * steps],
                }
            )
            _, wavefunction = psi4.energy("hf", molecule=psi4_molecule, return_wfn=True)
            found[steps] = np.array(wavefunction.Da()) + np.array(wavefunction.Db())
    reference = ground_state(WATER, level, Resources(scratch=tmp_path))
    first, second = _densities(reference, level)
    slope = (8.0 * (found[1] - found[-1]) - (found[2] - found[-2])) / (12.0 * field)
    curvature = (
        16.0 * (found[1] + found[-1]) - (found[2] + found[-2]) - 30.0 * found[0]
    ) / (12.0 * field**2)  # fmt: skip
    np.testing.assert_allclose(first[axis], slope, atol=1e-5)
    np.testing.assert_allclose(second[axis, axis], curvature, atol=5e-3)
