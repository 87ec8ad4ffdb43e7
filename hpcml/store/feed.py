"""Feeding training: shuffled batches in bounded memory, the same for any number of ranks.

Rows are taken in pieces that lie together on the disk; the pieces are shuffled, a buffer full of
them is shuffled row by row, and the stream of rows is cut into batches of nearly equal size.
All of that follows from seed, epoch and number of rows alone.  A rank then takes its share of
each batch, so every rank makes the same number of steps and none is without work.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcml.errors import SettingsError
from hpcml.store.dataset import Dataset, ranges
from hpcml.store.schema import CATALOGUE

_PIECE_ROWS = 256


@dataclass(frozen=True)
class FeedBatch:
    """A rank's share of one batch.

    rows      (b,) row numbers in the data set
    columns   name -> (b, ...) values, or those of all rows end to end for ragged columns
    offsets   name of a ragged column -> (b + 1,) cuts
    """

    rows: NDArray[np.int64]
    columns: dict[str, NDArray[Any]]
    offsets: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Feed:
    """Batches of some columns of a data set, for one rank of ``ranks``.

    batch_size    rows of a batch over all ranks, at most; batches differ by one row
    buffer_rows   rows shuffled among each other, and most rows held in memory by all ranks

    Raises SettingsError if a batch would leave a rank without a row.
    """

    dataset: Dataset
    columns: tuple[str, ...]
    batch_size: int
    seed: int
    rank: int = 0
    ranks: int = 1
    buffer_rows: int = 65536

    def __post_init__(self) -> None:
        if self.batch_size < 1 or not 0 <= self.rank < self.ranks or not len(self.dataset):
            raise SettingsError(
                f"feed: {len(self.dataset)} rows in batches of {self.batch_size} "
                f"for rank {self.rank} of {self.ranks}"
            )
        smallest = len(self.dataset) // self.steps
        if smallest < self.ranks:
            raise SettingsError(
                f"feed: {len(self.dataset)} rows in {self.steps} batches leave {smallest} rows "
                f"in some for {self.ranks} ranks; take fewer ranks or larger batches"
            )

    @property
    def steps(self) -> int:
        """Batches of an epoch, the same number on every rank."""
        return -(-len(self.dataset) // self.batch_size)

    def epoch(self, number: int) -> Iterator[FeedBatch]:
        """This rank's shares of the batches of an epoch, in order."""
        order = epoch_batches(
            len(self.dataset), self.steps, self.seed, number, buffer_rows=self.buffer_rows
        )
        shares = (batch[self.rank :: self.ranks] for batch in order)
        at_once = max(1, self.buffer_rows // self.batch_size)
        while group := list(islice(shares, at_once)):
            yield from self._load(group)

    def _load(self, group: list[NDArray[np.int64]]) -> Iterator[FeedBatch]:
        """Read the rows of some batches together, in the order of the disk, and deal them out."""
        rows = np.sort(np.concatenate(group))
        part = self.dataset.subset(rows)
        values = {name: part.column(name) for name in self.columns}
        ragged = [name for name in self.columns if CATALOGUE[name].per != "molecule"]
        cuts = {name: part.offsets(name) for name in ragged}
        for batch in group:
            places = np.searchsorted(rows, batch)
            columns, offsets = {}, {}
            for name, array in values.items():
                if name in cuts:
                    columns[name] = array[ranges(cuts[name], places)]
                    lengths = np.diff(cuts[name])[places]
                    offsets[name] = np.concatenate([[0], np.cumsum(lengths)])
                else:
                    columns[name] = array[places]
            yield FeedBatch(batch, columns, offsets)


def epoch_batches(
    rows: int, steps: int, seed: int, epoch: int, *, buffer_rows: int
) -> Iterator[NDArray[np.int64]]:
    """Row numbers of each of the ``steps`` batches of an epoch: every row once.

    Never more than ``buffer_rows`` and a batch of row numbers exist at a time.
    """
    stream = _shuffled(rows, np.random.default_rng([seed, epoch]), buffer_rows)
    waiting = np.empty(0, np.int64)
    for step in range(steps):
        size = rows * (step + 1) // steps - rows * step // steps
        while len(waiting) < size:
            waiting = np.concatenate([waiting, next(stream)])
        yield waiting[:size]
        waiting = waiting[size:]


def _shuffled(
    rows: int, random: np.random.Generator, buffer_rows: int
) -> Iterator[NDArray[np.int64]]:
    piece_rows = min(_PIECE_ROWS, max(1, buffer_rows // 16))
    pieces = random.permutation(-(-rows // piece_rows))
    for at_once in range(0, len(pieces), max(1, buffer_rows // piece_rows)):
        chosen = pieces[at_once : at_once + max(1, buffer_rows // piece_rows)]
        numbers = (chosen[:, None] * piece_rows + np.arange(piece_rows)).ravel()
        yield random.permutation(numbers[numbers < rows])
