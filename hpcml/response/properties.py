"""What a calculation gives back: the response properties of one molecule.

Atomic units, physical sign, Taylor convention, in the frame of the input geometry.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcml.errors import InputError
from hpcml.response import invariants, units

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Polarizability:
    """alpha_ij(-w; w) in bohr^3 at frequency w in hartree; tensor: (3, 3)."""

    frequency: float
    tensor: Array

    @property
    def isotropic(self) -> float:
        return invariants.isotropic(self.tensor)

    @property
    def anisotropy(self) -> float:
        return invariants.anisotropy(self.tensor)


@dataclass(frozen=True, eq=False)
class Hyperpolarizability:
    """beta_ijk(-w_sigma; w_1, w_2) in atomic units; tensor: (3, 3, 3).

    ``frequencies`` is (-w_sigma, w_1, w_2) in hartree; ``process`` is one of static, shg, eope,
    or, or another name that the caller gave to a pair of frequencies.
    """

    process: str
    frequencies: tuple[float, float, float]
    tensor: Array

    @property
    def vector(self) -> Array:
        """(3,) array, see ``invariants.beta_vector``."""
        return invariants.beta_vector(self.tensor)

    def parallel(self, dipole: Array) -> float:
        """beta_|| about this dipole; NaN where the molecule has none.

        Parameters
        ----------
        dipole : (3,) array
            In e a0.
        """
        return invariants.beta_parallel(self.tensor, dipole)

    @property
    def hrs(self) -> float:
        return invariants.beta_hrs(self.tensor)

    @property
    def depolarization_ratio(self) -> float:
        return invariants.depolarization_ratio(self.tensor)


@dataclass(frozen=True, eq=False)
class SecondHyperpolarizability:
    """gamma_ijkl(-w_sigma; w_1, w_2, 0) in atomic units, Taylor convention; (3, 3, 3, 3) tensor.

    ``process`` is that of the beta whose derivative by a static field it is.
    """

    process: str
    frequencies: tuple[float, float, float, float]
    tensor: Array

    @property
    def parallel(self) -> float:
        return invariants.gamma_parallel(self.tensor)


@dataclass(frozen=True, eq=False)
class ResponseProperties:
    """Everything that was asked for about one molecule, and how it was obtained.

    energy                   hartree
    dipole                   (3,) e bohr; about the centre of nuclear charge for an ion
    zpve                     harmonic zero-point energy, hartree
    vibrational_frequencies  (3n - 6 or 3n - 5,) cm^-1, imaginary ones negative
    shares                   name -> (n,), in the unit of the property; they sum to it
    provenance               JSON-able: program, version, method, basis, residuals, warnings
    """

    energy: float
    dipole: Array
    polarizability: list[Polarizability] = field(default_factory=list)
    hyperpolarizability: list[Hyperpolarizability] = field(default_factory=list)
    second_hyperpolarizability: list[SecondHyperpolarizability] = field(default_factory=list)
    zpve: float | None = None
    vibrational_frequencies: Array | None = None
    shares: dict[str, Array] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The document of ``hpcml compute --json``: plain lists and numbers, no NaN.

        A beta_parallel without a dipole, a ZPVE and frequencies that nobody asked for are null;
        the keys ``shares`` and ``second_hyperpolarizability`` appear only where asked for.
        """
        document: dict[str, Any] = {
            "energy": float(self.energy),
            "dipole": self.dipole.tolist(),
            "polarizability": [
                {
                    "frequency": float(alpha.frequency),
                    "tensor": alpha.tensor.tolist(),
                    "isotropic": alpha.isotropic,
                    "anisotropy": alpha.anisotropy,
                }
                for alpha in self.polarizability
            ],
            "hyperpolarizability": [
                {
                    "process": beta.process,
                    "frequencies": [float(w) for w in beta.frequencies],
                    "tensor": beta.tensor.tolist(),
                    "parallel": _null_for_nan(beta.parallel(self.dipole)),
                    "vector": beta.vector.tolist(),
                }
                for beta in self.hyperpolarizability
            ],
            "zpve": None if self.zpve is None else float(self.zpve),
            "frequencies": (
                None
                if self.vibrational_frequencies is None
                else self.vibrational_frequencies.tolist()
            ),
            "provenance": self.provenance,
        }
        if self.second_hyperpolarizability:
            document["second_hyperpolarizability"] = [
                {
                    "process": gamma.process,
                    "frequencies": [float(w) for w in gamma.frequencies],
                    "tensor": gamma.tensor.tolist(),
                    "parallel": gamma.parallel,
                }
                for gamma in self.second_hyperpolarizability
            ]
        if self.shares:
            document["shares"] = {name: share.tolist() for name, share in self.shares.items()}
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ResponseProperties:
        """Inverse of ``to_json``; the invariants are computed again from the tensors.

        Raises InputError for a missing key or an array of the wrong shape.
        """
        try:
            frequencies = document["frequencies"]
            return cls(
                energy=float(document["energy"]),
                dipole=_array(document["dipole"], (3,)),
                polarizability=[
                    Polarizability(float(entry["frequency"]), _array(entry["tensor"], (3, 3)))
                    for entry in document["polarizability"]
                ],
                hyperpolarizability=[
                    Hyperpolarizability(
                        str(entry["process"]),
                        _triple(entry["frequencies"]),
                        _array(entry["tensor"], (3, 3, 3)),
                    )
                    for entry in document["hyperpolarizability"]
                ],
                second_hyperpolarizability=[
                    SecondHyperpolarizability(
                        str(entry["process"]),
                        (*_triple(entry["frequencies"][:3]), float(entry["frequencies"][3])),
                        _array(entry["tensor"], (3, 3, 3, 3)),
                    )
                    for entry in document.get("second_hyperpolarizability", ())
                ],
                zpve=None if document["zpve"] is None else float(document["zpve"]),
                vibrational_frequencies=None if frequencies is None else _array(frequencies),
                shares={
                    name: _array(values) for name, values in document.get("shares", {}).items()
                },
                provenance=dict(document["provenance"]),
            )
        except KeyError as error:
            raise InputError(f"response properties: key {error} is missing") from error
        except (TypeError, ValueError) as error:
            raise InputError(f"response properties: {error}") from error

    def table(self, symbols: list[str]) -> str:
        """The properties as text for the screen; ``symbols`` name the atoms of the shares."""
        lines = [
            f"energy        {self.energy:20.10f} Eh",
            f"dipole        {_row(self.dipole)}   |mu| = {np.linalg.norm(self.dipole):.6f} e a0"
            f" = {np.linalg.norm(self.dipole) * units.DEBYE:.4f} D",
        ]
        for alpha in self.polarizability:
            lines += _polarizability_lines(alpha)
        for beta in self.hyperpolarizability:
            lines += _hyperpolarizability_lines(beta, self.dipole)
        for gamma in self.second_hyperpolarizability:
            lines += _second_hyperpolarizability_lines(gamma)
        if self.zpve is not None and self.vibrational_frequencies is not None:
            lines += _vibration_lines(self.zpve, self.vibrational_frequencies)
        lines += _state_lines(self.provenance)
        if self.shares:
            lines += _share_lines(self.shares, symbols)
        lines += [f"warning: {warning}" for warning in self.provenance.get("warnings", [])]
        return "\n".join(lines)


_AXES = "xyz"


def _row(values: Array) -> str:
    return " ".join(f"{value:14.6f}" for value in values)


def _optical(frequency: float) -> str:
    if frequency == 0.0:
        return "static"
    return f"w = {frequency:.6f} Eh ({units.wavelength_from_frequency(frequency):.1f} nm)"


def _polarizability_lines(alpha: Polarizability) -> list[str]:
    iso = alpha.isotropic
    return [
        "",
        f"polarizability, {_optical(alpha.frequency)}, a0^3",
        *(f"  {_AXES[i]}  {_row(alpha.tensor[i])}" for i in range(3)),
        f"  isotropic {iso:.6f} a0^3 = {iso * units.POLARIZABILITY_CUBIC_ANGSTROM:.6f} angstrom^3"
        f"   anisotropy {alpha.anisotropy:.6f}",
    ]


def _hyperpolarizability_lines(beta: Hyperpolarizability, dipole: Array) -> list[str]:
    sigma, first, second = beta.frequencies
    parallel = beta.parallel(dipole)
    along = (
        "undefined: the molecule has no dipole"
        if math.isnan(parallel)
        else f"{parallel:.6f} a.u. = {parallel * units.HYPERPOLARIZABILITY_ESU * 1e30:.6f}e-30 esu"
    )
    return [
        "",
        f"first hyperpolarizability, {beta.process}, "
        f"beta({sigma:.6f}; {first:.6f}, {second:.6f}), a.u., Taylor convention",
        "  " + " " * 4 + " ".join(f"{axis:>14}" for axis in _AXES),
        *(f"  {_AXES[i]}{_AXES[j]}  {_row(beta.tensor[i, j])}" for i in range(3) for j in range(3)),
        f"  parallel  {along}",
        f"  vector    {_row(beta.vector)}",
        f"  HRS       {beta.hrs:.6f} a.u.   depolarization ratio {beta.depolarization_ratio:.4f}",
    ]


def _second_hyperpolarizability_lines(gamma: SecondHyperpolarizability) -> list[str]:
    frequencies = gamma.frequencies
    return [
        "",
        f"second hyperpolarizability, {gamma.process} in a static field, "
        f"gamma({frequencies[0]:.6f}; {', '.join(f'{w:.6f}' for w in frequencies[1:])}), a.u., "
        "Taylor convention",
        *(
            f"  {_AXES[i]}{_AXES[i]}  {_row(np.einsum('jj->j', gamma.tensor[i, i]))}"
            for i in range(3)
        ),
        f"  parallel  {gamma.parallel:.6f}",
    ]


def _vibration_lines(zpve: float, frequencies: Array) -> list[str]:
    rows = [frequencies[start : start + 6] for start in range(0, len(frequencies), 6)]
    return [
        "",
        f"zero-point energy {zpve:.8f} Eh = {zpve * units.KILOCALORIE_PER_MOLE:.4f} kcal/mol",
        "harmonic frequencies, cm^-1 (negative: imaginary)",
        *("  " + " ".join(f"{value:10.2f}" for value in row) for row in rows),
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


def _share_lines(shares: dict[str, Array], symbols: list[str]) -> list[str]:
    def line(label: str, values: list[float]) -> str:
        return f"  {label:8s}" + " ".join(f"{value:16.8f}" for value in values)

    return [
        "",
        "shares by atom, a.u.",
        "  " + " " * 8 + " ".join(f"{name:>16}" for name in shares),
        *(
            line(f"{index + 1:4d} {symbol}", [share[index] for share in shares.values()])
            for index, symbol in enumerate(symbols)
        ),
        line("sum", [share.sum() for share in shares.values()]),
    ]


def _null_for_nan(value: float) -> float | None:
    return None if math.isnan(value) else value


def _array(values: Any, shape: tuple[int, ...] | None = None) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if shape is None and array.ndim == 1:
        return array
    if array.shape != shape:
        raise ValueError(f"an array has shape {array.shape} where {shape or '(n,)'} is needed")
    return array


def _triple(values: Any) -> tuple[float, float, float]:
    sigma, first, second = (float(value) for value in values)
    return sigma, first, second
