"""The second derivatives of closed-shell Hartree-Fock by PySCF, and those of the dipole.

PySCF solves the coupled-perturbed equations of the nuclei for its Hessian; the first-order
orbitals that they give make the derivatives of the dipole too:

    d mu_i / dR_Ak = Z_A delta_ik - Tr(dD/dR_Ak r_i) - Tr(D dr_i/dR_Ak)

(Amos, Adv. Chem. Phys. 67, 99 (1987)).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyscf.lib import current_memory

from hpcml.response.fock import Orbitals
from hpcml.response.pyscf.coulomb_exchange import fitted_channel
from hpcml.response.two_electron import FittedIntegrals

Array = NDArray[np.float64]

_WITH_FITTING_SETS = 2  # PySCF's word for an auxiliary basis that moves with its nuclei, in full


def hartree_fock_hessian(solved: Any) -> tuple[Array, Array]:
    """Hessian and dipole derivatives of a converged RHF, with fitted or exact integrals.

    Returns
    -------
    hessian : (3n, 3n) array
        In hartree / bohr^2, symmetric.
    dipole_derivatives : (3n, 3) array
        In e, physical sign.
    """
    made = solved.Hessian()
    made.verbose = 0
    if hasattr(made, "auxbasis_response"):
        made.auxbasis_response = _WITH_FITTING_SETS
    energies, orbitals, occupations = solved.mo_energy, solved.mo_coeff, solved.mo_occ
    cores = made.make_h1(orbitals, occupations)
    moved, moved_energies = made.solve_mo1(
        energies, orbitals, occupations, cores, fx=_induced_potential(solved)
    )
    blocks = made.hess_elec(mo1=moved, mo_e1=moved_energies, h1ao=cores) + made.hess_nuc()
    size = 3 * len(blocks)
    hessian = np.asarray(blocks).transpose(0, 2, 1, 3).reshape(size, size)
    return 0.5 * (hessian + hessian.T), _dipole_derivatives(solved, np.array(moved))


def _induced_potential(solved: Any) -> Callable[[Array], Array] | None:
    """What moved orbitals (k, n, o) do to the Fock matrix, (k, n, o), both of molecular orbitals.

    Like the response to a field, but an orbital moves into the occupied ones too: all n take the
    place of the virtual ones.  None, PySCF's own way, with exact integrals and where the matrices
    do not fit into memory.
    """
    fitted = getattr(solved, "with_df", None)
    if not fitted:
        return None
    occupied = solved.mo_occ > 0
    every = Orbitals(
        solved.mo_coeff[:, occupied],
        solved.mo_coeff,
        solved.mo_energy[occupied],
        solved.mo_energy,
    )
    o, n = every.shape
    megabytes = (3 * (n * o) ** 2 + fitted.get_naoaux() * (n + o) ** 2) * 8e-6
    if megabytes > solved.max_memory - current_memory()[0]:
        return None
    integrals = FittedIntegrals([fitted_channel(fitted, every)], 1.0, store_exchange=True)

    def induced(moved: Array) -> Array:
        trials = np.asarray(moved).reshape(-1, n, o).transpose(0, 2, 1)
        ((coulomb, forward, backward),) = integrals.occupied_virtual([trials])
        assert forward is not None and backward is not None
        return (2.0 * coulomb - forward - backward).transpose(0, 2, 1)

    return induced


def _dipole_derivatives(solved: Any, moved: Array) -> Array:
    """(3n, 3), from the occupied orbitals' derivatives (n, 3, functions, occupied)."""
    mole, occupied = solved.mol, solved.mo_coeff[:, solved.mo_occ > 0]
    density = np.asarray(solved.make_rdm1())
    dipoles = np.asarray(mole.intor("int1e_r"))
    # < mu | r_i | d_k nu >: a function moves against the electron's coordinate
    slopes = np.asarray(mole.intor("int1e_irp")).reshape(3, 3, *density.shape)
    found = np.empty((mole.natm, 3, 3))
    for atom, (_, _, first, last) in enumerate(mole.aoslice_by_atom()):
        induced = 4.0 * np.einsum("kmo,no,imn->ki", moved[atom], occupied, dipoles, optimize=True)
        own = slice(first, last)
        carried = -2.0 * np.einsum("ikmn,mn->ki", slopes[..., own], density[:, own])
        found[atom] = mole.atom_charge(atom) * np.eye(3) - induced - carried
    return found.reshape(-1, 3)
