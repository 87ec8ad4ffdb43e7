"""A study as a user starts it: the truth comes out, what fails is one line, a kill costs little."""

import csv
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Study = Callable[..., "subprocess.CompletedProcess[str]"]

TEXT = """
name = "truth"
dataset = "{dataset}"
targets = ["alpha_iso", "zpve"]
train_sizes = [0]
seeds = 1
attributions = ["auto", "epsilon"]
{more}
[train]
epochs = 4
passes = 150
batch_size = 64
learning_rate = 0.1
train = 0.7
validation = 0.1
ranks = 1
[networks.linear]
hyperparameters = {{ features = "atom_features" }}
"""


def table(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / "run" / "tables" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def failures(folder: Path) -> list[dict[str, object]]:
    lines = (folder / "run" / "failures.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_right_and_wrong_reasons_are_told_apart_and_a_split_that_fails_stops_nothing(
    tmp_path: Path, known_truth: Path, study: Study
) -> None:
    more = """
[splits.random]
[splits.alone]
train_sizes = [0]
train = { split = "size", heavy_atoms = 9 }
"""
    text = TEXT.format(dataset=known_truth, more="") + more
    planned = study(text, "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert "8 cells, 0 done, 8 to do" in planned.stdout
    assert "s each (the training alone, by a few timed steps)" in planned.stdout

    done = study(text)
    # no molecule is larger than nine heavy atoms: nothing is left to test on
    assert done.returncode == 1, done.stderr
    assert {(one["what"], len(one["cells"])) for one in failures(tmp_path)} == {("failed", 1)}, (
        failures(tmp_path)
    )
    assert all("leaves 0 molecules for test" in str(one["why"]) for one in failures(tmp_path))
    assert done.stderr.count("failed: ") == 2

    lines = [
        one
        for one in table(tmp_path, "seeds")
        if (one["kind"], one["set"], one["train_rows"]) == ("network", "test", "56")
    ]
    assert {one["seeds"] for one in lines} == {"1"}
    by = {(one["target"], one["attribution"]): one for one in lines}
    for attribution in ("auto", "epsilon"):
        right, wrong = by["alpha_iso", attribution], by["zpve", attribution]
        assert float(right["r2_mean"]) > 0.99 and float(wrong["r2_mean"]) > 0.99
        assert abs(float(wrong["score_mean"])) < 0.35
        assert float(right["score_mean"]) > float(wrong["score_mean"]) + 0.3
    assert float(by["alpha_iso", "epsilon"]["score_mean"]) > 0.97  # exact for a linear network
    controls = {(one["control"], one["target"]) for one in table(tmp_path, "controls")}
    assert {("untrained network", "alpha_iso"), ("hydrogens", "zpve")} <= controls
    shuffled = [one for one in table(tmp_path, "seeds") if one["kind"] == "shuffled"]
    assert all(float(one["r2_mean"]) < 0.9 for one in shuffled if one["set"] == "test")
    for name in ("scores", "attributions", "controls"):
        assert (tmp_path / "run" / "tables" / f"{name}.svg").read_text().count("<path") > 20

    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("run/cells/*/result.json")}
    assert len(before) == 6
    again = study(text.replace("seeds = 1", "seeds = 1\nexplained = 9"), "--tables-only")
    assert again.returncode == 1
    assert {path: path.stat().st_mtime_ns for path in before} == before
    other = study(text.replace("epochs = 4", "epochs = 5"))
    assert other.returncode == 2 and "was trained with other epochs" in other.stderr


def test_a_study_that_was_killed_goes_on_where_it_was(
    tmp_path: Path, known_truth: Path, study: Study, begin: Callable[..., "subprocess.Popen[bytes]"]
) -> None:
    text = TEXT.format(dataset=known_truth, more="controls = []").replace('"auto", ', "")
    # cells long enough that the kill comes before the last of them
    text = text.replace("seeds = 1", "seeds = 4").replace("[0]", "[24, 48]")
    process = begin(text)
    results = lambda: sorted(tmp_path.glob("run/cells/*/result.json"))  # noqa: E731
    while len(results()) < 2 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(1.0)  # the program dies with it
    before = {path: path.stat().st_mtime_ns for path in results()}
    assert 2 <= len(before) < 16
    done = study(text)
    assert done.returncode == 0, done.stderr
    assert len(results()) == 16
    assert {path: path.stat().st_mtime_ns for path in before} == before


FALLS = """
import os
from hpcml.models.linear import LinearRegression

class Falls(LinearRegression):
    def forward(self, batch):
        if self.training:
            os._exit(9)
        return super().forward(batch)
"""


@pytest.mark.parametrize("ranks", [2])
def test_cells_that_fail_are_a_line_each_and_the_rest_goes_on(
    tmp_path: Path, known_truth: Path, study: Study, ranks: int
) -> None:
    """A network that ends its program, one without atomic terms asked to learn shares, a size
    that there are not rows for, and a target without shares."""
    package = tmp_path / "package"
    (package / "falls-1.dist-info").mkdir(parents=True)
    (package / "falls-1.dist-info" / "METADATA").write_text("Name: falls\nVersion: 1\n")
    (package / "falls-1.dist-info" / "entry_points.txt").write_text(
        "[hpcml.networks]\nfalls = falls_network:Falls\n"
    )
    (package / "falls_network.py").write_text(FALLS)
    text = (
        TEXT.format(dataset=known_truth, more="controls = []\nshare_weights = [0.0, 1.0]")
        .replace("ranks = 1", f"ranks = {ranks}")
        .replace('["alpha_iso", "zpve"]', '["alpha_iso", { name = "energy", extensive = true }]')
        .replace("[0]", "[48, 999]")
        .replace("passes = 150", "passes = 2")
        .replace('"auto", "epsilon"', '"epsilon", "atomic_terms"')
    )
    text += "[networks.graphconv]\nhyperparameters = { hidden = [8], dense = 8 }\n"
    text += "[networks.falls]\ntrain_sizes = [48]\nshare_weights = [0.0]\n"
    text += 'train = { epochs = 1 }\nhyperparameters = { features = "atom_features" }\n'
    path = os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")])
    done = study(text, environment={"PYTHONPATH": path})
    assert done.returncode == 1, done.stderr
    told = {str(one["why"]): one for one in failures(tmp_path)}
    expected = {
        "graphconv as set has no atomic terms that shares could teach": 2,
        "train_sizes: 999 is more than the": 5,
        "no column 'share_energy' of atoms here": 2,
        "ended with status 9": 2,
        "no share_energy of atoms in": 2,
        "graphconv on alpha_iso, atomic_terms: GraphConv is no sum of atomic terms": 1,
    }
    for words, _ in expected.items():
        assert any(words in why for why in told), (words, list(told))
    finished = {path.parent.name for path in tmp_path.glob("run/cells/*/result.json")}
    assert finished == {
        "linear-alpha_iso-random-48-seed1",
        "linear-alpha_iso-random-48-seed1-shares1",
        "linear-energy-random-48-seed1",
        "graphconv-alpha_iso-random-48-seed1",
        "graphconv-energy-random-48-seed1",
    }
    pairs = [one for one in table(tmp_path, "causal") if one["set"] == "test"]
    assert {one["quantity"] for one in pairs} == {"mae", "score", "rank"}
