"""A four-node SLURM for the whole session, and a campaign to run on it."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest
import tomli_w

from hpcml import config
from hpcml.campaign import RunFolder, Site
from hpcml.molecules import read, write_extended_xyz

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


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
    paths = [str(ROOT), str(ROOT / "tests/campaign/programs"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))
    yield _slurm
    _slurm.cancel_all()


@pytest.fixture
def site(tmp_path):
    """Two nodes with one rank each, as a cluster's site file would say."""
    return Site(
        kind="slurm",
        launcher="srun",
        nodes=2,
        ranks_per_node=1,
        memory_mb=1200,
        walltime="00:05:00",
        margin=10.0,
        exclusive=False,
        hint="",
        mpi_options=("--mpi=pmix",),
        scratch=str(tmp_path),
        pin=False,
        address="127.0.0.1",
    )


@pytest.fixture
def run_folder(tmp_path):
    return RunFolder(tmp_path / "run")


@pytest.fixture
def molecules(tmp_path):
    """The eight smallest molecules of the quickstart, and the file they are in."""
    chosen = sorted(read(ROOT / "jobs/quickstart.xyz"), key=len)[:8]
    write_extended_xyz(tmp_path / "molecules.xyz", chosen)
    return list(read(tmp_path / "molecules.xyz"))


@pytest.fixture
def campaign(tmp_path, molecules):
    """``campaign(site)``: a campaign over them, RHF/STO-3G, as a file."""

    def write(site):
        tables = {
            "name": "small",
            "molecules": {"source": str(tmp_path / "molecules.xyz")},
            "level": {"method": "HF", "basis": "STO-3G"},
            "site": config._without_none(config.msgspec.to_builtins(site)),
        }
        path = tmp_path / "campaign.toml"
        path.write_text(tomli_w.dumps(tables))
        return path

    return write
