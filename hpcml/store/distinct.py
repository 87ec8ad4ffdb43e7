"""Which rows count when a key comes more than once: the first of each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hpcml.store.lines import Entry
from hpcml.store.rows import offsets_of
from hpcml.store.shards import Shard

WRITTEN_TOGETHER = "distinct"
"""Attribute of shards that were written in one go by something that saw every key (an import, a
compaction): those with the same value have no key in common, and opening them reads no key."""


def known_distinct(entries: Sequence[Entry]) -> bool:
    """Whether the manifest alone says that no key comes twice."""
    marks = {entry.attributes.get(WRITTEN_TOGETHER) for entry in entries}
    return len(marks) == 1 and None not in marks


def distinct_rows(shards: Sequence[Shard]) -> NDArray[np.int64] | None:
    """The first row of each key, over all shards; None if no key comes twice.

    Half of a key tells nearly all keys apart; only rows whose halves agree are compared whole.

    Returns
    -------
    (rows,) int64 array, or None
        Ascending.
    """
    if not shards:
        return None
    starts = offsets_of([shard.entry.rows for shard in shards])
    halves = np.empty(int(starts[-1]), "<u8")
    for shard, (start, stop) in zip(shards, pairwise(starts.tolist()), strict=True):
        halves[start:stop] = shard.column("key").view("<u8")[:, 0]
    ordered = np.sort(halves)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if not twice.size:
        return None
    twice = np.unique(twice)
    place = np.minimum(np.searchsorted(twice, halves), len(twice) - 1)
    alike = np.flatnonzero(twice[place] == halves)
    keys = [
        shard.column("key")[alike[(alike >= start) & (alike < stop)] - start]
        for shard, (start, stop) in zip(shards, pairwise(starts), strict=True)
    ]
    _, first = np.unique(np.concatenate(keys).view("V16")[:, 0], return_index=True)
    again = np.setdiff1d(alike, alike[first])
    return np.delete(np.arange(len(halves)), again) if again.size else None
