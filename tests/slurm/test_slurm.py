"""Real Psi4 campaigns on a real SLURM of four nodes."""

import subprocess
from pathlib import Path

import msgspec
import pytest

from hpcml import config
from hpcml.campaign import generate, submit
from hpcml.store import Dataset, result_key, verify

pytestmark = pytest.mark.slurm

TEMPLATES = Path(__file__).parents[2] / "slurm"


def assert_complete(run_folder, molecules, campaign):
    """Every molecule has exactly one row, and every byte is as it was written."""
    settings = config.load(campaign)
    dataset = Dataset.open(run_folder.dataset)
    wanted = {result_key(m, settings.level, settings.properties) for m in molecules}
    assert set(dataset.keys) == wanted
    assert sum(rows for _, rows, _ in dataset.shards) == len(wanted)
    assert not verify(run_folder.dataset).problems


def test_submitted_to_two_nodes(slurm, site, run_folder, molecules, campaign):
    path = campaign(site)
    jobs = submit(run_folder, path, ["generate"], site, {})
    log = next(run_folder.logs.glob("generate-*.out"), None)
    assert slurm.wait(jobs["generate"]) == "COMPLETED", log and log.read_text()
    assert_complete(run_folder, molecules, path)


def test_sbatch_of_the_shipped_script_on_four_nodes(slurm, site, run_folder, molecules, campaign):
    path = campaign(msgspec.structs.replace(site, nodes=4))
    options = ["--nodes=4", "--ntasks-per-node=1", "--mem=1200M", "--hint=multithread"]
    options += [f"--output={run_folder.path.parent}/job.out", "--parsable"]
    script = TEMPLATES / "generate.sbatch"
    answer = subprocess.run(
        ["sbatch", *options, script, path, run_folder.path],
        capture_output=True,
        text=True,
        check=True,
    )
    state = slurm.wait(answer.stdout.strip())
    assert state == "COMPLETED", (run_folder.path.parent / "job.out").read_text()
    assert_complete(run_folder, molecules, path)


def test_pilot_jobs_from_a_login_node(slurm, site, run_folder, molecules, campaign):
    path = campaign(site)
    settings = config.load(path)
    report = generate(run_folder, molecules, settings.level, settings.properties, site)
    assert (report.done, report.left) == (len(molecules), 0)
    assert_complete(run_folder, molecules, path)
