"""XYZ files: plain, multi-frame, and extended (`key=value` pairs in the comment line).

The extended form is that of ASE and libAtoms: ``Properties=species:S:1:pos:R:3:...`` names the
columns, quotes group words, backslashes escape quotes.  Coordinates are in angstrom.  Of the
keys, hpcml reads ``name``, ``smiles``, ``charge`` and ``multiplicity`` (or ``spin_multiplicity``).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from hpcml.errors import InputError
from hpcml.molecules.molecule import Molecule, atomic_number
from hpcml.molecules.records import Defect, label, printable, sound_molecule

_PAIR = re.compile(
    r"""([A-Za-z_][\w\-]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|(\{[^}]*\}|[^\s"']+))"""
)
_ESCAPED = re.compile(r"\\(.)")
_COUNT = re.compile(r"\s*\+?\d{1,9}\s*$", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,9}$", re.ASCII)
_HYDROGENS = {"D": 2, "T": 3}  # symbols of isotopes
_PLAIN_COLUMNS = {"species": 0, "pos": 1}
_MOST_COLUMNS = 10_000


class _Lines:
    """The lines of a file with their numbers, and as many looked at ahead as are asked for."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._rest = iter(lines)
        self._ahead: deque[str] = deque()
        self.number = 1  # of the line that ``peek(0)`` shows

    def peek(self, ahead: int) -> str | None:
        while len(self._ahead) <= ahead:
            line = next(self._rest, None)
            if line is None:
                return None
            self._ahead.append(line.rstrip("\r\n"))
        return self._ahead[ahead]

    def skip(self, count: int) -> None:
        for _ in range(count):
            if self.peek(0) is None:
                return
            self._ahead.popleft()
            self.number += 1


class _BrokenFrameError(InputError):
    """A frame that gives no molecule, with the line that says so, counted from its first."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def read_xyz(path: Path) -> Iterator[Molecule | Defect]:
    """Every frame of an XYZ file as a molecule, or as the defect that keeps it from being one.

    After a broken frame reading goes on at the next line that can begin a frame.
    """
    with path.open(encoding="utf-8", errors="replace") as file:
        lines = _Lines(file)
        frame = 0
        while True:
            while (first := lines.peek(0)) is not None and not first.strip():
                lines.skip(1)
            if first is None:
                return
            frame += 1
            comment = lines.peek(1) or ""
            keys = _pairs(comment)
            name = label(keys.get("name", "" if keys else comment)) or f"{path.stem}-{frame}"
            try:
                molecule, length = _frame(lines, keys, name)
            except _BrokenFrameError as error:
                where = f"line {lines.number + error.line}"
                yield Defect(str(path), where, name, str(error))
                _skip_broken_frame(lines)
            else:
                yield molecule
                lines.skip(length)


def _frame(lines: _Lines, keys: dict[str, str], name: str) -> tuple[Molecule, int]:
    """The molecule of the frame that begins at the current line, and its number of lines."""
    first = lines.peek(0) or ""
    if not _COUNT.match(first):
        raise _BrokenFrameError(0, f"expected the number of atoms, found {_shown(first)}")
    count = int(first)
    if count == 0:
        raise _BrokenFrameError(0, "expected at least one atom, found 0")
    try:
        columns = _columns(keys)
        charge = _integer(keys, ("charge", "total_charge"))
        multiplicity = _integer(keys, ("multiplicity", "spin_multiplicity"))
        _refuse_periodic(keys)
    except InputError as error:
        raise _BrokenFrameError(1, str(error)) from None
    numbers, positions, isotopes = [], [], []
    for row in range(count):
        line = lines.peek(2 + row)
        if line is None or not line.strip() or _COUNT.match(line):
            raise _BrokenFrameError(
                2 + row, f"expected {count} atoms, found {row} before the frame's end"
            )
        try:
            number, isotope, position = _atom(line, columns)
        except InputError as error:
            raise _BrokenFrameError(2 + row, str(error)) from None
        numbers.append(number)
        positions.append(position)
        isotopes.append(isotope)
    try:
        molecule = sound_molecule(
            np.array(numbers, dtype=np.int64),
            np.array(positions, dtype=np.float64),
            charge=charge or 0,
            multiplicity=multiplicity,
            name=name,
            smiles=keys.get("smiles", ""),
            isotopes=isotopes,
        )
    except InputError as error:
        raise _BrokenFrameError(0, str(error)) from None
    return molecule, 2 + count


def _skip_broken_frame(lines: _Lines) -> None:
    """Go to the next line that can begin a frame: a count with an atom two lines below it.

    Where the frame's own count leads to such a line (or to the end), that one is taken, so that
    a stray number within the frame does not begin another.
    """
    first = lines.peek(0) or ""
    if _COUNT.match(first) and int(first) > 0:
        ahead = 2
        while ahead < 2 + int(first) and (line := lines.peek(ahead)) and line.strip():
            ahead += 1
        if ahead == 2 + int(first) and _may_begin_frame(lines, ahead):
            lines.skip(ahead)
            return
    lines.skip(1)
    while lines.peek(0) is not None and not _may_begin_frame(lines, 0):
        lines.skip(1)


def _may_begin_frame(lines: _Lines, ahead: int) -> bool:
    line = lines.peek(ahead)
    if line is None:
        return True
    if not line.strip():
        return ahead > 0 and _may_begin_frame_after_blank(lines, ahead)
    below = lines.peek(ahead + 2)
    return bool(_COUNT.match(line)) and below is not None and len(below.split()) >= 4


def _may_begin_frame_after_blank(lines: _Lines, ahead: int) -> bool:
    while (line := lines.peek(ahead)) is not None and not line.strip():
        ahead += 1
    return line is None or _may_begin_frame(lines, ahead)


def _pairs(comment: str) -> dict[str, str]:
    """The ``key=value`` pairs of a comment line, keys in lower case, quotes taken off."""
    found = {}
    for key, double, single, bare in _PAIR.findall(comment):
        quoted = double or single
        found[key.lower()] = _ESCAPED.sub(r"\1", quoted) if quoted else bare
    return found


def _columns(keys: dict[str, str]) -> dict[str, int]:
    """The column at which species (or atomic numbers) and positions begin."""
    if "properties" not in keys:
        return _PLAIN_COLUMNS
    words = keys["properties"].split(":")
    columns: dict[str, int] = {}
    at = 0
    for name, kind, width in zip(words[::3], words[1::3], words[2::3], strict=False):
        if kind not in ("S", "I", "R", "L") or not _INTEGER.match(width) or int(width) < 1:
            raise InputError(f"Properties: expected name:kind:count, found {name}:{kind}:{width}")
        columns["species" if name.lower() in ("species", "z", "numbers") else name.lower()] = at
        at += int(width)
        if at > _MOST_COLUMNS:
            raise InputError(f"Properties: more than {_MOST_COLUMNS} columns")
    if len(words) % 3 or "species" not in columns or "pos" not in columns:
        raise InputError(
            f"Properties: expected species:S:1 and pos:R:3, found {_shown(keys['properties'])}"
        )
    return columns


def _integer(keys: dict[str, str], names: tuple[str, ...]) -> int | None:
    for name in names:
        if name in keys:
            value = keys[name].removesuffix(".0")
            if not _INTEGER.match(value):
                raise InputError(f"{name}: expected an integer, found {_shown(keys[name])}")
            return int(value)
    return None


def _refuse_periodic(keys: dict[str, str]) -> None:
    periodic = keys.get("pbc", "T" if "lattice" in keys else "F").lower()
    if any(word in ("t", "true", "1") for word in re.split(r"[\s,\[\]]+", periodic)):
        raise InputError('expected a molecule, found a periodic cell (mark it pbc="F F F" if not)')


def _atom(line: str, columns: dict[str, int]) -> tuple[int, int, list[float]]:
    """Atomic number, mass number (0: the most abundant isotope) and position of a line."""
    words = line.split()
    species, pos = columns["species"], columns["pos"]
    if len(words) <= max(species, pos + 2):
        raise InputError(f"expected an element and x y z, found {_shown(line)}")
    element = words[species]
    isotope = _HYDROGENS.get(element.upper(), 0)
    if isotope:
        number = 1
    else:
        number = int(element) if element.isascii() and element.isdigit() else atomic_number(element)
    if "isotopes" in columns:
        isotope = _isotope(words, columns["isotopes"])
    if not 1 <= number <= 118:
        raise InputError(f"{_shown(element)} is not an element")
    try:
        return number, isotope, [_number(word) for word in words[pos : pos + 3]]
    except ValueError:
        raise InputError(f"expected three coordinates in angstrom, found {_shown(line)}") from None


def _isotope(words: list[str], column: int) -> int:
    word = words[column] if column < len(words) else ""
    if not _INTEGER.match(word) or int(word) < 0:
        raise InputError(f"isotopes: expected a mass number or 0, found {_shown(word)}")
    return int(word)


def _number(word: str) -> float:
    """A number as C, Fortran (1.0D-3) or Mathematica (1.0*^-3, in QM9's own files) write it."""
    if "_" in word:  # which Python would read over
        raise ValueError(word)
    try:
        return float(word)
    except ValueError:
        return float(word.replace("*^", "e").replace("D", "e").replace("d", "e"))


def _shown(text: str) -> str:
    text = label(text)
    return repr(text if len(text) <= 60 else text[:57] + "...")


def write_extended_xyz(path: Path | str, molecules: Iterable[Molecule], **constants: str) -> None:
    """Write molecules as frames of one extended XYZ file that ``read`` gives back unchanged.

    Positions are written with all their digits.  ``constants`` are further pairs that every
    comment line shall carry, such as ``source``.
    """
    with Path(path).open("w", encoding="utf-8") as file:
        for molecule in molecules:
            file.write(f"{len(molecule)}\n{_comment(molecule, constants)}\n")
            isotopes = [f" {isotope}" if molecule.isotopes.any() else ""
                        for isotope in molecule.isotopes]  # fmt: skip
            for element, position, isotope in zip(
                molecule.symbols, molecule.positions, isotopes, strict=True
            ):
                x, y, z = (f"{float(value)!r:>22}" for value in position)
                file.write(f"{element:<2} {x} {y} {z}{isotope}\n")


def _comment(molecule: Molecule, constants: dict[str, str]) -> str:
    pairs = {
        "name": molecule.name,
        "smiles": molecule.smiles,
        "charge": str(molecule.charge),
        "multiplicity": str(molecule.multiplicity),
        **constants,
    }
    words = [f"{key}={_quoted(printable(value))}" for key, value in pairs.items() if value]
    isotopes = ":isotopes:I:1" if molecule.isotopes.any() else ""
    return " ".join([f"Properties=species:S:1:pos:R:3{isotopes}", *words])


def _quoted(value: str) -> str:
    if re.fullmatch(r"[\w.+\-]+", value, re.ASCII):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
