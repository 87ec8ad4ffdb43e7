"""The examples of a whole data set, made once by all ranks together and kept small.

QM9's 130,831 molecules with Weave's features take 1.3 GB as float32 objects and a third of a
gigabyte here: whole numbers up to 255 are kept as bytes.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcml.errors import InputError
from hpcml.models import Example, example
from hpcml.molecules import Molecule
from hpcml.training.world import World


@dataclass(frozen=True, eq=False)
class _Table:
    """Rows of features, (R, F): the columns of small whole numbers apart from the others."""

    small_columns: NDArray[np.int64]
    small: NDArray[np.uint8]
    other_columns: NDArray[np.int64]
    other: NDArray[np.float32]

    @classmethod
    def of(cls, rows: NDArray[np.float32]) -> _Table:
        whole = ((rows == np.rint(rows)) & (rows >= 0) & (rows <= 255)).all(axis=0)
        small, other = np.flatnonzero(whole), np.flatnonzero(~whole)
        return cls(small, rows[:, small].astype(np.uint8), other, rows[:, other])

    def __getitem__(self, cut: slice) -> NDArray[np.float32]:
        small, other = self._places
        if other is None:
            return self.small[cut].astype(np.float32)
        width = len(self.small_columns) + len(self.other_columns)
        rows = np.empty((cut.stop - cut.start, width), dtype=np.float32)
        rows[:, small] = self.small[cut]
        rows[:, other] = self.other[cut]
        return rows

    @cached_property
    def _places(self) -> tuple[Any, Any]:
        """The columns as slices where they stand together, which copies several times faster."""
        places = []
        for columns in (self.small_columns, self.other_columns):
            together = len(columns) and columns[-1] - columns[0] + 1 == len(columns)
            places.append(slice(int(columns[0]), int(columns[-1]) + 1) if together else columns)
        return places[0], places[1] if len(self.other_columns) else None


class PackedExamples(Sequence[Example]):
    """Examples of the same inputs, end to end in a few arrays.

    inputs    what they were made for
    arrays    what ``pack`` made of them
    """

    def __init__(self, inputs: frozenset[str], arrays: dict[str, NDArray[Any]]) -> None:
        self.inputs = inputs
        self._numbers = arrays["numbers"]
        self._positions = arrays["positions"]
        self._atoms = _cuts(arrays["atoms"])
        self._pairs = _cuts(arrays["atoms"] * (arrays["atoms"] - 1) // 2)
        self._bonds = _cuts(arrays["bond_counts"])
        self._bond_ends = arrays["bonds"]
        self._tables = {
            name: _Table(*(arrays[f"{name}.{field.name}"] for field in fields(_Table)))
            for name in ("atom_features", "pair_features")
            if name in inputs
        }

    def __len__(self) -> int:
        return len(self._atoms) - 1

    def __getitem__(self, row: int) -> Example:  # type: ignore[override]
        atoms = slice(self._atoms[row], self._atoms[row + 1])
        pairs = slice(self._pairs[row], self._pairs[row + 1])
        bonds = slice(self._bonds[row], self._bonds[row + 1])
        tables = self._tables
        return Example(
            numbers=self._numbers[atoms].astype(np.int64),
            positions=self._positions[atoms],
            inputs=self.inputs,
            atom_features=tables["atom_features"][atoms] if "atom_features" in tables else None,
            pair_features=tables["pair_features"][pairs] if "pair_features" in tables else None,
            bonds=self._bond_ends[bonds].astype(np.int64) if "bonds" in self.inputs else None,
        )


def pack(examples: Sequence[Example], inputs: frozenset[str]) -> dict[str, NDArray[Any]]:
    """The arrays of PackedExamples: flat numbers, positions, bonds and features, and counts."""
    counts = [0 if one.bonds is None else len(one.bonds) for one in examples]
    bonds = [one.bonds for one in examples if one.bonds is not None]
    arrays: dict[str, NDArray[Any]] = {
        "atoms": np.array([len(one.numbers) for one in examples], dtype=np.int64),
        "numbers": _joined([one.numbers for one in examples], (0,)).astype(np.uint8),
        "positions": _joined([one.positions for one in examples], (0, 3)),
        "bond_counts": np.array(counts, dtype=np.int64),
        "bonds": _joined(bonds, (0, 2)).astype(np.uint16),
    }
    for name in ("atom_features", "pair_features"):
        if name in inputs:
            table = _Table.of(_joined([getattr(one, name) for one in examples], (0, 0)))
            arrays |= {f"{name}.{item.name}": getattr(table, item.name) for item in fields(table)}
    return arrays


class _Chunks(Sequence[Example]):
    """One sequence after the other."""

    def __init__(self, chunks: Sequence[Sequence[Example]]) -> None:
        self._chunks = chunks
        self._cuts = _cuts(np.array([len(chunk) for chunk in chunks]))

    def __len__(self) -> int:
        return int(self._cuts[-1])

    def __getitem__(self, row: int) -> Example:  # type: ignore[override]
        chunk = int(np.searchsorted(self._cuts, row, side="right")) - 1
        return self._chunks[chunk][int(row - self._cuts[chunk])]


def make_examples(
    molecules: Sequence[Molecule],
    inputs: frozenset[str],
    world: World,
    tell: Callable[[int], None] = lambda done: None,
) -> tuple[list[int], Sequence[Example]]:
    """Numbers of the molecules that an example can be made of, and their examples, in order.

    Each rank makes its part and sends it to the others; ``tell`` hears how many molecules this
    rank has done, counted as if it did all.
    """
    part = np.array_split(np.arange(len(molecules)), world.size)[world.rank]
    rows, made = [], []
    for done, row in enumerate(part, start=1):
        try:
            made.append(example(molecules[int(row)], inputs))
        except InputError:
            continue  # left out; the caller counts what is missing
        finally:
            tell(done * len(molecules) // len(part))
        rows.append(int(row))
    arrays = pack(made, inputs) | {"rows": np.array(rows, dtype=np.int64)}
    everyones = [arrays] if world.size == 1 else _exchange(arrays, world)
    chunks = [PackedExamples(inputs, one) for one in everyones]
    found = np.concatenate([one["rows"] for one in everyones]).tolist()
    return found, _Chunks(chunks) if len(chunks) > 1 else chunks[0]


def _exchange(arrays: dict[str, NDArray[Any]], world: World) -> list[dict[str, NDArray[Any]]]:
    """Every rank's arrays, in the order of the ranks."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    received = [world.broadcast(buffer.getvalue(), root) for root in range(world.size)]
    return [dict(np.load(io.BytesIO(one), allow_pickle=False)) for one in received]


def _joined(arrays: Sequence[NDArray[Any]], empty: tuple[int, ...]) -> NDArray[Any]:
    return np.concatenate(arrays) if len(arrays) else np.zeros(empty)


def _cuts(lengths: NDArray[Any]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
