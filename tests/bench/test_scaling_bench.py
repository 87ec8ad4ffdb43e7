"""A scaling bench over real ranks; its table; a simulation that foretells what was measured."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from hpcml.bench import scaling_table
from hpcml.bench.campaign_simulation import Machine, simulate
from hpcml.bench.measured_run import measured
from hpcml.bench.scaling_runs import Bench, Point, efficiency, run
from hpcml.cli.main import main
from hpcml.cluster import RunFolder, Site
from hpcml.errors import InputError
from hpcml.relevance import open_relevance
from hpcml.store import Dataset


def points(*seconds):
    return [
        Point(stage="generate", kind="strong", nodes=1, ranks=ranks, work=100, seconds=list(each),
              starting=[1.0] * len(each))
        for ranks, each in zip((1, 2), seconds, strict=True)
    ]  # fmt: skip


def test_efficiency_is_of_each_round_and_has_an_interval():
    found = points((10.0, 20.0, 10.0), (5.0, 10.0, 6.25))
    mean, low, high = efficiency(found, found[1])
    ratios = np.array([1.0, 1.0, 0.8])
    assert mean == pytest.approx(ratios.mean())
    assert high - mean == pytest.approx(4.3026527 * ratios.std(ddof=1) / np.sqrt(3), rel=1e-6)
    assert mean - low == pytest.approx(high - mean)
    weak = Point(stage="g", kind="weak", nodes=1, ranks=1, work=10, seconds=[5.0], starting=[0.0])
    twice = msgspec.structs.replace(weak, ranks=2, work=20, seconds=[5.5])
    assert efficiency([weak, twice], twice)[0] == pytest.approx(5.0 / 5.5)


def test_two_runs_are_compared_and_other_files_refused(tmp_path):
    before, after = points((10.0,), (8.0,)), points((10.0,), (5.0,))
    scaling_table.write(before, tmp_path / "before.json")
    text = scaling_table.table(after, scaling_table.read(tmp_path / "before.json"))
    assert text.splitlines()[2].split()[-3:] == ["one", "repeat", "0.625"]
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(InputError, match=r"other\.json: is no file of"):
        scaling_table.read(tmp_path / "other.json")


@pytest.fixture(scope="module")
def benched(tmp_path_factory):
    """Waiting calculations on one rank and on three."""
    folder = tmp_path_factory.mktemp("bench")
    words = ["bench", "scaling", "--sizes", "1,3", "--each", "12", "--wait", "0.25"]
    assert main([*words, "--repeats", "1", "--out", str(folder)]) == 0
    return folder


def test_a_bench_on_this_machine_writes_table_figure_and_json(benched):
    found = scaling_table.read(benched / "scaling.json")
    assert [(p.kind, p.ranks, p.work) for p in found] == [
        *(("strong", 1, 36), ("strong", 3, 36)),
        *(("weak", 1, 12), ("weak", 3, 36)),
    ]
    assert all(p.seconds[0] >= 0.25 * p.work / p.ranks for p in found)
    assert b"<svg" in (benched / "scaling.svg").read_bytes()


def test_a_simulation_is_fed_by_a_runs_records(benched):
    """One rank's record foretells three ranks, which wait and so have no cores to fight for."""
    runs = [measured(RunFolder(path / "run")) for path in benched.glob("generate-*")]
    one = next(run for run in runs if run.ranks == 1 and run.molecules == 36)
    assert one.costs.shape == (36,)
    assert one.efficiency == pytest.approx(0.25 * 36 / one.seconds, rel=0.2)
    made = simulate(one.machine(Machine(ranks_per_node=3)), one.costs, 36)
    three = next(run for run in runs if run.ranks == 3)
    assert made.makespan - one.start == pytest.approx(three.seconds, rel=0.5)


DATA = Path(__file__).parents[2] / "jobs" / "study" / "small"


@pytest.mark.parametrize("stages", [("train", "explain"), ("explain",)])
def test_training_and_relevance_are_benched_on_one_rank_and_on_two(stages, tmp_path):
    bench = Bench(
        site=Site(memory_mb=1000),
        sizes=(1, 2),
        stages=stages,
        kinds=("strong",),
        dataset=str(DATA),
        rows=24,
        repeats=1,
    )
    told = []
    found = run(bench, tmp_path, told.append)
    assert [(p.stage, p.ranks, p.work) for p in found] == [
        (stage, ranks, 48) for stage in stages for ranks in (1, 2)
    ]
    assert len(told) == len(found)
    assert all(p.seconds[0] > 0.0 and p.starting[0] > 0.0 for p in found)
    trained = [json.loads(path.read_text()) for path in tmp_path.glob("train-*/model/metrics.json")]
    assert sorted(m["ranks"] for m in trained) == ([1, 2] if "train" in stages else [1])
    for folder in tmp_path.glob("explain-*"):
        rows = open_relevance(folder / "relevance", Dataset.open(folder / "data"))
        assert len(rows) == 48
        assert np.isfinite(rows.prediction).all()


def test_a_data_set_that_is_too_small_to_train_on_is_told_at_once(tmp_path, capsys):
    words = ["--stages", "train", "--dataset", str(DATA), "--rows", "600", "--out", str(tmp_path)]
    assert main(["bench", "scaling", *words]) == 2
    assert "--rows 600: training on 2 ranks takes 1240 rows" in capsys.readouterr().err


def test_simulate_prints_a_line_for_each_size(capsys):
    assert main(["bench", "simulate", "--nodes", "2,4", "--molecules", "1000"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [["2", "128", "1000"], ["4", "256", "1000"]]


def test_what_cannot_be_benched_is_one_clear_line(tmp_path, capsys):
    out = ["--out", str(tmp_path)]
    assert main(["bench", "scaling", "--stages", "train", *out]) == 2
    assert "--dataset" in capsys.readouterr().err
    assert main(["bench", "scaling", "--stages", "cook", *out]) == 2
    assert "generate, train, explain" in capsys.readouterr().err
    assert main(["bench", "simulate", "--run", str(tmp_path)]) == 2
