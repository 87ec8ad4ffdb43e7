"""Conversion factors out of atomic units, all in this one place.

Constants are CODATA 2018 (Tiesinga et al., Rev. Mod. Phys. 93, 025010 (2021)), the set that
Psi4 uses from version 1.4 on.  Every constant is the value of one atomic unit in the unit
that its name ends with: ``x_in_unit = x_in_atomic_units * CONSTANT``.

A conversion of units is not a conversion of convention.  hpcml's first hyperpolarizability
follows the Taylor series mu = mu0 + alpha F + 1/2 beta F F ("T convention").  The perturbation
series mu = mu0 + alpha F + beta F F ("B convention") has beta_B = beta_T / 2, and the optical
one, mu(2w) = beta_X F(w)^2 with real field amplitudes, has beta_X = beta_T / 4 for SHG
(Willetts, Rice, Burland and Shelton, J. Chem. Phys. 97, 7590 (1992)).
"""

from __future__ import annotations

import math

# Exact by definition of the SI, or CODATA 2018.
_ELEMENTARY_CHARGE = 1.602176634e-19  # C
_PLANCK = 6.62607015e-34  # J s
_SPEED_OF_LIGHT = 299792458.0  # m/s
_AVOGADRO = 6.02214076e23  # 1/mol
_BOHR = 5.29177210903e-11  # m
_HARTREE = 4.3597447222071e-18  # J
_ELECTRON_MASS = 9.1093837015e-31  # kg
_ATOMIC_MASS = 1.66053906660e-27  # kg
_VACUUM_PERMITTIVITY = 8.8541878128e-12  # F/m

# 1 statcoulomb is 1e-1 / c (in m/s) coulomb; 1 debye is 1e-18 statC cm.
_STATCOULOMB = 0.1 / _SPEED_OF_LIGHT  # C

ANGSTROM = _BOHR * 1e10
"""Length: angstrom per bohr."""

ATOMIC_MASS_UNIT = _ELECTRON_MASS / _ATOMIC_MASS
"""Mass: unified atomic mass units per electron mass."""

JOULE = _HARTREE
ELECTRONVOLT = _HARTREE / _ELEMENTARY_CHARGE
KILOJOULE_PER_MOLE = _HARTREE * _AVOGADRO * 1e-3
KILOCALORIE_PER_MOLE = KILOJOULE_PER_MOLE / 4.184
"""Energy: J, eV, kJ/mol and kcal/mol (thermochemical calorie) per hartree."""

INVERSE_CENTIMETRE = _HARTREE / (_PLANCK * _SPEED_OF_LIGHT) * 1e-2
"""Wavenumber: cm^-1 per hartree; a harmonic mode of w hartree has w times this."""

DIPOLE_SI = _ELEMENTARY_CHARGE * _BOHR
DIPOLE_ESU = DIPOLE_SI / (_STATCOULOMB * 1e-2)
DEBYE = DIPOLE_ESU * 1e18
"""Dipole: C m, statC cm, and debye per e bohr."""

POLARIZABILITY_SI = DIPOLE_SI**2 / _HARTREE
POLARIZABILITY_ESU = DIPOLE_ESU**2 / (_HARTREE * 1e7)
POLARIZABILITY_CUBIC_ANGSTROM = POLARIZABILITY_ESU * 1e24
"""Polarizability: C^2 m^2 / J, cm^3 (esu), and the same volume in angstrom^3, per bohr^3."""

HYPERPOLARIZABILITY_SI = DIPOLE_SI**3 / _HARTREE**2
HYPERPOLARIZABILITY_ESU = DIPOLE_ESU**3 / (_HARTREE * 1e7) ** 2

# second hyperpolarizability: e^4 a0^4 Eh^-3 to C^4 m^4 J^-3 and statC^4 cm^4 erg^-3
SECOND_HYPERPOLARIZABILITY_SI = DIPOLE_SI**4 / _HARTREE**3
SECOND_HYPERPOLARIZABILITY_ESU = DIPOLE_ESU**4 / (_HARTREE * 1e7) ** 3
"""First hyperpolarizability, same convention before and after: C^3 m^3 / J^2, and
cm^4 / statC (equal to statC^3 cm^3 / erg^2, printed by most authors as "esu")."""

FIELD_SI = _HARTREE / DIPOLE_SI
"""Electric field: V/m per hartree / (e bohr)."""

INFRARED_INTENSITY = (
    _AVOGADRO
    * _ELEMENTARY_CHARGE**2
    / (12.0 * _VACUUM_PERMITTIVITY * _SPEED_OF_LIGHT**2 * _ELECTRON_MASS)
    * 1e-3
)
"""Infrared absorption: km/mol per (dmu/dQ)^2 in e^2 / m_e, integrated over wavenumbers
(Wilson, Decius and Cross, "Molecular Vibrations" (1955), chapter 7)."""


def frequency_from_wavelength(nanometre: float) -> float:
    """Angular frequency in hartree of light of this vacuum wavelength in nanometres.

    >>> round(frequency_from_wavelength(1064.0), 6)
    0.042823
    """
    return _PLANCK * _SPEED_OF_LIGHT / (nanometre * 1e-9) / _HARTREE


def wavelength_from_frequency(hartree: float) -> float:
    """Vacuum wavelength in nanometres of light of this angular frequency; inf for 0."""
    return math.inf if hartree == 0.0 else frequency_from_wavelength(1.0) / abs(hartree)
