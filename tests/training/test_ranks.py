"""The training program on ranks: the same curve on any number, and no rank left waiting."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from hpcml.training import TrainSettings, train
from hpcml.training.world import Alone

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
"""64 training rows, some with one target alone, in batches of 21 or 22: not the same number on each
of 2 or 4 ranks."""


def curve(folder: Path) -> NDArray[np.float64]:
    """(epochs, columns) of metrics.csv."""
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.reader(file))[1:]
    return np.array([[float(value) for value in row[:-1]] for row in rows])


@pytest.fixture(scope="module")
def one_rank(dataset, tmp_path_factory) -> NDArray[np.float64]:
    folder = tmp_path_factory.mktemp("ranks")
    train(dataset, folder, WEAVE, Alone())
    return curve(folder)


@pytest.mark.parametrize("ranks", [2, 4])
def test_horovod_follows_the_curve_of_one_rank(finish, tmp_path, one_rank, ranks) -> None:
    code, said = finish(WEAVE, tmp_path / "model", ranks=ranks)
    assert code == 0, said
    np.testing.assert_allclose(curve(tmp_path / "model"), one_rank, rtol=1e-7)


def test_torch_distributed_follows_the_curve_of_one_rank(finish, tmp_path, one_rank) -> None:
    settings = msgspec.structs.replace(WEAVE, backend="torch", fusion_megabytes=0.001)
    code, said = finish(settings, tmp_path / "model", ranks=2)
    assert code == 0, said
    np.testing.assert_allclose(curve(tmp_path / "model"), one_rank, rtol=1e-7)


@pytest.mark.parametrize(
    "launcher",
    [["torchrun", "--nproc-per-node=2", "--no-python"], ["horovodrun", "--gloo", "-np", "2"]],
)
def test_other_launchers(finish, tmp_path, one_rank, launcher) -> None:
    words = [str(Path(sys.executable).parent / launcher[0]), *launcher[1:]]
    code, said = finish(WEAVE, tmp_path / "model", launcher=words)
    assert code == 0, said
    np.testing.assert_allclose(curve(tmp_path / "model"), one_rank, rtol=1e-7)


@pytest.mark.slow
def test_half_precision_messages_change_little(finish, tmp_path, one_rank) -> None:
    settings = msgspec.structs.replace(WEAVE, compression="fp16")
    code, said = finish(settings, tmp_path / "model", ranks=2)
    assert code == 0, said
    found = curve(tmp_path / "model")
    np.testing.assert_allclose(found, one_rank, rtol=0.02)
    assert (found != one_rank).any()


def test_rank_that_dies_ends_all_and_one_rank_can_go_on(start, dataset, tmp_path, one_rank) -> None:
    process = start(msgspec.structs.replace(WEAVE, checkpoint_steps=1), tmp_path, ranks=2)
    while not (tmp_path / "checkpoint.pt").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    os.kill(rank_of(process, 1), signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "rank 1" in said
    assert not (tmp_path / "metrics.json").exists()
    train(dataset, tmp_path, msgspec.structs.replace(WEAVE, checkpoint_steps=1), Alone())
    np.testing.assert_allclose(curve(tmp_path), one_rank, rtol=1e-7)


def rank_of(launcher: subprocess.Popen[str], rank: int) -> int:
    """The process of one rank among the launcher's children."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    wanted = f"OMPI_COMM_WORLD_RANK={rank}".encode()
    found = [p for p in children if wanted in Path(f"/proc/{p}/environ").read_bytes().split(b"\0")]
    return int(found[0])
