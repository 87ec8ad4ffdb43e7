"""What is learned from: examples and targets of the rows that have both."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil

import numpy as np
from numpy.typing import NDArray

from hpcml.errors import InputError
from hpcml.molecules import Columns, constitutions_in_blocks
from hpcml.progress import progress
from hpcml.store import Dataset
from hpcml.store.rows import pack_keys, unpack_keys
from hpcml.training.examples import PackedExamples, examples_without_features, make_examples
from hpcml.training.soundness import unsound_rows
from hpcml.training.targets import Target
from hpcml.training.train_settings import Bounds, LeaveOut
from hpcml.training.world import World


@dataclass(frozen=True)
class Candidates:
    """The K rows of a data set that have a value of some target: row k of all that is here.

    rows        those rows of the data set
    values      (K, T) float64, in ``units``; NaN where a row has no value of a target
    targets     T of them
    units       of each, for people: "a0^3"
    left_out    reason -> rows of the data set that are not here
    """

    rows: Dataset
    values: NDArray[np.float64]
    targets: tuple[Target, ...]
    units: tuple[str, ...]
    left_out: dict[str, int]

    @cached_property
    def keys(self) -> list[str]:
        """The rows' keys."""
        return list(map(str, self.rows.keys))

    @cached_property
    def molecule_keys(self) -> list[str]:
        """The rows' molecules' keys: the same for the same geometry."""
        return list(map(str, self.rows.molecule_keys))

    @cached_property
    def constitutions(self) -> NDArray[np.int64]:
        """A number for each row, (K,): the same for the same atoms, bonds, charge and
        multiplicity."""

        def read(chosen: NDArray[np.int64]) -> Columns:
            rows = self.rows.subset(chosen)
            states = np.stack([rows.column("charge"), rows.column("multiplicity")], axis=1)
            return rows.column("numbers"), rows.column("positions"), rows.atom_offsets, states

        return constitutions_in_blocks(read, len(self.values))

    @cached_property
    def packed_keys(self) -> NDArray[np.uint8]:
        """The rows' keys, (K, 16): a quarter of what they take as texts."""
        return np.asarray(self.rows.column("key"))

    def texts_of_keys(self, rows: Sequence[int]) -> tuple[str, ...]:
        """The keys of some rows, as 32 hexadecimal digits."""
        chosen = self.packed_keys[np.asarray(rows, np.int64)]
        return tuple(unpack_keys(chosen.reshape(-1, 16)).tolist())


@dataclass(frozen=True)
class TrainingData:
    """N rows to learn from and be judged by, and T targets: row n of all that is here.

    rows             those rows of the data set; molecules are made when they are asked for
    examples         of each row, for the inputs of one network
    values           (N, T) float64, in ``units``; NaN where a row has no value of a target
    targets, units   as of the candidates
    """

    rows: Dataset
    examples: PackedExamples
    values: NDArray[np.float64]
    targets: tuple[Target, ...]
    units: tuple[str, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The targets' names in tables."""
        return tuple(target.label for target in self.targets)

    @cached_property
    def keys(self) -> list[str]:
        """The rows' keys."""
        return list(map(str, self.rows.keys))

    @cached_property
    def atoms(self) -> NDArray[np.int64]:
        """(N,) number of atoms of each row."""
        return np.diff(self.rows.atom_offsets)


def find_candidates(
    dataset: Dataset,
    targets: Sequence[Target],
    leave_out: LeaveOut = "unstable",
    within: Mapping[str, Bounds] | None = None,
) -> Candidates:
    """The rows that have any target and are sound; the others are counted by reason.

    leave_out, within   which rows are not sound: see ``unsound_rows``

    Raises InputError where a target is no column of the data set, or no row is left.
    """
    values = np.stack([target.values(dataset) for target in targets], axis=1)
    known = np.isfinite(values)
    empty = [
        target.label for target, of_it in zip(targets, known.T, strict=True) if not of_it.any()
    ]
    if empty and len(targets) > 1:
        raise InputError(f"no row has a value of {', '.join(empty)}: leave that target out")
    values[~known] = np.nan
    missing = int((~known.any(axis=1)).sum())
    left_out = (
        {f"no value of {' or '.join(target.label for target in targets)}": missing}
        if missing
        else {}
    )
    unsound = unsound_rows(dataset, leave_out, within or {})
    left_out |= {reason: int(outside.sum()) for reason, outside in unsound.items()}
    sound = known.any(axis=1)
    for outside in unsound.values():
        sound &= ~outside
    rows = np.flatnonzero(sound)
    if not len(rows):
        reasons = "; ".join(f"{reason}: {count}" for reason, count in left_out.items())
        raise InputError(f"{len(dataset)} rows, none of which can be learned from ({reasons})")
    return Candidates(
        rows=dataset.subset(rows),
        values=values[rows],
        targets=tuple(targets),
        units=tuple(target.unit(dataset) for target in targets),
        left_out=left_out,
    )


def read_data(
    candidates: Candidates, keys: Collection[str], inputs: frozenset[str], world: World
) -> TrainingData:
    """Those candidates that have these keys, less those whose bonds cannot be perceived.

    All ranks call it, and share the work of making the features.
    """
    wanted = pack_keys(list(keys)).view("S16")[:, 0]
    chosen = np.flatnonzero(np.isin(candidates.packed_keys.view("S16")[:, 0], wanted))
    found, examples = _examples(candidates.rows.subset(chosen), inputs, world)
    chosen = chosen[found]
    return TrainingData(
        rows=candidates.rows.subset(chosen),
        examples=examples,
        values=candidates.values[chosen],
        targets=candidates.targets,
        units=candidates.units,
    )


def _examples(
    rows: Dataset, inputs: frozenset[str], world: World
) -> tuple[list[int], PackedExamples]:
    """Numbers of the rows that an example can be made of, and their examples.

    Features are told of as they are made; a network that needs none reads columns, at once.
    """
    if not inputs - {"pairs"}:
        return list(range(len(rows))), examples_without_features(rows, inputs)
    if world.rank:
        return make_examples(rows.molecules, inputs, world)
    with progress("features", len(rows)) as advance:
        return make_examples(rows.molecules, inputs, world, advance)


# ---------------------------------------------------------------------------- batches


def epoch_batches(
    rows: NDArray[np.int64], batch_size: int, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """The rows of one pass in a random order, in batches that differ by one row at most.

    A function of its arguments alone: the same at any number of ranks, and after a restart.

    Parameters
    ----------
    rows : (N,) integer array
    batch_size : int
        Most rows of a batch.
    seed, epoch : int

    Returns
    -------
    list of (b,) integer array
        The rows of each batch.
    """
    order = np.random.default_rng([seed, 0xE90C, epoch]).permutation(rows)
    return np.array_split(order, ceil(len(rows) / batch_size))


def share_of_rank(
    batch: NDArray[np.int64], atoms: NDArray[np.int64], rank: int, size: int
) -> NDArray[np.int64]:
    """The rows of a batch that one rank computes: as many, and as large, as the others'.

    Rows are dealt from the largest to the smallest, there and back again.

    Parameters
    ----------
    batch : (b,) integer array
        Rows.
    atoms : (N,) integer array
        Number of atoms of every row.
    rank, size : int
        Which of how many ranks.

    Returns
    -------
    (k,) integer array
        Rows, the largest first.
    """
    dealt = batch[np.argsort(-atoms[batch], kind="stable")]
    place = np.arange(len(dealt))
    turn = place % size
    owner = np.where(place // size % 2 == 0, turn, size - 1 - turn)
    return np.asarray(dealt[owner == rank])
