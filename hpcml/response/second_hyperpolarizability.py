"""Second hyperpolarizability: the first one's derivative by a static electric field.

    gamma_ijkl(-w_sigma; w_1, w_2, 0) = d beta_ijk(-w_sigma; w_1, w_2) / dF_l

by central differences of analytic betas in fields F and 2 F, the error of order F^2 removed.
Static beta gives static gamma, SHG that of field-induced second-harmonic generation
(-2w; w, w, 0), EOPE the dc Kerr effect (-w; w, 0, 0).
"""

from __future__ import annotations

import msgspec
import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from hpcml.errors import SettingsError
from hpcml.response import finite_field
from hpcml.response.engine import GroundState
from hpcml.response.level import Level, Request
from hpcml.response.properties import SecondHyperpolarizability
from hpcml.response.team import Communicator
from hpcml.response.tensors import tensors

Array = NDArray[np.float64]

STEP = 4e-3
"""Field in hartree / (e bohr): an error of F^4, and betas that are good to 1e-6, weigh the same."""


def second_hyperpolarizabilities(
    reference: GroundState,
    level: Level,
    request: Request,
    communicator: Communicator | None = None,
) -> list[SecondHyperpolarizability]:
    """gamma of every process of a request.

    Every SCF and response is converged as at ``Level.tight``: a difference makes errors larger.

    Parameters
    ----------
    reference : GroundState
        Without a field.
    level : Level
    request : Request
    communicator : Communicator, optional
        Every rank makes this call and gets the result.

    Raises
    ------
    SettingsError
        For a functional without an analytic beta.
    ConvergenceError
        If an SCF or a response in a field does not converge.
    """
    if reference.why_not_analytic:
        raise SettingsError(
            f"{level.label}: no gamma, because {reference.why_not_analytic}; leave it out, or "
            "choose another functional"
        )
    in_fields = msgspec.structs.replace(level.tight(), instability=UNSET)
    betas = msgspec.structs.replace(request, properties=("beta",))

    def betas_in(field: Array) -> Array:
        there = reference.again(field=field, convergence=in_fields.scf_convergence)
        found = tensors(there, in_fields, betas, communicator)
        return np.array([beta.tensor for beta in found.hyperpolarizability])

    gammas = finite_field.first_derivative(betas_in, STEP)
    return [
        SecondHyperpolarizability(process, (*triple, 0.0), gamma)
        for (process, triple), gamma in zip(request.hyperpolarizabilities, gammas, strict=True)
    ]
