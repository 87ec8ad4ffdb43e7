"""The potential-energy surface of a molecule by Psi4: gradients and Hessians at any geometry."""

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
from hpcml.response.psi4 import self_consistent
from hpcml.response.psi4.session import session
from hpcml.response.vibrations import SurfacePoint

Array = NDArray[np.float64]


class Psi4Surface:
    """A ``vibrations.PotentialSurface``; make it with ``open_surface``."""

    def __init__(self, psi4: Any, psi4_molecule: Any, level: Level) -> None:
        self._psi4 = psi4
        self._molecule = psi4_molecule
        self._name = self_consistent.method_name(level)
        self._exact = level.exact

    def point(self, positions: Array) -> SurfacePoint:
        """See ``vibrations.PotentialSurface``."""
        gradient, wavefunction = self._gradient(positions)
        molecule = self._molecule
        nuclear = sum(molecule.Z(i) * positions[i] for i in range(len(positions)))
        integrals = self._psi4.core.MintsHelper(wavefunction.basisset()).ao_dipole()
        density = np.array(wavefunction.Da()) + np.array(wavefunction.Db())
        electronic = [float(np.vdot(np.asarray(matrix), density)) for matrix in integrals]
        return SurfacePoint(float(wavefunction.energy()), gradient, nuclear + np.array(electronic))

    def analytic_hessian(self, positions: Array) -> tuple[Array, Array] | None:
        """Hessian (3n, 3n) and dipole derivatives (3n, 3) of RHF; None for every other method.

        None with density fitting too: Psi4 1.3.2 takes 16 s for the fitted Hessian of methanol in
        6-31G, 8 s for the differences of its gradients, 1.5 s for the exact Hessian.

        Parameters
        ----------
        positions : (n, 3) array
            In bohr.

        Returns
        -------
        (3n, 3n) array and (3n, 3) array, or None
        """
        closed_shell = self._molecule.multiplicity() == 1
        if self._name != "hf" or not closed_shell or not self._exact:
            return None
        self._move(positions)
        hessian, wavefunction = self._psi4.hessian("scf", molecule=self._molecule, return_wfn=True)
        return np.array(hessian), np.array(wavefunction.variable("SCF DIPOLE GRADIENT"))

    def _gradient(self, positions: Array) -> tuple[Array, Any]:
        self._move(positions)
        gradient, wavefunction = self._psi4.gradient(
            self._name, molecule=self._molecule, return_wfn=True
        )
        # The next geometry is near this one, and so are its orbitals.
        self._psi4.set_options(self_consistent.FROM_ORBITALS)
        return np.array(gradient), wavefunction

    def _move(self, positions: Array) -> None:
        geometry = self._psi4.core.Matrix.from_array(np.ascontiguousarray(positions))
        self._molecule.set_geometry(geometry)
        self._molecule.update_geometry()


@contextmanager
def open_surface(molecule: Molecule, level: Level, resources: Resources) -> Iterator[Psi4Surface]:
    """See ``engine.Engine``; any of its points may raise ConvergenceError."""
    tight = msgspec.structs.replace(
        level.for_gradients(),
        # Psi4's fitted gradient of exact exchange dies of a spin without electrons
        exact=level.exact or molecule.electrons == molecule.multiplicity - 1,
    )
    with session(molecule, tight, resources) as opened:
        yield Psi4Surface(opened.psi4, opened.molecule, tight)
