"""Every command of the README runs as it is pasted, on a quickstart that is a small one here."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tomli_w

from hpcml.config import tomllib

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
LINES = [line.partition("#")[0].strip() for block in BLOCKS for line in block.splitlines()]
ELSEWHERE = {
    "make demo": "the quickstart: tests/test_pipeline.py",
    "make test": "this suite",
    "hpcml submit jobs/quickstart.toml --site slurm/cpu-cluster.toml": "tests/slurm",
}
"""Commands that something else runs."""
SHORTER = {"hpcml study jobs/study.toml": "--dry-run"}
"""What is added to a command that takes hours."""
RUN = "hpcml run jobs/quickstart.toml"
"""What makes the run that the others speak of."""
COMMANDS = [line for line in LINES if line and line not in (RUN, *ELSEWHERE)]


def _run(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program, *words = shlex.split(f"{line} {SHORTER.get(line, '')}")
    assert program == "hpcml"
    return subprocess.run(
        [sys.executable, "-m", "hpcml", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a person has who has cloned the repository; the quickstart with few molecules."""
    place = tmp_path_factory.mktemp("readme")
    for name in ("jobs", "slurm"):
        shutil.copytree(ROOT / name, place / name)
    path = place / "jobs/quickstart.toml"
    tables = tomllib.loads(path.read_text())
    tables["molecules"]["limit"] = 28
    tables["level"]["basis"] = "STO-3G"
    tables["train"] |= {"epochs": 8, "leave_out": "nothing"}
    path.write_text(tomli_w.dumps(tables))
    ended = _run(RUN, place)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("report: a page of ")
    return place


def test_the_readme_has_commands_and_what_is_left_out_is_in_it() -> None:
    assert len(COMMANDS) > 10
    assert {RUN, *ELSEWHERE, *SHORTER} <= set(LINES)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_readme_runs_as_pasted(line: str, folder: Path) -> None:
    ended = _run(line, folder)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout.strip() or ended.stderr.strip()
    if " compute " in line and "--json" in line:
        assert len((folder / line.rsplit(maxsplit=1)[-1]).read_text().splitlines()) == 5
