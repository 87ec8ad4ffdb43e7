"""Settings that cannot be followed are told before anything is made, each by its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcml.cli.main import main
from hpcml.errors import SettingsError
from hpcml.models import networks
from hpcml.training import Target, TrainSettings, faults, train
from hpcml.training.world import Alone


@pytest.mark.parametrize("name", sorted(networks.MODELS))
def test_defaults_are_right(name: str) -> None:
    networks.check(name)


@pytest.mark.parametrize(
    ("name", "hyperparameters", "message"),
    [
        ("weave", {"hidden": -1}, "Expected `int` >= 1"),
        ("weave", {"hiden": 10}, "unknown field `hiden`; they are, with defaults: layers"),
        ("weave", {"dropout": 1.0}, "Expected `float` < 1.0"),
        ("graphconv", {"hidden": []}, "length >= 1"),
        ("dtnn", {"gaussians": 1}, "Expected `int` >= 2"),
        ("painn", {"cutoff": 0.0}, "Expected `float` > 0.0"),
        ("linear", {"elements": [0]}, "Expected `int` >= 1"),
        ("ani", {"elements": [1, 6]}, "2 elements need as many lists of hidden layers, got 4"),
        ("ani", {"aev": {"ShfZ": []}}, "length >= 1"),
        ("weeve", {}, "no model 'weeve'; there are ani, "),
    ],
)
def test_hyperparameters_out_of_bounds(name, hyperparameters, message) -> None:
    with pytest.raises(SettingsError, match=message):
        networks.check(name, hyperparameters)


def test_all_faults_are_found_at_once(tmp_path: Path) -> None:
    settings = TrainSettings(
        model="weeve",
        target=("zpve", "gap"),
        baselines=("guess",),
        split="file",
        split_file=str(tmp_path / "none.json"),
        train=50,
        train_sizes=(60,),
        epochs=5,
        keep_epochs=(1, 6),
    )
    keys = [line.split(":")[0] for line in faults(settings)]
    assert keys == [f"train.{key}" for key in ("target", "model", "baselines", "split",
                                              "train_sizes", "keep_epochs")]  # fmt: skip


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("zpv", "train.target: no column 'zpv' here; there are energy, dipole, alpha_iso, zpve"),
        (Target(name="alpha_iso", frequency=0.1), "train.target: no frequency 0.1 Eh here"),
        ("heat_capacity", "train.target: no column 'heat_capacity' here"),
    ],
)
def test_target_that_the_data_set_has_not(dataset, tmp_path, target, message) -> None:
    settings = TrainSettings(target=target)
    assert faults(settings) == []
    assert faults(settings, dataset.schema)[0].startswith(message)
    with pytest.raises(SettingsError, match=message):
        train(dataset, tmp_path / "model", settings, Alone())
    assert not (tmp_path / "model").exists()


def test_shares_that_are_more_than_one() -> None:
    assert faults(TrainSettings(train=0.8, validation=0.1, test=0.1)) == []
    (fault,) = faults(TrainSettings(train=0.8, validation=0.1, test=0.2))
    assert fault.startswith("train.split: shares of train 0.8, validation 0.1 and test 0.2 make")


def test_training_without_a_data_set(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("campaign.toml").write_text('name = "none"\ndataset = "nowhere"\n[train]\nepochs = 1\n')
    assert main(["train", "campaign.toml"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "nowhere: no data set" in said
    assert not Path("runs/none/model").exists()
