"""Weights on their way: those that a run began with, and those after epochs that it keeps."""

import csv
import shutil

import msgspec
import numpy as np
import pytest
import torch

from hpcml.analysis.weight_tables import analyze_weights, write_weights
from hpcml.training import TrainSettings, load_model, predict, train
from hpcml.training.fit import Stopped
from hpcml.training.model_file import save_model
from hpcml.training.world import Alone

SETTINGS = TrainSettings(
    hyperparameters={"layers": 1, "hidden": 8, "representation": 8, "fully_connected": [16]},
    epochs=1,
    batch_size=32,
    seed=5,
)


def test_a_run_that_learns_nothing_still_has_its_first_weights(dataset, tmp_path) -> None:
    """Drawn anew from the seed in the folder, they are those that training did not move."""
    still = msgspec.structs.replace(SETTINGS, learning_rate=1e-30)
    train(dataset, tmp_path, still, Alone())
    for one in analyze_weights(tmp_path).spectra.values():
        np.testing.assert_array_equal(one.values, one.initial)


class _Stop:
    """Says stop at every checkpoint."""

    def __call__(self) -> bool:
        return True


@pytest.fixture(scope="module")
def kept(dataset, tmp_path_factory):
    """Two epochs kept of three, and a number of epochs that was not reached by the first run."""
    folder = tmp_path_factory.mktemp("kept") / "model"
    train(dataset, folder, msgspec.structs.replace(SETTINGS, epochs=3, keep_epochs=(1, 3)), Alone())
    return folder


def test_kept_weights_are_those_that_were_validated(dataset, kept) -> None:
    """Their error on the validation rows is what the curve says of the epoch."""
    assert sorted(path.name for path in kept.glob("epoch-*")) == ["epoch-1", "epoch-3"]
    with (kept / "metrics.csv").open(newline="") as file:
        curve = {line["epoch"]: line for line in csv.DictReader(file)}
    split = msgspec.json.decode((kept / "split.json").read_bytes())
    rows = [dataset.keys.tolist().index(key) for key in split["validation"]]
    truth = dataset.column("alpha_iso")[rows].ravel()
    for epoch in ("1", "3"):
        model, _ = load_model(kept / f"epoch-{epoch}")
        told = predict(model, [dataset.molecule(row) for row in rows])
        (name,) = (name for name in curve[epoch] if "mae" in name.lower())
        error = np.abs(np.ravel(told) - truth).mean()
        assert error == pytest.approx(float(curve[epoch][name]), rel=1e-5)


def test_none_is_missed_by_a_run_that_is_stopped(dataset, kept, tmp_path) -> None:
    settings = msgspec.structs.replace(SETTINGS, epochs=3, keep_epochs=(1, 3), checkpoint_steps=1)
    for _ in range(20):
        try:
            train(dataset, tmp_path, settings, Alone(), stop=_Stop())
        except Stopped:
            continue
        break
    for epoch in ("epoch-1", "epoch-3"):
        ours, theirs = (load_model(folder / epoch)[0].state_dict() for folder in (tmp_path, kept))
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_kept_epochs_stand_in_the_tables(kept, tmp_path) -> None:
    found = analyze_weights(kept)
    files = write_weights(found, tmp_path)
    with files["weights"].open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(dict.fromkeys(line["epoch"] for line in lines)) == ["1", "3", "best"]
    assert len(lines) == 3 * len(found.spectra)
    above = [
        sum(int(line["above"]) > 0 for line in lines if line["epoch"] == epoch) for epoch in "13"
    ]
    told = f"layers above after earlier epochs: {above[0]} (1), {above[1]} (3)"
    assert told in found.lines()
    for line in lines:
        weights = load_model(kept if line["epoch"] == "best" else kept / f"epoch-{line['epoch']}")
        matrix = weights[0].get_parameter(f"{line['layer']}.weight").detach().numpy()
        assert float(line["largest"]) == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-4)


def test_weights_of_another_run_are_left_alone(kept, tmp_path) -> None:
    """A kept epoch whose network is not of this data set says nothing of this run."""
    folder = tmp_path / "model"
    shutil.copytree(kept, folder)
    model, info = load_model(folder / "epoch-3")
    other = msgspec.structs.replace(info, fingerprint="of other data")
    save_model(folder / "epoch-3", model.state_dict(), other)
    assert list(analyze_weights(folder).kept) == [1]
    shutil.rmtree(folder / "epoch-1")
    assert analyze_weights(folder).kept == {}
