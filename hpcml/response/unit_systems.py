"""Response properties in other units than atomic ones: esu (Gaussian cgs), or SI.

A system changes units alone, never the convention: beta stays that of the Taylor series
mu = mu0 + alpha F + 1/2 beta F F (``units`` says what other conventions divide it by).  Energies
and zero-point energies stay in hartree, light's frequencies too, vibrations in cm^-1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from hpcml.response import units


class UnitSystem(msgspec.Struct, frozen=True, kw_only=True):
    """Units of the kinds of response.

    name           its word on the command line
    dipole, polarizability, hyperpolarizability, second_hyperpolarizability    value of one atomic
                   unit, and the unit
    """

    name: str
    dipole: tuple[float, str]
    polarizability: tuple[float, str]
    hyperpolarizability: tuple[float, str]
    second_hyperpolarizability: tuple[float, str]

    def of(self, quantity: str) -> tuple[float, str]:
        """Value of the atomic unit, and the unit, of whatever is named after a property:
        ``share_alpha_iso``, ``beta_hrs``; 1 and "" for what the systems do not differ in."""
        words = {
            "dipole": self.dipole,
            "alpha": self.polarizability,
            "beta": self.hyperpolarizability,
            "gamma": self.second_hyperpolarizability,
        }
        return next((unit for word, unit in words.items() if word in quantity), (1.0, ""))


AU = UnitSystem(
    name="au",
    dipole=(1.0, "e a0"),
    polarizability=(1.0, "e^2 a0^2 Eh^-1"),
    hyperpolarizability=(1.0, "e^3 a0^3 Eh^-2"),
    second_hyperpolarizability=(1.0, "e^4 a0^4 Eh^-3"),
)
ESU = UnitSystem(
    name="esu",
    dipole=(units.DIPOLE_ESU, "statC cm"),
    polarizability=(units.POLARIZABILITY_ESU, "cm^3"),
    hyperpolarizability=(units.HYPERPOLARIZABILITY_ESU, "statC^3 cm^3 erg^-2"),
    second_hyperpolarizability=(units.SECOND_HYPERPOLARIZABILITY_ESU, "statC^4 cm^4 erg^-3"),
)
SI = UnitSystem(
    name="si",
    dipole=(units.DIPOLE_SI, "C m"),
    polarizability=(units.POLARIZABILITY_SI, "C^2 m^2 J^-1"),
    hyperpolarizability=(units.HYPERPOLARIZABILITY_SI, "C^3 m^3 J^-2"),
    second_hyperpolarizability=(units.SECOND_HYPERPOLARIZABILITY_SI, "C^4 m^4 J^-3"),
)

SYSTEMS = {system.name: system for system in (AU, ESU, SI)}
"""By the word of the command line."""


def in_units(document: Mapping[str, Any], system: UnitSystem) -> dict[str, Any]:
    """``ResponseProperties.to_json`` in another system's units.

    Without a dipole beta_parallel is null before and after: what counts as none is decided in
    atomic units.
    """
    if system is AU:
        return dict(document)
    alpha, beta = system.polarizability[0], system.hyperpolarizability[0]
    converted = {
        **document,
        "dipole": _times(document["dipole"], system.dipole[0]),
        "polarizability": [
            _scaled(one, ("tensor", "isotropic", "anisotropy"), alpha)
            for one in document["polarizability"]
        ],
        "hyperpolarizability": [
            _scaled(one, ("tensor", "parallel", "vector", "hrs"), beta)
            for one in document["hyperpolarizability"]
        ],
    }
    if "second_hyperpolarizability" in document:
        converted["second_hyperpolarizability"] = [
            _scaled(one, ("tensor", "parallel"), system.second_hyperpolarizability[0])
            for one in document["second_hyperpolarizability"]
        ]
    if "shares" in document:
        converted["shares"] = {
            name: _times(values, system.of(name)[0]) for name, values in document["shares"].items()
        }
    return converted


def _scaled(entry: Mapping[str, Any], names: tuple[str, ...], factor: float) -> dict[str, Any]:
    return {**entry, **{name: _times(entry[name], factor) for name in names}}


def _times(value: Any, factor: float) -> Any:
    return None if value is None else (np.asarray(value, np.float64) * factor).tolist()
