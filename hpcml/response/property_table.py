"""Response properties as text for the screen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcml.response import units
from hpcml.response.properties import (
    Hyperpolarizability,
    Polarizability,
    ResponseProperties,
    SecondHyperpolarizability,
)
from hpcml.response.unit_systems import AU, UnitSystem

Array = NDArray[np.float64]

_AXES = "xyz"


def property_table(
    properties: ResponseProperties, symbols: Sequence[str], system: UnitSystem = AU
) -> str:
    """The properties of one molecule; ``symbols`` name the atoms of the shares."""
    factor, unit = system.dipole
    norm = float(np.linalg.norm(properties.dipole))
    told = f"|mu| = {_number(norm * factor, system)} {unit} = {norm * units.DEBYE:.4f} D"
    lines = [
        f"energy        {properties.energy:20.10f} Eh",
        f"dipole        {_row(properties.dipole * factor, system)}   {told}",
    ]
    for alpha in properties.polarizability:
        lines += _polarizability_lines(alpha, system)
    for beta in properties.hyperpolarizability:
        lines += _hyperpolarizability_lines(beta, properties.dipole, system)
    for gamma in properties.second_hyperpolarizability:
        lines += _second_hyperpolarizability_lines(gamma, system)
    if properties.zpve is not None and properties.vibrational_frequencies is not None:
        lines += _vibration_lines(properties.zpve, properties.vibrational_frequencies)
    lines += _state_lines(properties.provenance)
    if properties.shares:
        lines += _share_lines(properties.shares, symbols, system)
    lines += [f"warning: {warning}" for warning in properties.provenance.get("warnings", [])]
    return "\n".join(lines)


def _number(value: float, system: UnitSystem) -> str:
    """Six decimals in atomic units, six digits of what other units make very small."""
    return f"{value:.6f}" if system is AU else f"{value:.6e}"


def _row(values: Array, system: UnitSystem) -> str:
    return " ".join(f"{_number(float(value), system):>14}" for value in values)


def _optical(frequency: float) -> str:
    if frequency == 0.0:
        return "static"
    return f"w = {frequency:.6f} Eh ({units.wavelength_from_frequency(frequency):.1f} nm)"


def _polarizability_lines(alpha: Polarizability, system: UnitSystem) -> list[str]:
    factor, unit = system.polarizability
    unit = "a0^3" if system is AU else unit
    iso = alpha.isotropic
    also = f" = {iso * units.POLARIZABILITY_CUBIC_ANGSTROM:.6f} angstrom^3"
    damped = []
    if alpha.imaginary is not None:
        damped = [
            f"imaginary part, {unit}",
            *(f"  {_AXES[i]}  {_row(alpha.imaginary[i] * factor, system)}" for i in range(3)),
        ]
    return [
        "",
        f"polarizability, {_optical(alpha.frequency)}, {unit}",
        *(f"  {_AXES[i]}  {_row(alpha.tensor[i] * factor, system)}" for i in range(3)),
        f"  isotropic {_number(iso * factor, system)} {unit}{also}"
        f"   anisotropy {_number(alpha.anisotropy * factor, system)}",
        *damped,
    ]


def _hyperpolarizability_lines(
    beta: Hyperpolarizability, dipole: Array, system: UnitSystem
) -> list[str]:
    factor, unit = system.hyperpolarizability
    unit = "a.u." if system is AU else unit
    sigma, first, second = beta.frequencies
    parallel = beta.parallel(dipole)
    along = f"{_number(parallel * factor, system)} {unit}"
    if system is AU:
        along += f" = {parallel * units.HYPERPOLARIZABILITY_ESU * 1e30:.6f}e-30 esu"
    if math.isnan(parallel):
        along = "undefined: the molecule has no dipole"
    rows = [(i, j, _row(beta.tensor[i, j] * factor, system)) for i in range(3) for j in range(3)]
    return [
        "",
        f"first hyperpolarizability, {beta.process}, "
        f"beta({sigma:.6f}; {first:.6f}, {second:.6f}), {unit}, Taylor convention",
        "  " + " " * 4 + " ".join(f"{axis:>14}" for axis in _AXES),
        *(f"  {_AXES[i]}{_AXES[j]}  {row}" for i, j, row in rows),
        f"  parallel  {along}",
        f"  vector    {_row(beta.vector * factor, system)}",
        f"  HRS       {_number(beta.hrs * factor, system)} {unit}"
        f"   depolarization ratio {beta.depolarization_ratio:.4f}",
    ]


def _second_hyperpolarizability_lines(
    gamma: SecondHyperpolarizability, system: UnitSystem
) -> list[str]:
    factor, unit = system.second_hyperpolarizability
    unit = "a.u." if system is AU else unit
    sigma, *others = gamma.frequencies
    pairs = np.einsum("iijj->ij", gamma.tensor) * factor
    return [
        "",
        f"second hyperpolarizability, {gamma.process} in a static field, "
        f"gamma({sigma:.6f}; {', '.join(f'{w:.6f}' for w in others)}), {unit}, Taylor convention",
        "  " + " " * 4 + " ".join(f"{2 * axis:>14}" for axis in _AXES),
        *(f"  {2 * _AXES[i]}  {_row(pairs[i], system)}" for i in range(3)),
        f"  parallel  {_number(gamma.parallel * factor, system)} {unit}",
    ]


def _state_lines(provenance: Mapping[str, Any]) -> list[str]:
    """What is known of the state by the way."""
    words = {"homo": "HOMO", "lumo": "LUMO", "first_excitation": "first excitation"}
    told = [
        f"{word} {provenance[name]:.6f} Eh"
        for name, word in words.items()
        if provenance.get(name) is not None
    ]
    if provenance.get("spin_squared") is not None:
        told.append(f"<S^2> {provenance['spin_squared']:.4f}")
    return ["", "state  " + "   ".join(told)] if told else []


def _vibration_lines(zpve: float, frequencies: Array) -> list[str]:
    rows = [frequencies[start : start + 6] for start in range(0, len(frequencies), 6)]
    return [
        "",
        f"zero-point energy {zpve:.8f} Eh = {zpve * units.KILOCALORIE_PER_MOLE:.4f} kcal/mol",
        "harmonic frequencies, cm^-1 (negative: imaginary)",
        *("  " + " ".join(f"{value:10.2f}" for value in row) for row in rows),
    ]


def _share_lines(shares: dict[str, Array], symbols: Sequence[str], system: UnitSystem) -> list[str]:
    form = "16.8f" if system is AU else "16.8e"
    told = {name: values * system.of(name)[0] for name, values in shares.items()}

    def line(label: str, values: list[float]) -> str:
        return f"  {label:8s}" + " ".join(f"{value:{form}}" for value in values)

    return [
        "",
        f"shares by atom, {'a.u.' if system is AU else 'in the units of the properties'}",
        "  " + " " * 8 + " ".join(f"{name:>16}" for name in shares),
        *(
            line(f"{index + 1:4d} {symbol}", [share[index] for share in told.values()])
            for index, symbol in enumerate(symbols)
        ),
        line("sum", [float(share.sum()) for share in told.values()]),
    ]
