"""The potential-energy surface of a molecule by PySCF: gradients and Hessians at any geometry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from hpcml.molecules.molecule import Molecule
from hpcml.response.engine import Resources
from hpcml.response.level import Level
from hpcml.response.pyscf import field
from hpcml.response.pyscf.system import system
from hpcml.response.vibrations import SurfacePoint

Array = NDArray[np.float64]

# SCF convergence, below the level's own: differences of gradients need it.
_TIGHT_HARTREE_FOCK, _TIGHT_FUNCTIONAL = 1e-8, 5e-8


class PySCFSurface:
    """A ``vibrations.PotentialSurface``; make it with ``open_surface``."""

    def __init__(self, mole: Any, molecule: Molecule, level: Level, attempt: int) -> None:
        self._mole = mole
        self._molecule, self._level, self._attempt = molecule, level, attempt
        self._density: Array | None = None

    def point(self, positions: Array) -> SurfacePoint:
        """Energy, gradient and dipole at a geometry.

        Parameters
        ----------
        positions : (n, 3) array
            In bohr.

        Returns
        -------
        SurfacePoint
            The dipole of an ion is about the origin of the frame.

        Raises
        ------
        ConvergenceError
            If the SCF does not converge there.
        """
        solved = self._converged(positions)
        gradient = solved.nuc_grad_method().kernel()
        dipole = solved.dip_moment(unit="AU", verbose=0)
        return SurfacePoint(float(solved.e_tot), np.asarray(gradient), np.asarray(dipole))

    def analytic_hessian(self, positions: Array) -> tuple[Array, Array] | None:
        """None: the Hessian is made of differences of gradients.

        Parameters
        ----------
        positions : (n, 3) array
            In bohr.

        Returns
        -------
        (3n, 3n) array and (3n, 3) array, or None
        """
        return None

    def _converged(self, positions: Array) -> Any:
        self._mole.set_geom_(positions, unit="Bohr")
        closed_shell = self._molecule.multiplicity == 1
        unsolved, _ = field.mean_field(self._mole, self._level, closed_shell=closed_shell)
        # the next geometry is near this one, and so is its density
        solved = field.converge(unsolved, self._molecule, self._level, self._attempt, self._density)
        self._density = np.asarray(solved.make_rdm1())
        return solved


@contextmanager
def open_surface(molecule: Molecule, level: Level, resources: Resources) -> Iterator[PySCFSurface]:
    """See ``engine.Engine``; any of its points may raise ConvergenceError."""
    enough = _TIGHT_HARTREE_FOCK if level.is_hartree_fock else _TIGHT_FUNCTIONAL
    tight = msgspec.structs.replace(level, scf_convergence=min(level.scf_convergence, enough))
    with system(molecule, tight, resources) as (mole, _):
        yield PySCFSurface(mole, molecule, tight, resources.attempt)
