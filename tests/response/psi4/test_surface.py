"""Psi4's gradients: derivatives of its own energies, for every kind of method that it offers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hpcml.molecules.molecule import Molecule
from hpcml.response import units
from hpcml.response.engine import Resources
from hpcml.response.level import Level
from hpcml.response.psi4 import attempts
from hpcml.response.psi4.surface import open_surface

FLUORIDE = Molecule([9, 1], [[0.0, 0.1, 0.0], [0.2, 0.0, 0.93]])
WATER_CATION = Molecule(
    [8, 1, 1], [[0.0, 0.0, 0.12], [0.1, 0.78, -0.47], [0.0, -0.76, -0.45]], charge=1, multiplicity=2
)


@pytest.mark.parametrize(
    ("molecule", "method", "exact"),
    [
        (FLUORIDE, "HF", True),
        pytest.param(FLUORIDE, "wB97X", False, marks=pytest.mark.slow),
        pytest.param(FLUORIDE, "CAM-B3LYP", True, marks=pytest.mark.slow),
        pytest.param(FLUORIDE, "TPSS", False, marks=pytest.mark.slow),
        pytest.param(WATER_CATION, "HF", False),
        pytest.param(WATER_CATION, "PBE", False, marks=pytest.mark.slow),
        pytest.param(WATER_CATION, "B3LYP", False, marks=pytest.mark.slow),
    ],
)
def test_gradient_is_the_slope_of_the_energy(
    molecule: Molecule, method: str, exact: bool, tmp_path: Path
) -> None:
    positions = molecule.positions / units.ANGSTROM
    step = np.zeros_like(positions)
    step[1, 2] = 0.005
    level = Level(method=method, basis="3-21G", exact=exact)
    with open_surface(molecule, level, Resources(scratch=tmp_path)) as surface:
        here = surface.point(positions)
        there = [surface.point(positions + sign * step).energy for sign in (1.0, -1.0)]
    # third derivatives leave 1e-5 with this step, and a grid that follows the atoms another 1e-5
    assert here.gradient[1, 2] == pytest.approx((there[0] - there[1]) / 0.01, abs=5e-5)
    np.testing.assert_allclose(here.gradient.sum(axis=0), 0.0, atol=2e-5)


def test_dipole_is_the_slope_in_a_field(tmp_path: Path) -> None:
    """The sign and the origin: a proton's worth of charge moved is a dipole moved."""
    with open_surface(
        WATER_CATION, Level(method="HF", basis="3-21G"), Resources(scratch=tmp_path)
    ) as surface:
        positions = WATER_CATION.positions / units.ANGSTROM
        here = surface.point(positions).dipole
        there = surface.point(positions + np.array([0.0, 0.0, 1.5])).dipole
    np.testing.assert_allclose(there - here, [0.0, 0.0, 1.5], atol=1e-6)
    assert here[2] < -0.3  # hydrogens, which lie below oxygen, are the positive end


def test_the_last_recipe_reads_orbitals_from_point_to_point(tmp_path: Path) -> None:
    """Its smaller basis serves the first point only: Psi4 refuses it beside orbitals read."""
    resources = Resources(scratch=tmp_path, attempt=attempts - 1)
    positions = FLUORIDE.positions / units.ANGSTROM
    with open_surface(FLUORIDE, Level(method="HF", basis="6-31G"), resources) as surface:
        first, second = surface.point(positions), surface.point(positions)
    assert second.energy == pytest.approx(first.energy, abs=1e-8)
