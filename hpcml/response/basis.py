"""Where a basis set comes from: a .gbs file, Psi4's own library, or the Basis Set Exchange.

Whatever the source, the text is read here once, so that an element without functions or a
damaged line is a clear error before any calculation starts, and so that two runs can be
compared by the hash of the functions that they really used.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from hpcml.errors import InputError, SettingsError
from hpcml.molecules.molecule import atomic_number, symbol

# Psi4's library keeps fitting sets beside orbital ones; these endings tell them apart.
_FITTING_ENDINGS = ("jkfit", "jfit", "-ri", "-dual", "-f12", "-minao", "-absorption")

# Same name, other functions: measured on both texts.  Keys as Psi4 would name the file.
_KNOWN_DIFFERENCES = {
    "6-31g_2df_p_": "the Basis Set Exchange's 6-31G(2df,p) (split exponents: d 1.252 and 0.313 on "
    "carbon, two p on hydrogen) is not the set of that name in Gaussian and QM9 (d 1.6 and 0.4, "
    "one p 1.1)",
}


@dataclass(frozen=True)
class BasisSet:
    """A basis set for the elements of one molecule.

    name      as the user wrote it
    source    "file", "psi4" or "basis_set_exchange"
    detail    the file's path, Psi4's file name, or the exchange's versions
    text      what to hand to the engine (Psi4's gbs format, without comments); None where the name
              of a set of Psi4's own will do
    sha256    hash over all functions of the set, whatever the comments and the spacing
    spherical pure (5d, 7f) functions; otherwise Cartesian (6d, 10f)
    ecp       symbols of the elements whose core is an effective potential
    functions number of basis functions of all atoms that it was resolved for
    warnings  what the reader of a result must know about this set
    """

    name: str
    source: str
    detail: str
    text: str | None
    sha256: str
    spherical: bool
    ecp: tuple[str, ...]
    functions: int
    warnings: tuple[str, ...] = ()

    def provenance(self) -> dict[str, Any]:
        """What goes into a result's provenance (its warnings belong to the result's own)."""
        return {
            "name": self.name,
            "source": self.source,
            "detail": self.detail,
            "sha256": self.sha256,
            "spherical": self.spherical,
            "ecp": list(self.ecp),
        }


def resolve(basis: str, elements: Sequence[int], psi4_library: Path | None) -> BasisSet:
    """The basis set of this name, or in this .gbs file, for molecules of these elements.

    basis         a name in any case, or a path that ends in .gbs
    elements      atomic numbers of a molecule's atoms, which must have functions
    psi4_library  the folder of Psi4's own .gbs files, whose sets win over the exchange's; None:
                  another engine's set, of which the text is always given

    Raises SettingsError for a name that nobody knows (with close names), a fitting set, a
    missing or damaged file; InputError for an element without functions.
    """
    if basis.lower().endswith(".gbs"):
        path = Path(basis).expanduser()
        return _checked(basis, "file", str(path), _read(path), elements, hand_over=True)
    library_file = None if psi4_library is None else psi4_library / f"{_file_stem(basis)}.gbs"
    if library_file is not None and library_file.is_file():
        if library_file.stem.endswith(_FITTING_ENDINGS):
            raise SettingsError(f"basis {basis!r} is a set for density fitting, not for orbitals")
        text = _read(library_file)
        return _checked(basis, "psi4", library_file.name, text, elements, hand_over=False)
    text, detail = _from_exchange(basis, psi4_library)
    return _checked(basis, "basis_set_exchange", detail, text, elements, hand_over=True)


def uncovered(basis: str, elements: Sequence[int], psi4_library: Path | None) -> tuple[str, ...]:
    """Symbols of those of these elements that the set has no functions for.

    Raises SettingsError as ``resolve`` does.
    """
    resolve(basis, (), psi4_library)
    missing = []
    for number in elements:
        try:
            resolve(basis, (number,), psi4_library)
        except InputError:
            missing.append(symbol(number))
    return tuple(missing)


def functions_by_element(basis: str) -> dict[int, int]:
    """Basis functions of an atom, by atomic number, without Psi4.

    Of a .gbs file, or of the Basis Set Exchange's set of this name.  Raises what ``resolve``
    raises.
    """
    if basis.lower().endswith(".gbs"):
        text = _read(Path(basis).expanduser())
    else:
        text, _ = _from_exchange(basis, None)
    functions = _parse(text, basis, set()).functions
    return {atomic_number(name): count for name, count in functions.items()}


def _checked(
    basis: str, source: str, detail: str, text: str, elements: Sequence[int], *, hand_over: bool
) -> BasisSet:
    needed = {symbol(z) for z in elements}
    contents = _parse(text, basis, {name.upper() for name in needed})
    missing = sorted(name for name in needed if name.upper() not in contents.functions)
    if missing:
        raise InputError(
            f"basis {basis!r} ({source}) has no functions for {', '.join(missing)}: "
            "choose a basis that covers every element of the molecule"
        )
    warnings = []
    if contents.spherical is None:
        warnings.append(
            f"basis {basis!r} does not say spherical or cartesian: taken as spherical, as Psi4 does"
        )
    if source == "basis_set_exchange" and _file_stem(basis) in _KNOWN_DIFFERENCES:
        warnings.append(_KNOWN_DIFFERENCES[_file_stem(basis)])
    return BasisSet(
        name=basis,
        source=source,
        detail=detail,
        text=contents.text if hand_over else None,
        sha256=hashlib.sha256(" ".join(contents.text.upper().split()).encode()).hexdigest(),
        spherical=contents.spherical is not False,
        ecp=tuple(sorted(name for name in needed if name.upper() in contents.ecp)),
        functions=sum(contents.functions[symbol(z).upper()] for z in elements),
        warnings=tuple(warnings),
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(f"basis file {path} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"basis file {path} cannot be read: {error}") from error


def _file_stem(name: str) -> str:
    """Psi4's file name for a basis: lower case, brackets and comma to _, * to s, + to p."""
    return name.strip().lower().translate(str.maketrans("(),*+", "___sp"))


def _spoken(stem: str) -> str:
    """The name behind one of Psi4's file names, for the Pople sets that it disfigures.

    >>> _spoken("6-311ppg_2df_2p_"), _spoken("cc-pvdz")
    ('6-311++G(2df,2p)', 'cc-pvdz')
    """
    pople = re.fullmatch(r"(6-311?)(p*)g(?:_(\w+)_)?(s*)", stem)
    if pople is None:
        return stem
    family, diffuse, polarization, stars = pople.groups()
    inside = f"({polarization.replace('_', ',')})" if polarization else ""
    return f"{family}{'+' * len(diffuse)}G{inside}{'*' * len(stars)}"


@lru_cache(maxsize=8)
def _from_exchange(basis: str, psi4_library: Path | None) -> tuple[str, str]:
    """All elements of a set in Psi4's format, and which versions of library and data these are."""
    import basis_set_exchange  # its index takes a quarter of a second: only when needed

    metadata = basis_set_exchange.get_metadata()
    # The exchange knows Pople's polarized sets by their stars.
    names = (basis, basis.replace("(d,p)", "**").replace("(d)", "*"))
    keys = [basis_set_exchange.misc.transform_basis_name(name.strip()) for name in names]
    entry = next((metadata[key] for key in keys if key in metadata), None)
    if entry is None:
        orbital = {m["display_name"] for m in metadata.values() if m["role"] == "orbital"}
        raise SettingsError(_unknown(basis, orbital, psi4_library))
    if entry["role"] != "orbital":
        raise SettingsError(f"basis {basis!r} is a set for {entry['role']}, not for orbitals")
    text = basis_set_exchange.get_basis(entry["display_name"], fmt="psi4", header=False)
    return text, (
        f"{entry['display_name']}, data version {entry['latest_version']}, "
        f"basis_set_exchange {basis_set_exchange.version()}"
    )


def _unknown(basis: str, exchange: set[str], psi4_library: Path | None) -> str:
    names = {_file_stem(name): name for name in exchange}
    for path in psi4_library.glob("*.gbs") if psi4_library is not None else ():
        if not path.stem.endswith(_FITTING_ENDINGS):
            names.setdefault(path.stem, _spoken(path.stem))
    close = difflib.get_close_matches(_file_stem(basis), names, n=4, cutoff=0.6)
    advice = f"did you mean {' or '.join(names[stem] for stem in close)}?" if close else (
        "give a name that Psi4 or the Basis Set Exchange knows, or the path of a .gbs file"
        if psi4_library is not None
        else "give a name that the Basis Set Exchange knows, or the path of a .gbs file"
    )  # fmt: skip
    place = "in" if psi4_library is None else "in Psi4's library nor in"
    either = "not" if psi4_library is None else "neither"
    return f"basis {basis!r} is {either} {place} the Basis Set Exchange: {advice}"


# --- Psi4's gbs format (Gaussian's, with a line "spherical" or "cartesian" in front) -------------

_BLOCK = re.compile(r"((?:-?[A-Za-z]{1,3}\s+)+)0\s*$")
_ECP = re.compile(r"([A-Za-z]{1,3})-ECP\s+\d+\s+\d+\s*$", re.IGNORECASE)
_MOMENTA = "SPDFGHIKLM"  # l = 0, 1, ...; SP is both
_SHELL = re.compile(rf"([{_MOMENTA}]{{1,2}})\s+(\d+)\s+(\S+)", re.IGNORECASE)
_PLAIN_SHELL = re.compile(r"\w+\s+\d+\s+\d+\.\d+$")


@dataclass(frozen=True)
class _Contents:
    """A gbs text without comments, and what it has for which elements (upper case).

    spherical   None where the text does not say
    functions   of an atom of each element
    ecp         elements with an effective core potential
    """

    text: str
    spherical: bool | None
    functions: dict[str, int]
    ecp: frozenset[str]


def _parse(text: str, basis: str, needed: set[str]) -> _Contents:
    """Read a gbs text to the end: Psi4's own parser reads past many mistakes.

    Some of Psi4's own files have prose between the elements, which is dropped, and damaged
    elements, which matter only to molecules that need them.
    """
    lines = [
        (number, line.split("!")[0].strip()) for number, line in enumerate(text.split("\n"), 1)
    ]
    lines = [(number, line) for number, line in lines if line]
    kept: list[str] = []
    spherical: bool | None = None
    shells: dict[str, list[str]] = {}
    ecp: set[str] = set()
    position = 0
    while position < len(lines):
        start = position
        line = lines[position][1]
        position += 1
        if line.lower() in ("spherical", "cartesian"):
            spherical = line.lower() == "spherical"
        elif block := _BLOCK.match(line):
            symbols = {name.lstrip("-").upper() for name in block.group(1).split()}
            if position < len(lines) and _ECP.match(lines[position][1]):
                ecp |= symbols
                position = _end_of_ecp(lines, position)
            else:
                position, found = _shells(lines, position, basis, check=bool(symbols & needed))
                shells |= dict.fromkeys(symbols, found)
        elif not line.startswith("****"):
            continue
        kept += [_for_psi4(line) for _, line in lines[start:position]]
    if not shells:
        raise SettingsError(f"basis {basis!r} holds no functions at all: it must be in gbs format")
    functions = {
        element: sum(_functions_in_shell(shell, spherical is not False) for shell in found)
        for element, found in shells.items()
    }
    return _Contents("\n".join(kept) + "\n", spherical, functions, frozenset(ecp))


def _functions_in_shell(momenta: str, spherical: bool) -> int:
    """2 l + 1 pure or (l + 1) (l + 2) / 2 Cartesian functions for each letter of a shell."""
    return sum(
        2 * m + 1 if spherical else (m + 1) * (m + 2) // 2
        for m in (_MOMENTA.index(letter) for letter in momenta.upper())
    )


def _shells(
    lines: list[tuple[int, str]], position: int, basis: str, *, check: bool
) -> tuple[int, list[str]]:
    """Index after the **** that closes an element, and its shells' letters; SettingsError for a
    bad line if it shall be checked."""
    shells: list[str] = []
    while position < len(lines):
        number, line = lines[position]
        position += 1
        if line.startswith("****"):
            return position, shells
        shell = _SHELL.match(line)
        if shell is not None:
            shells.append(shell.group(1))
        if not check:
            continue
        if shell is None:
            raise _damaged(basis, number, line, "a shell such as 'S 3 1.00'")
        # Gaussian scales exponents by this factor squared, Psi4 the coefficients: only 1 is safe.
        if _number(shell.group(3)) != 1.0:
            raise _damaged(basis, number, line, "a scale factor of 1.00")
        columns = 1 + len(shell.group(1))
        for _ in range(int(shell.group(2))):
            number, line = lines[position] if position < len(lines) else (number, "end of file")
            values = [_number(entry) for entry in line.split()]
            if len(values) != columns or None in values:
                raise _damaged(basis, number, line, f"a primitive of {columns} numbers")
            position += 1
    raise SettingsError(f"basis {basis!r} ends inside an element: the closing **** is missing")


def _end_of_ecp(lines: list[tuple[int, str]], position: int) -> int:
    """Index of the line after an effective core potential (the next element, or ****)."""
    while position < len(lines):
        line = lines[position][1]
        if line.startswith("****") or _BLOCK.match(line):
            return position
        position += 1
    return position


def _for_psi4(line: str) -> str:
    """The line as every version of Psi4 reads it.

    No minus before an element, no D exponent (Psi4 knows two of them in a line), and nothing
    behind a shell's scale factor, where 1.9 and later expect the end of the line.
    """
    if (shell := _SHELL.match(line)) and not _PLAIN_SHELL.match(line):
        return f"{shell.group(1)} {shell.group(2)} 1.00"
    return re.sub(r"(?<=[\d.])[Dd](?=[+-]?\d)", "E", re.sub(r"^-(?=[A-Za-z])", "", line))


def _number(entry: str) -> float | None:
    try:
        return float(entry.upper().replace("D", "E"))
    except ValueError:
        return None


def _damaged(basis: str, number: int, line: str, wanted: str) -> SettingsError:
    return SettingsError(f"basis {basis!r}, line {number}: {wanted} is needed, not {line!r}")
