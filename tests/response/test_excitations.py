"""The lowest excitation energy, against PySCF's time-dependent SCF in exact integrals."""

from __future__ import annotations

import numpy as np
import pytest
from pyscf import dft, gto, scf, tdscf

from hpcml.errors import InputError
from hpcml.molecules.molecule import Molecule
from hpcml.response import Level, Request, compute

FORMALDEHYDE = Molecule(
    [6, 8, 1, 1],
    [[0.0, 0.0, -0.53], [0.0, 0.0, 0.67], [0.0, 0.94, -1.11], [0.0, -0.94, -1.11]],
)
FLUORIDE = Molecule([9, 1], [[0.0, 0.0, 0.0], [0.0, 0.0, 0.92]])
CATION = Molecule([8, 1, 1], [[0.05, 0.02, -0.06], [0.1, 0.76, 0.55], [-0.07, -0.72, 0.6]], 1, 2)
GRID = (40, 110)
WANTED = Request(properties=("excitation",))


def by_pyscf(molecule: Molecule, method: str) -> float:
    atoms = list(zip(molecule.symbols, molecule.positions.tolist(), strict=True))
    system = gto.M(
        atom=atoms,
        basis="6-31G",
        charge=molecule.charge,
        spin=molecule.multiplicity - 1,
        verbose=0,
    )
    if method == "HF":
        field = scf.RHF(system) if molecule.multiplicity == 1 else scf.UHF(system)
    else:
        name = {"B3LYP": "b3lypg"}.get(method, method)
        field = (dft.RKS if molecule.multiplicity == 1 else dft.UKS)(system, xc=name)
        field.grids.atom_grid, field.grids.prune = GRID, None
    field.run(conv_tol=1e-11)
    solver = tdscf.TDHF(field) if method == "HF" else tdscf.TDDFT(field)
    solver.nstates, solver.conv_tol = 4, 1e-7
    return float(np.min(solver.kernel()[0]))


@pytest.mark.parametrize(
    ("molecule", "method", "program"),
    [
        # n to pi*: no dipole reaches it, so that a response alone never meets it
        (FORMALDEHYDE, "HF", "psi4"),
        (FLUORIDE, "B3LYP", "pyscf"),
        (CATION, "HF", "pyscf"),
        (CATION, "PBE", "psi4"),
    ],
)
def test_it_is_that_of_pyscf(molecule, method, program) -> None:
    level = Level(
        method=method, basis="6-31G", exact=True, engine=program, grid=GRID, kernel_grid=GRID
    )
    found = compute(molecule, level, WANTED).provenance["first_excitation"]
    assert found == pytest.approx(by_pyscf(molecule, method), abs=1e-4)


def test_a_frequency_near_a_dark_state_is_warned_of_where_it_is_asked_for() -> None:
    level = Level(method="HF", basis="6-31G", exact=True)
    dark = compute(FORMALDEHYDE, level, WANTED).provenance["first_excitation"]
    assert dark < 0.2
    request = Request(properties=("alpha", "excitation"), frequencies=(dark + 1e-3,))
    found = compute(FORMALDEHYDE, level, request).provenance
    assert found["first_excitation"] == pytest.approx(dark, abs=1e-6)
    assert any("lies near a pole of the response" in line for line in found["warnings"])
    assert any("lies above the first excitation energy" in line for line in found["warnings"])


def test_on_a_pole_a_frequency_is_refused() -> None:
    """A bright state, which the response itself meets."""
    hydrogen = Molecule([1, 1], [[0, 0, 0], [0, 0, 0.74]])
    level = Level(method="HF", basis="6-31G", exact=True)
    bright = compute(hydrogen, level, WANTED).provenance["first_excitation"]
    with pytest.raises(InputError, match="lies on a pole of the response"):
        compute(hydrogen, level, Request(properties=("alpha",), frequencies=(bright,)))


def test_where_nothing_can_be_excited_there_is_none() -> None:
    helium = Molecule([2], [[0.0, 0.0, 0.0]])
    found = compute(helium, Level(method="HF", basis="STO-3G"), WANTED)
    assert found.provenance["first_excitation"] is None
