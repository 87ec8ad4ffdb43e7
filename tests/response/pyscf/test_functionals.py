"""A functional's name means the same with both engines; derivatives; refusals by name."""

from __future__ import annotations

import numpy as np
import psi4
import pytest
from pyscf.dft import libxc

from hpcml.errors import SettingsError
from hpcml.response.level import Level
from hpcml.response.libxc import LibXCFunctional
from hpcml.response.psi4.quadrature import functional as of_psi4
from hpcml.response.pyscf.functional_names import FUNCTIONALS
from hpcml.response.pyscf.functionals import check_method

POINTS = 40
# of later versions of Psi4
NEW = {"scan", "r2scan"}


def _densities() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    rho = 10.0 ** rng.uniform(-2.0, 0.7, (2, POINTS))
    gradient = rng.normal(size=(2, 3, POINTS)) * rho[:, None] ** (4 / 3)
    squares = np.einsum("sxp,txp->stp", gradient, gradient)
    tau = squares[[0, 1], [0, 1]] / (8.0 * rho) * rng.uniform(1.2, 3.0, (2, POINTS)) + rho ** (
        5 / 3
    )
    return {"rho": rho, "gradient": gradient, "squares": squares, "tau": tau}


@pytest.mark.parametrize("name", sorted(set(FUNCTIONALS) - NEW))
def test_a_name_means_the_same_as_in_psi4(name: str) -> None:
    found = _densities()
    theirs = psi4.driver.dft.build_superfunctional(name, False)[0]
    theirs.set_max_points(POINTS)
    theirs.set_deriv(1)
    theirs.allocate()
    values = {
        **dict(zip(("RHO_A", "RHO_B"), found["rho"], strict=True)),
        **dict(zip(("TAU_A", "TAU_B"), found["tau"], strict=True)),
        "GAMMA_AA": found["squares"][0, 0],
        "GAMMA_AB": found["squares"][0, 1],
        "GAMMA_BB": found["squares"][1, 1],
    }
    vectors = {
        key: psi4.core.Vector.from_array(np.ascontiguousarray(v)) for key, v in values.items()
    }
    energy = np.array(theirs.compute_functional(vectors, POINTS)["V"])[:POINTS]

    ours = FUNCTIONALS[name]
    rows = {"LDA": 1, "GGA": 4, "MGGA": 5}[libxc.xc_type(ours)]
    density = np.concatenate(
        [found["rho"][:, None], found["gradient"], found["tau"][:, None]], axis=1
    )[:, :rows]
    per_electron = libxc.eval_xc(ours, density if rows > 1 else density[:, 0], spin=1, deriv=1)[0]
    np.testing.assert_allclose(per_electron * found["rho"].sum(axis=0), energy, rtol=1e-9)

    from pyscf.dft.numint import NumInt

    omega, long, short = NumInt().rsh_and_hybrid_coeff(ours)
    long = long - short if omega else 0.0
    everywhere = theirs.x_alpha() if theirs.is_x_hybrid() else 0.0
    long_range = theirs.x_beta() if theirs.is_x_lrc() else 0.0
    assert (short, long) == pytest.approx((everywhere, long_range))
    assert not long or omega == pytest.approx(theirs.x_omega())


@pytest.mark.parametrize("closed_shell", [True, False], ids=["closed", "open"])
@pytest.mark.parametrize("name", ["svwn", "pbe", "cam-b3lyp"])
def test_derivatives_are_those_of_psi4(name: str, closed_shell: bool) -> None:
    found = _densities()
    squares = found["squares"]
    channels = found["rho"][:1] if closed_shell else found["rho"]
    sigma = [squares[0, 0]] if closed_shell else [squares[0, 0], squares[0, 1], squares[1, 1]]
    variables = np.array([*channels, *(sigma if name != "svwn" else [])])
    ours = LibXCFunctional(FUNCTIONALS[name], 1 if closed_shell else 2).second(variables)
    theirs = of_psi4(psi4, name, closed_shell)(variables)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6, atol=1e-9 * np.abs(other).max())


@pytest.mark.parametrize(
    "method, words",
    [
        ("B3LPY", "near: b3lyp"),
        ("B3LYP-D3BJ", "give b3lyp"),
        ("wB97X-V", "VV10"),
        ("B2PLYP", "is a double hybrid"),
        ("tpss0", "nor a functional that hpcml has with PySCF"),
    ],
)
def test_what_is_not_done_is_refused_by_name(method: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        check_method(Level(method=method, basis="STO-3G", engine="pyscf"))
