"""Other units: against the values of the atomic units that the literature tabulates."""

from __future__ import annotations

import numpy as np
import pytest

from hpcml.response.properties import Hyperpolarizability, Polarizability, ResponseProperties
from hpcml.response.property_table import property_table
from hpcml.response.unit_systems import AU, ESU, SI, UnitSystem, in_units

# One atomic unit of each: Shelton and Rice, Chem. Rev. 94, 3 (1994), table 1, and CODATA 2018.
TABULATED = {
    "esu": (2.541746e-18, 1.481847e-25, 8.639222e-33),
    "si": (8.4783536e-30, 1.6487773e-41, 3.2063613e-53),
}


@pytest.fixture
def one_of_each() -> ResponseProperties:
    """A molecule whose zz.. components are one atomic unit each, and nothing else."""
    alpha, beta = np.zeros((3, 3)), np.zeros((3, 3, 3))
    alpha[2, 2] = beta[2, 2, 2] = 1.0
    return ResponseProperties(
        energy=-1.0,
        dipole=np.array([0.0, 0.0, 1.0]),
        polarizability=[Polarizability(0.0, alpha)],
        hyperpolarizability=[Hyperpolarizability("static", (0.0, 0.0, 0.0), beta)],
        zpve=0.02,
        vibrational_frequencies=np.array([1000.0]),
        shares={"alpha_iso": np.array([1.0 / 3.0]), "beta_parallel_loewdin": np.array([0.6])},
    )


@pytest.mark.parametrize("system", [ESU, SI], ids=lambda system: system.name)
def test_atomic_units_have_their_tabulated_values(
    one_of_each: ResponseProperties, system: UnitSystem
) -> None:
    dipole, alpha, beta = TABULATED[system.name]
    told = in_units(one_of_each.to_json(), system)
    assert told["dipole"][2] == pytest.approx(dipole, rel=1e-6)
    (polarizability,) = told["polarizability"]
    assert polarizability["tensor"][2][2] == pytest.approx(alpha, rel=1e-6)
    assert polarizability["isotropic"] == pytest.approx(alpha / 3.0, rel=1e-6)
    assert polarizability["anisotropy"] == pytest.approx(alpha, rel=1e-6)
    (first,) = told["hyperpolarizability"]
    assert first["tensor"][2][2][2] == pytest.approx(beta, rel=1e-6)
    # along the dipole 3/5 of it; of light scattered in all orientations sqrt(6/35)
    assert first["parallel"] == pytest.approx(0.6 * beta, rel=1e-6)
    assert first["hrs"] == pytest.approx((6.0 / 35.0) ** 0.5 * beta, rel=1e-6)
    assert first["depolarization_ratio"] == pytest.approx(5.0)
    assert told["shares"]["alpha_iso"] == pytest.approx([alpha / 3.0], rel=1e-6)
    assert told["shares"]["beta_parallel_loewdin"] == pytest.approx([0.6 * beta], rel=1e-6)
    assert (told["energy"], told["zpve"], told["frequencies"]) == (-1.0, 0.02, [1000.0])
    text = property_table(one_of_each, ["X"], system)
    assert f"{0.6 * beta:.4e}"[:6] in text and system.hyperpolarizability[1] in text


def test_a_molecule_without_a_dipole_has_no_beta_along_it_in_any_unit(
    one_of_each: ResponseProperties,
) -> None:
    apolar = ResponseProperties(
        -1.0, np.zeros(3), hyperpolarizability=one_of_each.hyperpolarizability
    )
    for system in (AU, ESU, SI):
        (first,) = in_units(apolar.to_json(), system)["hyperpolarizability"]
        assert first["parallel"] is None and first["hrs"] > 0.0
