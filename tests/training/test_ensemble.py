"""Uncertainties against their statistics, and a real ensemble with its learning curve."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from hpcml.errors import InputError, SettingsError
from hpcml.training import TrainSettings, load_model, predict, predict_ensemble, train
from hpcml.training.ensemble import calibration, calibration_factor, deviation
from hpcml.training.world import Alone

SETTINGS = TrainSettings(
    model="dtnn", epochs=2, members=3, train_sizes=(16, 32), scaling="standardize"
)


@pytest.fixture(scope="module")
def folder(dataset, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("ensemble")
    train(dataset, path, SETTINGS, Alone())
    return path


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_normal_errors_are_calibrated_by_the_factor() -> None:
    random = np.random.default_rng(2)
    widths = random.uniform(0.5, 3.0, 200_000)
    errors = random.normal(0.0, 2.0 * widths)
    factor = calibration_factor(errors, widths)
    assert factor == pytest.approx(2.0, rel=0.01)
    found = calibration(errors, factor * widths)
    for level, coverage in found["coverage"].items():
        assert coverage == pytest.approx(float(level), abs=0.005)
    assert found["area"] < 0.005
    # entropy of the normal distribution: ln(sigma sqrt(2 pi e)), averaged
    assert found["nll"] == pytest.approx(
        np.log(2.0 * widths * np.sqrt(2.0 * np.pi * np.e)).mean(), abs=0.01
    )
    assert 0.3 < found["rank"] < 0.6
    overconfident = calibration(errors, 0.2 * widths)
    assert overconfident["area"] > 0.3
    assert overconfident["nll"] > found["nll"]


def test_spread_is_the_unbiased_standard_deviation() -> None:
    assert deviation(np.array([[[1.0]], [[3.0]]])) == pytest.approx(np.sqrt(2.0))


def test_ensemble_is_the_mean_of_networks_that_differ_by_seed(folder, dataset, molecules) -> None:
    rows = table(folder / "ensemble.csv")
    members = [table(folder / name / "predictions.csv") for name in ("", "member-1", "member-2")]
    for row, *others in zip(rows, *members, strict=True):
        single = [float(other["predicted"]) for other in others]
        assert len(set(single)) == 3
        assert float(row["predicted"]) == pytest.approx(np.mean(single))
        assert {other["part"] for other in others} == {row["part"]}
    found = json.loads((folder / "ensemble.json").read_text())
    errors = np.array([float(r["predicted"]) - float(r["reference"]) for r in rows])
    widths = np.array([float(r["uncertainty"]) for r in rows])
    held = np.array([r["part"] == "validation" for r in rows])
    assert np.mean((errors[held] / widths[held]) ** 2) == pytest.approx(1.0)
    by_key = dict(zip(dataset.keys.tolist(), molecules, strict=True))
    mean, uncertainty, info = predict_ensemble(folder, [by_key[row["key"]] for row in rows])
    assert info.model == "dtnn"
    np.testing.assert_allclose(mean[:, 0], [float(r["predicted"]) for r in rows], rtol=1e-5)
    np.testing.assert_allclose(uncertainty[:, 0], widths, rtol=1e-2)
    assert found["members"] == 3


def test_learning_curve_has_nested_sets_and_one_test_set(folder) -> None:
    splits = [
        json.loads((folder / name / "split.json").read_text())
        for name in ("size-16", "size-32", "")
    ]
    assert [len(split["train"]) for split in splits] == [16, 32, 63]
    assert splits[2]["train"][:32] == splits[1]["train"]
    assert splits[1]["train"][:16] == splits[0]["train"]
    assert splits[0]["test"] == splits[1]["test"] == splits[2]["test"]
    rows = table(folder / "learning_curve.csv")
    assert [row["train_rows"] for row in rows] == ["16", "32", "63"]
    # as many steps in all, and as many validations
    assert [row["passes"] for row in rows] == ["8", "4", "2"]
    for row, name in zip(rows, ("size-16", "size-32", ""), strict=True):
        metrics = json.loads((folder / name / "metrics.json").read_text())
        assert float(row["test_mae"]) == metrics["test_mae"]
        assert metrics["epochs"] == 2


def test_more_members_can_be_added_later(folder, dataset) -> None:
    before = (folder / "member-2" / "model.pt").stat().st_mtime_ns
    train(dataset, folder, msgspec.structs.replace(SETTINGS, members=4), Alone())
    assert json.loads((folder / "ensemble.json").read_text())["members"] == 4
    assert (folder / "member-2" / "model.pt").stat().st_mtime_ns == before


def test_first_member_is_what_others_load(folder, dataset, molecules) -> None:
    model, _ = load_model(folder)
    by_key = dict(zip(dataset.keys.tolist(), molecules, strict=True))
    rows = table(folder / "predictions.csv")
    found = predict(model, [by_key[row["key"]] for row in rows])
    np.testing.assert_allclose(found[:, 0], [float(r["predicted"]) for r in rows], rtol=1e-5)


def test_no_ensemble_and_sizes_beyond_the_data(folder, dataset, tmp_path) -> None:
    with pytest.raises(InputError, match="member-1: no ensemble there"):
        predict_ensemble(folder / "member-1", list(dataset.molecules[:1]))
    with pytest.raises(InputError, match="no trained model there"):
        predict_ensemble(tmp_path, [])
    settings = msgspec.structs.replace(SETTINGS, train_sizes=(63,))
    with pytest.raises(SettingsError, match="63 is not less than the 63 training rows"):
        train(dataset, tmp_path, settings, Alone())
