"""What Parsl is told: encrypted traffic, no address beyond what is needed, all of the site."""

import subprocess
import sys
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from hpcml.cluster import RunFolder, Site
from hpcml.errors import PlatformError, SettingsError
from hpcml.generation.pilot_jobs import PilotJobs, _configuration, _PilotRun, check_path


@pytest.fixture
def executor(tmp_path):
    """``executor(site)``: the one executor that Parsl gets for a site."""
    folder = RunFolder(tmp_path / "run").create()

    def make(site):
        (made,) = _configuration(site, folder, folder.logs / "parsl").executors
        return made

    return make


CLUSTER = {
    "kind": "slurm", "launcher": "srun", "nodes": 3, "ranks_per_node": 4, "walltime": "1-02:00:00",
    "address": "127.0.0.1",
}  # fmt: skip


def test_traffic_is_encrypted(executor):
    assert executor(Site(**CLUSTER)).encrypted


def test_pilot_jobs_get_every_option_of_the_site_as_one_word(executor):
    site = Site(
        **CLUSTER, memory_mb=3000, partition="main; ls", account="a b", qos="high",
        constraint="rome|milan", exclusive=False, blocks=5, sbatch_options=("--licenses=x y",),
        modules=("openmpi/4.1", "a;b"), setup=("source env",),
    )  # fmt: skip
    provider = executor(site).provider
    assert (provider.partition, provider.account) == ("'main; ls'", "'a b'")
    assert (provider.qos, provider.max_blocks, provider.nodes_per_block) == ("high", 5, 3)
    assert provider.constraint == "'rome|milan'"
    assert provider.walltime == "26:00:00"
    lines = provider.scheduler_options.splitlines()
    assert "#SBATCH --mem=12000M" in lines
    assert "#SBATCH --hint=nomultithread" in lines
    assert "#SBATCH '--licenses=x y'" in lines
    assert provider.worker_init.splitlines() == [
        *("module load openmpi/4.1", "module load 'a;b'"),
        "source env",
    ]


def test_an_address_that_other_hosts_cannot_reach_is_refused(executor, monkeypatch):
    with pytest.raises(SettingsError, match=r"nowhere\.invalid cannot be resolved"):
        executor(Site(**{**CLUSTER, "address": "nowhere.invalid"}))
    monkeypatch.setattr("socket.gethostname", lambda: "localhost")
    with pytest.raises(SettingsError, match="no other host can reach: give address"):
        executor(Site(**{**CLUSTER, "address": ""}))


def test_monitoring_says_what_it_needs(executor, monkeypatch):
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(PlatformError, match=r"pip install 'parsl\[monitoring\]'"):
        executor(Site(**CLUSTER, monitoring=True))


def test_a_path_that_parsls_scripts_on_other_hosts_would_take_apart_is_refused(tmp_path):
    check_path(tmp_path)
    for name in ("a b", "a'b", "a$b", "a;b"):
        with pytest.raises(SettingsError, match="no spaces or quotes"):
            check_path(tmp_path / name)


def test_the_end_of_parsls_own_process_ends_the_wait_and_is_told_in_one_line(tmp_path):
    """Its futures would wait for ever; a manager's end comes as an error of 600 characters."""
    pilots = PilotJobs(Site(**CLUSTER), RunFolder(tmp_path / "run"))
    interchange = subprocess.Popen(["sleep", "60"])
    pilots._executor = SimpleNamespace(interchange_proc=interchange)
    waiting, failed = Future(), Future()
    failed.set_exception(RuntimeError("manager lost: " + "python -m parsl\n" * 40))
    assert not _PilotRun(pilots, waiting).ended()
    interchange.kill()
    interchange.wait()
    assert _PilotRun(pilots, waiting).ended()
    assert _PilotRun(pilots, waiting).error().startswith("Parsl's interchange")
    assert len(_PilotRun(pilots, failed).error()) < 220
    assert "\n" not in _PilotRun(pilots, failed).error()
