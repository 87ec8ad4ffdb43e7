"""Static alpha and beta from dipole moments in finite fields.

For functionals whose response has no analytic form here (see ``reference``), and as the slow,
independent check of everything that has.

    alpha_ij = d mu_i / dF_j        beta_ijk = d^2 mu_i / dF_j dF_k

Central differences with fields F and 2 F, the error of order F^2 removed (Romberg; Kurtz, Stewart
and Dieter, J. Comput. Chem. 11, 82 (1990)).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

STEP = 2e-3
"""Field in hartree / (e bohr): an error of F^4 and a dipole good to 1e-8 weigh the same there."""


def derivatives(dipole: Callable[[Array], Array], step: float = STEP) -> tuple[Array, Array]:
    """alpha (3, 3) and beta (3, 3, 3) of ``dipole``: field (3,) -> dipole (3,), atomic units."""
    at_rest = dipole(np.zeros(3))
    near, far = (_differences(dipole, at_rest, field) for field in (step, 2.0 * step))
    alpha, beta = ((4.0 * a - b) / 3.0 for a, b in zip(near, far, strict=True))
    return alpha, beta


def _differences(
    dipole: Callable[[Array], Array], at_rest: Array, step: float
) -> tuple[Array, Array]:
    """First and second central differences of one step."""
    unit = np.eye(3)
    alpha, beta = np.empty((3, 3)), np.empty((3, 3, 3))
    for j in range(3):
        forward, backward = dipole(step * unit[j]), dipole(-step * unit[j])
        alpha[:, j] = (forward - backward) / (2.0 * step)
        beta[:, j, j] = (forward - 2.0 * at_rest + backward) / step**2
    for j in range(3):
        for k in range(j):
            both = dipole(step * (unit[j] + unit[k])) + dipole(-step * (unit[j] + unit[k]))
            mixed = (both - 2.0 * at_rest) / step**2
            beta[:, j, k] = beta[:, k, j] = 0.5 * (mixed - beta[:, j, j] - beta[:, k, k])
    return alpha, beta
