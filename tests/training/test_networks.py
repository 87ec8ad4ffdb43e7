"""Every network learns, and in every precision; settings that stop early do."""

from __future__ import annotations

import csv
from pathlib import Path

import msgspec
import pytest
import torch

from hpcml.errors import PlatformError, SettingsError
from hpcml.models import MODELS
from hpcml.training import TrainSettings, load_model, predict, train
from hpcml.training.world import Alone, enter

SMALL = {
    "ani": {"hidden": [[16], [16], [16], [16]]},
    "dtnn": {"passes": 2},
    "graphconv": {},
    "linear": {},
    "painn": {"features": 16, "interactions": 2},
    "weave": {"layers": 1, "fully_connected": [32], "dropout": 0.0},
}


def errors(folder: Path) -> list[float]:
    with (folder / "metrics.csv").open() as file:
        return [float(row["validation_mae"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_network_learns(dataset, molecules, tmp_path, name) -> None:
    settings = TrainSettings(
        model=name, hyperparameters=SMALL[name], scaling="standardize", epochs=6, batch_size=8,
        learning_rate=0.02,
    )  # fmt: skip
    train(dataset, tmp_path, settings, Alone())
    found = errors(tmp_path)
    assert min(found) < 0.8 * found[0]
    model, _ = load_model(tmp_path)
    assert predict(model, molecules[:3]).shape == (3, 1)


def test_bounded_weights_stay_bounded(dataset, tmp_path) -> None:
    hyperparameters = SMALL["ani"] | {"max_norm": 0.4}
    settings = TrainSettings(model="ani", hyperparameters=hyperparameters, epochs=2, batch_size=8)
    train(dataset, tmp_path, settings, Alone())
    state = load_model(tmp_path)[0].state_dict()
    weights = [v for name, v in state.items() if ".hidden." in name and name.endswith("weight")]
    lengths = torch.cat([weight.norm(dim=1) for weight in weights])
    assert 0.399 < float(lengths.max()) < 0.4001


@pytest.mark.parametrize("precision", ["float64", "bfloat16"])
def test_precision(dataset, tmp_path, precision) -> None:
    base = TrainSettings(model="dtnn", epochs=3, batch_size=8)
    train(dataset, tmp_path / "float32", base, Alone())
    other = msgspec.structs.replace(base, precision=precision)
    train(dataset, tmp_path / precision, other, Alone())
    expected, found = errors(tmp_path / "float32"), errors(tmp_path / precision)
    assert found != expected
    assert found == pytest.approx(expected, rel=1e-4 if precision == "float64" else 0.1)
    model, _ = load_model(tmp_path / precision)
    dtype = {p.dtype for p in model.parameters()}
    assert dtype == {torch.float64 if precision == "float64" else torch.float32}


def test_early_stopping_keeps_the_best_weights(dataset, tmp_path) -> None:
    settings = TrainSettings(
        model="linear", epochs=500, patience=3, schedule="constant", learning_rate=0.3,
        scaling="standardize",
    )  # fmt: skip
    metrics = train(dataset, tmp_path, settings, Alone())
    found = errors(tmp_path)
    assert len(found) < 500
    assert min(range(len(found)), key=found.__getitem__) == len(found) - 4
    assert metrics["validation_mae"] == pytest.approx(min(found), rel=1e-6)


def test_networks_and_devices_that_are_not_there(dataset, tmp_path) -> None:
    with pytest.raises(SettingsError, match="no model 'weeve'"):
        train(dataset, tmp_path, TrainSettings(model="weeve"), Alone())
    with pytest.raises(SettingsError, match="hyperparameters of dtnn"):
        train(dataset, tmp_path, TrainSettings(model="dtnn", hyperparameters={"x": 1}), Alone())
    if torch.cuda.is_available():
        assert enter(TrainSettings(device="cuda")).size == 1
    else:
        with pytest.raises(PlatformError, match="no GPU here"):
            enter(TrainSettings(device="cuda"))
