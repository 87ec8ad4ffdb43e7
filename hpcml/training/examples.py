"""The examples of a whole data set, made once by all ranks together and kept small.

QM9's 130,831 molecules with Weave's features take 1.3 GB as float32 objects and a third of a
gigabyte here: whole numbers up to 255 are kept as bytes.  Batches are cut out of the packed
arrays at once, without an object for each molecule.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpcml.errors import InputError
from hpcml.models import Batch, Example, example
from hpcml.models.batch import both_ways, upper_triangle
from hpcml.molecules import ATOM_FEATURES, PAIR_FEATURES, Molecule
from hpcml.store import Dataset
from hpcml.store.rows import ranges
from hpcml.training.world import World

_WIDTHS = {"atom_features": len(ATOM_FEATURES), "pair_features": len(PAIR_FEATURES)}
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class _Table:
    """Rows of features, (R, F): the columns of small whole numbers apart from the others."""

    small_columns: NDArray[np.int64]
    small: NDArray[np.uint8]
    other_columns: NDArray[np.int64]
    other: NDArray[np.float32]

    @classmethod
    def of(cls, rows: NDArray[np.float32], world: World) -> _Table:
        """A column is small where it is so on every rank."""
        whole = ((rows == np.rint(rows)) & (rows >= 0) & (rows <= 255)).all(axis=0)
        broken = world.sum(torch.from_numpy((~whole).astype(np.float32))).numpy()
        small, other = np.flatnonzero(broken == 0), np.flatnonzero(broken)
        return cls(small, rows[:, small].astype(np.uint8), other, rows[:, other])

    def read(self, rows: NDArray[np.int64], out: NDArray[np.float32]) -> None:
        """Some rows into ``out``, (len(rows), F)."""
        for columns, values in ((self.small_columns, self.small), (self.other_columns, self.other)):
            out[:, _together(columns)] = values.take(rows, axis=0)


class PackedExamples:
    """The examples of N molecules, for the same inputs, end to end in a few arrays.

    inputs    what they were made for
    arrays    what ``pack`` made of them
    """

    def __init__(self, inputs: frozenset[str], arrays: Arrays) -> None:
        self.inputs = inputs
        self._numbers = arrays["numbers"]
        self._positions = arrays["positions"]
        self._atoms = _cuts(arrays["atoms"])
        self._pairs = _cuts(arrays["atoms"] * (arrays["atoms"] - 1) // 2)
        self._bonds = _cuts(arrays["bond_counts"])
        self._bond_ends = arrays["bonds"]
        self._tables = {
            name: _Table(*(arrays[f"{name}.{field.name}"] for field in fields(_Table)))
            for name in _WIDTHS
            if name in inputs
        }

    def __len__(self) -> int:
        return len(self._atoms) - 1

    def batch(self, rows: NDArray[np.int64], dtype: torch.dtype = torch.float32) -> Batch:
        """What ``hpcml.models.collate`` makes of the examples of these rows.

        Parameters
        ----------
        rows : (b,) integer array
        """
        sizes = self._atoms[rows + 1] - self._atoms[rows]
        starts = np.cumsum(sizes) - sizes
        atoms = ranges(self._atoms, rows)
        positions = self._positions.take(atoms, axis=0)
        half = np.empty((2, 0), dtype=np.int64)
        if self.inputs & {"pairs", "pair_features"}:
            upper = [upper_triangle(n) + start for n, start in zip(sizes, starts, strict=True)]
            half = np.concatenate(upper, axis=1)
        difference = positions.take(half[0], axis=0) - positions.take(half[1], axis=0)
        distances = np.sqrt((difference * difference) @ np.ones(3))
        bonds = None
        if "bonds" in self.inputs:
            counts = self._bonds[rows + 1] - self._bonds[rows]
            ends = self._bond_ends[ranges(self._bonds, rows)].astype(np.int64)
            bonds = both_ways((ends + np.repeat(starts, counts)[:, None]).T)
        return Batch(
            numbers=torch.from_numpy(self._numbers.take(atoms).astype(np.int64)),
            positions=torch.from_numpy(positions).to(dtype),
            molecule=torch.from_numpy(np.repeat(np.arange(len(rows)), sizes)),
            size=len(rows),
            pairs=both_ways(half),
            distances=torch.from_numpy(np.concatenate([distances, distances])).to(dtype),
            atom_features=self._features("atom_features", self._atoms, rows, dtype),
            pair_features=self._features("pair_features", self._pairs, rows, dtype, copies=2),
            bonds=bonds,
        )

    def _features(
        self,
        name: str,
        cuts: NDArray[np.int64],
        rows: NDArray[np.int64],
        dtype: torch.dtype,
        copies: int = 1,
    ) -> Tensor | None:
        """A table's entries of these rows, copies below one another; None where not asked for."""
        if name not in self._tables:
            return None
        entries = ranges(cuts, rows)
        out = np.empty((copies, len(entries), _WIDTHS[name]), dtype=np.float32)
        self._tables[name].read(entries, out[0])
        out[1:] = out[0]
        return torch.from_numpy(out).flatten(end_dim=1).to(dtype)


def pack(examples: Sequence[Example], inputs: frozenset[str], world: World) -> Arrays:
    """The arrays of PackedExamples: flat numbers, positions, bonds and features, and counts."""
    counts = [0 if one.bonds is None else len(one.bonds) for one in examples]
    bonds = [one.bonds for one in examples if one.bonds is not None]
    arrays: Arrays = {
        "atoms": np.array([len(one.numbers) for one in examples], dtype=np.int64),
        "numbers": _joined([one.numbers for one in examples], (0,)).astype(np.uint8),
        "positions": _joined([one.positions for one in examples], (0, 3)),
        "bond_counts": np.array(counts, dtype=np.int64),
        "bonds": _joined(bonds, (0, 2)).astype(np.uint16),
    }
    for name, width in _WIDTHS.items():
        if name in inputs:
            rows = _joined([getattr(one, name) for one in examples], (0, width))
            table = _Table.of(rows, world)
            arrays |= {f"{name}.{item.name}": getattr(table, item.name) for item in fields(table)}
    return arrays


def make_examples(
    molecules: Sequence[Molecule],
    inputs: frozenset[str],
    world: World,
    tell: Callable[[int], None] = lambda done: None,
) -> tuple[list[int], PackedExamples]:
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
    arrays = pack(made, inputs, world) | {"rows": np.array(rows, dtype=np.int64)}
    if world.size > 1:
        arrays = _exchange(arrays, world)
    return arrays.pop("rows").tolist(), PackedExamples(inputs, arrays)


def examples_without_features(rows: Dataset, inputs: frozenset[str]) -> PackedExamples:
    """The examples of all rows for a network that looks at elements and positions alone."""
    atoms = np.diff(rows.atom_offsets)
    arrays: Arrays = {
        "atoms": atoms,
        "numbers": rows.column("numbers"),
        "positions": rows.column("positions"),
        "bond_counts": np.zeros_like(atoms),
        "bonds": np.zeros((0, 2), dtype=np.uint16),
    }
    return PackedExamples(inputs, arrays)


def _exchange(arrays: Arrays, world: World) -> Arrays:
    """Every rank's arrays joined, in the order of the ranks."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    received = [world.broadcast(buffer.getvalue(), root) for root in range(world.size)]
    parts = [dict(np.load(io.BytesIO(one), allow_pickle=False)) for one in received]
    return {
        name: values if name.endswith("_columns") else np.concatenate([one[name] for one in parts])
        for name, values in arrays.items()
    }


def _joined(arrays: Sequence[NDArray[Any]], empty: tuple[int, ...]) -> NDArray[Any]:
    return np.concatenate(arrays) if len(arrays) else np.zeros(empty)


def _cuts(lengths: NDArray[Any]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])


def _together(columns: NDArray[np.int64]) -> Any:
    """Columns that stand side by side as a slice, which copies several times faster."""
    side_by_side = len(columns) and columns[-1] - columns[0] + 1 == len(columns)
    return slice(int(columns[0]), int(columns[-1]) + 1) if side_by_side else columns
