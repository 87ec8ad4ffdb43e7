"""Relevances on disk: one shard for each shard of the data set, row for row."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from hpcml.errors import InputError
from hpcml.relevance.ledger import LEDGER, cancellation
from hpcml.store import Dataset, Manifest, Shard
from hpcml.store.rows import ranges
from hpcml.training.targets import Target


@dataclass(frozen=True)
class RelevanceRow:
    """One molecule, in the target's unit.

    prediction = atoms.sum() + ledger.sum(); all NaN where the molecule could not be explained.

    atoms        (n,) relevances
    ledger       (len(LEDGER),) what went to no atom's inputs
    atom_ledger  (n, len(LEDGER)) the part of it that was taken at each atom's own row, or, half
                 and half, at the row of a pair
    pair_ledger  (n (n - 1) / 2, len(LEDGER)) what of the ledger was taken at the rows of pairs
    pairs        (n (n - 1) / 2,) of atoms i < j in the order of numpy.triu_indices(n, 1); empty
                 where none were kept
    """

    prediction: float
    atoms: NDArray[np.float64]
    ledger: NDArray[np.float64]
    atom_ledger: NDArray[np.float64]
    pairs: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    pair_ledger: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, len(LEDGER))))

    @property
    def booked(self) -> NDArray[np.float64]:
        """(n,) each atom's relevance with what its own biases, steps and reference say."""
        total: NDArray[np.float64] = self.atoms + self.atom_ledger.sum(axis=1)
        return total

    @property
    def molecule_ledger(self) -> NDArray[np.float64]:
        """(len(LEDGER),) what is truly the molecule's: prediction = booked.sum() + its sum."""
        left: NDArray[np.float64] = self.ledger - self.atom_ledger.sum(axis=0)
        return left


class RelevanceRows:
    """Relevances of a data set's rows, in its order; use ``open_relevance``.

    model, target, unit, rule   what was explained, and how
    pairs                       what was kept of pairs: "none", "inputs", or "interactions"
    """

    def __init__(self, folder: Path, dataset: Dataset) -> None:
        self.dataset = dataset
        manifest = Manifest(folder)
        if not manifest.entries:
            raise InputError(f"{folder}: no relevances here (hpcml explain makes them)")
        self._shards = []
        for info in dataset.shards:
            entry = manifest.entries.get(info.name)
            if entry is None:
                raise InputError(f"{folder}: shard {info.name} is not explained yet")
            if entry.attributes.get("source") != info.checksum:
                raise InputError(
                    f"{folder}: shard {info.name} was explained from other data: explain again"
                )
            self._shards.append(Shard(folder, entry))
        if len({shard.entry.attributes.get("identity") for shard in self._shards}) > 1:
            raise InputError(f"{folder}: shards of different models or rules: explain again")
        about = self._shards[0].entry.attributes if self._shards else {}
        self.model, self.unit, self.rule = (
            str(about.get(name, "")) for name in ("model", "unit", "rule")
        )
        self.target = _target(str(about.get("target", "")), folder)
        self.pairs = str(about.get("pairs", "none"))

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> RelevanceRow:
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        index %= len(self)
        shard, row = (int(places[index]) for places in self._places)
        read = self._shards[shard]
        start, stop = read.view("atom_offsets")[row : row + 2]
        pairs, pair_ledger = np.empty(0), np.empty((0, len(LEDGER)))
        if self.pairs != "none":
            mine = slice(*(int(cut) for cut in read.view("pair_offsets")[row : row + 2]))
            pairs = np.array(read.view("pair_relevance")[mine])
            pair_ledger = _booked(read, "pair_ledger", mine)
        return RelevanceRow(
            float(read.view("prediction")[row]),
            np.array(read.view("relevance")[start:stop]),
            np.array(read.view("ledger")[row]),
            _booked(read, "atom_ledger", slice(int(start), int(stop))),
            pairs,
            pair_ledger,
        )

    @cached_property
    def _places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self.dataset.places

    @cached_property
    def prediction(self) -> NDArray[np.float64]:
        """(N,) predictions."""
        return self._molecules("prediction", np.empty(len(self)))

    @cached_property
    def ledger(self) -> NDArray[np.float64]:
        """(N, K) what went to no atom."""
        return self._molecules("ledger", np.empty((len(self), len(LEDGER))))

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """(N + 1,) cuts of ``atoms``; the data set's atom_offsets."""
        return self.dataset.atom_offsets

    @cached_property
    def atoms(self) -> NDArray[np.float64]:
        """(A,) relevances of all atoms end to end: row i has offsets[i] to offsets[i + 1]."""
        values = np.empty(int(self.offsets[-1]))
        shard, row = self._places
        for number, read in enumerate(self._shards):
            mine = np.flatnonzero(shard == number)
            cuts = read.column("atom_offsets")
            values[ranges(self.offsets, mine)] = read.view("relevance")[ranges(cuts, row[mine])]
        return values

    @cached_property
    def atom_ledger(self) -> NDArray[np.float64]:
        """(atoms, K) what was taken at the atoms' own rows, laid as ``atoms``."""
        values = np.empty((int(self.offsets[-1]), len(LEDGER)))
        shard, row = self._places
        for number, read in enumerate(self._shards):
            mine = np.flatnonzero(shard == number)
            cuts = read.column("atom_offsets")
            whole = _booked(read, "atom_ledger", slice(0, int(cuts[-1])))
            values[ranges(self.offsets, mine)] = whole[ranges(cuts, row[mine])]
        return values

    @cached_property
    def cancellation(self) -> NDArray[np.float64]:
        """(N,) sum of |parts| over |sum| of each molecule's explanation (``ledger.cancellation``).

        A column for tables by molecule; those at ``ledger.MOSTLY_CANCELLATION`` and beyond are to
        be warned of.
        """
        return cancellation(self.atoms, self.ledger, self.offsets)

    @property
    def booked(self) -> NDArray[np.float64]:
        """(atoms,) each atom's relevance with what its own biases, steps and reference say."""
        total: NDArray[np.float64] = self.atoms + self.atom_ledger.sum(axis=1)
        return total

    def _molecules(self, name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
        shard, row = self._places
        for number, read in enumerate(self._shards):
            mine = shard == number
            values[mine] = read.view(name)[row[mine]]
        return values


def _target(text: str, folder: Path) -> Target:
    if text.isidentifier():  # version 0.1.0, of a static property
        return Target(name=text)
    try:
        return msgspec.json.decode(text, type=Target)
    except msgspec.DecodeError:
        raise InputError(
            f"{folder}: relevances of an older version of hpcml: explain again"
        ) from None


def open_relevance(folder: Path | str, dataset: Dataset) -> RelevanceRows:
    """The relevances of ``dataset`` that lie in ``folder``.

    Raises InputError where a shard is missing, or was made from other data.
    """
    return RelevanceRows(Path(folder), dataset)


def _booked(read: Shard, column: str, rows: slice) -> NDArray[np.float64]:
    """Rows of a ledger by atom or pair; version 0.1.0 had none, all of it was the molecules'."""
    if column not in read.entry.columns:
        return np.zeros((rows.stop - rows.start, len(LEDGER)))
    return np.array(read.view(column)[rows])
