"""gamma against fourth derivatives of PySCF's energies in a field, and its symmetries."""

from __future__ import annotations

import numpy as np
import pytest
from pyscf import dft, gto, scf

from hpcml.errors import SettingsError
from hpcml.molecules.molecule import Molecule
from hpcml.response import Level, Request, ResponseProperties, compute, invariants
from hpcml.response.property_table import property_table
from hpcml.response.unit_systems import SYSTEMS, in_units
from hpcml.store import Row, Schema

HYDROGEN_FLUORIDE = Molecule([9, 1], [[0.0, 0.0, 0.0], [0.0, 0.0, 0.92]])
GRID = (40, 110)
GAMMA = Request(properties=("beta", "gamma"))


def fourth_derivative_by_energies(method: str, axis: int, step: float) -> float:
    """-d^4 E / dF^4 along an axis, from nine energies (error of order F^6)."""
    atoms = list(zip(HYDROGEN_FLUORIDE.symbols, HYDROGEN_FLUORIDE.positions.tolist(), strict=True))
    system = gto.M(atom=atoms, basis="6-31G", verbose=0)
    dipoles = system.intor("int1e_r")[axis]

    def energy(field: float) -> float:
        solved = scf.RHF(system) if method == "HF" else dft.RKS(system, xc="svwn")
        if method != "HF":
            solved.grids.atom_grid, solved.grids.prune = GRID, None
        core = solved.get_hcore() + field * dipoles  # electrons are negative
        solved.get_hcore = lambda *_: core
        nuclei = field * system.atom_charges() @ system.atom_coords()[:, axis]
        return float(solved.run(conv_tol=1e-14, conv_tol_grad=1e-10).e_tot - nuclei)

    weights = {0: 91 / 8, 1: -122 / 15, 2: 169 / 60, 3: -2 / 5, 4: 7 / 240}
    total = weights[0] * energy(0.0)
    for steps, weight in list(weights.items())[1:]:
        total += weight * (energy(steps * step) + energy(-steps * step))
    return -total / step**4


@pytest.mark.parametrize(("method", "program"), [("HF", "psi4"), ("SVWN", "pyscf")])
def test_it_is_minus_the_fourth_derivative_of_the_energy(method, program) -> None:
    level = Level(
        method=method, basis="6-31G", exact=True, engine=program, grid=GRID, kernel_grid=GRID
    )
    (gamma,) = compute(HYDROGEN_FLUORIDE, level, GAMMA).second_hyperpolarizability
    assert gamma.frequencies == (0.0, 0.0, 0.0, 0.0)
    for axis in (0, 2):
        expected = fourth_derivative_by_energies(method, axis, 0.02)
        found = gamma.tensor[axis, axis, axis, axis]
        assert found == pytest.approx(expected, rel=5e-3, abs=0.05)
    for order in ((1, 0, 2, 3), (3, 1, 2, 0), (0, 3, 2, 1)):
        largest = np.abs(gamma.tensor).max()
        np.testing.assert_allclose(gamma.tensor, gamma.tensor.transpose(order), atol=2e-4 * largest)


def test_of_frequencies_it_leads_to_the_static_one_and_goes_into_a_row() -> None:
    request = Request(
        properties=("beta", "gamma"), processes=("static", "shg"), frequencies=(0.005,)
    )
    level = Level(method="HF", basis="STO-3G", engine="pyscf", exact=True)
    found = compute(HYDROGEN_FLUORIDE, level, request)
    static, second_harmonic = found.second_hyperpolarizability
    assert second_harmonic.frequencies == (-0.01, 0.005, 0.005, 0.0)
    largest = np.abs(static.tensor).max()
    np.testing.assert_allclose(second_harmonic.tensor, static.tensor, atol=5e-3 * largest)
    again = ResponseProperties.from_json(found.to_json())
    np.testing.assert_array_equal(
        again.second_hyperpolarizability[1].tensor, second_harmonic.tensor
    )
    schema = Schema.for_request(request)
    row = Row.from_result("0" * 32, HYDROGEN_FLUORIDE, found, schema)
    assert row.values["second_hyperpolarizability"].shape == (2, 3, 3, 3, 3)
    np.testing.assert_allclose(
        row.values["gamma_parallel"], [static.parallel, second_harmonic.parallel]
    )
    assert "second hyperpolarizability, shg in a static field" in property_table(found, ["F", "H"])
    document = in_units(found.to_json(), SYSTEMS["esu"])["second_hyperpolarizability"][0]
    assert document["parallel"] == pytest.approx(5.03670e-40 * static.parallel, rel=1e-5)


def test_the_mean_is_that_over_orientations() -> None:
    """Of <gamma_ZZZZ> by quadrature: a Lebedev sphere of 50 points is exact to degree 11."""
    random = np.random.default_rng(0).standard_normal((3, 3, 3, 3))
    tensor = sum(random.transpose(order) for order in np.ndindex(4, 4, 4, 4) if len({*order}) == 4)
    sphere = dft.gen_grid.MakeAngularGrid(50)
    along = np.einsum("ijkl,pi,pj,pk,pl->p", tensor, *[sphere[:, :3]] * 4)
    mean = float(along @ sphere[:, 3] / sphere[:, 3].sum())
    assert invariants.gamma_parallel(tensor) == pytest.approx(mean)


def test_gamma_without_beta_is_refused() -> None:
    with pytest.raises(SettingsError, match="ask for beta too"):
        Request(properties=("gamma",))
