"""One atom of an xyz file: its element in all the ways people write it, and where it is."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

from hpcml.errors import InputError
from hpcml.molecules.molecule import atomic_number, isotope_mass, mean_mass, symbol
from hpcml.molecules.records import shown

PLAIN_COLUMNS = {"species": 0, "pos": 1}
"""Where species and positions begin in a file that does not say it."""

INTEGER = re.compile(r"[+-]?\d{1,9}$", re.ASCII)

_LABEL = re.compile(r"\[?(\d{0,3})([A-Za-z]+)(.*)$", re.DOTALL)
_ISOTOPE_IN_LABEL = re.compile(r"\(.*\biso\s*=\s*(\d{1,3})\b", re.IGNORECASE)
_CHARGE_IN_LABEL = re.compile(r"(\d?)([+-])\]?$", re.ASCII)
_GHOST = re.compile(r"ghost|dummy|\bbq|:gh", re.IGNORECASE)
_MASSES_AGREE = 0.05  # u; isotopes lie about 1 apart
_HYDROGENS = {"D": 2, "T": 3}  # symbols of isotopes
_DECIMAL_COMMA = re.compile(r"[+-]?(\d+,\d*|,\d+)([eEdD][+-]?\d+)?", re.ASCII)


class Species(NamedTuple):
    """What a word says of a nucleus.

    number    atomic number
    isotope   mass number, 0 for the most abundant
    charge    that the label carries, as ``Na+`` does
    """

    number: int
    isotope: int
    charge: int


class Atom(NamedTuple):
    """A species and its position in angstrom."""

    species: Species
    position: tuple[float, float, float]


def read_atom(line: str, columns: dict[str, int] = PLAIN_COLUMNS) -> Atom:
    """The atom of a line; InputError if it is none.

    columns   where the line has ``species``, ``pos`` and, maybe, ``isotopes`` or ``masses``
    """
    words = _words(line)
    species, pos = columns["species"], columns["pos"]
    if len(words) <= max(species, pos + 2):
        raise InputError(f"expected an element and x y z, found {shown(line)}")
    if columns is PLAIN_COLUMNS:
        _refuse_frozen_atoms(words, line)
    nucleus = read_species(words[species])
    if "isotopes" in columns:
        nucleus = nucleus._replace(isotope=_isotope(words, columns["isotopes"]))
    elif not nucleus.isotope and (column := columns.get("masses", columns.get("mass"))):
        nucleus = nucleus._replace(isotope=_isotope_of_mass(words, column, nucleus.number))
    try:
        x, y, z = (_number(word) for word in words[pos : pos + 3])
    except ValueError:
        raise InputError(f"expected three coordinates in angstrom, found {shown(line)}") from None
    return Atom(nucleus, (x, y, z))


def begins_like_an_atom(line: str) -> bool:
    """Whether a line has an element's label and then a number, whatever follows."""
    words = _words(line)
    if len(words) < 2 or words[0].isdigit():
        return False
    try:
        read_species(words[0])
        _number(words[1])
    except (InputError, ValueError):
        return False
    return True


@lru_cache(maxsize=4096)
def read_species(word: str) -> Species:
    """The nucleus of a word: a symbol, an atomic number, or a label such as O1, C_alpha, Na+,
    13C, D, H(iso=2); InputError where it is none, or may be one of two elements."""
    if word.isascii() and word.isdigit():
        if not 1 <= int(word[:4]) <= 118:
            raise InputError(f"{shown(word)} is not an element")
        return Species(int(word), 0, 0)
    word = word.strip("\"'")
    label = _LABEL.match(word)
    if label is None or _GHOST.search(word):
        raise InputError(f"{shown(word)} is not an element symbol")
    mass, letters, rest = label.groups()
    charge = _CHARGE_IN_LABEL.fullmatch(rest)
    if rest and not charge:
        _refuse_two_readings(word, letters)
    isotope = int(mass or 0)
    if named := _ISOTOPE_IN_LABEL.search(rest):
        isotope = int(named[1])
    if letters.upper() in _HYDROGENS:
        number, isotope = 1, _HYDROGENS[letters.upper()]
    else:
        try:
            number = atomic_number(letters)
        except InputError:
            raise InputError(f"{shown(word)} is not an element symbol") from None
    unit = int(f"{charge[2]}1") if charge else 0
    return Species(number, isotope, unit * int(charge[1] or 1) if charge else 0)


def _refuse_two_readings(word: str, letters: str) -> None:
    """CA1 may be the first calcium or an alpha carbon, as in PDB files; CL1 is chlorine."""
    if len(letters) != 2 or not letters.isupper() or letters in ("CL", "BR"):
        return
    try:
        atomic_number(letters[0])
    except InputError:
        return
    raise InputError(
        f"{shown(word)} may be {letters[0]} or {letters.capitalize()}: write the element's symbol"
    )


def _refuse_frozen_atoms(words: list[str], line: str) -> None:
    """Gaussian writes 0 or -1 (frozen) between element and position: no x, but it reads as one."""
    if len(words) == 5 and words[1] in ("0", "-1") and all("." in word for word in words[2:]):
        raise InputError(
            f"{shown(line)}: {words[1]} may be x, or say whether the atom is frozen (Gaussian); "
            "write the element, then x y z"
        )


def _words(line: str) -> list[str]:
    """The words of a line, at blanks, or at the semicolons or commas that part them."""
    words = line.split()
    if len(words) == 1 or any(word.endswith((",", ";")) for word in words):
        words = re.split(r"[\s;]+" if ";" in line else r"[\s,]+", line.strip().rstrip(",;"))
    return words


def _isotope(words: list[str], column: int) -> int:
    word = words[column] if column < len(words) else ""
    if not INTEGER.match(word) or int(word) < 0:
        raise InputError(f"isotopes: expected a mass number or 0, found {shown(word)}")
    return int(word)


def _isotope_of_mass(words: list[str], column: int, number: int) -> int:
    """The isotope of a mass in u, 0 for the most abundant and for the elements' mean masses."""
    try:
        mass = _number(words[column])
    except (ValueError, IndexError):
        raise InputError(f"masses: expected a mass in u, found {shown(' '.join(words))}") from None
    if min(abs(mass - isotope_mass(number, 0)), abs(mass - mean_mass(number))) < _MASSES_AGREE:
        return 0
    isotope = round(mass)
    with suppress(InputError):
        if abs(mass - isotope_mass(number, isotope)) < _MASSES_AGREE:
            return isotope
    raise InputError(f"masses: no isotope of {symbol(number)} has a mass of {mass:g} u")


def _number(word: str) -> float:
    """A number as C, Fortran (1.0D-3), Mathematica (1.0*^-3, in QM9's own files) and those who
    put a comma for the decimal point write it."""
    if "_" in word:  # which Python would read over
        raise ValueError(word)
    try:
        return float(word)
    except ValueError:
        if _DECIMAL_COMMA.fullmatch(word):
            word = word.replace(",", ".")
        return float(word.replace("*^", "e").replace("D", "e").replace("d", "e"))
