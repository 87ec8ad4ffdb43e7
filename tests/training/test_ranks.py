"""The training program on ranks: the same curve on any number, and no rank left waiting."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from hpcml.training import TrainSettings

WEAVE = TrainSettings(
    hyperparameters={"readout": "sum", "layers": 1, "hidden": 12, "representation": 16},
    target=("alpha_iso", "zpve"),
    epochs=3,
    batch_size=26,
    clip_norm=1.0,
    average_decay=0.9,
    warmup_epochs=1,
    precision="float64",
    checkpoint_steps=4,
)
"""62 training rows in batches of 20 or 21: not the same number on each of 2 or 4 ranks."""


def curve(folder: Path) -> NDArray[np.float64]:
    """(epochs, columns) of metrics.csv."""
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.reader(file))[1:]
    return np.array([[float(value) for value in row[:-1]] for row in rows])


@pytest.fixture(scope="module")
def one_rank(start, tmp_path_factory) -> NDArray[np.float64]:
    folder = tmp_path_factory.mktemp("ranks") / "one"
    done = start(WEAVE, folder)
    assert done.returncode == 0, done.stderr
    return curve(folder)


@pytest.mark.parametrize("ranks", [2, 4])
def test_curve_is_the_same_on_more_ranks(start, tmp_path, one_rank, ranks) -> None:
    done = start(WEAVE, tmp_path / "model", ranks=ranks)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(curve(tmp_path / "model"), one_rank, rtol=1e-7)


def test_torch_distributed_meets_by_mpi(start, tmp_path, one_rank) -> None:
    settings = msgspec.structs.replace(WEAVE, backend="torch", fusion_megabytes=0.001)
    done = start(settings, tmp_path / "model", ranks=2)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(curve(tmp_path / "model"), one_rank, rtol=1e-7)


@pytest.mark.parametrize("launcher", ["torchrun", "horovodrun"])
def test_curve_is_the_same_by_other_ways_of_starting(start, tmp_path, one_rank, launcher) -> None:
    scripts = Path(sys.executable).parent
    words = {
        "torchrun": [str(scripts / "torchrun"), "--nproc-per-node=2", "--no-python"],
        "horovodrun": [str(scripts / "horovodrun"), "--gloo", "-np", "2"],
    }[launcher]
    done = start(WEAVE, tmp_path / "model", launcher=words)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(curve(tmp_path / "model"), one_rank, rtol=1e-7)
