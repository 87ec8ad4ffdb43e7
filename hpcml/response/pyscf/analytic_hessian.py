"""The second derivatives of closed-shell Hartree-Fock by PySCF, and those of the dipole.

PySCF solves the coupled-perturbed equations of the nuclei for its Hessian; the first-order
orbitals that they give make the derivatives of the dipole too:

    d mu_i / dR_Ak = Z_A delta_ik - Tr(dD/dR_Ak r_i) - Tr(D dr_i/dR_Ak)

(Amos, Adv. Chem. Phys. 67, 99 (1987)).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    moved, moved_energies = made.solve_mo1(energies, orbitals, occupations, cores)
    blocks = made.hess_elec(mo1=moved, mo_e1=moved_energies, h1ao=cores) + made.hess_nuc()
    size = 3 * len(blocks)
    hessian = np.asarray(blocks).transpose(0, 2, 1, 3).reshape(size, size)
    return 0.5 * (hessian + hessian.T), _dipole_derivatives(solved, np.array(moved))


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
