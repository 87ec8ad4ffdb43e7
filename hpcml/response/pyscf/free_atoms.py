"""Hirshfeld's stockholder weights on PySCF's quadrature: moments of densities, atom by atom."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from pyscf import gto, scf

from hpcml.errors import EngineError
from hpcml.response.induced_densities import InducedDensities
from hpcml.response.level import Grid
from hpcml.response.pyscf.points import parts
from hpcml.response.shares import AtomicMoments
from hpcml.response.stockholder_moments import stockholder_moments

Array = NDArray[np.float64]

_NOBLE = ((2, 1), (10, 4), (18, 4), (36, 9), (54, 9), (86, 16), (118, 16))
"""Electrons up to which a period reaches, and the orbitals of its valence shell."""


def atomic_moments(mole: Any, densities: InducedDensities, grid: Grid) -> AtomicMoments:
    """Stockholder charges and dipoles of densities.

    The free atoms are those of Psi4's superposition of atomic densities, so that shares are the
    same whichever engine computes them: spherical, neutral, the valence electrons spread evenly
    over the valence shell, in the molecule's own basis.

    Parameters
    ----------
    densities : InducedDensities
    grid : (radial, spherical)
    """
    return stockholder_moments(
        ((part[0], part[1], part[2], part[3][0]) for part in parts(mole, grid, gradients=False)),
        scipy.linalg.block_diag(*(free_atom(mole, atom) for atom in range(mole.natm))),
        centres(mole),
        mole.atom_coords(),
        densities,
    )


def centres(mole: Any) -> NDArray[np.int64]:
    """The atom on which each basis function sits.

    Returns
    -------
    (n,) array
    """
    ranges = mole.aoslice_by_atom()[:, 2:]
    return np.repeat(np.arange(len(ranges)), ranges[:, 1] - ranges[:, 0])


def free_atom(mole: Any, atom: int) -> Array:
    """Density of one of a molecule's atoms by itself, in the m functions that sit on it.

    Returns
    -------
    (m, m) array
        In atomic units.
    """
    symbol = mole.atom_pure_symbol(atom)
    found = json.dumps(mole.basis[symbol]), json.dumps(mole.ecp.get(symbol))
    return _density(symbol, *found, cartesian=bool(mole.cart))


@lru_cache(maxsize=256)
def _density(symbol: str, shells: str, potential: str, *, cartesian: bool) -> Array:
    """Of the Hartree-Fock equations with fractional occupations."""
    core = json.loads(potential)
    atom = gto.M(
        atom=[(symbol, (0.0, 0.0, 0.0))],
        basis={symbol: json.loads(shells)},
        ecp={symbol: core} if core else {},
        cart=cartesian,
        spin=None,
        verbose=0,
        parse_arg=False,
    )
    solved = _FreeAtom(atom)
    solved.conv_tol, solved.max_cycle, solved.init_guess = 1e-9, 200, "1e"
    solved.kernel()
    if not solved.converged:
        raise EngineError(f"the free atom {symbol}, of which shares are made, does not converge")
    return np.asarray(solved.make_rdm1())


class _FreeAtom(scf.hf.RHF):
    """Shells below the valence shell filled, the other electrons spread evenly over that."""

    def get_occ(self, mo_energy: Array | None = None, mo_coeff: Array | None = None) -> Array:
        """PySCF asks here for the occupations of orbitals.

        Parameters
        ----------
        mo_energy : (m,) array
        mo_coeff : (n, m) array

        Returns
        -------
        (m,) array
        """
        assert mo_energy is not None
        electrons = self.mol.nelectron
        filled = max((reach for reach, _ in _NOBLE if reach < electrons), default=0) // 2
        valence = next(orbitals for reach, orbitals in _NOBLE if electrons <= reach)
        valence = min(valence, len(mo_energy) - filled)
        occupations = np.zeros(len(mo_energy))
        order = np.argsort(mo_energy)
        occupations[order[:filled]] = 2.0
        occupations[order[filled : filled + valence]] = (electrons - 2 * filled) / valence
        return occupations
