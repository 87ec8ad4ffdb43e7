"""What a functional of Psi4 is made of, and the same functional from a LibXC of its own.

Psi4 gives second derivatives, of meta-GGAs first ones, whatever its LibXC could do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcml.response import libxc
from hpcml.response.density_variables import Block, density_of, variables_of
from hpcml.response.psi4 import quadrature

Array = NDArray[np.float64]

CHECKED_GRID = (12, 26)
"""Grid at whose points the two energies are compared."""


def same_functional(
    psi4: Any, name: str, occupied: Sequence[Array], blocks: Iterable[Block], *, closed_shell: bool
) -> libxc.LibXCFunctional:
    """The semilocal part of a functional of Psi4, with its energy at points of a ground state.

    Parameters
    ----------
    name : str
        Psi4's name of it.
    occupied : for each channel an (n, o) array
        Occupied orbitals: one for a closed shell (doubly filled), two for an open one.
    blocks : iterable of Block
        The points.
    closed_shell : bool
        One channel is wanted; of a closed shell two can be, each half of it.

    Raises
    ------
    libxc.MissingFunctionalError
        Where LibXC is not there, does not have it, or has another one of that name.
    """
    superfunctional = psi4.driver.dft.build_superfunctional(name.lower(), closed_shell)[0]
    functional = libxc.LibXCFunctional(
        _components(psi4, name, superfunctional), 1 if closed_shell else 2
    )
    halves = list(occupied) if len(occupied) == 2 or closed_shell else list(occupied) * 2
    variables = _variables(halves, blocks)
    names = quadrature.variable_names(superfunctional, closed_shell)
    energies = quadrature.energies(psi4, superfunctional, variables, names)
    return libxc.checked(functional, variables, energies, f"Psi4 {psi4.__version__}")


def _components(psi4: Any, name: str, superfunctional: Any) -> list[libxc.Component]:
    settings: dict[str, Any] = {}
    definition = psi4.driver.dft.functionals.get(name.lower(), {})
    for part in ("x_functionals", "c_functionals", "xc_functionals"):
        settings.update(definition.get(part) or {})
    if superfunctional.needs_grac():
        raise libxc.MissingFunctionalError(f"LibXC has no {name} with a corrected asymptote")
    return [
        libxc.Component(
            (own := part.name().removeprefix("XC_")),
            part.alpha(),
            settings.get(own, {}).get("tweak", ()),
        )
        for part in [*superfunctional.x_functionals(), *superfunctional.c_functionals()]
    ]


def _variables(occupied: Sequence[Array], blocks: Iterable[Block]) -> Array:
    """Density variables of orbitals at the points of blocks, (nz, points)."""
    factor = 2.0 if len(occupied) == 1 else 1.0
    found = []
    for block in blocks:
        orbitals = [block.values @ channel[block.functions] for channel in occupied]
        density = [density_of(psi, psi, factor, kinetic=block.kinetic) for psi in orbitals]
        found.append(variables_of(np.array(density)))
    return np.concatenate(found, axis=1)
