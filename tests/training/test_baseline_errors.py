"""Baselines on the split of the network: the mean is known, least squares is exact."""

from __future__ import annotations

import csv

import msgspec
import numpy as np
import pytest

from hpcml.errors import SettingsError
from hpcml.training import TrainSettings, train
from hpcml.training.world import Alone

SETTINGS = TrainSettings(
    model="linear", target="zpve", epochs=1,
    baselines=("mean", "atom counts", "kernel ridge, bonds"), baseline_rows=40,
)  # fmt: skip


def test_baselines_are_judged_on_the_same_split(dataset, tmp_path) -> None:
    metrics = train(dataset, tmp_path, SETTINGS, Alone())
    with (tmp_path / "baselines.csv").open() as file:
        found = {row["baseline"]: row for row in csv.DictReader(file)}
    mean = metrics["errors"]["zpve"]["mean_predictor_mae"]
    assert float(found["mean"]["test_mae"]) == pytest.approx(mean)
    assert float(found["atom counts"]["test_mae"]) < 1e-12  # zpve was made of hydrogens alone
    kernel = found["kernel ridge, bonds"]
    assert float(kernel["test_mae"]) < 0.5 * mean
    assert [kernel["train_rows"], found["mean"]["train_rows"]] == ["40", "63"]
    assert {row["test_rows"] for row in found.values()} == {"8"}
    assert {row["unit"] for row in found.values()} == {"Eh"}


def test_molecules_beyond_a_representation_are_counted(dataset, tmp_path) -> None:
    by_size = msgspec.structs.replace(SETTINGS, split="size", heavy_atoms=3)
    train(dataset, tmp_path, by_size, Alone())
    with (tmp_path / "baselines.csv").open() as file:
        found = {row["baseline"]: row for row in csv.DictReader(file)}
    assert int(found["kernel ridge, bonds"]["not_predicted"]) > 0
    assert found["mean"]["not_predicted"] == "0"
    assert np.isfinite(float(found["mean"]["test_mae"]))


def test_unknown_baseline(dataset, tmp_path) -> None:
    unknown = msgspec.structs.replace(SETTINGS, baselines=("guess",))
    with pytest.raises(SettingsError, match="no baseline 'guess'"):
        train(dataset, tmp_path, unknown, Alone())
