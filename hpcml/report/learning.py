"""What a network's error is held against: fewer data, simpler models, its own ensemble."""

from __future__ import annotations

import numpy as np

from hpcml.report.facts import LearningCurve, Table
from hpcml.report.run_files import Columns, read_json
from hpcml.report.words import number, quantity
from hpcml.training.metrics import per_target
from hpcml.training.model_folder import ModelFolder
from hpcml.training.targets import Target

Units = dict[Target, str]
"""The targets of a network, each with its unit as it is printed."""

_CURVE_NOTE = (
    "Each network had about as many steps as the one on all molecules; errors are of the test set."
)
_ENSEMBLE_NOTE = (
    "The networks differ by their seed alone. Their spread, scaled on the validation molecules, is "
    "the uncertainty; a share of the test molecules equal to the level should lie within it."
)


def labels_of(units: Units) -> list[str]:
    """The targets' names in tables."""
    return [target.label for target in units]


def learning_curve(model: ModelFolder, units: Units) -> LearningCurve | None:
    """Test error of the first target over the training set's size, where that was measured."""
    columns = Columns(model.learning_curve)
    if not columns or not units:
        return None
    target, unit = next(iter(units.items()))
    baselines = Columns(model.baselines)
    error = per_target("test_mae", labels_of(units))[0]
    return LearningCurve(
        quantity=quantity(target),
        unit=unit,
        rows=columns.numbers("train_rows").astype(np.int64),
        test_mae=columns.numbers(error),
        baselines={
            name: (int(rows), float(mae))
            for name, rows, mae in zip(
                baselines.texts("baseline"),
                baselines.texts("train_rows"),
                baselines.texts(error),
                strict=True,
            )
            if mae
        }
        if baselines
        else {},
        note=_CURVE_NOTE,
    )


def comparisons(model: ModelFolder, units: Units) -> tuple[Table, ...]:
    """Baselines and ensemble as tables, where there are any."""
    return (*_baselines(model, units), *_ensemble(model, units))


def _baselines(model: ModelFolder, units: Units) -> tuple[Table, ...]:
    columns = Columns(model.baselines)
    if not columns:
        return ()
    heading = ("predictor", "training molecules", "test molecules")
    errors = tuple(
        f"test MAE / {unit}" if len(units) == 1 else f"{quantity(target)}, test MAE / {unit}"
        for target, unit in units.items()
    )
    trained, tested, missing = (
        columns.numbers(name).astype(int) for name in ("train_rows", "test_rows", "not_predicted")
    )
    shown = [
        [number(float(mae)) if mae else "\N{EN DASH}" for mae in columns.texts(column)]
        for column in per_target("test_mae", labels_of(units))
    ]
    counts = [[f"{count:,}" for count in column] for column in (trained, tested - missing)]
    rows = tuple(zip(columns.texts("baseline"), *counts, *shown, strict=True))
    note = "On the network's own split: what it must beat."
    return (Table("Simpler predictors", heading + errors, rows, note),)


def _ensemble(model: ModelFolder, units: Units) -> tuple[Table, ...]:
    found = read_json(model.ensemble)
    if not found:
        return ()
    levels: list[str] = []
    rows = []
    for target, unit in units.items():
        judged = found["targets"][target.label]
        coverage = judged.get("calibration", {}).get("coverage", {})
        levels = levels or list(coverage)
        alone = float(np.mean([member["mae"] for member in judged["members"]]))
        rows.append(
            (
                quantity(target),
                f"{number(alone)} {unit}",
                f"{number(judged['mean']['mae'])} {unit}",
                *(f"{coverage[level]:.0%}" for level in levels if level in coverage),
            )
        )
    heading = ("property", "test MAE, one network", f"mean of {found['members']}")
    within = tuple(f"within {float(level):.0%}" for level in levels)
    return (Table("Ensemble", heading + within, tuple(rows), _ENSEMBLE_NOTE),)
