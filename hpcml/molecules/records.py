"""What every reader hands on: a sound molecule, or the defect of one record."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcml.errors import InputError, InputWarning
from hpcml.molecules.molecule import Molecule

_LONGEST_LABEL = 200
_FARTHEST = 1e6  # angstrom; beyond this a coordinate is a slip, not a molecule
_CLOSEST = 0.3  # angstrom; half the bond length of H2, the shortest bond there is
_ROWS_AT_ONCE = 512  # atoms whose distances to all others are held at a time
_WARNED: dict[Any, Any] = {}  # what was warned of, so that a file read twice warns once


@dataclass(frozen=True)
class Defect:
    """One record of a file that gave no molecule; the records around it are read all the same.

    source    the file
    where     the place in it, such as "line 12" or "record 3, line 40"
    name      the record's label, empty if it has none
    message   what is wrong and what was expected
    """

    source: str
    where: str
    name: str
    message: str

    def __str__(self) -> str:
        label = f" ({self.name})" if self.name else ""
        return f"{self.source}, {self.where}{label}: {self.message}"


@dataclass(frozen=True)
class Record:
    """A molecule of a file, and what the file says of it besides.

    where        the place in the file, as of a Defect
    fields       name -> text: columns of a table, properties of an SDF, keys of a comment line
    atom_fields  name -> a text for each atom: columns of an extended xyz
    """

    molecule: Molecule
    where: str
    fields: Mapping[str, str] = field(default_factory=dict)
    atom_fields: Mapping[str, Sequence[str]] = field(default_factory=dict)


def printable(text: str) -> str:
    """Text from a file as one line that a terminal can show without harm."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def label(text: str) -> str:
    """A name from a file, printable and not endless."""
    return printable(text[: 4 * _LONGEST_LABEL])[:_LONGEST_LABEL].rstrip()


def shown(text: str) -> str:
    """Text from a file in quotes, not longer than a line's middle."""
    text = label(text)
    return repr(text if len(text) <= 60 else text[:57] + "...")


def warn(source: object, line: int, name: str, message: str) -> None:
    """Tell that a record was read in one of several ways it may be meant: an ``InputWarning``."""
    text = f"{source}, line {line}{f' ({name})' if name else ''}: {message}"
    warnings.warn_explicit(text, InputWarning, str(source), line, registry=_WARNED)


def warn_of_unsaid_charge(source: object, line: int, molecule: Molecule) -> None:
    """``warn`` that a molecule with an odd number of electrons was read as a neutral one."""
    warn(
        source,
        line,
        molecule.name,
        f"{molecule.electrons} electrons and no charge said: read as neutral, "
        f"multiplicity {molecule.multiplicity}",
    )


def restated(molecule: Molecule, charge: int | None, multiplicity: int | None) -> Molecule:
    """The molecule with another charge or multiplicity, where one is given.

    With another charge and no multiplicity it has the lowest one that fits.  InputError where
    its electrons do not allow it.
    """
    if multiplicity is None and charge in (None, molecule.charge):
        multiplicity = molecule.multiplicity
    return sound_molecule(
        molecule.numbers,
        molecule.positions,
        charge=molecule.charge if charge is None else charge,
        multiplicity=multiplicity,
        name=molecule.name,
        smiles=molecule.smiles,
        isotopes=molecule.isotopes.tolist(),
    )


def sound_molecule(
    numbers: NDArray[np.int64],
    positions: NDArray[np.float64],
    *,
    charge: int = 0,
    multiplicity: int | None = None,
    name: str = "",
    smiles: str = "",
    isotopes: Sequence[int] = (),
) -> Molecule:
    """A Molecule whose electrons and distances are possible.

    Parameters
    ----------
    numbers : (N,) int64 array
        Atomic numbers.
    positions : (N, 3) float64 array
        Angstrom.
    charge : int
        In units of e.
    multiplicity : int, optional
        2S + 1; unless given the lowest: 1 for an even number of electrons, else 2.
    name, smiles : str
        Labels; what cannot be printed is taken out.
    isotopes : (N,) sequence of int
        Mass numbers, 0 for the most abundant isotope; empty: all of them are.

    Returns
    -------
    Molecule

    Raises
    ------
    InputError
        It says which of them is not possible.
    """
    if not -1000 < charge < 1000:
        raise InputError(f"a charge of {charge} is not possible")
    electrons = int(np.sum(numbers)) - charge
    if electrons < 1:
        raise InputError(f"charge {charge} leaves {electrons} electrons, expected at least 1")
    if multiplicity is None:
        multiplicity = 1 + electrons % 2
    if multiplicity < 1 or multiplicity > electrons + 1 or (multiplicity + electrons) % 2 == 0:
        raise InputError(
            f"multiplicity {multiplicity} is not possible with {electrons} electrons "
            f"(charge {charge})"
        )
    molecule = Molecule(
        numbers,
        positions,
        charge,
        multiplicity,
        label(name),
        printable(smiles),
        np.array(isotopes, dtype=np.int64),
    )
    if np.abs(molecule.positions).max() > _FARTHEST:
        raise InputError(f"a coordinate lies beyond {_FARTHEST:g} angstrom")
    _refuse_coinciding_atoms(molecule.positions)
    return molecule


def _refuse_coinciding_atoms(positions: NDArray[np.float64]) -> None:
    for start in range(0, len(positions), _ROWS_AT_ONCE):
        rows = positions[start : start + _ROWS_AT_ONCE]
        distances = np.linalg.norm(rows[:, None] - positions[None], axis=2)
        distances[np.arange(len(rows)), start + np.arange(len(rows))] = np.inf
        first, second = np.unravel_index(np.argmin(distances), distances.shape)
        if distances[first, second] < _CLOSEST:
            raise InputError(
                f"atoms {start + int(first) + 1} and {int(second) + 1} are "
                f"{distances[first, second]:.3f} angstrom apart, expected at least {_CLOSEST}"
            )
