"""GDB-9 molecules by PySCF: dipoles in finite fields along one direction in general position.

PySCF's own analytic beta leaves the third functional derivative out, so its finite fields are
compared: mu(F u) gives alpha u and beta u u, three components each.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from pyscf import dft, gto, scf

from hpcml.molecules import Molecule, read
from hpcml.response import Level, Request, compute

QUICKSTART = Path(__file__).parents[2] / "jobs" / "quickstart.xyz"
DIRECTION = np.array([0.48, 0.6, 0.64])
FIELD = 4e-3
BASIS = "6-31G"

MOLECULES = [m for m in islice(read(QUICKSTART), 12) if isinstance(m, Molecule)]
QUICK = {"HF": 12, "B3LYP": 2}
"""How many of the molecules are compared in the quick suite."""


def by_pyscf(molecule: Molecule, method: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Dipole, alpha u and beta u u, (3,) each; exact integrals."""
    atoms = list(zip(molecule.symbols, molecule.positions.tolist(), strict=True))
    system = gto.M(atom=atoms, basis=BASIS, unit="angstrom", verbose=0)
    mean_field = scf.RHF(system) if method == "HF" else dft.RKS(system, xc="b3lypg")
    if method != "HF":
        mean_field.grids.atom_grid = (75, 302)
    mean_field.conv_tol, mean_field.conv_tol_grad = 1e-12, 1e-8
    bare = mean_field.get_hcore()
    position = system.intor("int1e_r")
    density = None

    def dipole(strength: float) -> np.ndarray:
        nonlocal density
        field = strength * DIRECTION
        mean_field.get_hcore = lambda *_: bare + np.einsum("x,xij->ij", field, position)
        mean_field.kernel(dm0=density)
        density = mean_field.make_rdm1()
        return np.asarray(mean_field.dip_moment(unit="AU", verbose=0))

    at_rest = dipole(0.0)
    first, second = [], []
    for step in (FIELD, 2.0 * FIELD):
        forward, backward = dipole(step), dipole(-step)
        first.append((forward - backward) / (2.0 * step))
        second.append((forward - 2.0 * at_rest + backward) / step**2)
    return at_rest, (4 * first[0] - first[1]) / 3, (4 * second[0] - second[1]) / 3


@pytest.mark.parametrize(
    ("molecule", "method"),
    [
        pytest.param(
            molecule,
            method,
            id=f"{molecule.smiles} {method}",
            marks=[] if index < QUICK[method] else [pytest.mark.slow],
        )
        for method in ("HF", "B3LYP")
        for index, molecule in enumerate(MOLECULES)
    ],
)
def test_pyscf_agrees(molecule: Molecule, method: str) -> None:
    level = Level(
        method=method,
        basis=BASIS,
        exact=True,
        scf_convergence=1e-9,
        response_convergence=1e-6,
        kernel_grid=(75, 302),
    )
    found = compute(molecule, level, Request())
    dipole, alpha, beta = by_pyscf(molecule, method)
    # b3lypg is Gaussian's B3LYP, as Psi4's; the two quadratures differ in their partition
    grid = 0.0 if method == "HF" else 1.0
    np.testing.assert_allclose(found.dipole, dipole, atol=1e-6 + 2e-5 * grid)
    ours = found.polarizability[0].tensor @ DIRECTION
    np.testing.assert_allclose(ours, alpha, atol=1e-5 + 2e-3 * grid)
    tensor = found.hyperpolarizability[0].tensor
    ours = np.einsum("ijk,j,k->i", tensor, DIRECTION, DIRECTION)
    np.testing.assert_allclose(
        ours, beta, atol=(2e-4 + 2e-3 * grid) * max(5.0, np.abs(tensor).max())
    )
