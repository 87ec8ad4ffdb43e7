"""How a run stands, told from files that are written here by hand."""

import json
import os
import time

import msgspec
import pytest

from hpcml.cluster import RunFolder
from hpcml.generation import status
from hpcml.generation.failures import Failure, write
from hpcml.generation.plan.planning import PlanRecord
from hpcml.generation.protocol.task import Running, TaskProgress
from hpcml.molecules import Molecule
from hpcml.store import Row, Schema, ShardWriter


@pytest.fixture
def run_folder(tmp_path):
    return RunFolder(tmp_path / "run").create()


@pytest.fixture
def task(run_folder):
    """``task(number, **progress)``: a task of the run with this progress."""

    def make(number, **progress):
        path = run_folder.work / f"task{number:06d}-x"
        path.mkdir()
        (path / "task.json").write_text("{}")
        (path / "progress.json").write_bytes(
            msgspec.json.encode(TaskProgress(identity=path.name, **progress))
        )
        return path

    return make


def plan(run_folder, **numbers):
    run_folder.plan.write_bytes(msgspec.json.encode(PlanRecord(at=time.time(), **numbers)))


def test_a_run_that_was_never_planned(run_folder):
    found = status(run_folder)
    assert (found.state, found.total, found.rate, found.seconds_left) == (
        *("unplanned", 0),
        *(None, None),
    )


def test_a_run_in_full_swing(run_folder, task):
    now = time.time()
    task(0, state="finished", done=100)  # before the plan: counted there
    plan(run_folder, total=200, done=100, failed=1, missing=99, tasks=1)
    write(
        run_folder.failures,
        [Failure(key="k", name="", cause="crash", message="", tries=4)],
    )
    going = task(
        1,
        state="running",
        ranks=4,
        hosts={"n1": 2, "n2": 2},
        planned=99,
        done=30,
        failed=2,
        busy=300.0,
        expected_done=150.0,
        expected_left=200.0,
        first_start=now - 100.0,
        updated=now,
        computing={"n1": 1, "n2": 2},
        under_way=30.0,
        running=[
            Running(rank=0, host="n1", name="a", since=now - 20.0),
            Running(rank=2, host="n2", name="b", since=now - 10.0),
            Running(rank=3, host="n2", name="c", since=now),
        ],
    )
    lines = [
        json.dumps({"key": k, "name": "", "cause": "hang", "message": "", "tries": 1}) for k in "lm"
    ]
    (going / "failures.jsonl").write_text("\n".join(lines))
    found = status(run_folder)
    assert found.state == "running"
    assert (found.done, found.missing, found.failed) == (130, 67, {"hang": 2, "crash": 1})
    assert found.rate == pytest.approx(32 * 36.0, rel=0.01)
    assert found.seconds_left == pytest.approx(200.0 * 2.0 / 4, rel=1e-6)
    assert found.core_efficiency == pytest.approx((300 + 30) / 400, rel=0.01)
    assert found.node_utilization == {"n1": 0.5, "n2": 1.0}
    table = found.table()
    for words in ("130 of 200", "2 hang, 1 crash", "1152 molecules an hour", "0:01:40", "b on n2"):
        assert words in table
    assert json.loads(found.to_json())["failed"] == {"hang": 2, "crash": 1}


def test_a_task_that_is_silent_is_dead(run_folder, task):
    plan(run_folder, total=10, missing=10)
    task(0, state="running", ranks=2, done=3, updated=time.time() - 60.0)
    found = status(run_folder)
    assert (found.state, found.done, found.missing) == ("stopped", 3, 7)
    assert found.running == []


def test_all_done(run_folder, task):
    task(0, state="finished", ranks=2, done=5, busy=9.0, first_start=1.0, last_end=6.0)
    plan(run_folder, total=5, done=5, tasks=1)
    found = status(run_folder)
    assert (found.state, found.missing) == ("complete", 0)
    assert found.core_efficiency == pytest.approx(0.9)


def test_warned_rows_are_counted(run_folder, task):
    task(0, state="finished", done=3)
    plan(run_folder, total=3, done=3, tasks=1)
    assert "warned   " not in status(run_folder).table()
    with ShardWriter(run_folder.dataset, Schema(columns=("energy",)), "a") as writer:
        for number, warnings in enumerate(
            ([], ["an SCF that is no minimum", "a pole"], ["a pole"])
        ):
            molecule = Molecule([2], [[0, 0, number]])
            writer.append(Row(f"{number:032x}", molecule, {}, {"warnings": warnings}))
    assert status(run_folder).warned == 2
    assert "warned      2" in status(run_folder).table()


@pytest.mark.parametrize(
    ("line", "word"), [("12 PENDING", "queued"), ("12 RUNNING", "running"), ("", "stopped")]
)
def test_jobs_that_wait_are_told_from_work_that_nobody_does(
    run_folder, tmp_path, monkeypatch, line, word
):
    squeue = tmp_path / "squeue"
    squeue.write_text(f"#!/bin/bash\necho '{line}'\n")
    squeue.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    plan(run_folder, total=2, done=1, missing=1)
    run_folder.jobs.write_text('{"generate": "12", "train": "13"}')
    found = status(run_folder)
    assert (found.state, found.goes_on) == (word, word != "stopped")
    assert ("job         generate: 12, " in found.table()) == bool(line)
