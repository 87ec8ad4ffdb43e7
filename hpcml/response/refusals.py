"""Molecules and methods that no engine can calculate, told in one line with what to do."""

from __future__ import annotations

import numpy as np
from msgspec import UNSET

from hpcml.errors import InputError, SettingsError
from hpcml.molecules.molecule import Molecule
from hpcml.response.basis import BasisSet
from hpcml.response.level import Level, Request

DOUBLE_HYBRID = (
    "is a double hybrid: its perturbative correlation has no response here; choose a functional "
    "without it"
)
NON_LOCAL = (
    "has the non-local correlation VV10, of which there is neither the response nor gradients; "
    "choose a functional without it (wB97X for wB97X-V)"
)
"""What is said of functionals that neither engine has a response of."""

_CLOSEST_NUCLEI = 0.35  # angstrom


def check(molecule: Molecule, level: Level) -> None:
    """Refuse what cannot be calculated, before anything is.

    Raises
    ------
    InputError
        For an impossible multiplicity, for nuclei on top of each other, and where the method's
        name asks for another kind of reference than the molecule's multiplicity allows.
    """
    label = molecule.name or molecule.formula
    electrons, unpaired = molecule.electrons, molecule.multiplicity - 1
    if electrons < 1:
        raise InputError(f"{label}: charge {molecule.charge} leaves {electrons} electrons")
    if unpaired < 0 or unpaired > electrons or (electrons - unpaired) % 2:
        raise InputError(
            f"{label}: {electrons} electrons cannot have multiplicity {molecule.multiplicity}; "
            "check charge and multiplicity"
        )
    _check_distances(molecule, label)
    _check_reference(molecule, level, label)


def check_request(level: Level, request: Request) -> None:
    """Refuse what is asked for together and cannot be had together.

    Raises
    ------
    SettingsError
        For the vibrations, or a minimum of the geometry, of a state that is found by following an
        instability: surfaces are those of restricted singlets; for a beta at frequencies with
        damping.
    """
    dynamic = any(any(triple) for _, triple in request.hyperpolarizabilities)
    if level.damping is not UNSET and dynamic:
        raise SettingsError(
            "level: damping is of alpha alone, and a beta at frequencies is asked for: compute it "
            "apart, at a level without damping"
        )
    surface = "zpve" in request.properties or request.optimize
    if level.instability == "follow" and surface:
        raise SettingsError(
            'level: instability = "follow" goes neither with zpve nor with optimize; compute them '
            "apart, at a level without it"
        )


def check_room(molecule: Molecule, basis: BasisSet) -> None:
    """Refuse more electrons of one spin than the basis set has orbitals for.

    An SCF that begins with them fails far from here, or computes on with those that fit.

    Raises
    ------
    InputError
    """
    alpha = (molecule.electrons + molecule.multiplicity - 1) // 2
    if alpha > basis.functions and not basis.ecp:
        raise InputError(
            f"{molecule.name or molecule.formula}: {alpha} electrons of one spin do not fit into "
            f"{basis.functions} orbitals ({basis.name}); choose a larger basis or a lower "
            "multiplicity"
        )


def _check_distances(molecule: Molecule, label: str) -> None:
    distances = np.linalg.norm(
        molecule.positions[:, None, :] - molecule.positions[None, :, :], axis=-1
    )
    distances[np.diag_indices(len(molecule))] = np.inf
    first, second = np.unravel_index(np.argmin(distances), distances.shape)
    if distances[first, second] < _CLOSEST_NUCLEI:
        raise InputError(
            f"{label}: atoms {first + 1} ({molecule.symbols[first]}) and {second + 1} "
            f"({molecule.symbols[second]}) are {distances[first, second]:.3f} angstrom apart; "
            "are the positions in angstrom?"
        )


def _check_reference(molecule: Molecule, level: Level, label: str) -> None:
    """A singlet is restricted here and everything else unrestricted, whatever the name says."""
    restricted = {"RHF": True, "UHF": False}.get(level.method.strip().upper())
    closed_shell = molecule.multiplicity == 1
    if restricted is not None and restricted != closed_shell:
        raise InputError(
            f"{label}: {level.method.strip().upper()} of multiplicity {molecule.multiplicity} is "
            "not done here: singlets are restricted, all others unrestricted; say HF, or give "
            "another multiplicity"
        )
