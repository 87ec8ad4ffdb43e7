"""Real campaigns on a real SLURM of four nodes, and what can happen to them there."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import tomli_w

from hpcml.cluster import Job, Site, submit
from hpcml.errors import PlatformError
from hpcml.generation import generate
from hpcml.response import Level, Request

pytestmark = pytest.mark.slurm

ROOT = Path(__file__).parents[2]


NETWORK = """
[train]
leave_out = "nothing"
epochs = 3
batch_size = 4
hyperparameters = { readout = "sum" }
[explain]
rule = "epsilon"
"""


def test_every_stage_on_two_nodes_through_hpcml_submit(slurm, campaign):
    """Real Psi4, Horovod under srun, and a job for each stage, as the README shows it."""
    site = campaign.path / "site.toml"
    site.write_text(tomli_w.dumps(msgspec.to_builtins(campaign.site)))
    campaign.toml.write_text(campaign.toml.read_text() + NETWORK)
    command = [sys.executable, "-m", "hpcml", "submit", campaign.toml, "--site", site]
    ended = subprocess.run(
        [*command, "--run", campaign.folder.path], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    jobs = msgspec.json.decode(campaign.folder.jobs.read_bytes())
    assert list(jobs) == ["generate", "train", "explain", "analyze", "report"]
    for job in jobs.values():
        assert slurm.wait(job) == "COMPLETED", campaign.log()
    campaign.assert_complete()
    metrics = msgspec.json.decode((campaign.folder.model / "metrics.json").read_bytes())
    assert (metrics["ranks"], metrics["backend"]) == (2, "horovod")
    assert campaign.folder.report_page.exists()


def test_sbatch_of_the_shipped_script_on_four_nodes(slurm, campaign, sbatch, monkeypatch):
    """Real Psi4, through the template of slurm/ with a user's own options."""
    monkeypatch.setenv("HPCML_ENV", str(Path(sys.executable).parents[1]))
    campaign.write(nodes=4)
    options = ["--nodes=4", "--ntasks-per-node=1", "--mem=1200M", "--hint=multithread"]
    options += [f"--output={campaign.path}/job.out"]
    job = sbatch(*options, ROOT / "slurm/generate.sbatch", campaign.toml, campaign.folder.path)
    assert slurm.wait(job) == "COMPLETED", campaign.log()
    campaign.assert_complete()


def launch(campaign):
    """``hpcml generate`` on the login node: it submits pilot jobs and waits for them."""
    program = ROOT / "tests/slurm/programs/slow_hpcml.py"
    command = [sys.executable, program, "generate", campaign.toml, "--run", campaign.folder.path]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_pilot_jobs_of_which_a_node_goes_down(slurm, campaign, wait_until):
    campaign.slow(0.6, count=14)
    process = launch(campaign)
    try:
        wait_until(lambda: campaign.rows_done() > 2)
        slurm.stop_node("n2")
        output, _ = process.communicate(timeout=150)
    finally:
        process.kill()
        slurm.start_node("n2")
    if process.returncode != 0:  # the pilot went down with its node: a plain re-run
        process = launch(campaign)
        output, _ = process.communicate(timeout=90)
    assert process.returncode == 0, output
    campaign.assert_complete()


def test_the_walltimes_signal_and_scancel_leave_work_that_a_plain_rerun_finishes(
    slurm, campaign, sbatch, wait_until
):
    campaign.slow(1.0, count=24).write(margin=4.0)
    job = sbatch(campaign.slow_script())
    wait_until(lambda: campaign.rows_done() > 1)
    # As SLURM does itself before the walltime's end (--signal=B:USR1@margin): hpcml ends with 85
    # in time, and the job puts itself into the queue again.
    slurm.run("scancel", "--signal=USR1", "--batch", job)
    wait_until(lambda: "Restarts=1" in slurm.run("scontrol", "show", "job", "-o", job))
    wait_until(lambda: slurm.state(job) == "PENDING")
    assert "left=" in campaign.log()
    first = campaign.rows_done()
    assert 0 < first < 24
    slurm.run("scancel", job)

    job = sbatch(campaign.slow_script())
    wait_until(lambda: campaign.rows_done() > first + 1)
    slurm.run("scancel", job)
    assert slurm.wait(job) == "CANCELLED"

    job = sbatch(campaign.slow_script())
    assert slurm.wait(job) == "COMPLETED", campaign.log()
    campaign.assert_complete()


def test_training_is_stopped_by_the_walltimes_signal_requeued_and_goes_on(
    slurm, campaign, wait_until
):
    """Horovod under srun: exit code 85 in time, the job back in the queue, no epoch twice."""
    local = Site(ranks_per_node=2, memory_mb=1200, scratch=str(campaign.path))
    level = Level(method="HF", basis="STO-3G")
    report = generate(campaign.folder, campaign.molecules, level, Request(), local)
    assert report.left == 0
    network = NETWORK.replace("epochs = 3", "epochs = 1000000")
    campaign.toml.write_text(campaign.toml.read_text() + network)
    job = submit(
        campaign.folder, campaign.toml, [Job(stage="train", ranks=2, gpus=True)], campaign.site
    )["train"]

    def epochs():
        curve = campaign.folder.model / "metrics.csv"
        lines = curve.read_text().splitlines()[1:] if curve.exists() else []
        return [int(line.partition(",")[0]) for line in lines]

    wait_until(lambda: len(epochs()) > 2)
    slurm.run("scancel", "--signal=USR1", "--batch", job)
    wait_until(lambda: "Restarts=1" in slurm.run("scontrol", "show", "job", "-o", job))
    wait_until(lambda: slurm.state(job) == "PENDING")
    assert "train: stopped in time" in campaign.log()
    done = len(epochs())
    slurm.run("scontrol", "update", f"JobId={job}", "StartTime=now+5")  # not in two minutes
    wait_until(lambda: len(epochs()) > done + 2, seconds=180)
    slurm.run("scancel", job)
    slurm.wait(job)
    assert epochs() == list(range(epochs()[0], epochs()[0] + len(epochs())))


def test_a_scheduler_that_cannot_be_reached_or_refuses_is_one_clear_line(
    slurm, campaign, monkeypatch, tmp_path
):
    campaign.write(partition="nowhere")
    with pytest.raises(PlatformError, match=r"sbatch refuses .*invalid partition"):
        submit(
            campaign.folder,
            campaign.toml,
            [Job(stage="generate", ranks=None, partial=True)],
            campaign.site,
        )
    campaign.write(partition="")
    text = (slurm.folder / "slurm.conf").read_text()
    port = next(line for line in text.splitlines() if line.startswith("SlurmctldPort="))
    (tmp_path / "slurm.conf").write_text(text.replace(port, "SlurmctldPort=9\nMessageTimeout=2"))
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    with pytest.raises(PlatformError, match=r"sbatch refuses|has not answered"):
        submit(
            campaign.folder,
            campaign.toml,
            [Job(stage="generate", ranks=None, partial=True)],
            campaign.site,
        )


def test_pilot_jobs_that_the_scheduler_refuses_are_told_and_cost_nothing(slurm, campaign):
    campaign.write(partition="nowhere")
    process = launch(campaign)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1, output
    assert "nowhere" in output.splitlines()[-1] or "sbatch" in output.splitlines()[-1], output
    campaign.write(partition="")
    process = launch(campaign)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    campaign.assert_complete()


def test_nothing_is_left_when_the_clusters_owner_is_killed(wait_until):
    """A second cluster, beside the session's; its owner dies without a word."""
    program = ROOT / "tests/slurm/cluster.py"
    command = [sys.executable, program, "bash", "-c", "echo $SLURM_CONF; sleep 3600"]
    owner = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    conf = Path(owner.stdout.readline().strip())
    owner.kill()
    owner.wait()
    owner.stdout.close()
    subprocess.run([sys.executable, program, "true"], check=True)  # the next start cleans
    assert not conf.parent.exists()
    mark = f"SLURM_CONF={conf}".encode()

    def left():
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in path.read_bytes():
                    return True
            except OSError:
                continue
        return False

    wait_until(lambda: not left())
