"""Basis sets in the form that PySCF takes, out of the text that ``response.basis`` has checked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from hpcml.response.basis import BasisSet

Shells = list[list[Any]]
"""[[l, [exponent, coefficient], ...], ...]"""
Potential = list[Any]
"""[electrons of the core, [[l, [primitives of r^0, r^1, ...]], ...]]; l = -1 is the local part."""

_HEADER = re.compile(r"((?:-?[A-Za-z]{1,3}\s+)+)0$")
_POTENTIAL = re.compile(r"[A-Za-z]{1,3}-ECP\s+(\d+)\s+(\d+)$", re.IGNORECASE)
_MOMENTA = "spdfghiklm"


def in_pyscf(
    basis: BasisSet, symbols: Iterable[str]
) -> tuple[dict[str, Shells], dict[str, Potential]]:
    """Shells and effective core potentials of some elements, by symbol.

    symbols   those of the elements for which the basis set was resolved
    """
    assert basis.text is not None
    shells, potentials = _elements(basis.text)
    wanted = set(symbols)
    return (
        {name: shells[name.upper()] for name in wanted},
        {name: potentials[name.upper()] for name in wanted if name.upper() in potentials},
    )


@lru_cache(maxsize=4)
def _elements(text: str) -> tuple[dict[str, Shells], dict[str, Potential]]:
    """All elements of a gbs text, by symbol in upper case."""
    shells: dict[str, Shells] = {}
    potentials: dict[str, Potential] = {}
    lines = iter([line.strip() for line in text.splitlines() if line.strip()])
    line = next(lines, "")
    while line:
        header = _HEADER.match(line)
        line = next(lines, "")
        if header is None:
            continue
        names = [name.lstrip("-").upper() for name in header.group(1).split()]
        if potential := _POTENTIAL.match(line):
            highest, electrons = (int(group) for group in potential.groups())
            found_here = [electrons, list(_parts(lines, highest))]
            potentials |= dict.fromkeys(names, found_here)
            line = next(lines, "")
        else:
            found: Shells = []
            while line and not line.startswith("****"):
                found += _shell(line, lines)
                line = next(lines, "")
            shells |= dict.fromkeys(names, found)
    return shells, potentials


def _shell(line: str, lines: Iterator[str]) -> Shells:
    """The shells of one line and its primitives: two for SP."""
    letters, count = line.split()[:2]
    rows = [[_number(entry) for entry in next(lines).split()] for _ in range(int(count))]
    return [
        [_MOMENTA.index(letter), *([row[0], row[column]] for row in rows)]
        for column, letter in enumerate(letters.lower(), start=1)
    ]


def _parts(lines: Iterator[str], highest: int) -> Iterator[list[Any]]:
    """The parts of a potential: the local one first, then s, p, ... up to one below the highest."""
    for momentum in (-1, *range(highest)):
        next(lines)  # a title, such as "s-f potential"
        powers: list[list[list[float]]] = []
        for _ in range(int(next(lines).split()[0])):
            power, exponent, coefficient = next(lines).split()[:3]
            while len(powers) <= int(power):
                powers.append([])
            powers[int(power)].append([_number(exponent), _number(coefficient)])
        yield [momentum, powers]


def _number(entry: str) -> float:
    return float(entry.upper().replace("D", "E"))
