"""The training program's exit codes and what it says."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time

import msgspec
import pytest

from hpcml.errors import InputError, PlatformError, SettingsError
from hpcml.training import Target, TrainSettings, train
from hpcml.training import train_program as program
from hpcml.training.train_settings import read_settings
from hpcml.training.world import Alone, enter

LINEAR = TrainSettings(model="linear", epochs=2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"epoch": 3}', "unknown field `epoch`"),
        ('{"epochs": 0}', r"`int` >= 1 - at `\$.epochs`"),
        ('{"loss": "l2"}', r"Invalid enum value 'l2' - at `\$.loss`"),
        ("{", "settings.json: "),
        ('{"target": []}', "name at least one target"),
        ('{"target": ["alpha_iso", "dipole"]}', "one network has one readout"),
    ],
)
def test_wrong_settings(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        read_settings(text.encode(), "settings.json")


def test_targets() -> None:
    shg = Target(name="beta_parallel", process="shg", frequency=0.0656)
    assert shg.label == "beta_parallel[shg,0.0656]"
    text = b'{"target": [{"name": "beta_parallel", "process": "shg", "frequency": 0.0656}]}'
    assert read_settings(text, "settings.json").targets == (shg,)
    assert not shg.is_extensive
    assert TrainSettings().targets == (Target(name="alpha_iso"),)
    assert TrainSettings().targets[0].is_extensive


def test_wrong_settings_are_one_line_and_exit_code_2(finish, tmp_path) -> None:
    code, said = finish('{"epoch": 3}', tmp_path / "model")
    assert code == 2
    assert said.startswith("hpcml train: rank 0: ")
    assert said.count("\n") == 1


def test_missing_data_set(tmp_path) -> None:
    file = tmp_path / "settings.json"
    file.write_text("{}")
    words = ["--dataset", str(tmp_path / "none"), "--model", str(tmp_path / "model")]
    with pytest.raises(InputError, match="no data set here"):
        program.main([*words, "--settings", str(file)])
    with pytest.raises(SettingsError, match="No such file"):
        program.main([*words, "--settings", str(tmp_path / "nothing.json")])


def test_signal_stops_it_with_code_85(start, tmp_path) -> None:
    settings = msgspec.structs.replace(LINEAR, epochs=20000, checkpoint_steps=1)
    process = start(settings, tmp_path)
    while not (tmp_path / "checkpoint.pt").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGUSR1)
    process.communicate(timeout=60)
    assert process.returncode == 85
    assert not (tmp_path / "metrics.json").exists()
    assert (tmp_path / "metrics.csv").read_text().count("\n") < 20000


def test_ranks_that_cannot_see_each_other(monkeypatch) -> None:
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "3")
    with pytest.raises(PlatformError, match="3 ranks were started, but backend = 'alone'"):
        enter(TrainSettings(backend="alone"))
    # In a process of its own: MPI, once started, leaves variables behind that a later mpiexec
    # would take for those of a job around it.
    code = "from hpcml.training import TrainSettings\nfrom hpcml.training.world import enter\n"
    code += "enter(TrainSettings(backend='torch'))"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert re.search(r"started 3 ranks but MPI sees 1: .* srun --mpi=pmix", ended.stderr)


def test_results(dataset, tmp_path, capsys) -> None:
    train(dataset, tmp_path, LINEAR, Alone())
    said = capsys.readouterr().err
    assert "epoch 2/2 MAE" in said
    assert "a0^3" in said
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["rows"] == {"train": 63, "validation": 8, "test": 8}
    assert metrics["left_out"] == {"no value of alpha_iso": 1}
    assert metrics["test_mae"] == metrics["errors"]["alpha_iso"]["test"]["mae"]
