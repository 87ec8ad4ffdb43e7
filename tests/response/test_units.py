"""Conversion factors against CODATA's printed values and against qcelemental's own table."""

from __future__ import annotations

import numpy as np
import pytest
import qcelemental

from hpcml.response import units


@pytest.mark.parametrize(
    ("factor", "printed"),
    [
        # NIST's table of atomic units, CODATA 2018 (physics.nist.gov/cuu/Constants).
        (units.DIPOLE_SI, 8.4783536255e-30),
        (units.POLARIZABILITY_SI, 1.64877727436e-41),
        (units.HYPERPOLARIZABILITY_SI, 3.2063613061e-53),
        (units.FIELD_SI, 5.14220674763e11),
        (units.ELECTRONVOLT, 27.211386245988),
        (units.INVERSE_CENTIMETRE, 219474.63136320),
        (units.ANGSTROM, 0.529177210903),
        (1.0 / units.ATOMIC_MASS_UNIT, 1822.888486209),
        # Willetts, Rice, Burland and Shelton 1992; Shelton and Rice 1994: older constants.
        (units.DEBYE, 2.541746),
        (units.POLARIZABILITY_ESU, 1.481847e-25),
        (units.HYPERPOLARIZABILITY_ESU, 8.639418e-33),
        # km/mol per (debye/angstrom)^2 / amu is 42.2561 in the textbooks.
        (
            units.INFRARED_INTENSITY / (units.DEBYE / units.ANGSTROM) ** 2 * units.ATOMIC_MASS_UNIT,
            42.2561,
        ),
    ],
)
def test_against_printed_values(factor: float, printed: float) -> None:
    digits = len(f"{printed:.12g}".replace(".", "").split("e")[0])
    assert factor == pytest.approx(printed, rel=max(1e-9, 2 * 10.0 ** (1 - digits)))


@pytest.mark.parametrize(
    ("factor", "unit"),
    [
        (units.ELECTRONVOLT, "eV"),
        (units.KILOJOULE_PER_MOLE, "kJ/mol"),
        (units.KILOCALORIE_PER_MOLE, "kcal/mol"),
        (units.INVERSE_CENTIMETRE, "wavenumber"),
    ],
)
def test_energies_against_qcelemental(factor: float, unit: str) -> None:
    # Debian's qcelemental holds CODATA 2014: the two sets agree to 1e-7.
    assert factor == pytest.approx(
        qcelemental.constants.conversion_factor("hartree", unit), rel=1e-7
    )


def test_wavelengths() -> None:
    assert units.frequency_from_wavelength(1064.0) == pytest.approx(0.0428227, abs=1e-7)
    assert units.wavelength_from_frequency(0.0) == np.inf
    for nanometre in (355.0, 632.8, 1907.0):
        hartree = units.frequency_from_wavelength(nanometre)
        assert units.wavelength_from_frequency(-hartree) == pytest.approx(nanometre)
