"""Stopped, killed, finished, changed: what starting again does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from hpcml.errors import InputError
from hpcml.molecules import Molecule
from hpcml.store import Dataset
from hpcml.training import TrainSettings, load_model, predict, train
from hpcml.training.fit import Stopped
from hpcml.training.identity import differences, identity_of
from hpcml.training.world import Alone

SETTINGS = TrainSettings(
    hyperparameters={"layers": 1, "hidden": 8, "representation": 8, "fully_connected": [16]},
    epochs=4,
    batch_size=11,
    average_decay=0.5,
    schedule="plateau",
    decay_epochs=1,
    checkpoint_steps=4,
)
"""Six steps an epoch and dropout: checkpoints fall within epochs, with masks still to come."""


class StopAfter:
    """Says stop at the n-th checkpoint."""

    def __init__(self, checkpoints: int) -> None:
        self.left = checkpoints

    def __call__(self) -> bool:
        self.left -= 1
        return self.left == 0


@pytest.fixture(scope="module")
def unbroken(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resume") / "unbroken"
    train(dataset, folder, SETTINGS, Alone())
    return folder


def test_stopped_at_every_checkpoint_gives_the_same_run(dataset, tmp_path, unbroken) -> None:
    stops = 0
    while True:
        try:
            train(dataset, tmp_path, SETTINGS, Alone(), stop=StopAfter(1))
        except Stopped:
            stops += 1
        else:
            break
    assert stops == 6  # 24 steps, every fourth
    for name in ("metrics.csv", "predictions.csv", "split.json"):
        assert (tmp_path / name).read_bytes() == (unbroken / name).read_bytes()


def test_kill_9_and_start_again_gives_the_same_run(tmp_path, dataset, unbroken) -> None:
    file = tmp_path / "settings.json"
    file.write_bytes(msgspec.json.encode(SETTINGS))
    words = ["--dataset", str(dataset.folder), "--model", str(tmp_path), "--settings", str(file)]
    command = [sys.executable, "-m", "hpcml.training.train_program", *words]
    process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})
    while not (tmp_path / "checkpoint.pt").exists():
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "metrics.json").exists()
    train(dataset, tmp_path, SETTINGS, Alone())
    for name in ("metrics.csv", "predictions.csv"):
        assert (tmp_path / name).read_bytes() == (unbroken / name).read_bytes()


def test_finished_run_is_left_alone(dataset, unbroken) -> None:
    before = {path: path.stat().st_mtime_ns for path in unbroken.iterdir()}
    metrics = train(dataset, unbroken, SETTINGS, Alone())
    assert metrics == json.loads((unbroken / "metrics.json").read_text())
    assert {path: path.stat().st_mtime_ns for path in unbroken.iterdir()} == before


def test_other_settings_are_refused(dataset, tmp_path, unbroken) -> None:
    other = msgspec.structs.replace(SETTINGS, learning_rate=0.5)
    with pytest.raises(InputError, match="finished run with other learning_rate"):
        train(dataset, unbroken, other, Alone())
    with pytest.raises(Stopped):
        train(dataset, tmp_path, SETTINGS, Alone(), stop=StopAfter(1))
    with pytest.raises(InputError, match=r"learning_rate was 0\.001, is 0\.5"):
        train(dataset, tmp_path, other, Alone())


def test_another_model_s_checkpoint_is_refused(dataset, tmp_path) -> None:
    with pytest.raises(Stopped):
        train(dataset, tmp_path, SETTINGS, Alone(), stop=StopAfter(1))
    other = TrainSettings(model="dtnn")
    with pytest.raises(InputError, match=r"model was 'weave', is 'dtnn'.*remove this file") as told:
        train(dataset, tmp_path, other, Alone())
    assert "\n" not in str(told.value)
    (tmp_path / "checkpoint.pt").write_bytes(b"half a file")
    with pytest.raises(InputError, match="cannot be read as a checkpoint"):
        train(dataset, tmp_path, SETTINGS, Alone())


def test_a_setting_that_an_older_version_did_not_know_was_its_default() -> None:
    ours = identity_of(SETTINGS, "a data set")
    older = {name: value for name, value in ours.items() if name != "passes"}
    assert differences(older, ours) == {}
    twice = identity_of(msgspec.structs.replace(SETTINGS, passes=2), "a data set")
    assert differences(older, twice) == {"passes": ("1", "2")}
    assert differences(older, ours | {"data set": "another"}) == {
        "data set": ("a data set", "another")
    }


def test_passes_between_validations_change_no_step(dataset, tmp_path) -> None:
    constant = TrainSettings(model="linear", epochs=6, schedule="constant", checkpoint_steps=2)
    train(dataset, tmp_path / "each", constant, Alone())
    seldom = msgspec.structs.replace(constant, epochs=3, passes=2)
    with pytest.raises(Stopped):  # after 4 steps of 12, the first of the second epoch's
        train(dataset, tmp_path / "second", seldom, Alone(), stop=StopAfter(2))
    metrics = train(dataset, tmp_path / "second", seldom, Alone())
    each, second = (
        np.genfromtxt(tmp_path / name / "metrics.csv", delimiter=",", names=True)
        for name in ("each", "second")
    )
    assert second["validation_mae"].tolist() == each["validation_mae"][1::2].tolist()
    means = each["train_loss"].reshape(3, 2).mean(axis=1)
    np.testing.assert_allclose(second["train_loss"], means, rtol=1e-6)
    assert (metrics["epochs"], metrics["passes"]) == (3, 6)


def test_grown_data_set_is_refused_and_the_way_on_is_told(
    dataset, molecules, tmp_path, write_dataset
) -> None:
    write_dataset(tmp_path / "some", molecules[:70])
    settings = TrainSettings(model="linear", epochs=1)
    train(Dataset.open(tmp_path / "some"), tmp_path / "model", settings, Alone())
    with pytest.raises(InputError, match="to learn from what it holds now, train into a new"):
        train(dataset, tmp_path / "model", settings, Alone())


def test_changed_data_set_is_refused(dataset, molecules, tmp_path, write_dataset) -> None:
    with pytest.raises(Stopped):
        train(dataset, tmp_path / "model", SETTINGS, Alone(), stop=StopAfter(1))
    write_dataset(tmp_path / "other", molecules[:70])
    with pytest.raises(InputError, match="data set has changed since this split was made"):
        train(Dataset.open(tmp_path / "other"), tmp_path / "model", SETTINGS, Alone())


def test_predictions_are_those_of_the_loaded_model(dataset, molecules, unbroken) -> None:
    model, info = load_model(unbroken)
    assert (info.model, info.target, info.unit) == ("weave", "alpha_iso", "a0^3")
    assert info.level == "Crippen/none"
    rows = [line.split(",") for line in (unbroken / "predictions.csv").read_text().split()[1:]]
    by_key = dict(zip(dataset.keys.tolist(), molecules, strict=True))
    again = predict(model, [by_key[key] for key, *_ in rows])
    np.testing.assert_allclose(again[:, 0], [float(row[3]) for row in rows], rtol=1e-5)
    scalar = dict(zip(dataset.keys.tolist(), dataset.scalar("alpha_iso"), strict=True))
    assert [float(row[2]) for row in rows] == [scalar[row[0]] for row in rows]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as a model"),
        (b"no zip archive", "cannot be read as a model"),
        ({"format": 2, "kind": "checkpoint"}, "is no model of hpcml"),
        ({"format": 1, "kind": "model"}, "a model of format 1, this version reads 2"),
        ({"format": 2, "kind": "model", "info": "{}", "state": {}}, "does not fit the networks"),
        ({"format": 2, "kind": Molecule}, "cannot be read as a model"),
    ],
)
def test_other_files_are_no_models(tmp_path, content, message) -> None:
    path = tmp_path / "model.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(InputError, match=message):
        load_model(tmp_path)
    with pytest.raises(InputError, match="no trained model there"):
        load_model(tmp_path / "nowhere")
