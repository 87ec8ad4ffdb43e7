"""Functionals at points, with a stand-in that refuses some as later versions of Psi4 do."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from hpcml.response.psi4 import quadrature


class Slater:
    """f = -rho^(4/3); says no where the density is 2."""

    def __init__(self, words: str) -> None:
        self.words = words

    def set_max_points(self, count: int) -> None: ...

    def set_deriv(self, order: int) -> None: ...

    def allocate(self) -> None: ...

    def is_gga(self) -> bool:
        return False

    def is_meta(self) -> bool:
        return False

    def compute_functional(self, variables, count):
        rho = variables["RHO_A"]
        if np.any(rho == 2.0):
            raise RuntimeError(self.words)
        padding = np.zeros(3)  # Psi4's vectors are as long as the largest block
        return {
            "V_RHO_A": np.concatenate([-4 / 3 * rho ** (1 / 3), padding]),
            "V_RHO_A_RHO_A": np.concatenate([-4 / 9 * rho ** (-2 / 3), padding]),
        }


def functional(words: str):
    dft = SimpleNamespace(build_superfunctional=lambda *_: (Slater(words), False))
    core = SimpleNamespace(Vector=SimpleNamespace(from_array=lambda array: array))
    psi4 = SimpleNamespace(driver=SimpleNamespace(dft=dft), core=core)
    return quadrature.functional(psi4, "Slater", closed_shell=True)


def test_points_that_are_refused_are_nan_and_the_others_are_right() -> None:
    rho = np.linspace(0.5, 3.5, 13)[None]
    first, second = functional("\nFatal Error: V_RHO_A_RHO_A is NaN at some point")(rho)
    good = rho[0] != 2.0
    np.testing.assert_allclose(first[0, good], -4 / 3 * rho[0, good] ** (1 / 3))
    np.testing.assert_allclose(second[0, 0, good], -4 / 9 * rho[0, good] ** (-2 / 3))
    assert np.isnan(first[0, ~good]).all() and np.isnan(second[0, 0, ~good]).all()


def test_other_complaints_pass() -> None:
    with pytest.raises(RuntimeError, match="another reason"):
        functional("another reason, with banana")(np.array([[1.0, 2.0]]))
