"""What the cells of a study are made from: rows, their division, examples; each read once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from hpcml.analysis.atom_traits import AtomTraits
from hpcml.errors import InputError, SettingsError
from hpcml.files import make_folder
from hpcml.models import build
from hpcml.store import Dataset
from hpcml.study.cells import Cell, settings_of
from hpcml.study.results import StudyFolder
from hpcml.study.study_settings import Study, StudyTarget
from hpcml.training import TrainSettings
from hpcml.training.data import Candidates, TrainingData, find_candidates, read_data
from hpcml.training.levels import distinct_levels
from hpcml.training.model_folder import PARTS
from hpcml.training.splits import Split, check_size, make_split, rows_of, without, write_split
from hpcml.training.world import World

T = TypeVar("T")
FEWEST = 2
"""Molecules of a test set, below which nothing can be told of it."""
_LEAST_OF_A_SIZE = 8
"""Molecules of one number of heavy atoms that are told of apart."""


@dataclass(frozen=True)
class EvaluationSet:
    """Molecules that a network is judged by.

    name    in the tables
    role    "in": drawn as the training set was; "out": molecules of another kind
    source  the data set that they are from
    rows    of ``data``, in an order of chance
    explained   how many of them, the first, are explained
    parts   name -> which of ``rows`` are told of apart too
    """

    name: str
    role: str
    source: Path
    data: TrainingData
    rows: NDArray[np.int64]
    explained: int
    parts: dict[str, NDArray[np.bool_]]

    @cached_property
    def sample(self) -> Dataset:
        """The rows that are explained."""
        return self.data.rows.subset(self.rows[: self.explained])

    @cached_property
    def traits(self) -> AtomTraits:
        """Of the atoms of ``sample``."""
        return AtomTraits.of(self.sample)

    @property
    def shares(self) -> NDArray[np.float64] | None:
        """(A,) what physics assigns to each atom of ``data``; None where it is not known."""
        target, columns = self.data.targets[0], self.data.rows.columns
        if not target.is_static or target.share_name not in columns:
            return None
        values = self.data.rows.column(target.share_name)
        return values if np.isfinite(values).any() else None


class Material:
    """The data of a study, on one rank; whatever was read once is kept."""

    def __init__(self, study: Study, folder: StudyFolder, world: World) -> None:
        self.study, self.folder, self.world = study, folder, world
        self._kept: dict[Hashable, Any] = {}

    def _once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` gives, or has raised, the first time."""
        if key not in self._kept:
            try:
                self._kept[key] = make()
            except (InputError, SettingsError) as error:
                self._kept[key] = error
        found = self._kept[key]
        if isinstance(found, InputError | SettingsError):
            raise type(found)(*found.args)
        return cast("T", found)

    def dataset(self, path: str) -> Dataset:
        """A data set, compared with its checksums."""
        return self._once(("dataset", path), lambda: Dataset.open(path, verified=True))

    def levels(self, path: str) -> tuple[str, ...]:
        """The levels of theory in a data set."""
        return self._once(("levels", path), lambda: distinct_levels(self.dataset(path)))

    def split(self, cell: Cell) -> Split:
        """The division of the rows, the same for all cells of a target and a split.

        Raises InputError where a part has too few molecules.
        """
        settings, target = settings_of(self.study, cell), self.study.target(cell.target)

        def make() -> Split:
            candidates = self._candidates(target, self.study.dataset_of(target), settings)
            drawn = msgspec.structs.replace(settings, seed=self.study.split_seed)
            made = make_split(drawn, candidates, candidates.rows.fingerprint)
            for name, part in zip(PARTS, (made.train, made.validation, made.test), strict=True):
                if len(part) < FEWEST:
                    raise InputError(
                        f"split {cell.split} of {cell.target} leaves {len(part)} molecules for "
                        f"{name}: give it more rows, or other shares of them"
                    )
            if self.world.rank == 0:
                make_folder(self.folder.splits)
                name = f"{cell.target_word}-{cell.split}.json"
                write_split(self.folder.splits / name, made)
            return made

        return self._once(("split", cell.target, cell.split, _of_split(settings)), make)

    def data(self, cell: Cell) -> tuple[TrainingData, Split]:
        """The examples of all rows for the cell's network, and the split less those it lacks."""
        settings, target = settings_of(self.study, cell), self.study.target(cell.target)
        whole = self.split(cell)
        data = self._data(target, self.study.dataset_of(target), settings)
        missing = {key for part in PARTS for key in whole.part(part)} - set(data.keys)
        split = without(whole, missing, "bonds cannot be perceived")
        check_size(split, settings, len(data.keys))
        return data, split

    def training_keys(self, cell: Cell, split: Split) -> tuple[str, ...]:
        """The keys of the cell's training rows: so many of the split's, in an order of the seed.

        Raises SettingsError where there are not so many.
        """
        if cell.size > len(split.train):
            raise SettingsError(
                f"train_sizes: {cell.size} is more than the {len(split.train)} training rows of "
                f"split {cell.split} for {cell.target}"
            )
        order = np.random.default_rng([cell.seed, 0x57D7]).permutation(len(split.train))
        return tuple(split.train[row] for row in order[: cell.size or None])

    def sets(self, cell: Cell) -> list[EvaluationSet]:
        """Molecules that the cell's network has not learned from."""
        settings, target = settings_of(self.study, cell), self.study.target(cell.target)
        home = Path(self.study.dataset_of(target))
        data, split = self.data(cell)

        def make() -> list[EvaluationSet]:
            row_of_key = {key: row for row, key in enumerate(data.keys)}
            alike = settings.split in {"random", "file"}
            most = self.study.explained
            made = [
                _set(part, role, home, data, rows_of(split, part, row_of_key), explained=most)
                for part, role in (("validation", "in"), ("test", "in" if alike else "out"))
            ]
            for name, path in self.study.transfer_of(target).items():
                other = self._data(target, path, settings)
                every = np.arange(len(other.keys))
                made.append(_set(name, "out", Path(path), other, every, explained=most))
            return made

        key = ("sets", cell.target, cell.split, _of_split(settings), data.examples.inputs)
        return self._once(key, make)

    def _candidates(self, target: StudyTarget, path: str, settings: TrainSettings) -> Candidates:
        return self._once(
            ("candidates", target.label, path, settings.leave_out, repr(settings.within)),
            lambda: find_candidates(
                self.dataset(path), [target.target], settings.leave_out, settings.within
            ),
        )

    def _data(self, target: StudyTarget, path: str, settings: TrainSettings) -> TrainingData:
        inputs = build(settings.model, settings.hyperparameters).inputs
        candidates = self._candidates(target, path, settings)
        return self._once(
            ("data", target.label, path, settings.leave_out, repr(settings.within), inputs),
            lambda: read_data(candidates, candidates.keys, inputs, self.world),
        )


def _of_split(settings: TrainSettings) -> str:
    """What decides a split, as text."""
    free = {"model", "hyperparameters", "target", "seed", "share_weight", "epochs", "passes"}
    chosen = msgspec.to_builtins(settings)
    return repr({name: value for name, value in chosen.items() if name not in free})


def _set(
    name: str,
    role: str,
    source: Path,
    data: TrainingData,
    rows: NDArray[np.int64],
    *,
    explained: int,
) -> EvaluationSet:
    """In an order of chance; molecules of another kind apart by their heavy atoms too."""
    rows = np.random.default_rng(0x5E75).permutation(rows)
    parts: dict[str, NDArray[np.bool_]] = {}
    if role == "out":
        cuts, numbers = data.rows.atom_offsets, data.rows.column("numbers")
        heavy = np.add.reduceat(numbers > 1, cuts[:-1])[rows] if len(rows) else np.empty(0)
        sizes, counts = np.unique(heavy, return_counts=True)
        if len(sizes) > 1:
            parts = {
                f"{name}/{size} heavy": heavy == size
                for size, count in zip(sizes.tolist(), counts.tolist(), strict=True)
                if count >= _LEAST_OF_A_SIZE
            }
    return EvaluationSet(name, role, source, data, rows, explained, parts)
