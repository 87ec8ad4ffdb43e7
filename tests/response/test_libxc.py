"""Functionals of PySCF's LibXC: formulas, differences, one spin channel against two, refusals."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from hpcml.response import libxc
from hpcml.response.libxc import Component, LibXCFunctional, MissingFunctionalError

SUMS = {
    "LDA": [Component("LDA_X"), Component("LDA_C_VWN_RPA")],
    "GGA": [Component("GGA_X_B88", 0.8), Component("GGA_C_LYP", 0.9)],
    "range-separated hybrid": [Component("HYB_GGA_XC_CAM_B3LYP")],
    "meta-GGA": [Component("MGGA_X_TPSS"), Component("MGGA_C_TPSS")],
    "another meta-GGA": [Component("MGGA_X_R2SCAN"), Component("MGGA_C_R2SCAN")],
}
KIND = {"LDA": 1, "GGA": 2, "range-separated hybrid": 2}


def variables(channels: int, groups: int) -> np.ndarray:
    """Density variables of ordinary points: of 1, 2 (with sigma) or 3 (and tau) groups."""
    random = np.random.default_rng(2)
    rho = 10.0 ** random.uniform(-2.0, 0.5, (channels, 20))
    gradient = 0.5 * random.standard_normal((channels, 3, 20)) * rho[:, None] ** (4 / 3)
    pairs = [(0, 0)] if channels == 1 else [(0, 0), (0, 1), (1, 1)]
    sigma = [np.sum(gradient[s] * gradient[t], axis=0) for s, t in pairs]
    # more than von Weizsaecker's, which tau never is below
    tau = np.sum(gradient**2, axis=1) / (8.0 * rho) + 2.0 * rho ** (5 / 3)
    return np.concatenate([rho, np.array(sigma), tau][:groups])


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("name", SUMS)
def test_derivatives_are_differences_of_lower_ones(name, channels) -> None:
    functional = LibXCFunctional(SUMS[name], channels)
    z = variables(channels, KIND.get(name, 3))
    first, second = functional.second(z)
    third = functional.third(z)
    for index in range(len(z)):
        step = 1e-4 * np.abs(z[index]) + 1e-9
        forward, backward = z.copy(), z.copy()
        forward[index] += step
        backward[index] -= step

        def difference(of, forward=forward, backward=backward, step=step):
            return (of(forward) - of(backward)) / (2.0 * step)

        for exact, found in (
            (first[index], difference(functional.energy)),
            (second[index], difference(lambda at: functional.second(at)[0])),
            (third[index], difference(lambda at: functional.second(at)[1])),
        ):
            scale = np.abs(exact).max(axis=tuple(range(exact.ndim - 1)))
            np.testing.assert_allclose(found / scale, exact / scale, atol=2e-6)


def test_the_third_derivative_of_slaters_exchange_is_its_formula() -> None:
    """f = -3/4 (3/pi)^(1/3) rho^(4/3)."""
    rho = np.array([[0.1, 0.3, 0.02]])
    third = LibXCFunctional([Component("LDA_X")], 1).third(rho)[0, 0, 0]
    expected = 0.75 * (3.0 / np.pi) ** (1 / 3) * (4 / 3) * (1 / 3) * (2 / 3) * rho[0] ** (-5 / 3)
    np.testing.assert_allclose(third, expected, rtol=1e-12)


@pytest.mark.parametrize("name", SUMS)
def test_two_equal_channels_are_a_closed_shell(name) -> None:
    one, two = (LibXCFunctional(SUMS[name], channels) for channels in (1, 2))
    groups = KIND.get(name, 3)
    closed = variables(1, groups)
    # rho/2 twice, sigma/4 three times, tau/2 twice
    shares = np.zeros((2 + 3 * (groups > 1) + 2 * (groups > 2), groups))
    for column, (rows, share) in enumerate(
        ((slice(0, 2), 0.5), (slice(2, 5), 0.25), (slice(5, 7), 0.5))[:groups]
    ):
        shares[rows, column] = share
    halves = shares @ closed
    np.testing.assert_allclose(one.energy(closed), two.energy(halves), rtol=1e-12)
    expected = np.einsum("xyzp,xa,yb,zc->abcp", two.third(halves), shares, shares, shares)
    found = one.third(closed)
    scale = np.abs(found).max(axis=(0, 1, 2))
    np.testing.assert_allclose(expected / scale, found / scale, atol=1e-9)


def test_parameters_reach_the_functional() -> None:
    """PBE's exchange with the kappa of revPBE is revPBE's, by name or in order."""
    z = variables(1, 2)
    expected = LibXCFunctional([Component("GGA_X_PBE_R")], 1).third(z)
    mu = 0.2195149727645171
    for parameters in ({"_kappa": 1.245, "_mu": mu}, (1.245, mu)):
        found = LibXCFunctional([Component("GGA_X_PBE", 1.0, parameters)], 1).third(z)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("components", "message"),
    [
        ([Component("GGA_X_NOBODY_KNOWS")], "no GGA_X_NOBODY_KNOWS"),
        ([Component("GGA_X_PBE", 1.0, (1.0, 2.0, 3.0))], "refuses GGA_X_PBE"),
        ([Component("LDA_X"), Component("LDA_X")], "twice"),
    ],
)
def test_what_this_library_has_not_is_refused_by_name(components, message) -> None:
    with pytest.raises(MissingFunctionalError, match=message):
        LibXCFunctional(components, 1)


def test_another_energy_is_refused() -> None:
    z = variables(1, 2)
    pbe = LibXCFunctional([Component("GGA_X_PBE")], 1)
    assert libxc.checked(pbe, z, pbe.energy(z), "A program") is pbe
    other = LibXCFunctional([Component("GGA_X_PBE", 1.0 - 1e-9)], 1).energy(z)
    with pytest.raises(MissingFunctionalError, match=r"A program differ by 1\.0e-09"):
        libxc.checked(pbe, z, other, "A program")
    with pytest.raises(MissingFunctionalError, match="nan"):
        libxc.checked(pbe, z, np.full(z.shape[1], np.nan), "A program")


def test_without_pyscf_it_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyscf.dft", None)
    with pytest.raises(MissingFunctionalError, match=r"pip install 'hpcml\[pyscf\]'"):
        LibXCFunctional([Component("LDA_X")], 1)
