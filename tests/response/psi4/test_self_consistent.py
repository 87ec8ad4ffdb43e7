"""The SCF that hardly needs the fine grid, against Psi4's own on that grid throughout."""

from __future__ import annotations

import numpy as np
import pytest

from hpcml.errors import ConvergenceError
from hpcml.molecules.molecule import Molecule
from hpcml.response.engine import Resources
from hpcml.response.level import Level
from hpcml.response.psi4 import psi4_errors, self_consistent
from hpcml.response.psi4.reference import ground_state
from hpcml.response.psi4.session import session

POSITIONS = np.array([[0.05, 0.02, -0.06], [0.1, 0.76, 0.55], [-0.07, -0.72, 0.6]])
WATER = Molecule([8, 1, 1], POSITIONS)
CATION = Molecule([8, 1, 1], POSITIONS, charge=1, multiplicity=2)


@pytest.mark.parametrize(
    ("method", "molecule"),
    [("B3LYP", WATER), ("CAM-B3LYP", WATER), ("PBE", CATION)],
    ids=["RKS", "long range", "UKS"],
)
def test_energy_and_density_are_those_of_the_fine_grid(method, molecule) -> None:
    level = Level(method=method, basis="6-31G", scf_convergence=1e-8)
    with ground_state(molecule, level, Resources()) as reference:
        found = np.array([channel.occupied @ channel.occupied.T for channel in reference.channels])
    with session(molecule, level, Resources()) as (psi4, psi4_molecule, _):
        energy, plain = psi4.energy(method.lower(), molecule=psi4_molecule, return_wfn=True)
        densities = np.array([plain.Da(), plain.Db()])[: len(found)]
    assert reference.energy == pytest.approx(energy, abs=1e-9)
    np.testing.assert_allclose(found, densities, atol=1e-6)


@pytest.mark.parametrize(
    ("level", "corrects"),
    [
        (Level(method="B3LYP", basis="STO-3G"), True),
        (Level(method="HF", basis="STO-3G"), False),
        (Level(method="B3LYP", basis="STO-3G", grid=(50, 194)), False),
        (Level(method="TPSS", basis="STO-3G"), False),
        (Level(method="B3LYP-D3BJ", basis="STO-3G"), False),
    ],
    ids=lambda value: f"{value.method} {value.grid}" if isinstance(value, Level) else "",
)
def test_where_the_coarse_grid_serves(level, corrects, monkeypatch) -> None:
    class PlainError(Exception):
        pass

    def plain(*_: object, **__: object) -> None:
        raise PlainError

    monkeypatch.setattr(psi4_errors, "missing_program", lambda *_: "")  # as if dftd3 were there
    with session(WATER, level, Resources()) as (psi4, psi4_molecule, _):
        monkeypatch.setattr(psi4, "energy", plain)
        if corrects:
            self_consistent.converge(psi4, psi4_molecule, level, attempt=0)
        else:
            with pytest.raises(PlainError):
                self_consistent.converge(psi4, psi4_molecule, level, attempt=0)


def test_rounds_that_do_not_suffice_are_an_error_with_the_fine_grids_gradient(monkeypatch) -> None:
    monkeypatch.setattr(self_consistent, "_MOST_CORRECTIONS", 1)
    with (
        pytest.raises(ConvergenceError, match="SCF did not converge") as caught,
        ground_state(WATER, Level(method="B3LYP", basis="STO-3G"), Resources()),
    ):
        pass
    assert 1e-7 < caught.value.residual < 1e-3
