"""Functionals by LibXC through PySCF: their names, and first and second derivatives at points."""

from __future__ import annotations

import difflib

import numpy as np
from numpy.typing import NDArray
from pyscf.dft import libxc

from hpcml.errors import SettingsError
from hpcml.response.density_variables import Functional
from hpcml.response.level import Level
from hpcml.response.pyscf.functional_names import FUNCTIONALS

Array = NDArray[np.float64]

_PAIRS_OF_TWO = [(0, 0), (0, 1), (1, 1)]
_PAIRS_OF_THREE = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]


def check_method(level: Level) -> None:
    """Refuse what is no functional that this engine has.

    Raises
    ------
    SettingsError
    """
    name = level.method.strip().lower()
    if level.is_hartree_fock or name in FUNCTIONALS:
        return
    plain = next((known for known in sorted(FUNCTIONALS, key=len, reverse=True)
                  if name.startswith(f"{known}-d")), "")  # fmt: skip
    if plain:
        raise SettingsError(
            f"method {level.method!r}: dispersion corrections are not done with PySCF; they change "
            f"neither dipole, alpha nor beta: give {plain}"
        )
    near = difflib.get_close_matches(name, FUNCTIONALS, n=3)
    raise SettingsError(
        f"method {level.method!r} is neither HF nor a functional that hpcml has with PySCF"
        + (f"; near: {', '.join(near)}" if near else "")
        + '; Psi4 may have it (engine = "psi4")'
    )


def pyscf_name(level: Level) -> str:
    """What PySCF calls the functional; empty for Hartree-Fock."""
    return "" if level.is_hartree_fock else FUNCTIONALS[level.method.strip().lower()]


def functional(name: str, closed_shell: bool) -> Functional:
    """First and second derivatives of an LDA or a GGA at points: a ``Functional``.

    Parameters
    ----------
    name : str
        PySCF's.
    closed_shell : bool
        One channel (the total density; sigma of the total gradient), or two.
    """
    gradients = libxc.xc_type(name) == "GGA"

    def evaluate(variables: Array) -> tuple[Array, Array]:
        density = _density(variables, closed_shell, gradients)
        _, first, second, _ = libxc.eval_xc(name, density, spin=0 if closed_shell else 1, deriv=2)
        size, points = variables.shape
        channels = 1 if closed_shell else 2
        f_z, f_zz = np.zeros((size, points)), np.zeros((size, size, points))
        rho, sigma = slice(0, channels), slice(channels, size)
        f_z[rho] = _columns(first[0], points)
        f_zz[rho, rho] = _square(_columns(second[0], points), channels)
        if gradients:
            f_z[sigma] = _columns(first[1], points)
            mixed = _columns(second[1], points).reshape(channels, size - channels, points)
            f_zz[rho, sigma] = mixed
            f_zz[sigma, rho] = mixed.transpose(1, 0, 2)
            f_zz[sigma, sigma] = _square(_columns(second[2], points), size - channels)
        return f_z, f_zz

    return evaluate


def _density(variables: Array, closed_shell: bool, gradients: bool) -> Array:
    """Densities with gradients that have these sigmas: PySCF's arguments.

    Only products of gradients matter, so they may lie in a plane.
    """
    if not gradients:
        return np.ascontiguousarray(variables[0] if closed_shell else variables)
    points = variables.shape[1]
    if closed_shell:
        density = np.zeros((4, points))
        density[0], density[1] = variables[0], np.sqrt(np.clip(variables[1], 0.0, None))
        return density
    aa, ab, bb = variables[2:]
    length = np.sqrt(np.clip(aa, 0.0, None))
    along = np.divide(ab, length, out=np.zeros_like(ab), where=length > 0.0)
    densities = np.zeros((2, 4, points))
    densities[:, 0] = variables[:2]
    densities[0, 1], densities[1, 1] = length, along
    densities[1, 2] = np.sqrt(np.clip(bb - along**2, 0.0, None))
    return densities


def _columns(derivatives: Array, points: int) -> Array:
    """PySCF's (points,) or (points, k) as (1 or k, points)."""
    return np.asarray(derivatives).reshape(points, -1).T


def _square(upper: Array, size: int) -> Array:
    """The upper triangle of a symmetric matrix at each point as the whole matrix."""
    pairs = {1: [(0, 0)], 2: _PAIRS_OF_TWO, 3: _PAIRS_OF_THREE}[size]
    square = np.empty((size, size, upper.shape[1]))
    for row, (i, j) in zip(upper, pairs, strict=True):
        square[i, j] = square[j, i] = row
    return square
