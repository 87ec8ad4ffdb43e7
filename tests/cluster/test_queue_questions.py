"""What is asked of SLURM, and what is made of its answers; squeue and sbatch are scripts here."""

import os

import pytest

from hpcml.cluster import Job, RunFolder, Site, slurm, submit
from hpcml.errors import SettingsError

SITE = Site(kind="slurm", launcher="srun", ranks_per_node=2, nodes=3, walltime="1:00:00")
JOBS = [Job(stage="generate"), Job(stage="train"), Job(stage="report")]


@pytest.fixture
def command(tmp_path, monkeypatch):
    """``command(name, lines)``: from now on SLURM's command of that name is this script."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)

    def make(name, lines):
        path = folder / name
        path.write_text(f"#!/bin/bash\n{lines}\n")
        path.chmod(0o700)

    return make


def test_times_are_asked_for_in_slurms_own_form_whatever_the_shell_says(command, monkeypatch):
    monkeypatch.setenv("SLURM_TIME_FORMAT", "relative")
    command("squeue", 'echo "$SLURM_TIME_FORMAT $*"')
    assert slurm.squeue(["7"], "%e") == ["standard --noheader --jobs=7 --format=%e"]


def test_states_of_jobs_and_of_arrays(command):
    command("squeue", "printf '5 PENDING\\n7 PENDING\\n7 RUNNING\\n7 PENDING\\n'")
    assert slurm.states(["5", "6", "7"]) == {"5": "PENDING", "7": "RUNNING"}
    command("squeue", "echo Invalid job id >&2; exit 1")
    assert slurm.states(["5"]) == {}


@pytest.fixture
def run(tmp_path, command):
    command("squeue", "exit 1")
    note = f'env > {tmp_path}/environment; echo "$*" >> {tmp_path}/calls'
    command("sbatch", f"{note}; wc -l < {tmp_path}/calls")
    return RunFolder(tmp_path / "run")


def test_a_job_inside_a_job_inherits_nothing_of_its_shape(run, tmp_path, monkeypatch):
    for name in ("SLURM_MEM_PER_CPU", "SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_CONF"):
        monkeypatch.setenv(name, "1")
    submit(run, tmp_path / "c.toml", JOBS, SITE)
    seen = (tmp_path / "environment").read_text()
    assert sorted(line for line in seen.splitlines() if line.startswith("SLURM_")) == [
        "SLURM_CONF=1",
        "SLURM_TIME_FORMAT=standard",
    ]


@pytest.mark.parametrize(("array", "word"), [(0, "afterok"), (4, "afterany")])
def test_what_follows_an_array_begins_however_its_elements_ended(run, tmp_path, array, word):
    site = Site(
        kind="slurm",
        launcher="srun",
        ranks_per_node=2,
        walltime="1:00:00",
        requeue=not array,
        array=array,
    )
    submit(run, tmp_path / "c.toml", JOBS, site)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [f"--dependency={word}:{n}" in call for n, call in enumerate(calls)] == [
        *(False, True, True)
    ]


def test_jobs_that_are_queued_are_not_submitted_again(run, tmp_path, command):
    submit(run, tmp_path / "c.toml", JOBS, SITE)
    command("squeue", "printf '2 PENDING\\n3 PENDING\\n'")
    with pytest.raises(SettingsError, match=r"jobs 2, 3 are still queued; .*scancel 2 3"):
        submit(run, tmp_path / "c.toml", JOBS, SITE)
    command("squeue", "exit 1")
    assert submit(run, tmp_path / "c.toml", JOBS, SITE)["generate"] == "4"
