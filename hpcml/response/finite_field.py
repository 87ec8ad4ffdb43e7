"""Static response from calculations in finite fields: alpha, beta, densities of both orders.

For functionals whose response has no analytic form here (``GroundState.why_not_analytic``), and as
the slow, independent check of everything that has.

    alpha_ij = d mu_i / dF_j        beta_ijk = d^2 mu_i / dF_j dF_k

Central differences with fields F and 2 F, the error of order F^2 removed (Romberg; Kurtz, Stewart
and Dieter, J. Comput. Chem. 11, 82 (1990)).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from hpcml.response.engine import GroundState

Array = NDArray[np.float64]

STEP = 2e-3
"""Field in hartree / (e bohr): an error of F^4 and a dipole good to 1e-8 weigh the same there."""

SCF_CONVERGENCE = 1e-9
"""Orbital gradient of an SCF in a field: second differences make its error 1e5 times as large."""


def derivatives(quantity: Callable[[Array], Array], step: float = STEP) -> tuple[Array, Array]:
    """First and second derivatives of a quantity in a static electric field.

    Of the dipole (3,) that is alpha (3, 3) and beta (3, 3, 3), in atomic units.

    Parameters
    ----------
    quantity : callable
        Field (3,), hartree / (e bohr) -> array (...).
    step : float
        Of the field, in hartree / (e bohr); fields of twice as much are taken too.

    Returns
    -------
    first : (..., 3) array
    second : (..., 3, 3) array
        Symmetric in the two last axes.
    """
    at_rest = quantity(np.zeros(3))
    near, far = (_differences(quantity, at_rest, field) for field in (step, 2.0 * step))
    first, second = ((4.0 * a - b) / 3.0 for a, b in zip(near, far, strict=True))
    return first, second


def first_derivative(quantity: Callable[[Array], Array], step: float) -> Array:
    """First derivative of a quantity in a static electric field, from twelve of its values.

    Parameters
    ----------
    quantity : callable
        Field (3,), hartree / (e bohr) -> array (...).
    step : float
        Of the field, in hartree / (e bohr); fields of twice as much are taken too.

    Returns
    -------
    (..., 3) array
    """
    columns = []
    for axis in np.eye(3):
        near, far = (
            (quantity(field * axis) - quantity(-field * axis)) / (2.0 * field)
            for field in (step, 2.0 * step)
        )
        columns.append((4.0 * near - far) / 3.0)
    return np.stack(columns, axis=-1)


def density_in_field(reference: GroundState, field: Array) -> Array:
    """Density of all electrons in a static electric field, converged for ``derivatives``.

    Parameters
    ----------
    reference : GroundState
        Without a field.
    field : (3,) array
        In hartree / (e bohr).

    Returns
    -------
    (n, n) array
        In basis functions.
    """
    channels = reference.again(field=field, convergence=SCF_CONVERGENCE).channels
    occupation = 2.0 if len(channels) == 1 else 1.0
    each = [channel.occupied @ channel.occupied.T for channel in channels]
    return np.asarray(occupation * np.sum(each, axis=0))


def _differences(
    quantity: Callable[[Array], Array], at_rest: Array, step: float
) -> tuple[Array, Array]:
    """First and second central differences of one step."""
    unit = np.eye(3)
    first, second = np.empty((*at_rest.shape, 3)), np.empty((*at_rest.shape, 3, 3))
    for j in range(3):
        forward, backward = quantity(step * unit[j]), quantity(-step * unit[j])
        first[..., j] = (forward - backward) / (2.0 * step)
        second[..., j, j] = (forward - 2.0 * at_rest + backward) / step**2
    for j in range(3):
        for k in range(j):
            both = quantity(step * (unit[j] + unit[k])) + quantity(-step * (unit[j] + unit[k]))
            mixed = (both - 2.0 * at_rest) / step**2
            second[..., j, k] = 0.5 * (mixed - second[..., j, j] - second[..., k, k])
            second[..., k, j] = second[..., j, k]
    return first, second
