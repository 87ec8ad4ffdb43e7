"""From a data set to a model folder, each step only as far as it is not done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import torch

from hpcml.errors import InputError, SettingsError
from hpcml.files import make_folder, write_whole
from hpcml.models import build
from hpcml.store import Dataset
from hpcml.training.baseline_errors import write_baselines
from hpcml.training.data import TrainingData, find_candidates, read_data
from hpcml.training.ensemble import write_ensemble
from hpcml.training.identity import differences, identity_of
from hpcml.training.levels import distinct_levels
from hpcml.training.metrics import (
    per_target,
    read_metrics,
    write_csv,
)
from hpcml.training.model_folder import PARTS, ModelFolder
from hpcml.training.run import Run, from_rank_0
from hpcml.training.settings_check import check
from hpcml.training.splits import (
    UNSEEN,
    Split,
    check_same_data,
    check_size,
    make_split,
    rows_of,
    told_of_copies,
    without,
    write_split,
)
from hpcml.training.train_settings import TrainSettings
from hpcml.training.world import World


def train(
    dataset: Dataset,
    folder: Path,
    settings: TrainSettings,
    world: World,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Train, or go on training, into ``folder``; the final numbers (as in metrics.json).

    With ``train_sizes`` a network for each size is trained first (learning_curve.csv); with
    ``members`` the other members of the ensemble afterwards (ensemble.csv, ensemble.json), and
    with ``baselines`` what the network must beat (baselines.csv).

    Every rank calls it with the same arguments.  A finished run is left as it is.  Raises
    InputError where the data set or the settings are no longer those of the run in the folder,
    Stopped where ``stop`` said so and work is left.
    """
    torch.set_num_threads(settings.threads)
    files = ModelFolder(folder)
    runs = _Runs(dataset, files, settings, world, stop)
    runs.check()
    sizes = {size: runs.size(size) for size in settings.train_sizes}
    metrics = runs.whole()
    members = [runs.member(number) for number in range(1, settings.members)]
    if world.rank == 0:
        if sizes and (runs.worked or not files.learning_curve.exists()):
            write_learning_curve(files, [*sizes.values(), metrics])
        if members and (runs.worked or not files.ensemble.exists()):
            write_ensemble(files, settings.members, list(metrics["errors"]))
    runs.judge_baselines()
    return metrics


class _Runs:
    """The runs that one training consists of; it owns the data and the split that they share.

    worked    whether any of them was not finished before
    """

    def __init__(
        self,
        dataset: Dataset,
        folder: ModelFolder,
        settings: TrainSettings,
        world: World,
        stop: Callable[[], bool],
    ) -> None:
        self._dataset = dataset
        self._folder = folder
        self._settings = settings
        self._world = world
        self._stop = stop
        self.worked = False

    def check(self) -> None:
        """The settings can be followed, and what is in the folder was made from this data set."""
        check(self._settings, self._dataset.schema)
        if self._saved_split is not None:
            check_same_data(self._saved_split, self._dataset.fingerprint, self._folder.split)

    def size(self, rows: int) -> dict[str, Any]:
        """One point of the learning curve: on the first rows of the training set, validated as
        often as the whole of it and, to whole passes, in as many steps."""
        settings, split = self._settings, self.split
        if rows >= len(split.train):
            raise SettingsError(
                f"train.train_sizes: {rows} is not less than the {len(split.train)} training rows"
            )
        passes = settings.passes * round(len(split.train) / rows)
        part = msgspec.structs.replace(settings, train=rows, train_sizes=(), passes=passes)
        return self.run(self._folder.size(rows), part, rows)

    def whole(self) -> dict[str, Any]:
        """The network on the whole training set: the one that others load."""
        return self.run(self._folder, self._settings)

    def member(self, number: int) -> dict[str, Any]:
        """Another member of the ensemble."""
        settings = self._settings
        other = msgspec.structs.replace(settings, seed=settings.seed + number, train_sizes=())
        return self.run(self._folder.member(number), other)

    def judge_baselines(self) -> None:
        """Fit what the network must beat; every rank calls it, rank 0 does it."""
        path = self._folder.baselines
        done = from_rank_0(self._world, lambda: b"done" if path.exists() else b"")
        if done or not self._settings.baselines:
            return
        split, data = self._split_and_data
        if self._world.rank:
            return
        row_of_key = {key: row for row, key in enumerate(data.keys)}
        write_baselines(
            self._folder,
            self._settings.baselines,
            data,
            train=rows_of(split, "train", row_of_key),
            test=rows_of(split, "test", row_of_key),
            most_rows=self._settings.baseline_rows,
        )

    def run(
        self, folder: ModelFolder, settings: TrainSettings, rows: int | None = None
    ) -> dict[str, Any]:
        """Train one network into a folder, as far as it is not done; on the first rows or all."""
        identity = identity_of(settings, self._dataset.fingerprint)
        finished = from_rank_0(self._world, lambda: msgspec.json.encode(read_metrics(folder)))
        if finished != b"null":
            metrics: dict[str, Any] = msgspec.json.decode(finished)
            _check_finished(folder, metrics, identity)
            return metrics
        split = msgspec.structs.replace(self.split, train=self.split.train[:rows])
        if self._world.rank == 0:
            make_folder(folder.path)
            text = msgspec.json.format(msgspec.json.encode(settings))
            write_whole(folder.settings, text)
            write_split(folder.split, split)
        self.worked = True
        run = Run(
            settings, self._world, folder, identity, self._split_and_data[1], split, self._levels
        )
        fit = run.begin()
        run.go(fit, self._stop)
        return run.finish(fit)

    @property
    def split(self) -> Split:
        """The saved split, or a new one; in it no row that cannot be learned from."""
        return self._saved_split or self._split_and_data[0]

    @cached_property
    def _split_and_data(self) -> tuple[Split, TrainingData]:
        settings, dataset = self._settings, self._dataset
        candidates = find_candidates(dataset, settings.targets, settings.leave_out, settings.within)
        split = self._saved_split or make_split(settings, candidates, dataset.fingerprint)
        inputs = build(settings.model, settings.hyperparameters).inputs
        keys = [key for part in PARTS for key in split.part(part)]
        data = read_data(candidates, keys, inputs, self._world)
        split = without(split, set(keys) - set(data.keys), UNSEEN)
        check_size(split, settings, len(data.keys))
        if self._world.rank == 0 and self._saved_split is None:
            make_folder(self._folder.path)
            write_split(self._folder.split, split)
            if told := told_of_copies(split, candidates):
                print(f"train: {told}", file=sys.stderr)
        return split, data

    @cached_property
    def _levels(self) -> tuple[str, ...]:
        return distinct_levels(self._dataset)

    @cached_property
    def _saved_split(self) -> Split | None:
        path = self._folder.split
        text = from_rank_0(self._world, lambda: path.read_bytes() if path.exists() else b"")
        return msgspec.json.decode(text, type=Split) if text else None


def write_learning_curve(folder: ModelFolder, runs: Sequence[dict[str, Any]]) -> None:
    """learning_curve.csv: training rows, errors of each target, passes and seconds of each run."""
    labels = list(runs[0]["errors"])
    rows = [
        [
            run["rows"]["train"],
            *(run["errors"][label]["validation"]["mae"] for label in labels),
            *(run["errors"][label]["test"]["mae"] for label in labels),
            run["unit"],
            run["passes"],
            run["seconds"],
        ]
        for run in runs
    ]
    errors = [*per_target("validation_mae", labels), *per_target("test_mae", labels)]
    header = ["train_rows", *errors, "unit", "passes", "seconds"]
    write_csv(folder.learning_curve, header, sorted(rows))


def _check_finished(folder: ModelFolder, metrics: dict[str, Any], identity: dict[str, str]) -> None:
    differing = differences(metrics.get("identity", {}), identity)
    if differing:
        raise InputError(
            f"{folder.path}: holds a finished run with other {', '.join(differing)}: "
            "train into a new folder, or remove this one"
        )
