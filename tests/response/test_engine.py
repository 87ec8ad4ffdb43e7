"""The engine's interface is enough: PySCF's Hartree-Fock as an engine, in a few lines."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, get_args

import numpy as np
import pytest
from msgspec import UNSET
from numpy.typing import NDArray
from pyscf import gto, scf

from hpcml.errors import ConvergenceError
from hpcml.molecules.molecule import Molecule
from hpcml.response import Level, Request, compute, units
from hpcml.response.engine import Engine, Resources
from hpcml.response.fock import Orbitals
from hpcml.response.level import EngineName
from hpcml.response.two_electron import MatrixBuilder

Array = NDArray[np.float64]

WATER = Molecule([8, 1, 1], [[0.05, 0.02, -0.06], [0.1, 0.76, 0.55], [-0.07, -0.72, 0.6]])
CATION = Molecule(WATER.numbers, WATER.positions, charge=1, multiplicity=2)


class Converged:
    """An ``engine.GroundState``."""

    why_not_analytic = ""

    def __init__(self, molecule: Molecule, solved: Any) -> None:
        self.solved = solved
        self.energy = float(solved.e_tot)
        self.origin = molecule.numbers @ molecule.positions / molecule.numbers.sum()
        self.origin = self.origin / units.ANGSTROM
        about_zero = solved.dip_moment(unit="AU", verbose=0)
        self.dipole = np.asarray(about_zero) - molecule.charge * self.origin
        self.dipole_integrals = -solved.mol.intor("int1e_r")
        closed = molecule.multiplicity == 1
        spins = zip(
            *([x] if closed else x for x in (solved.mo_coeff, solved.mo_energy, solved.mo_occ)),
            strict=True,
        )
        self.channels = tuple(
            Orbitals(c[:, f > 0], c[:, f == 0], e[f > 0], e[f == 0]) for c, e, f in spins
        )
        self.provenance = {"program": "PySCF", "warnings": []}

    def two_electron(self, right_sides: int) -> MatrixBuilder:
        return MatrixBuilder(self.channels, self.matrices)

    def matrices(
        self, left: Array, rights: Sequence[Array]
    ) -> tuple[list[Array], list[Array] | None]:
        found = [scf.hf.get_jk(self.solved.mol, left @ right.T, hermi=0) for right in rights]
        return [j for j, _ in found], [k for _, k in found]

    def blocks(self, grid: tuple[int, int]) -> None:
        return None


class PySCF:
    """An ``engine.Engine``."""

    attempts = 1

    @contextmanager
    def ground_state(
        self, molecule: Molecule, level: Level, resources: Resources
    ) -> Iterator[Converged]:
        atoms = list(zip(molecule.symbols, molecule.positions.tolist(), strict=True))
        system = gto.M(
            atom=atoms,
            basis=level.basis,
            charge=molecule.charge,
            spin=molecule.multiplicity - 1,
            cart=True,
            verbose=0,
        )
        solved = (scf.RHF if molecule.multiplicity == 1 else scf.UHF)(system)
        solved.conv_tol, solved.conv_tol_grad = 1e-12, level.scf_convergence
        solved.kernel()
        if not solved.converged:
            raise ConvergenceError("the SCF did not converge")
        yield Converged(molecule, solved)


@pytest.mark.parametrize("molecule", [WATER, CATION], ids=["closed shell", "open shell"])
def test_another_program_behind_the_interface_gives_the_same(molecule, monkeypatch) -> None:
    level = Level(
        method="HF", basis="6-31G*", exact=True, scf_convergence=1e-9, response_convergence=1e-7
    )
    request = Request(processes=("static", "shg"), frequencies=(0.05,))
    by_psi4 = compute(molecule, level, request)
    monkeypatch.setattr(sys.modules["hpcml.response.compute"], "engine", lambda _name: PySCF())
    by_pyscf = compute(molecule, level, request)
    assert (by_psi4.provenance["program"], by_pyscf.provenance["program"]) == ("Psi4", "PySCF")
    assert by_pyscf.energy == pytest.approx(by_psi4.energy, abs=1e-8)
    np.testing.assert_allclose(by_pyscf.dipole, by_psi4.dipole, atol=1e-6)
    for a, b in zip(by_pyscf.polarizability, by_psi4.polarizability, strict=True):
        np.testing.assert_allclose(a.tensor, b.tensor, atol=1e-4)
    for c, d in zip(by_pyscf.hyperpolarizability, by_psi4.hyperpolarizability, strict=True):
        np.testing.assert_allclose(c.tensor, d.tensor, atol=1e-3)


@pytest.mark.parametrize("name", [UNSET, *get_args(EngineName)])
def test_each_engine_has_every_member(name) -> None:
    from hpcml.response.engine import engine

    members = {name for name in vars(Engine) if not name.startswith("_")}
    assert members == {"attempts", "prepare", "find_faults", "ground_state", "open_surface"}
    assert all(hasattr(engine(name), member) for member in members)
