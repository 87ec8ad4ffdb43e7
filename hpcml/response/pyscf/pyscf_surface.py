"""The potential-energy surface of a molecule by PySCF: gradients and Hessians at any geometry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcml.molecules.molecule import Molecule
from hpcml.response.engine import Resources
from hpcml.response.level import Level
from hpcml.response.pyscf import field
from hpcml.response.pyscf.analytic_hessian import hartree_fock_hessian
from hpcml.response.pyscf.system import system
from hpcml.response.vibrations import SurfacePoint

Array = NDArray[np.float64]


class PySCFSurface:
    """A ``vibrations.PotentialSurface``; make it with ``open_surface``."""

    def __init__(self, mole: Any, molecule: Molecule, level: Level, attempt: int) -> None:
        self._mole = mole
        self._molecule, self._level, self._attempt = molecule, level, attempt
        self._density: Array | None = None

    def point(self, positions: Array) -> SurfacePoint:
        """See ``vibrations.PotentialSurface``."""
        solved = self._converged(positions)
        gradient = solved.nuc_grad_method().kernel()
        dipole = solved.dip_moment(unit="AU", verbose=0)
        return SurfacePoint(float(solved.e_tot), np.asarray(gradient), np.asarray(dipole))

    def analytic_hessian(self, positions: Array) -> tuple[Array, Array] | None:
        """Hessian (3n, 3n) and dipole derivatives (3n, 3) of RHF; None for every other method.

        Of functionals PySCF leaves out how the quadrature moves with the nuclei: Hessian and
        gradients would disagree.

        Parameters
        ----------
        positions : (n, 3) array
            In bohr.

        Returns
        -------
        (3n, 3n) array and (3n, 3) array, or None
        """
        if not self._level.is_hartree_fock or self._mole.spin != 0:
            return None
        return hartree_fock_hessian(self._converged(positions))

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
    tight = level.for_gradients()
    with system(molecule, tight, resources) as (mole, _):
        yield PySCFSurface(mole, molecule, tight, resources.attempt)
