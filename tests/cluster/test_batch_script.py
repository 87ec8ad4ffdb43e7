"""The scripts given to sbatch: as they were read and approved, whatever the words in them.

``python tests/cluster/golden/renew.py`` writes the approved ones anew: read the difference.
"""

import contextlib
import os
import shlex
import signal
import subprocess
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcml import config
from hpcml.cluster import RunFolder, Site, scripts
from hpcml.cluster.batch_script import Job, script
from hpcml.errors import SettingsError
from hpcml.exits import FAILED, WORK_LEFT
from hpcml.stages import STAGES

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"
JOBS = {stage.name: stage.job(ranks=8) for stage in STAGES}
GENERATE = (JOBS["generate"],)
SITES = sorted((ROOT / "slurm").glob("*.toml"))


def options(text):
    """The options of a script, quotes taken off as sbatch does."""
    lines = [line for line in text.split("\n") if line.startswith("#SBATCH ")]
    return [word for line in lines for word in shlex.split(line.removeprefix("#SBATCH "))]


@pytest.mark.parametrize("path", SITES, ids=lambda path: path.stem)
@pytest.mark.parametrize("stage", ["generate", "train"])
def test_the_example_sites_give_the_approved_scripts(path, stage):
    site = config.load_site(path)
    text = script((JOBS[stage],), site, campaign="/data/c.toml", run="/data/run", output="%j.out")
    assert (GOLDEN / f"{path.stem}-{stage}.sbatch").read_text() == text


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.sbatch")), ids=lambda path: path.stem)
def test_bash_understands_every_script(path):
    subprocess.run(["bash", "-n", path], check=True)


SITE = Site(kind="slurm", launcher="srun", ranks_per_node=2, nodes=3, walltime="1:00:00")
words = st.text(
    st.characters(exclude_characters="\n\r\0", exclude_categories=("Cs",)), min_size=1, max_size=20
)


@given(words, words, words, words)
def test_no_word_escapes_its_quotes(account, option, module, name):
    site = msgspec.structs.replace(
        SITE, account=account, sbatch_options=(option,), modules=(module,)
    )
    text = script(GENERATE, site, campaign="c", run="r", output="o", name=name)
    assert {f"--account={account}", option, f"--job-name={name}"} <= set(options(text))
    (line,) = [line for line in text.split("\n") if line.startswith("module load")]
    assert shlex.split(line) == ["module", "load", module]


@pytest.mark.parametrize("field", ["account", "sbatch_options", "modules", "setup", "mpi_options"])
def test_a_second_line_is_refused(field):
    smuggled = "x\n#SBATCH --uid=0"
    with pytest.raises(SettingsError, match="must be one line"):
        Site(**{field: smuggled if field == "account" else (smuggled,)})


def test_a_job_for_each_stage_with_paths_that_need_quotes(tmp_path):
    run = RunFolder(tmp_path / "50% of 'my' run")
    jobs = [msgspec.structs.replace(JOBS["train"], ranks=5), JOBS["generate"], JOBS["report"]]
    made = scripts(run, tmp_path / "a b.toml", jobs, SITE)
    assert list(made) == ["train", "generate", "report"]
    for stage, text in made.items():
        assert f"--output={run.logs}/{stage}-%j.out".replace("50%", "50%%") in options(text)
        path = tmp_path / f"{stage}.sh"
        body = text[: text.index("# Runs a command")] + 'printf "%s|%s" "$campaign" "$run"\n'
        path.write_text(body)
        printed = subprocess.run(["bash", path], capture_output=True, text=True, check=True).stdout
        assert printed == f"{tmp_path / 'a b.toml'}|{run.path}"
    assert "--nodes=3" in options(made["generate"])
    assert "--nodes=3" in options(made["train"])  # 5 ranks, 2 a node
    assert "--nodes=1" in options(made["report"])
    with pytest.raises(SettingsError, match='kind = "slurm"'):
        scripts(run, tmp_path / "c.toml", jobs, Site())


def test_the_scripts_speak_of_the_exit_codes_that_programs_end_with():
    text = script(GENERATE, SITE, campaign="c", run="r", output="o")
    assert f'[ "$status" -eq {WORK_LEFT} ]' in text
    assert f'[ "$status" -eq {FAILED} ]' in text


@pytest.mark.parametrize(
    ("code", "missing", "expected"), [(0, 0, 0), (1, 0, 0), (1, 3, 1), (2, 0, 2), (85, 3, 85)]
)
def test_the_scripts_exit_code_tells_the_next_job(code, missing, expected, tmp_path):
    """A run with failed molecules is complete; one with missing molecules is not."""
    (tmp_path / "run/work").mkdir(parents=True)
    (tmp_path / "run/work/plan.json").write_text(f'{{"total":9,"missing":{missing},"at":1.0}}')
    text = script(
        GENERATE,
        msgspec.structs.replace(SITE, requeue=False),
        campaign="c.toml",
        run=str(tmp_path / "run"),
        output="o",
        hpcml=("bash", "-c", f"exit {code}"),
    )
    (tmp_path / "job").write_text(text)
    assert subprocess.run(["bash", tmp_path / "job"], check=False).returncode == expected


@pytest.mark.parametrize(
    ("squeue", "requeued"),
    [
        ("echo RUNNING", True),
        ("echo CANCELLED", False),
        # no answer at first, as of a busy SLURM
        ("if mkdir asked 2>/dev/null; then exit 1; fi; echo RUNNING", True),
        ("if mkdir asked 2>/dev/null; then exit 1; fi; echo COMPLETING", False),
    ],
)
def test_a_job_with_work_left_is_requeued_unless_it_was_cancelled(tmp_path, squeue, requeued):
    for name, line in {"squeue": squeue, "scontrol": "echo $* > requeued", "sleep": ""}.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{line}\n")
        (tmp_path / name).chmod(0o700)
    text = script(
        GENERATE, SITE, campaign="c", run="r", output="o", hpcml=("bash", "-c", "exit 85")
    )
    (tmp_path / "job").write_text(text)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "SLURM_JOB_ID": "7"}
    job = ["bash", tmp_path / "job"]
    assert subprocess.run(job, cwd=tmp_path, env=environment, check=False).returncode == 85
    assert (tmp_path / "requeued").exists() == requeued


def test_gpus_are_asked_for_where_they_are_used_or_where_the_partition_demands_it():
    site = msgspec.structs.replace(SITE, gpus_per_node=4)

    def asks(site, stage):
        text = script((JOBS[stage],), site, campaign="c", run="r", output="o")
        return "--gpus-per-node=4" in options(text)

    assert [asks(site, stage) for stage in ("generate", "train")] == [False, True]
    everywhere = msgspec.structs.replace(site, gpus_for_all=True)
    assert [asks(everywhere, stage) for stage in JOBS] == [True] * len(JOBS)


def test_a_signal_reaches_hpcml_and_its_own_exit_code_is_kept(tmp_path):
    child = 'trap "sleep 0.3; echo caught; exit 85" USR1; echo ready; while :; do sleep 0.05; done'
    text = script(
        GENERATE,
        msgspec.structs.replace(SITE, requeue=False),
        campaign="c.toml",
        run=str(tmp_path),
        output="o",
        hpcml=("bash", "-c", child),
    )
    (tmp_path / "job").write_text(text)
    job = subprocess.Popen(
        ["bash", tmp_path / "job"], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert job.stdout.readline() == "ready\n"
        job.send_signal(signal.SIGUSR1)
        assert job.communicate(timeout=60)[0] == "caught\n"
        assert job.returncode == 85
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(job.pid, signal.SIGKILL)


def test_where_requeueing_is_forbidden_an_array_goes_on_one_job_after_another():
    site = Site(
        kind="slurm", launcher="srun", ranks_per_node=2, walltime="1:00:00", requeue=False, array=7
    )
    text = script(GENERATE, site, campaign="c.toml", run="r", output="o")
    assert "#SBATCH --array=1-7%1" in text
    assert "#SBATCH --no-requeue" in text
    assert "scontrol requeue" not in text


def test_a_job_asks_for_the_time_it_needs_where_that_is_less_than_the_sites():
    def asked(site, *hours):
        jobs = [Job(stage=f"s{number}", hours=each) for number, each in enumerate(hours)]
        text = script(jobs, site, campaign="c", run="r", output="o")
        return [word for word in options(text) if word.startswith("--time=")]

    day = msgspec.structs.replace(SITE, walltime="1-00:00:00")
    assert asked(day, 0.0) == ["--time=1-00:00:00"]
    assert asked(day, 1.5) == ["--time=1:30:00"]
    assert asked(day, 1.5, 2.0) == ["--time=3:30:00"]
    assert asked(day, 1.5, 0.0) == ["--time=1-00:00:00"]
    assert asked(SITE, 1.5) == ["--time=1:00:00"]
