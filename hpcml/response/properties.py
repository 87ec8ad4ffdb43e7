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
from hpcml.response import invariants

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Polarizability:
    """alpha_ij(-w; w) in bohr^3 at frequency w in hartree; tensor: (3, 3).

    ``imaginary`` is (3, 3) where the level has damping (of which ``tensor`` is the real part then),
    positive where light is absorbed; else None.
    """

    frequency: float
    tensor: Array
    imaginary: Array | None = None

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

        A beta_parallel without a dipole, the depolarization ratio of a beta that vanishes, a ZPVE
        and frequencies that nobody asked for are null;
        ``imaginary`` of an alpha appears with damping alone,
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
                    **({} if alpha.imaginary is None else {"imaginary": alpha.imaginary.tolist()}),
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
                    "hrs": beta.hrs,
                    "depolarization_ratio": _null_for_nan(beta.depolarization_ratio),
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
                    Polarizability(
                        float(entry["frequency"]),
                        _array(entry["tensor"], (3, 3)),
                        _array(entry["imaginary"], (3, 3)) if "imaginary" in entry else None,
                    )
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
