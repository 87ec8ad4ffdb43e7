"""The molecule: what every later room receives."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rdkit.Chem import GetPeriodicTable

from hpcml.errors import InputError

_PERIODIC_TABLE = GetPeriodicTable()
_SYMBOLS = ("", *(str(_PERIODIC_TABLE.GetElementSymbol(number)) for number in range(1, 119)))
# RDKit's own look-up writes the stack of its libraries to the terminal where there is no such
# element.
_NUMBERS = {element: number for number, element in enumerate(_SYMBOLS) if number}
_KEY_RESOLUTION = 1e-6  # angstrom; positions that agree to this are the same molecule


def symbol(number: int) -> str:
    """Element symbol of an atomic number from 1 to 118."""
    return _SYMBOLS[int(number)]


def atomic_number(element: str) -> int:
    """Atomic number of an element symbol in any case; InputError if there is none."""
    number = _NUMBERS.get(element.strip().capitalize())
    if number is None:
        raise InputError(f"{element!r} is not an element symbol")
    return number


def isotope_mass(number: int, isotope: int) -> float:
    """Mass of a nucleus with its electrons, by RDKit's table.

    Parameters
    ----------
    number : int
        Atomic number.
    isotope : int
        Mass number, or 0 for the most abundant isotope.

    Returns
    -------
    float
        Unified atomic mass units.

    Raises
    ------
    InputError
        No such isotope is known.
    """
    if isotope == 0:
        return float(_PERIODIC_TABLE.GetMostCommonIsotopeMass(number))
    mass = 0.0
    if 0 < isotope < 1000:
        mass = float(_PERIODIC_TABLE.GetMassForIsotope(number, isotope))
    if mass <= 0.0:
        raise InputError(f"{symbol(number)} has no known isotope of mass number {isotope}")
    return mass


def molecule_keys(
    numbers: NDArray[np.integer],
    positions: NDArray[np.float64],
    offsets: ArrayLike,
    *,
    charges: ArrayLike,
    multiplicities: ArrayLike,
    isotopes: NDArray[np.integer] | None = None,
) -> NDArray[np.uint8]:
    """``Molecule.key`` of many molecules whose atoms lie end to end.

    Parameters
    ----------
    numbers : (A,) array of int
        Atomic numbers.
    positions : (A, 3) array of float64
        Angstrom.
    offsets : (N + 1,) array of int
        Molecule i has the atoms offsets[i] to offsets[i + 1].
    charges, multiplicities : (N,) array of int
    isotopes : (A,) array of int, optional
        Mass numbers, 0 for the most abundant isotope.

    Returns
    -------
    (N, 16) array of uint8
        The keys' bytes.
    """
    states = np.stack([np.asarray(charges), np.asarray(multiplicities)], axis=1)
    states_bytes = states.astype("<i8").tobytes()
    nuclei = numbers.astype("<i8").tobytes()
    with np.errstate(invalid="ignore"):  # a position beyond 1e12 angstrom has no key of its own
        grid = np.rint(positions / _KEY_RESOLUTION).astype("<i8").tobytes()
    start = hashlib.sha256(b"hpcml molecule 1\0")
    digests = []
    for row, (a, b) in enumerate(pairwise(np.asarray(offsets).tolist())):
        digest = start.copy()
        digest.update(states_bytes[16 * row : 16 * row + 16] + nuclei[8 * a : 8 * b])
        digest.update(grid[24 * a : 24 * b])
        if isotopes is not None and isotopes[a:b].any():
            digest.update(b"isotopes\0" + isotopes[a:b].astype("<i8").tobytes())
        digests.append(digest.digest()[:16])
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 16)


@dataclass(frozen=True, eq=False)
class Molecule:
    """Nuclei in space with a charge and a multiplicity; immutable, compared by ``key``.

    numbers        (n,) int64, atomic numbers
    positions      (n, 3) float64, angstrom
    charge         in units of e
    multiplicity   2S + 1
    name, smiles   labels; no part of the key
    isotopes       (n,) int64, mass numbers; 0 for the most abundant isotope, and one that is
                   named and the most abundant becomes 0
    """

    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    charge: int = 0
    multiplicity: int = 1
    name: str = ""
    smiles: str = ""
    isotopes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        numbers = np.array(self.numbers, dtype=np.int64)
        positions = np.array(self.positions, dtype=np.float64)
        label = f"molecule {self.name!r}" if self.name else "molecule"
        for words in (self.name, self.smiles):
            if not words.isascii() and any("\ud800" <= letter <= "\udfff" for letter in words):
                raise InputError(f"{label}: {words!r} is not Unicode text (a lone surrogate)")
        if numbers.ndim != 1 or numbers.size == 0:
            raise InputError(f"{label}: has no atoms")
        if positions.shape != (numbers.size, 3):
            raise InputError(
                f"{label}: {numbers.size} atoms need positions of shape "
                f"({numbers.size}, 3), got {positions.shape}"
            )
        if not np.isfinite(positions).all():
            raise InputError(f"{label}: a position is not a finite number")
        if numbers.min() < 1 or numbers.max() > 118:
            raise InputError(f"{label}: atomic numbers must lie between 1 and 118")
        isotopes = _settled_isotopes(numbers, self.isotopes, label)
        for name, array in (("numbers", numbers), ("positions", positions), ("isotopes", isotopes)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @cached_property
    def key(self) -> str:
        """32 hexadecimal digits of a hash over nuclei, geometry, charge and multiplicity.

        Positions enter rounded to 1e-6 angstrom, so that a molecule written to a text file
        and read back keeps its key.  Isotopes enter where there is one that is not the most
        abundant.
        """
        return (
            molecule_keys(
                self.numbers,
                self.positions,
                [0, len(self)],
                charges=[self.charge],
                multiplicities=[self.multiplicity],
                isotopes=self.isotopes,
            )
            .tobytes()
            .hex()
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Molecule) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __len__(self) -> int:
        return int(self.numbers.size)

    @property
    def symbols(self) -> list[str]:
        """Element symbols, (n,)."""
        return [symbol(number) for number in self.numbers]

    @property
    def masses(self) -> NDArray[np.float64]:
        """Masses of the atoms, (n,), unified atomic mass units."""
        pairs = zip(self.numbers.tolist(), self.isotopes.tolist(), strict=True)
        return np.array([isotope_mass(number, isotope) for number, isotope in pairs])

    @property
    def formula(self) -> str:
        """Hill formula: C, H, then the rest by alphabet; without carbon all by alphabet."""
        counts = Counter(self.symbols)
        first = ["C", "H"] if "C" in counts else []
        order = [s for s in first if s in counts] + sorted(s for s in counts if s not in first)
        return "".join(s + (str(counts[s]) if counts[s] > 1 else "") for s in order)

    @property
    def electrons(self) -> int:
        """Number of electrons: nuclear charge less molecular charge."""
        return int(self.numbers.sum()) - self.charge

    def __repr__(self) -> str:
        return f"Molecule({self.name or self.formula}, {len(self)} atoms, key {self.key[:8]})"


def _settled_isotopes(
    numbers: NDArray[np.int64], given: ArrayLike, label: str
) -> NDArray[np.int64]:
    """A mass number for each atom, 0 where it is that of the most abundant isotope."""
    isotopes = np.array(given, dtype=np.int64)
    if isotopes.size == 0:
        return np.zeros_like(numbers)
    if isotopes.shape != numbers.shape:
        raise InputError(f"{label}: {numbers.size} atoms and {isotopes.size} isotopes")
    for atom in np.flatnonzero(isotopes).tolist():
        number, isotope = int(numbers[atom]), int(isotopes[atom])
        if isotope == _PERIODIC_TABLE.GetMostCommonIsotope(number):
            isotopes[atom] = 0
            continue
        try:
            isotope_mass(number, isotope)
        except InputError as error:
            raise InputError(f"{label}: atom {atom + 1}: {error}") from None
    return isotopes
