"""The molecule: what every later room receives."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

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
_KEY_RECIPE = b"hpcml molecule 1\0"
_ISOTOPES_RECIPE = b"isotopes\0"  # before the mass numbers of a molecule that has any


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
        digest = hashlib.sha256(_KEY_RECIPE)
        digest.update(np.array([self.charge, self.multiplicity], "<i8").tobytes())
        digest.update(self.numbers.astype("<i8").tobytes())
        digest.update(np.rint(self.positions / _KEY_RESOLUTION).astype("<i8").tobytes())
        if self.isotopes.any():
            digest.update(_ISOTOPES_RECIPE + self.isotopes.astype("<i8").tobytes())
        return digest.hexdigest()[:32]

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
        """Masses of the atoms, (N,) float64, unified atomic mass units."""
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


def mean_mass(number: int) -> float:
    """Mean mass of an element's natural isotopes in unified atomic mass units."""
    return float(_PERIODIC_TABLE.GetAtomicWeight(number))


def molecule_keys(columns: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8]:
    """``Molecule.key`` of many molecules laid end to end, without a Molecule for each.

    For ten million rows the objects alone would take minutes.

    Parameters
    ----------
    columns
        "charge" and "multiplicity", (M,) integers; "numbers", (A,) integers; "positions", (A, 3)
        in angstrom; "atom_offsets", (M + 1,), where each molecule's atoms begin and end; and,
        where there are any, "isotopes", (A,) mass numbers.

    Returns
    -------
    (M, 16) uint8 array
        The 16 bytes of each key.

    Raises
    ------
    InputError
        Where some row is no molecule at all.
    """
    numbers, positions, cuts = (columns[c] for c in ("numbers", "positions", "atom_offsets"))
    if (
        not np.isfinite(positions).all()
        or (len(numbers) and not 1 <= numbers.min() <= numbers.max() <= 118)
        or (np.diff(cuts) < 1).any()
    ):
        raise InputError("a row has no atoms, no such element, or a position that is no number")
    electrons = np.stack([columns["charge"], columns["multiplicity"]], axis=1).astype("<i8")
    with np.errstate(invalid="ignore"):  # a position beyond 1e12 angstrom has no key of its own
        micro = np.rint(positions / _KEY_RESOLUTION).astype("<i8").tobytes()
    heads, nuclei, ends = electrons.tobytes(), numbers.astype("<i8").tobytes(), cuts.tolist()
    start = hashlib.sha256(_KEY_RECIPE)
    digests = []
    isotopes = columns.get("isotopes")
    for row, (a, b) in enumerate(pairwise(ends)):
        digest = start.copy()
        digest.update(heads[16 * row : 16 * row + 16] + nuclei[8 * a : 8 * b])
        digest.update(micro[24 * a : 24 * b])
        if isotopes is not None and isotopes[a:b].any():
            digest.update(_ISOTOPES_RECIPE + isotopes[a:b].astype("<i8").tobytes())
        digests.append(digest.digest()[:16])
    return np.frombuffer(b"".join(digests), "u1").reshape(-1, 16)
