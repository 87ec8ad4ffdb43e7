"""One network from its data to its files: begun or gone on with, trained, judged, written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from hpcml.files import make_folder
from hpcml.models import Network, Scaling, build, fit_references, fit_scaling, without_scale
from hpcml.progress import progress
from hpcml.training.applicability import describe_training
from hpcml.training.checkpoint import Progress, State, read_progress, save_progress
from hpcml.training.data import TrainingData
from hpcml.training.fit import Fit
from hpcml.training.metrics import (
    CurveFile,
    decisions_of,
    errors_of,
    write_metrics,
    write_predictions,
)
from hpcml.training.model_file import ModelInfo, save_model
from hpcml.training.model_folder import PARTS, ModelFolder
from hpcml.training.splits import Split, check_disjoint, rows_of
from hpcml.training.targets import all_told
from hpcml.training.train_settings import TrainSettings
from hpcml.training.world import World


@dataclass
class Run:
    """One run: it owns its rows by part, the scaling of its targets, and its files.

    rows       part of the split -> rows of ``data``
    scaling    of the targets over its own training rows
    """

    settings: TrainSettings
    world: World
    folder: ModelFolder
    identity: dict[str, str]
    data: TrainingData
    split: Split
    levels: tuple[str, ...]
    rows: dict[str, NDArray[np.int64]] = field(init=False)
    scaling: Scaling = field(init=False)

    def __post_init__(self) -> None:
        molecule_keys = self.data.rows.molecule_keys.tolist()
        check_disjoint(self.split, dict(zip(self.data.keys, molecule_keys, strict=True)))
        row_of_key = {key: row for row, key in enumerate(self.data.keys)}
        self.rows = {part: rows_of(self.split, part, row_of_key) for part in PARTS}
        self.scaling = target_scaling(self.settings, self.data, self.rows["train"])

    def begin(self) -> Fit:
        """At the start, or where the checkpoint left it."""
        path = self.folder.checkpoint
        saved = from_rank_0(self.world, lambda: path.read_bytes() if path.exists() else b"")
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

    def _network(self) -> Network:
        """With its first weights: the same on every rank."""
        torch.manual_seed(self.settings.seed)
        settings = self.settings
        return build(settings.model, settings.hyperparameters, scaling=self.scaling)

    def go(self, fit: Fit, stop: Callable[[], bool]) -> None:
        """Train to the end; rank 0 keeps checkpoint and curve and shows the progress."""
        data = self.data
        if self.world.rank:
            fit.run(lambda _: None, lambda _: None, stop=stop)
            return
        curve = CurveFile(
            self.folder,
            data.labels,
            data.units,
            fit.progress.curve,
            tensorboard=self.settings.tensorboard,
            shares=fit.shares is not None,
        )
        checkpoint = self.folder.checkpoint
        steps, total = fit.steps_of_epoch, self.settings.epochs * fit.steps_of_epoch
        before = fit.progress.epoch * steps + fit.progress.step
        with progress("train", total, before=before) as advance:

            def save(state: Progress) -> None:
                save_progress(checkpoint, state, self.identity)

            def tick(done: int) -> None:
                advance(done, self._note(fit.progress))

            def keep(epoch: int, weights: State) -> None:
                folder = self.folder.epoch(epoch).path
                make_folder(folder)
                save_model(folder, weights, self._info())

            fit.run(save, lambda state: curve.append(state.curve[-1]), tick, stop, keep)

    def _note(self, state: Progress) -> str:
        """How far the run is, in words: epochs and the last validation error."""
        epochs = f"epoch {state.epoch}/{self.settings.epochs}"
        if not state.curve:
            return epochs
        targets = len(self.data.units)
        errors = zip(state.curve[-1][3 : 3 + targets], self.data.units, strict=True)
        return f"{epochs} MAE " + ", ".join(f"{mae:.4g} {unit}" for mae, unit in errors)

    def finish(self, fit: Fit) -> dict[str, Any]:
        """Predict every row of the split with the best weights and write what is left to write."""
        data, done = self.data, fit.progress
        fit.predictor.model.load_state_dict(done.best)
        everything = np.concatenate([self.rows[part] for part in PARTS])
        parts = np.repeat(PARTS, [len(self.rows[part]) for part in PARTS])
        predicted = all_told(data.targets, fit.predictor(everything))
        reference = data.values[everything]
        metrics = self._metrics(fit, parts, reference, predicted)
        for part in PARTS:
            for label, mae in zip(data.labels, fit.share_errors(self.rows[part]), strict=False):
                metrics["errors"][label][part]["share_mae"] = None if np.isnan(mae) else float(mae)
        if self.world.rank == 0:
            save_model(self.folder.path, done.best, self._info())
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
            if data.targets[column].yes_or_no:
                for part in PARTS:
                    told = decisions_of(truth[parts == part], guess[parts == part])
                    errors[label][part].update(told)
            errors[label]["target"] = msgspec.to_builtins(data.targets[column])
            errors[label]["unit"] = data.units[column]
            held_out = truth[parts == "test"]
            mean = np.full_like(held_out, np.nanmean(truth[parts == "train"]))
            errors[label]["mean_predictor_mae"] = errors_of(held_out, mean)["mae"]
        first = errors[data.labels[0]]
        passes = done.epoch * self.settings.passes
        molecules = passes * len(self.rows["train"])
        return {
            "model": self.settings.model,
            "target": ", ".join(data.labels),
            "unit": ", ".join(data.units),
            "test_mae": first["test"]["mae"],
            "validation_mae": first["validation"]["mae"],
            "errors": errors,
            "rows": {part: len(self.rows[part]) for part in PARTS},
            "left_out": self.split.left_out,
            "epochs": done.epoch,
            "passes": passes,
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
            targets=data.targets,
            units=data.units,
            scaling=self.scaling,
            levels=self.levels,
            fingerprint=self.split.fingerprint,
            **describe_training(data.rows.subset(self.rows["train"])),
        )


def target_scaling(settings: TrainSettings, data: TrainingData, rows: NDArray[np.int64]) -> Scaling:
    """References, mean and spread of the targets over the training rows; none of logits.

    Parameters
    ----------
    rows : (n,) integer array
        Rows of ``data``.
    """
    extensive = settings.targets[0].is_extensive
    learned = data.rows.subset(rows)
    numbers = np.split(learned.column("numbers"), learned.atom_offsets[1:-1])
    values = data.values[rows]
    by_element = settings.scaling == "elements" or (settings.scaling == "auto" and extensive)
    references = fit_references(numbers, values) if by_element else None
    scaling = fit_scaling(numbers, values, extensive=extensive, references=references)
    logits = [target.yes_or_no for target in data.targets]
    return without_scale(scaling, logits) if any(logits) else scaling


def from_rank_0(world: World, read: Callable[[], bytes]) -> bytes:
    """What rank 0 reads, on every rank: one view of the disk."""
    return world.broadcast(read() if world.rank == 0 else b"")
