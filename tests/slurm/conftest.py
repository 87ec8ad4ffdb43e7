"""A four-node SLURM for the whole session, and a campaign to run on it."""

import importlib.util
import os
import shlex
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import tomli_w

from hpcml import config
from hpcml.cluster import RunFolder, Site
from hpcml.cluster.batch_script import Job, script
from hpcml.generation.protocol.task import task_folders
from hpcml.molecules import read, write_extended_xyz
from hpcml.store import Dataset, result_key, verify

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SLOW_HPCML = HERE / "programs/slow_hpcml.py"


def _cluster_module():
    spec = importlib.util.spec_from_file_location("slurm_cluster", HERE / "cluster.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def _slurm():
    cluster = _cluster_module().Cluster().up()
    yield cluster
    cluster.down()


@pytest.fixture
def slurm(_slurm, monkeypatch):
    """The cluster, idle, with its environment set; jobs that a test leaves are cancelled."""
    for name, value in _slurm.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    paths = [str(ROOT), str(ROOT / "tests/generation/programs"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))
    yield _slurm
    _slurm.cancel_all()


class Campaign:
    """Eight small molecules of GDB-9, RHF/STO-3G, two nodes with one rank each."""

    def __init__(self, path):
        self.path = path
        self.toml = path / "campaign.toml"
        self.folder = RunFolder(path / "run")
        self.site = Site(
            kind="slurm",
            launcher="srun",
            nodes=2,
            ranks_per_node=1,
            memory_mb=1200,
            walltime="00:10:00",
            margin=10.0,
            exclusive=False,
            hint="",
            mpi_options=("--mpi=pmix",),
            scratch=str(path),
            pin=False,
            address="127.0.0.1",
        )
        self.molecules = sorted(read(ROOT / "jobs/quickstart.xyz"), key=len)[:8]
        self.write()

    def write(self, **site):
        """Write molecules and settings to files."""
        self.site = msgspec.structs.replace(self.site, **site)
        write_extended_xyz(self.path / "molecules.xyz", self.molecules)
        tables = {
            "name": "small",
            "molecules": {"source": str(self.path / "molecules.xyz")},
            "level": {"method": "HF", "basis": "STO-3G"},
            "site": msgspec.to_builtins(self.site),
        }
        self.toml.write_text(tomli_w.dumps(tables))
        return self

    def slow(self, seconds, count=8):
        """So many molecules, whose calculations take so long and give zeros."""
        waters = [
            replace(self.molecules[0], positions=self.molecules[0].positions * (1 + 0.001 * i))
            for i in range(count)
        ]
        self.molecules = [replace(m, name=f"slow-{seconds}{i:03d}") for i, m in enumerate(waters)]
        return self.write()

    def slow_script(self):
        """An sbatch script like that of ``hpcml submit``, for the slow calculations."""
        text = script(
            (Job(stage="generate", ranks=None, partial=True),),
            self.site,
            campaign=shlex.quote(str(self.toml)),
            run=shlex.quote(str(self.folder.path)),
            output=f"{self.path}/job-%j.out",
            hpcml=(sys.executable, str(SLOW_HPCML)),
        )
        path = self.path / "slow.sbatch"
        path.write_text(text)
        return path

    def rows_done(self):
        return sum(folder.read_progress().done for folder in task_folders(self.folder.work))

    def log(self):
        """What the jobs have printed, for a test's message."""
        paths = [*self.path.glob("*.out"), *self.folder.logs.glob("*.out")]
        paths += self.folder.work.glob("*/output")
        return "\n".join(f"{path}:\n{path.read_text()[-1500:]}" for path in paths)

    def assert_complete(self):
        """Every molecule has exactly one row, and every byte is as it was written."""
        settings = config.load(self.toml)
        dataset = Dataset.open(self.folder.dataset)
        molecules = read(self.path / "molecules.xyz")
        wanted = {result_key(m, settings.level, settings.properties) for m in molecules}
        assert set(dataset.keys) == wanted
        assert sum(rows for _, rows, _ in dataset.shards) == len(wanted) == len(self.molecules)
        assert not verify(self.folder.dataset).problems


@pytest.fixture
def campaign(tmp_path):
    return Campaign(tmp_path)


@pytest.fixture
def sbatch():
    """``sbatch(words...)``: the number of the job."""

    def submit(*words):
        command = ["sbatch", "--parsable", *map(str, words)]
        # the template calls `hpcml`, which a user's environment has on the path
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True
        ).stdout.strip()

    return submit


@pytest.fixture
def wait_until():
    """``wait_until(condition)``: its first true value; fails after ``seconds``."""

    def wait(condition, seconds=90.0):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if value := condition():
                return value
            time.sleep(0.05)
        raise AssertionError(f"not within {seconds:g} s: {condition}")

    return wait
