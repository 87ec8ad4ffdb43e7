"""Optimization: the same minima as Psi4's own optimizer, from the ends that are hard for it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import psi4
import pytest
from numpy.typing import NDArray
from pyscf import gto, scf

from hpcml.errors import ConvergenceError
from hpcml.molecules.molecule import Molecule
from hpcml.response import geometry, units, vibrations
from hpcml.response.engine import Resources
from hpcml.response.level import Level
from hpcml.response.psi4.surface import open_surface
from hpcml.response.vibrations import SurfacePoint

Array = NDArray[np.float64]

LEVEL = Level(method="HF", basis="3-21G")
METHANOL = Molecule(
    [6, 8, 1, 1, 1, 1],
    [
        [-0.36, 0.0, 0.02], [0.90, 0.05, -0.55], [-0.30, 0.02, 1.10],
        [-0.95, 0.90, -0.30], [-0.90, -0.92, -0.25], [1.50, 0.10, 0.20],
    ],
)  # fmt: skip
PROPYNE = Molecule(
    [6, 6, 6, 1, 1, 1, 1],
    [
        [0.0, 0.0, 0.0], [0.02, 0.0, 1.18], [0.0, 0.03, 2.66], [0.0, 0.05, -1.05],
        [1.03, 0.0, 3.00], [-0.51, 0.89, 3.05], [-0.50, -0.90, 3.02],
    ],
)  # fmt: skip
PEROXIDE = Molecule(
    [8, 8, 1, 1], [[0.0, 0.7, 0.0], [0.0, -0.7, 0.0], [0.9, 0.9, 0.4], [-0.7, -0.9, 0.5]]
)


def test_same_minimum_as_optking(tmp_path: Path) -> None:
    start = PEROXIDE.positions / units.ANGSTROM
    with open_surface(PEROXIDE, LEVEL, Resources(scratch=tmp_path)) as surface:
        found = geometry.minimize(surface, PEROXIDE.numbers, start)
    psi4.core.clean_options()
    psi4.core.be_quiet()
    psi4.core.IOManager.shared_object().set_default_path(f"{tmp_path}/")
    psi4.set_options({"basis": "3-21G", "scf_type": "df", "g_convergence": "gau_tight"})
    theirs = psi4.core.Molecule.from_arrays(
        geom=start.ravel(), elez=PEROXIDE.numbers.tolist(), units="Bohr", fix_symmetry="c1"
    )
    energy = psi4.optimize("hf", molecule=theirs)
    psi4.core.clean_options()
    assert found.energy == pytest.approx(energy, abs=2e-6)
    np.testing.assert_allclose(
        _distances(found.positions), _distances(np.array(theirs.geometry())), atol=0.01
    )


@pytest.mark.parametrize("molecule", [METHANOL, PROPYNE], ids=["methanol", "propyne"])
def test_pyscf_finds_no_force_there(molecule: Molecule, tmp_path: Path) -> None:
    """Propyne is linear in part, where Psi4's own optimizer gives up from this start."""
    start = molecule.positions / units.ANGSTROM
    exact = msgspec.structs.replace(LEVEL, exact=True)
    with open_surface(molecule, exact, Resources(scratch=tmp_path)) as surface:
        found = geometry.minimize(surface, molecule.numbers, start)
    atoms = list(zip(molecule.symbols, found.positions, strict=True))
    theirs = scf.RHF(gto.M(atom=atoms, unit="B", basis="3-21g")).run(conv_tol=1e-11)
    assert found.energy == pytest.approx(theirs.e_tot, abs=1e-8)
    gradient = theirs.nuc_grad_method().kernel()
    assert np.abs(gradient).max() == pytest.approx(found.largest_gradient, abs=1e-6)
    assert found.largest_gradient <= geometry.CONVERGED
    # The frame stays: neither the centroid nor the axes drift, so that tensors stay comparable.
    moved = found.positions - start
    np.testing.assert_allclose(moved.mean(axis=0), 0.0, atol=1e-6)
    assert np.abs(np.cross(start - start.mean(axis=0), moved).sum(axis=0)).max() < 0.3


def _distances(positions: Array) -> Array:
    return np.linalg.norm(positions[:, None] - positions[None], axis=-1)


def test_the_model_knows_stretches_from_torsions() -> None:
    """Lindh's Hessian against hydrogen peroxide's: stiff and soft motions in the right order."""
    hessian = geometry.model_hessian(PEROXIDE.numbers, PEROXIDE.positions / units.ANGSTROM)
    internal = vibrations.internal_motions(PEROXIDE.positions / units.ANGSTROM, np.ones(12))
    np.testing.assert_allclose(
        np.linalg.norm(hessian), np.linalg.norm(internal.T @ hessian @ internal)
    )
    curvature, directions = np.linalg.eigh(internal.T @ hessian @ internal)
    assert 0.001 < curvature[0] < 0.05
    assert 0.3 < curvature[-1] < 2.0
    softest = (internal @ directions[:, 0]).reshape(4, 3)
    stretching = (softest[1] - softest[0]) @ (PEROXIDE.positions[1] - PEROXIDE.positions[0])
    assert abs(stretching) < 0.1


@pytest.mark.parametrize("corners", [3, 4])
def test_wilson_vectors_are_derivatives(corners: int) -> None:
    positions = np.random.default_rng(5).normal(size=(corners, 3))

    def coordinate(flat: Array) -> float:
        bonds = np.diff(flat.reshape(-1, 3), axis=0)
        if corners == 3:
            u, v = -bonds[0], bonds[1]
            return float(np.arccos(u @ v / np.linalg.norm(u) / np.linalg.norm(v)))
        m, n = np.cross(bonds[0], bonds[1]), np.cross(bonds[1], bonds[2])
        return float(np.arctan2(np.cross(m, n) @ bonds[1] / np.linalg.norm(bonds[1]), m @ n))

    steps = 1e-5 * np.eye(3 * corners)
    flat = positions.ravel()
    numerical = [(coordinate(flat + s) - coordinate(flat - s)) / 2e-5 for s in steps]
    [analytic] = geometry._bend(positions) if corners == 3 else [geometry._torsion(positions)]
    sign = np.sign(analytic @ numerical)  # k b b^T does not ask which way the angle grows
    np.testing.assert_allclose(sign * analytic, numerical, atol=1e-8)


class Slope:
    """A surface without a minimum."""

    def point(self, positions: Array) -> SurfacePoint:
        force = np.array([[0.0, 0.0, -0.02], [0.0, 0.0, 0.02]])
        return SurfacePoint(float(np.vdot(force, positions)), force, np.zeros(3))

    def analytic_hessian(self, positions: Array) -> None:
        return None


def test_no_minimum_is_an_error_with_the_gradient() -> None:
    heard: list[int] = []
    with pytest.raises(ConvergenceError, match=r"200 steps with a gradient of 2.0e-02") as caught:
        geometry.minimize(
            Slope(), np.array([1, 1]), np.array([[0.0, 0.0, 1.4], [0.0, 0.0, 0.0]]), heard.append
        )
    assert caught.value.residual == pytest.approx(0.02)
    assert heard[-1] == 200
