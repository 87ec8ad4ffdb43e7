"""The molecule: what every later room receives."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit.Chem import GetPeriodicTable

from hpcml.errors import InputError

_PERIODIC_TABLE = GetPeriodicTable()
_KEY_RESOLUTION = 1e-6  # angstrom; positions that agree to this are the same molecule
_KEY_RECIPE = b"hpcml molecule 1\0"


def symbol(number: int) -> str:
    """Element symbol of an atomic number."""
    return str(_PERIODIC_TABLE.GetElementSymbol(int(number)))


def atomic_number(element: str) -> int:
    """Atomic number of an element symbol in any case; InputError if there is none."""
    try:
        number = int(_PERIODIC_TABLE.GetAtomicNumber(element.strip().capitalize()))
    except RuntimeError:
        number = 0
    if number <= 0:
        raise InputError(f"{element!r} is not an element symbol")
    return number


@dataclass(frozen=True, eq=False)
class Molecule:
    """Nuclei in space with a charge and a multiplicity; immutable, compared by ``key``.

    numbers        (n,) int64, atomic numbers
    positions      (n, 3) float64, angstrom
    charge         in units of e
    multiplicity   2S + 1
    name, smiles   labels; no part of the key
    """

    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    charge: int = 0
    multiplicity: int = 1
    name: str = ""
    smiles: str = ""

    def __post_init__(self) -> None:
        numbers = np.array(self.numbers, dtype=np.int64)
        positions = np.array(self.positions, dtype=np.float64)
        label = f"molecule {self.name!r}" if self.name else "molecule"
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
        numbers.setflags(write=False)
        positions.setflags(write=False)
        object.__setattr__(self, "numbers", numbers)
        object.__setattr__(self, "positions", positions)

    @cached_property
    def key(self) -> str:
        """32 hexadecimal digits of a hash over nuclei, geometry, charge and multiplicity.

        Positions enter rounded to 1e-6 angstrom, so that a molecule written to a text file
        and read back keeps its key.
        """
        digest = hashlib.sha256(_KEY_RECIPE)
        digest.update(np.array([self.charge, self.multiplicity], "<i8").tobytes())
        digest.update(self.numbers.astype("<i8").tobytes())
        digest.update(np.rint(self.positions / _KEY_RESOLUTION).astype("<i8").tobytes())
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


def molecule_keys(columns: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8]:
    """``Molecule.key`` of many molecules laid end to end, without a Molecule for each.

    For ten million rows the objects alone would take minutes.

    Parameters
    ----------
    columns
        "charge" and "multiplicity", (M,) integers; "numbers", (A,) integers; "positions", (A, 3)
        in angstrom; and "atom_offsets", (M + 1,), where each molecule's atoms begin and end.

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
    for row, (a, b) in enumerate(pairwise(ends)):
        digest = start.copy()
        digest.update(heads[16 * row : 16 * row + 16] + nuclei[8 * a : 8 * b])
        digest.update(micro[24 * a : 24 * b])
        digests.append(digest.digest()[:16])
    return np.frombuffer(b"".join(digests), "u1").reshape(-1, 16)
