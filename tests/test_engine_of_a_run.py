"""A run is computed by one engine: the one it began with, whatever is installed later."""

from pathlib import Path

import pytest
from msgspec import UNSET

from hpcml import config, pipeline
from hpcml.errors import PlatformWarning
from hpcml.response import engine as engines

ROOT = Path(__file__).resolve().parents[1]
CAMPAIGN = """
name = "small"
[molecules]
source = "{source}"
limit = 2
[level]
method = "HF"
basis = "STO-3G"
{engine}
"""


def _campaign(folder: Path, engine: str = "") -> config.Campaign:
    path = folder / "small.toml"
    source = ROOT / "jobs" / "quickstart.xyz"
    path.write_text(CAMPAIGN.format(source=source, engine=engine), encoding="utf-8")
    return config.load(path)


def _engine_written(run: Path) -> object:
    level = config.load(run / "campaign.toml").level
    assert level is not None
    return level.engine


@pytest.fixture
def without_psi4(monkeypatch: pytest.MonkeyPatch) -> None:
    there = engines.find_spec
    monkeypatch.setattr(engines, "find_spec", lambda name: None if name == "psi4" else there(name))


@pytest.mark.usefixtures("without_psi4")
def test_without_psi4_the_run_says_that_pyscf_computes_it(tmp_path: Path) -> None:
    with pytest.warns(PlatformWarning, match="computed with PySCF"):
        pipeline.run(_campaign(tmp_path), tmp_path / "run", [])
    assert _engine_written(tmp_path / "run") == "pyscf"


def test_it_goes_on_with_its_engine_where_psi4_is_there(tmp_path: Path) -> None:
    pipeline.run(_campaign(tmp_path, 'engine = "pyscf"'), tmp_path / "run", [])
    pipeline.run(_campaign(tmp_path), tmp_path / "run", [])
    assert _engine_written(tmp_path / "run") == "pyscf"


@pytest.mark.usefixtures("without_psi4")
def test_one_that_names_psi4_keeps_it(tmp_path: Path) -> None:
    pipeline.run(_campaign(tmp_path, 'engine = "psi4"'), tmp_path / "run", [])
    assert _engine_written(tmp_path / "run") == "psi4"


def test_with_psi4_nothing_is_written_of_it(tmp_path: Path) -> None:
    """As in the settings of runs before there was a choice."""
    pipeline.run(_campaign(tmp_path), tmp_path / "run", [])
    assert _engine_written(tmp_path / "run") is UNSET
