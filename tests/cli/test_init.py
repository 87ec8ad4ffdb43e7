"""``hpcml init``: the file that it writes loads, as it is and with every default taken in."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from hpcml import config
from hpcml.cli.main import main
from hpcml.config import Campaign

COMMENTED = re.compile(r"^#(\w+ = )", re.MULTILINE)


@pytest.fixture
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize("source", ["molecules", "dataset"])
def test_what_is_written_loads_and_the_defaults_told_are_the_defaults(
    source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("jobs").mkdir()
    assert main(["init", "jobs/my first.toml", f"--{source}", "data/some thing"]) == 0
    assert "next: hpcml check jobs/my first.toml" in capsys.readouterr().err
    path = Path("jobs/my first.toml")
    campaign = config.load(path)
    assert campaign.name == "my-first"
    there = (Path.cwd() / "data/some thing").resolve()
    if source == "molecules":
        assert campaign.molecules is not None and campaign.level is not None
        assert Path(campaign.molecules.source).resolve() == there
        assert campaign.level.label == "HF/6-31G(d)"
    else:
        assert campaign.level is None
        assert Path(str(campaign.dataset)).resolve() == there

    text = path.read_text()
    assert max(map(len, text.splitlines())) <= 100
    every = COMMENTED.sub(r"\1", text)
    taken = len(every.splitlines()) - len(text.splitlines())
    assert taken == 0 and every != text
    path.write_text(every)
    assert config.load(path) == campaign
    tables = config.tomllib.loads(every)
    unset = set(re.findall(r"^#   (\w+): .*; unset$", every, re.MULTILINE))
    for table in (name for name in Campaign.__struct_fields__ if name in tables):
        if isinstance(tables[table], dict):
            fields = set(msgspec.structs.asdict(getattr(campaign, table)))
            assert fields - unset == set(tables[table]) - unset, table


@pytest.mark.usefixtures("_here")
def test_a_file_that_exists_is_left_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    Path("campaign.toml").write_text("mine")
    assert main(["init"]) == 2
    assert "campaign.toml: exists already" in capsys.readouterr().err
    assert Path("campaign.toml").read_text() == "mine"


@pytest.mark.usefixtures("_here")
def test_the_example_is_checked_and_names_the_molecules_that_are_missing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["init", "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["check", "campaign.toml"]) == 2
    assert "molecules.xyz" in capsys.readouterr().out
    Path("molecules.xyz").write_text("1\nhelium\nHe 0 0 0\n")
    assert main(["run", "campaign.toml", "--dry-run"]) == 0
    assert "1 of 1 molecules to compute" in capsys.readouterr().out
