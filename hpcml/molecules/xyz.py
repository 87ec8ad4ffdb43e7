"""XYZ files: plain, multi-frame, extended (`key=value` pairs in the comment line), and QM9's own.

The extended form is that of ASE and libAtoms: ``Properties=species:S:1:pos:R:3:...`` names the
columns, quotes group words, backslashes escape quotes.  Coordinates are in angstrom.  Of the
keys, hpcml reads ``name``, ``smiles``, and those for charge and multiplicity (``xyz_comment``).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from hpcml.errors import InputError
from hpcml.molecules.atom_lines import (
    INTEGER,
    PLAIN_COLUMNS,
    Atom,
    begins_like_an_atom,
    read_atom,
)
from hpcml.molecules.molecule import Molecule
from hpcml.molecules.records import (
    Defect,
    Record,
    label,
    printable,
    shown,
    sound_molecule,
    warn,
    warn_of_unsaid_charge,
)
from hpcml.molecules.text_files import open_text
from hpcml.molecules.xyz_comment import Comment, read_comment

_COUNT = re.compile(r"\s*\+?\d{1,9}\s*$", re.ASCII)
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


def read_xyz(path: Path) -> Iterator[Record | Defect]:
    """Every frame of an XYZ file as a molecule, or as the defect that keeps it from being one.

    After a broken frame reading goes on at the next line that can begin a frame.
    """
    with open_text(path) as file:
        lines = _Lines(file)
        frame = 0
        while True:
            while (first := lines.peek(0)) is not None and not first.strip():
                lines.skip(1)
            if first is None:
                return
            frame += 1
            reader = _Frame(path, lines, f"{path.stem}-{frame}")
            try:
                molecule = reader.molecule()
            except _BrokenFrameError as error:
                where = f"line {lines.number + error.line}"
                yield Defect(str(path), where, reader.name, str(error))
                _skip_broken_frame(lines)
            else:
                where = f"line {lines.number}"
                yield Record(molecule, where, reader.fields, reader.atom_fields)
                lines.skip(reader.length)


class _Frame:
    """The frame that begins at the current line.

    length               its number of lines, once its molecule is read
    fields, atom_fields  of a Record, keys in lower case; the same
    """

    def __init__(self, path: Path, lines: _Lines, name: str) -> None:
        self.path = path
        self.lines = lines
        self.name = name
        self.length = 0
        self.fields: dict[str, str] = {}
        self.atom_fields: dict[str, list[str]] = {}

    def molecule(self) -> Molecule:
        """What the frame holds; _BrokenFrameError if it holds no molecule."""
        count = self._count()
        start = 2
        if _is_atom(self.lines.peek(1) or ""):
            self._check_missing_comment(count)
            start = 1
        comment, columns = Comment({}), PLAIN_COLUMNS
        if start == 2:
            comment, columns = self._comment(self.lines.peek(1) or "")
        atoms = self._atoms(start, count, columns)
        self.length = start + count
        self._check_end(count)
        if comment.qm9 and (self.lines.peek(self.length + 2) or "").startswith("InChI="):
            # Frequencies; SMILES and InChI, both of GDB-17 and of the relaxed geometry.
            comment.keys["smiles"] = (self.lines.peek(self.length + 1) or "").split()[0]
            self.length += 3
        self.fields = comment.keys
        words = [(self.lines.peek(start + row) or "").split() for row in range(count)]
        self.atom_fields = {
            name: [line[at] if at < len(line) else "" for line in words]
            for name, at in columns.items()
            if name not in ("species", "pos", "isotopes")
        }
        try:
            return self._sound(atoms, comment)
        except InputError as error:
            raise _BrokenFrameError(0, str(error)) from None

    def _count(self) -> int:
        first = self.lines.peek(0) or ""
        if not _COUNT.match(first):
            raise _BrokenFrameError(0, f"expected the number of atoms, found {shown(first)}")
        count = int(first)
        if count == 0:
            raise _BrokenFrameError(0, "expected at least one atom, found 0")
        return count

    def _check_missing_comment(self, count: int) -> None:
        """A frame without its comment line is read where the number of atoms leaves no doubt."""
        found = 0
        while found <= count and _is_atom(self.lines.peek(1 + found) or ""):
            found += 1
        if found != count:
            raise _BrokenFrameError(
                1,
                f"expected a comment line and {count} atoms, found an atom and "
                f"{'more' if found > count else found - 1} behind it",
            )

    def _comment(self, line: str) -> tuple[Comment, dict[str, int]]:
        try:
            comment = read_comment(line)
            columns = _columns(comment.keys)
            _refuse_periodic(comment.keys)
        except InputError as error:
            raise _BrokenFrameError(1, str(error)) from None
        self.name = label(comment.name) or self.name
        return comment, columns

    def _atoms(self, start: int, count: int, columns: dict[str, int]) -> list[Atom]:
        atoms = []
        for row in range(count):
            line = self.lines.peek(start + row)
            if line is None or not line.strip() or _COUNT.match(line):
                raise _BrokenFrameError(
                    start + row, f"expected {count} atoms, found {row} before the frame's end"
                )
            try:
                atoms.append(read_atom(line, columns))
            except InputError as error:
                raise _BrokenFrameError(start + row, str(error)) from None
        self._refuse_numbered(start, count, columns)
        return atoms

    def _refuse_numbered(self, start: int, count: int, columns: dict[str, int]) -> None:
        """Atoms numbered behind their elements: the numbers are no x."""
        rows = [(self.lines.peek(start + row) or "").split() for row in range(count)]
        if columns is not PLAIN_COLUMNS or count == 1 or min(map(len, rows)) < 5:
            return
        for first in (0, 1):
            if [row[1] for row in rows] == [str(first + at) for at in range(count)]:
                raise _BrokenFrameError(
                    start,
                    f"expected an element and x y z, found numbers of atoms between them: "
                    f"{shown(' '.join(rows[0]))}",
                )

    def _check_end(self, count: int) -> None:
        """More atoms than were announced: which of them are the molecule, nobody knows."""
        behind = self.length
        while (line := self.lines.peek(behind)) is not None and not line.strip():
            behind += 1
        if line is not None and not _COUNT.match(line) and begins_like_an_atom(line):
            raise _BrokenFrameError(
                behind, f"expected {count} atoms and the frame's end, found another: {shown(line)}"
            )

    def _sound(self, atoms: list[Atom], comment: Comment) -> Molecule:
        """The molecule, with a warning where its charge had to be guessed."""
        numbers = np.array([atom.species.number for atom in atoms], dtype=np.int64)
        charge, doubt = comment.charge, ""
        multiplicity = None
        if charge is None and comment.guesses and not comment.multiplicities | comment.spins:
            guess, multiplicity, name = comment.guesses
            if (int(numbers.sum()) - guess + multiplicity) % 2:
                charge, self.name = guess, label(name)
            else:
                multiplicity = None
        labelled = sum(atom.species.charge for atom in atoms)
        if charge is None and labelled:
            charge, doubt = labelled, f"no charge said: {labelled:+d} read from the atoms' labels"
        elif comment.doubtful:
            doubt = f"charge {charge} and multiplicity read from two bare numbers"
        elif comment.doubts:
            doubt = "; ".join(comment.doubts)
        electrons = int(numbers.sum()) - (charge or 0)
        molecule = sound_molecule(
            numbers,
            np.array([atom.position for atom in atoms], dtype=np.float64),
            charge=charge or 0,
            multiplicity=multiplicity or comment.multiplicity(electrons),
            name=self.name,
            smiles=comment.keys.get("smiles", ""),
            isotopes=[atom.species.isotope for atom in atoms],
        )
        line = self.lines.number + 1
        if doubt:
            warn(self.path, line, molecule.name, doubt)
        elif charge is None and electrons % 2:
            warn_of_unsaid_charge(self.path, line, molecule)
        return molecule


def _is_atom(line: str) -> bool:
    """Whether a line is one that a plain frame has for an atom, with its element as letters."""
    try:
        read_atom(line)
    except InputError:
        return False
    return begins_like_an_atom(line)


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


def _columns(keys: dict[str, str]) -> dict[str, int]:
    """The column at which species (or atomic numbers) and positions begin."""
    if "properties" not in keys:
        return PLAIN_COLUMNS
    words = keys["properties"].split(":")
    columns: dict[str, int] = {}
    at = 0
    for name, kind, width in zip(words[::3], words[1::3], words[2::3], strict=False):
        if kind not in ("S", "I", "R", "L") or not INTEGER.match(width) or int(width) < 1:
            raise InputError(f"Properties: expected name:kind:count, found {name}:{kind}:{width}")
        columns["species" if name.lower() in ("species", "z", "numbers") else name.lower()] = at
        at += int(width)
        if at > _MOST_COLUMNS:
            raise InputError(f"Properties: more than {_MOST_COLUMNS} columns")
    if len(words) % 3 or "species" not in columns or "pos" not in columns:
        raise InputError(
            f"Properties: expected species:S:1 and pos:R:3, found {shown(keys['properties'])}"
        )
    return columns


def _refuse_periodic(keys: dict[str, str]) -> None:
    periodic = keys.get("pbc", "T" if "lattice" in keys else "F").lower()
    if any(word in ("t", "true", "1") for word in re.split(r"[\s,\[\]]+", periodic)):
        raise InputError('expected a molecule, found a periodic cell (mark it pbc="F F F" if not)')


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
