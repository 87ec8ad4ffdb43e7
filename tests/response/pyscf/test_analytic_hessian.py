"""Analytic Hessians and dipole derivatives, against differences of gradients and dipoles."""

import numpy as np
import pytest

from hpcml.molecules import Molecule
from hpcml.response import units, vibrations
from hpcml.response.engine import Resources
from hpcml.response.level import Level
from hpcml.response.pyscf import analytic_hessian
from hpcml.response.pyscf.pyscf_surface import open_surface

# no stationary point and along no axis, so that nothing vanishes by chance
CYANIDE = Molecule([1, 6, 7], [[0.0, 0.0, -1.06], [0.0, 0.1, 0.0], [0.0, 0.0, 1.15]])
HYDROXIDE = Molecule([8, 1], [[0.1, 0.0, 0.3], [0.0, 0.4, 1.2]], charge=-1)


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "fitted"])
@pytest.mark.parametrize("molecule", [CYANIDE, HYDROXIDE], ids=["HCN", "OH-"])
def test_hessian_is_that_of_the_gradients(molecule: Molecule, exact: bool) -> None:
    level = Level(method="HF", basis="6-31G", exact=exact, engine="pyscf")
    positions = molecule.positions / units.ANGSTROM
    with open_surface(molecule, level, Resources()) as surface:
        found = surface.analytic_hessian(positions)
        assert found is not None
        differences = vibrations.finite_difference_hessian(surface, positions)
    # central differences with a step of 0.005 bohr leave fourth derivatives' 4e-5
    np.testing.assert_allclose(found[0], differences[0], atol=1e-4)
    np.testing.assert_allclose(found[1], differences[1], atol=1e-4)
    # moved as a whole a molecule takes its charge along
    whole = found[1].reshape(-1, 3, 3).sum(axis=0)
    np.testing.assert_allclose(whole, molecule.charge * np.eye(3), atol=1e-6)


def test_fitted_one_is_that_of_pyscfs_own_equations(monkeypatch: pytest.MonkeyPatch) -> None:
    level = Level(method="HF", basis="6-31G", engine="pyscf")
    found = []
    for _ in range(2):
        with open_surface(CYANIDE, level, Resources()) as surface:
            found.append(surface.analytic_hessian(CYANIDE.positions / units.ANGSTROM))
        monkeypatch.setattr(analytic_hessian, "_induced_potential", lambda solved: None)
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-7)


@pytest.mark.parametrize(("method", "multiplicity"), [("HF", 2), ("PBE", 1)])
def test_others_have_none(method: str, multiplicity: int) -> None:
    molecule = Molecule([3] if multiplicity == 2 else [2], [[0.0] * 3], multiplicity=multiplicity)
    level = Level(method=method, basis="STO-3G", engine="pyscf")
    with open_surface(molecule, level, Resources()) as surface:
        assert surface.analytic_hessian(np.zeros((1, 3))) is None
