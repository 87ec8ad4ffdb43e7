"""The main job on a small scale: all stages with real parts, killed at each and started again."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hpcml.relevance import open_relevance
from hpcml.store import Dataset, Manifest, recover

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "jobs" / "quickstart.xyz"
MOLECULES = 14

CAMPAIGN = f"""
name = "small"
[molecules]
source = "{SOURCE}"
limit = {MOLECULES}
[level]
method = "HF"
basis = "STO-3G"
[site]
ranks_per_node = 2
rows_per_shard = 4
pin = false
[train]
model = "weave"
target = "alpha_iso"
leave_out = "nothing"
epochs = 25
batch_size = 4
ranks = 2
hyperparameters = {{ readout = "sum" }}
[explain]
rule = "epsilon"
ranks = 2
"""


def hpcml(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hpcml", *map(str, words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def rows_of(dataset: Path) -> dict[str, tuple[object, ...]]:
    """key -> what must never change in a committed row: energy, tensor, provenance."""
    data = Dataset.open(dataset)
    tensors = data.column("polarizability")
    return {
        str(key): (float(energy), tensor.tobytes(), provenance)
        for key, energy, tensor, provenance in zip(
            data.keys, data.column("energy"), tensors, data.texts("provenance"), strict=True
        )
    }


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("campaign") / "small.toml"
    path.write_text(CAMPAIGN)
    return path


@pytest.fixture(scope="module")
def finished(campaign: Path) -> Path:
    """The folder of a run that went through undisturbed."""
    run = campaign.parent / "finished"
    ended = hpcml("run", campaign, "--run", run, cwd=campaign.parent)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == str(run / "report" / "index.html")
    return run


def test_every_stage_leaves_what_was_promised(finished: Path) -> None:
    data = Dataset.open(finished / "dataset")
    assert len(data) == len(set(data.keys.tolist())) == MOLECULES
    assert (finished / "dataset" / "dataset.h5").exists()
    assert (finished / "campaign.toml").read_text().count("commit") <= 1
    assert json.loads((finished / "model" / "metrics.json").read_text())["target"] == "alpha_iso"
    assert set(json.loads((finished / "logs" / "timings.json").read_text())) >= {
        "generate",
        "train",
        "explain",
        "analyze",
        "report",
    }
    assert list((finished / "analysis").glob("*.csv"))
    assert finished.stat().st_mode & 0o077 == 0


def test_relevances_stand_row_for_row_and_close_the_ledger(finished: Path) -> None:
    data = Dataset.open(finished / "dataset")
    explained = Manifest(finished / "relevance").entries
    assert set(explained) == {shard.name for shard in data.shards}
    with (finished / "model" / "predictions.csv").open() as file:
        predicted = {line["key"]: float(line["predicted"]) for line in csv.DictReader(file)}
    rows = open_relevance(finished / "relevance", data)
    for index, key in enumerate(data.keys.tolist()):
        row = rows[index]
        assert row.atoms.shape == (len(data.molecule(index)),)
        total = row.atoms.sum() + row.ledger.sum()
        assert total == pytest.approx(predicted[key], rel=1e-5)


def test_a_finished_run_is_left_as_it_is(campaign: Path, finished: Path) -> None:
    before = rows_of(finished / "dataset")
    model = (finished / "model" / "model.pt").read_bytes()
    shards = {p: p.stat().st_mtime_ns for p in (finished / "relevance").rglob("*.h5")}
    ended = hpcml("run", campaign, "--run", finished, cwd=campaign.parent)
    assert ended.returncode == 0, ended.stderr
    assert rows_of(finished / "dataset") == before
    assert (finished / "model" / "model.pt").read_bytes() == model
    assert {p: p.stat().st_mtime_ns for p in (finished / "relevance").rglob("*.h5")} == shards


def test_weights_are_held_against_chance_and_the_first_ones(campaign: Path, finished: Path) -> None:
    ended = hpcml("analyze", campaign, "--run", finished, "--weights", cwd=campaign.parent)
    assert ended.returncode == 0, ended.stderr
    first, *_ = ended.stdout.splitlines()
    assert "above the random-matrix edge (with 99 % margin; 0 with first weights)" in first
    for name in ("weights.csv", "weight_spectra.csv", "weight_inputs.csv", "weights.svg"):
        path = finished / "analysis" / name
        assert str(path) in ended.stdout
        assert path.stat().st_size > 100


def test_other_settings_do_not_mix_into_a_run(campaign: Path, finished: Path) -> None:
    other = campaign.with_name("other.toml")
    other.write_text(CAMPAIGN.replace("STO-3G", "3-21G"))
    ended = hpcml("run", other, "--run", finished, cwd=campaign.parent)
    assert ended.returncode == 2
    assert "made with level" in ended.stderr and "--run" in ended.stderr


def _some_rows(run: Path) -> bool:
    states = [json.loads(path.read_bytes()) for path in run.glob("work/*/progress.json")]
    return sum(state["done"] for state in states) >= 3


def _some_epochs(run: Path) -> bool:
    curve = run / "model" / "metrics.csv"
    return curve.exists() and len(curve.read_text().splitlines()) > 3


def _explaining(run: Path) -> bool:
    return bool(list((run / "relevance").rglob("*.h5")))


@pytest.mark.parametrize(
    "reached", [_some_rows, _some_epochs, _explaining], ids=["generate", "train", "explain"]
)
@pytest.mark.parametrize("victim", ["all of it", "the launcher"])
def test_killed_at_any_stage_it_goes_on_and_loses_nothing(
    campaign: Path, finished: Path, tmp_path: Path, reached: Callable[[Path], bool], victim: str
) -> None:
    run = tmp_path / "killed"
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "hpcml", "run", str(campaign), "--run", str(run)],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        end = time.monotonic() + 300
        while not reached(run):
            assert process.poll() is None and time.monotonic() < end, (tmp_path / "log").read_text()
            time.sleep(0.02)
        if victim == "the launcher":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    survived = tmp_path / "survived"  # what a reader would find now, journals included
    shutil.copytree(run / "dataset", survived)
    recover(survived)
    committed = rows_of(survived)
    assert len(committed) >= 3

    ended = hpcml("run", campaign, "--run", run, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    after = rows_of(run / "dataset")
    assert len(after) == MOLECULES
    assert {key: after[key] for key in committed} == committed
    expected = rows_of(finished / "dataset")
    assert set(after) == set(expected)
    np.testing.assert_allclose(
        [after[key][0] for key in sorted(after)], [expected[key][0] for key in sorted(after)]
    )
    assert (run / "report" / "index.html").stat().st_size > 10_000
    shutil.rmtree(run)
