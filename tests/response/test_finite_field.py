"""Derivatives of a dipole that is known as a polynomial of the field."""

from __future__ import annotations

import numpy as np

from hpcml.response import finite_field


def test_derivatives_of_a_polynomial_up_to_third_order_are_exact() -> None:
    random = np.random.default_rng(0)
    mu, alpha = random.standard_normal(3), random.standard_normal((3, 3))
    beta, gamma = random.standard_normal((3, 3, 3)), random.standard_normal((3, 3, 3, 3))
    beta = beta + beta.transpose(0, 2, 1)

    def dipole(field: np.ndarray) -> np.ndarray:
        return (
            mu
            + alpha @ field
            + 0.5 * np.einsum("ijk,j,k->i", beta, field, field)
            + np.einsum("ijkl,j,k,l->i", gamma, field, field, field) / 6.0
        )

    found_alpha, found_beta = finite_field.derivatives(dipole)
    np.testing.assert_allclose(found_alpha, alpha, atol=1e-10)
    np.testing.assert_allclose(found_beta, beta, atol=1e-7)


def test_the_error_of_the_fourth_order_is_gone() -> None:
    """mu = exp(F): every derivative is 1, and only the sixth order is left wrong."""

    def dipole(field: np.ndarray) -> np.ndarray:
        return np.full(3, np.exp(field.sum()))

    alpha, beta = finite_field.derivatives(dipole, step=0.02)
    np.testing.assert_allclose(alpha, 1.0, atol=1e-6)
    np.testing.assert_allclose(beta, 1.0, atol=1e-5)
