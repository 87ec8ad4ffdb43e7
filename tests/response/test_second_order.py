"""Second-order densities: the n + 1 rule against 2n + 1, and against SCF densities in fields."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hpcml.molecules.molecule import Molecule
from hpcml.response import second_order
from hpcml.response.engine import Resources
from hpcml.response.induced_densities import MatrixDensities, OrbitalDensities
from hpcml.response.kernels import PAIRS
from hpcml.response.level import Level, Request
from hpcml.response.psi4.reference import Reference, ground_state
from hpcml.response.psi4.session import session
from hpcml.response.tensors import Tensors, tensors
from hpcml.response.two_electron import FittedIntegrals, MatrixBuilder

Array = NDArray[np.float64]

WATER = Molecule([8, 1, 1], [[0.1, 0.0, 0.1173], [0.0, 0.7572, -0.4692], [0.0, -0.7572, -0.4692]])
AMINO = Molecule(
    [7, 1, 1], [[0.1, 0.0, 0.14], [0.0, 0.8, -0.49], [0.0, -0.8, -0.49]], multiplicity=2
)


def _level(method: str) -> Level:
    return Level(
        method=method, basis="6-31G", exact=True, scf_convergence=1e-9, response_convergence=1e-9
    )


def _densities(reference: Reference, level: Level) -> tuple[Tensors, Array, Array]:
    """First-order tensors, and densities of first and second order."""
    found = tensors(reference, level, Request(properties=("alpha", "beta", "shares")))
    fock = found.fock
    assert fock is not None
    densities = second_order.densities(fock, found.static, level.response_convergence)
    _at_points_as_by_matrices(densities)
    first, second = densities.matrices[:3], np.empty((3, 3, *densities.matrices.shape[1:]))
    for (b, c), matrix in zip(PAIRS, densities.matrices[3:], strict=True):
        second[b, c] = second[c, b] = matrix
    return found, first, second


def _at_points_as_by_matrices(densities: OrbitalDensities) -> None:
    local = np.arange(0, densities.matrices.shape[1], 2)
    values = np.random.default_rng(1).normal(size=(5, len(local)))
    plain = MatrixDensities(densities.matrices).at(values, local)
    np.testing.assert_allclose(densities.at(values, local), plain, atol=1e-12 * np.abs(plain).max())


@pytest.mark.parametrize(
    ("molecule", "method"),
    [
        pytest.param(WATER, "HF", id="RHF"),
        pytest.param(AMINO, "HF", id="UHF"),
        pytest.param(WATER, "CAM-B3LYP", id="CAM-B3LYP"),
        pytest.param(WATER, "PBE", id="PBE", marks=pytest.mark.slow),
        pytest.param(WATER, "B3LYP", id="B3LYP", marks=pytest.mark.slow),
    ],
)
def test_n_plus_1_is_2n_plus_1(molecule: Molecule, method: str, tmp_path: Path) -> None:
    level = _level(method)
    with ground_state(molecule, level, Resources(scratch=tmp_path)) as reference:
        found, first, second = _densities(reference, level)
    mu = reference.dipole_integrals
    np.testing.assert_allclose(
        np.einsum("imn,jmn->ij", mu, first), found.polarizability[0].tensor, rtol=1e-7, atol=1e-7
    )
    # the third derivative of a functional is a central difference here and there
    np.testing.assert_allclose(
        np.einsum("imn,jkmn->ijk", mu, second),
        found.hyperpolarizability[0].tensor,
        rtol=1e-6,
        atol=1e-6,
    )


@pytest.mark.parametrize(
    ("molecule", "method"), [(WATER, "HF"), (AMINO, "HF"), (WATER, "PBE"), (WATER, "PBE0")]
)
def test_fitted_integrals_make_of_known_blocks_what_matrices_make(
    molecule: Molecule, method: str, tmp_path: Path
) -> None:
    level = Level(method=method, basis="6-31G")
    random = np.random.default_rng(3)
    with ground_state(molecule, level, Resources(scratch=tmp_path)) as reference:
        fitted = reference.two_electron(3)
        assert isinstance(fitted, FittedIntegrals)
        plain = MatrixBuilder(reference.channels, reference.matrices)
        parameters = [random.normal(size=(3, *channel.shape)) for channel in reference.channels]
        found, expected = (way.idempotent_blocks(parameters) for way in (fitted, plain))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-10 * np.abs(other).max())


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
    with ground_state(WATER, level, Resources(scratch=tmp_path)) as reference:
        _, first, second = _densities(reference, level)
    slope = (8.0 * (found[1] - found[-1]) - (found[2] - found[-2])) / (12.0 * field)
    curvature = (
        16.0 * (found[1] + found[-1]) - (found[2] + found[-2]) - 30.0 * found[0]
    ) / (12.0 * field**2)  # fmt: skip
    np.testing.assert_allclose(first[axis], slope, atol=1e-5)
    np.testing.assert_allclose(second[axis, axis], curvature, atol=5e-3)
