"""One training run from a data set to a model folder, each step only as far as it is not done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from hpcml.errors import InputError
from hpcml.models import Scaling, build, fit_references, fit_scaling
from hpcml.progress import progress
from hpcml.store import Dataset
from hpcml.store.disk import make_folder, replace_file
from hpcml.training.checkpoint import Progress, read_progress, save_progress
from hpcml.training.data import TrainingData, read_data
from hpcml.training.fit import Fit
from hpcml.training.metrics import (
    CurveFile,
    errors_of,
    read_metrics,
    write_metrics,
    write_predictions,
)
from hpcml.training.model_file import ModelInfo, describe_training, save_model
from hpcml.training.settings import TrainSettings
from hpcml.training.splits import (
    PARTS,
    Split,
    check_disjoint,
    check_same_data,
    make_split,
    rows_of,
    write_split,
)
from hpcml.training.world import World

SETTINGS_FILE = "settings.json"
SPLIT_FILE = "split.json"
CHECKPOINT_FILE = "checkpoint.pt"

_FREE = {"ranks", "threads", "backend", "compression", "fusion_megabytes", "tensorboard"}
"""Settings that a run may change when it goes on: they do not decide what is learned."""


def train(
    dataset: Dataset,
    folder: Path,
    settings: TrainSettings,
    world: World,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Train, or go on training, into ``folder``; the final numbers (as in metrics.json).

    Every rank calls it with the same arguments.  A finished run is left as it is.  Raises
    InputError where the data set or the settings are no longer those of the run in the folder,
    Stopped where ``stop`` said so and work is left.
    """
    torch.set_num_threads(settings.threads)
    inputs = build(settings.model, settings.hyperparameters).inputs
    make_folder(folder)
    split = _saved_split(folder, dataset, world)
    identity = _identity(settings, dataset)
    finished = _from_rank_0(world, lambda: msgspec.json.encode(read_metrics(folder)))
    if finished != b"null":
        metrics: dict[str, Any] = msgspec.json.decode(finished)
        _check_finished(folder, metrics, identity)
        return metrics

    data = read_data(dataset, settings.targets, inputs, world)  # type: ignore[arg-type]
    if split is None:
        split = make_split(
            settings,
            data.keys,
            data.molecules,
            fingerprint=dataset.fingerprint,
            left_out=sum(data.left_out.values()),
        )
    check_disjoint(split, dict(zip(data.keys, data.molecules, strict=True)))
    if world.rank == 0:
        replace_file(folder / SETTINGS_FILE, msgspec.json.format(msgspec.json.encode(settings)))
        write_split(folder / SPLIT_FILE, split)
    run = _Run(settings, world, folder, identity, data, split, level_of(dataset))
    fit = run.begin()
    run.go(fit, stop)
    return run.finish(fit)


@dataclass
class _Run:
    """One run and where its files lie."""

    settings: TrainSettings
    world: World
    folder: Path
    identity: dict[str, str]
    data: TrainingData
    split: Split
    level: str
    rows: dict[str, NDArray[np.int64]] = field(init=False)
    scaling: Scaling = field(init=False)

    def __post_init__(self) -> None:
        row_of_key = {key: row for row, key in enumerate(self.data.keys)}
        self.rows = {part: rows_of(self.split, part, row_of_key) for part in PARTS}
        self.scaling = target_scaling(self.settings, self.data, self.rows["train"])

    def begin(self) -> Fit:
        """At the start, or where the checkpoint left it."""
        path = self.folder / CHECKPOINT_FILE
        saved = _from_rank_0(self.world, lambda: path.read_bytes() if path.exists() else b"")
        done = read_progress(saved, self.identity, str(path)) if saved else Progress()
        return Fit(
            self.settings,
            self.world,
            self.data,
            model=self._network(),
            judged=self._network(),
            train=self.rows["train"],
            validation=self.rows["validation"],
            scale=np.array(self.scaling.std),
            progress=done,
        )

    def _network(self) -> torch.nn.Module:
        """With its first weights: the same on every rank."""
        torch.manual_seed(self.settings.seed)
        settings = self.settings
        return build(settings.model, settings.hyperparameters, scaling=self.scaling)

    def go(self, fit: Fit, stop: Callable[[], bool]) -> None:
        """Train to the end; rank 0 keeps checkpoint and curve and shows the progress."""
        data = self.data
        if self.world.rank:
            fit.run(lambda _: None, lambda _: None, stop)
            return
        curve = CurveFile(
            self.folder,
            data.labels,
            data.units,
            fit.progress.curve,
            tensorboard=self.settings.tensorboard,
        )
        with progress("train", self.settings.epochs) as advance:

            def tell(state: Progress) -> None:
                curve.append(state.curve[-1])
                errors = zip(state.curve[-1][3:], data.units, strict=True)
                note = ", ".join(f"{mae:.4g} {unit}" for mae, unit in errors)
                advance(state.epoch, f"MAE {note}")

            checkpoint = self.folder / CHECKPOINT_FILE
            fit.run(lambda state: save_progress(checkpoint, state, self.identity), tell, stop)

    def finish(self, fit: Fit) -> dict[str, Any]:
        """Predict every row of the split with the best weights and write what is left to write."""
        data, done = self.data, fit.progress
        fit.predictor.model.load_state_dict(done.best)
        everything = np.concatenate([self.rows[part] for part in PARTS])
        parts = np.repeat(PARTS, [len(self.rows[part]) for part in PARTS])
        predicted = fit.predictor(everything)
        reference = data.values[everything]
        metrics = self._metrics(fit, parts, reference, predicted)
        if self.world.rank == 0:
            save_model(self.folder, done.best, self._info())
            write_predictions(
                self.folder,
                data.labels,
                keys=[data.keys[row] for row in everything],
                parts=list(parts),
                reference=reference,
                predicted=predicted,
            )
            write_metrics(self.folder, metrics)
        return metrics

    def _metrics(
        self,
        fit: Fit,
        parts: NDArray[np.str_],
        reference: NDArray[np.float64],
        predicted: NDArray[np.float64],
    ) -> dict[str, Any]:
        data, done = self.data, fit.progress
        errors: dict[str, Any] = {}
        for column, label in enumerate(data.labels):
            truth, guess = reference[:, column], predicted[:, column]
            errors[label] = {
                part: errors_of(truth[parts == part], guess[parts == part]) for part in PARTS
            }
            errors[label]["unit"] = data.units[column]
            held_out = truth[parts == "test"]
            mean = np.full_like(held_out, truth[parts == "train"].mean())
            errors[label]["mean_predictor_mae"] = errors_of(held_out, mean)["mae"]
        first = errors[data.labels[0]]
        molecules = done.epoch * len(self.rows["train"])
        return {
            "model": self.settings.model,
            "target": ", ".join(data.labels),
            "unit": ", ".join(data.units),
            "test_mae": first["test"]["mae"],
            "validation_mae": first["validation"]["mae"],
            "errors": errors,
            "rows": {part: len(self.rows[part]) for part in PARTS},
            "left_out": data.left_out,
            "epochs": done.epoch,
            "parameters": sum(parameter.numel() for parameter in fit.model.parameters()),
            "ranks": self.world.size,
            "backend": self.world.name,
            "seconds": done.seconds,
            "loading_share": done.loading_seconds / max(done.seconds, 1e-9),
            "molecules_per_second": molecules / max(done.seconds, 1e-9),
            "identity": self.identity,
        }

    def _info(self) -> ModelInfo:
        data = self.data
        return ModelInfo(
            model=self.settings.model,
            hyperparameters=self.settings.hyperparameters,
            targets=data.labels,
            units=data.units,
            scaling=self.scaling,
            level=self.level,
            fingerprint=self.split.fingerprint,
            **describe_training([data.molecules[row] for row in self.rows["train"]]),
        )


def target_scaling(settings: TrainSettings, data: TrainingData, rows: NDArray[np.int64]) -> Scaling:
    """References, mean and spread of the targets over the training rows."""
    extensive = settings.targets[0].is_extensive
    numbers = [data.molecules[row].numbers for row in rows]
    values = data.values[rows]
    by_element = settings.scaling == "elements" or (settings.scaling == "auto" and extensive)
    references = fit_references(numbers, values) if by_element else None
    return fit_scaling(numbers, values, extensive=extensive, references=references)


def level_of(dataset: Dataset) -> str:
    """The level of theory of the first row, "B3LYP/6-31G(d)"; "" where it is not told."""
    provenance = dataset[0].provenance
    method, basis = provenance.get("method", ""), provenance.get("basis", "")
    return f"{method}/{basis}" if method and basis else str(method or basis)


def _saved_split(folder: Path, dataset: Dataset, world: World) -> Split | None:
    path = folder / SPLIT_FILE
    text = _from_rank_0(world, lambda: path.read_bytes() if path.exists() else b"")
    if not text:
        return None
    split = msgspec.json.decode(text, type=Split)
    check_same_data(split, dataset.fingerprint, path)
    return split


def _identity(settings: TrainSettings, dataset: Dataset) -> dict[str, str]:
    """What decides the course of a run, by name."""
    chosen = msgspec.to_builtins(settings)
    text = {name: repr(value) for name, value in chosen.items() if name not in _FREE}
    return text | {"data set": dataset.fingerprint}


def _check_finished(folder: Path, metrics: dict[str, Any], identity: dict[str, str]) -> None:
    theirs = metrics.get("identity", {})
    differing = [name for name in identity if theirs.get(name) != identity[name]]
    if differing:
        raise InputError(
            f"{folder}: holds a finished run with other {', '.join(differing)}: "
            "train into a new folder, or remove this one"
        )


def _from_rank_0(world: World, read: Callable[[], bytes]) -> bytes:
    """What rank 0 reads, on every rank: one view of the disk."""
    return world.broadcast(read() if world.rank == 0 else b"")
