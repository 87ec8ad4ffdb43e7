"""LibXC as PySCF's wheel carries it: functionals at points, up to their third derivatives.

The one place that knows this library.  A program that does the SCF says of what its functional is
made; what comes out here is asked for the same energy at points of the density before it is used
(``checked``), so that two releases of LibXC, or a parameter that did not come along, cannot differ
unseen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations_with_replacement, permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcml.errors import HpcmlError

Array = NDArray[np.float64]

ENERGY_TOLERANCE = 1e-10
"""Of the energy density, relative to that of all the points compared."""


class MissingFunctionalError(HpcmlError):
    """This library does not have it as the other program does, or is not there."""


@dataclass(frozen=True)
class Component:
    """A functional of LibXC within a sum of them.

    name        as LibXC has it: ``HYB_GGA_XC_B3LYP``
    factor      in the sum
    parameters  external ones that differ from LibXC's own: by name, or all of them in order
    """

    name: str
    factor: float = 1.0
    parameters: Mapping[str, float] | Sequence[float] = field(default_factory=tuple)


class LibXCFunctional:
    """The semilocal part of a functional, of one or two spin channels.

    Variables are those of ``density_variables.variables_of``.
    """

    def __init__(self, components: Sequence[Component] | str, channels: int) -> None:
        """``components``: or the name by which PySCF calls them.

        Raises MissingFunctionalError, with its reason in one line.
        """
        self._libxc = library()
        self._channels = channels
        self._code = components if isinstance(components, str) else self._registered(components)
        kind = self._libxc.xc_type(self._code)
        if kind not in _ROWS:
            raise MissingFunctionalError(f"LibXC calls {_named(components)} {kind}")
        self._rows = _ROWS[kind]
        self.kinetic = kind == "MGGA"
        """Whether it depends on tau."""

    @property
    def source(self) -> str:
        """What computes: ``LibXC 7.0.0 (PySCF 2.14.0)``."""
        import pyscf

        return f"LibXC {self._libxc.libxc_version()} (PySCF {pyscf.__version__})"

    def energy(self, variables: Array) -> Array:
        """Energy density f.

        Parameters
        ----------
        variables : (nz, p) array

        Returns
        -------
        (p,) array
            In hartree / bohr^3.
        """
        per_electron: Array = self._evaluate(variables, 0)[0]
        return np.asarray(per_electron * variables[: self._channels].sum(axis=0))

    def second(self, variables: Array) -> tuple[Array, Array]:
        """First and second derivatives: a ``density_variables.Functional``.

        Parameters
        ----------
        variables : (nz, p) array

        Returns
        -------
        first : (nz, p) array
        second : (nz, nz, p) array
        """
        size = len(variables)
        found = self._evaluate(variables, 2)
        return found[1 : 1 + size], _symmetric(found, size, 2)

    def third(self, variables: Array) -> Array:
        """Third derivatives: an ``evaluate`` of ``density_variables.ThirdDerivatives``.

        Parameters
        ----------
        variables : (nz, p) array

        Returns
        -------
        (nz, nz, nz, p) array
        """
        return _symmetric(self._evaluate(variables, 3), len(variables), 3)

    def _evaluate(self, variables: Array, order: int) -> Array:
        density = _density_with(variables, self._channels, self._rows)
        found = self._libxc.eval_xc1(self._code, density, self._channels - 1, order)
        return np.asarray(found)

    def _registered(self, components: Sequence[Component]) -> str:
        """The name under which PySCF knows the sum from now on."""
        try:
            numbers = [self._number(component.name) for component in components]
        except (KeyError, ValueError) as error:
            raise MissingFunctionalError(f"LibXC has no {_named(components)} ({error})") from None
        if len(set(numbers)) < len(numbers):
            raise MissingFunctionalError(f"{_named(components)} names one functional twice")
        parameters = {
            number: component.parameters
            for number, component in zip(numbers, components, strict=True)
            if component.parameters
        }
        code = "HPCML_" + hashlib.sha256(repr(components).encode()).hexdigest()[:16]
        try:
            self._libxc.register_custom_functional_(
                code,
                "+".join(map(str, numbers)),
                ext_params=parameters,
                facs=tuple(component.factor for component in components),
            )
        except (AssertionError, ValueError) as error:  # other parameters than are there
            raise MissingFunctionalError(f"LibXC refuses {_named(components)}: {error}") from None
        return code

    def _number(self, name: str) -> int:
        _, ((number, factor),) = self._libxc.parse_xc(name)
        if factor != 1.0:
            raise ValueError(f"{name} is a multiple of {number}")
        return int(number)


def checked(
    functional: LibXCFunctional, variables: Array, energies: Array, program: str
) -> LibXCFunctional:
    """The functional, if it has another program's energy at points.

    Parameters
    ----------
    functional : LibXCFunctional
    variables : (nz, p) array
        At some points of the quadrature.
    energies : (p,) array
        The other program's energy density there, in hartree / bohr^3.
    program : str
        Its name.

    Raises
    ------
    MissingFunctionalError
        Where the two differ by more than ``ENERGY_TOLERANCE``.
    """
    size = float(np.abs(energies).sum())
    difference = float(np.abs(functional.energy(variables) - energies).sum())
    if not difference <= ENERGY_TOLERANCE * size:
        raise MissingFunctionalError(
            f"{functional.source} and {program} differ by {difference / size:.1e} of the energy"
        )
    return functional


def library() -> Any:
    """PySCF's LibXC; MissingFunctionalError where there is none with third derivatives."""
    try:
        from pyscf.dft import libxc
    except ImportError:
        raise MissingFunctionalError(
            "PySCF, whose LibXC has third derivatives, is not installed "
            "(pip install 'hpcml[pyscf]')"
        ) from None
    if not hasattr(libxc, "register_custom_functional_") or not hasattr(libxc, "eval_xc1"):
        raise MissingFunctionalError(
            "this PySCF knows no functionals of one's own (pip install 'hpcml[pyscf]')"
        )
    return libxc


def use_threads(count: int) -> None:
    """Threads of the library; PySCF brings an OpenMP of its own, which nobody else sets."""
    from pyscf import lib

    lib.num_threads(count)


_ROWS = {"LDA": 1, "GGA": 4, "MGGA": 5}
"""Components of a density that PySCF wants: rho, its gradient, tau."""


def _named(components: Sequence[Component] | str) -> str:
    if isinstance(components, str):
        return components
    return " + ".join(component.name for component in components)


def _density_with(variables: Array, channels: int, rows: int) -> Array:
    """A density with these variables, as PySCF takes it: (channels, rows, p), or (rows, p) of one.

    Gradients lie in a plane: only their products with one another are given.
    """
    density = np.zeros((channels, rows, variables.shape[1]))
    density[:, 0] = variables[:channels]
    if rows > 1 and channels == 1:
        density[0, 1] = np.sqrt(np.maximum(variables[1], 0.0))
    elif rows > 1:
        own, mixed, other = variables[2:5]
        length = np.sqrt(np.maximum(own, 0.0))
        density[0, 1] = length
        density[1, 1] = np.divide(mixed, length, out=np.zeros_like(mixed), where=length > 0.0)
        density[1, 2] = np.sqrt(np.maximum(other - density[1, 1] ** 2, 0.0))
    if rows == 5:
        density[:, 4] = variables[-channels:]
    return density if channels == 2 else density[0]


def _symmetric(found: Array, size: int, order: int) -> Array:
    """Derivatives of an order as a whole tensor, out of the rows of ``eval_xc1``.

    The rows hold f, then for each order every combination of the variables once, the first index
    slowest.
    """
    start = sum(_combinations(size, lower) for lower in range(order))
    tensor = np.empty((*(size,) * order, found.shape[1]))
    for row, indices in enumerate(combinations_with_replacement(range(size), order), start=start):
        for places in set(permutations(indices)):
            tensor[places] = found[row]
    return tensor


def _combinations(size: int, order: int) -> int:
    return len(list(combinations_with_replacement(range(size), order)))
