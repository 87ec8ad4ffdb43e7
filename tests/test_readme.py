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
    "hpcml study jobs/study.toml": "hours; what it would do: tests/cli/test_commands.py",
}
"""Commands that something else runs."""
RUN = "hpcml run jobs/quickstart.toml"
"""What makes the run that the others speak of."""
COMMANDS = [line for line in LINES if line and line not in (RUN, *ELSEWHERE)]


def _run(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program, *words = shlex.split(line)
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
    for told in (
        r"^generate: 28 of 28 molecules, HF/STO-3G, none failed.*; in runs/quickstart/dataset$",
        r"^train: weave, alpha_iso test MAE [\d.e+-]+ a0\^3 \(the mean: .*; in .*/model$",
        r"^explain: 28 of 28 molecules explained, rule \w+, the sums close to .*/relevance$",
        r"^analyze: .*\d+ tables in runs/quickstart/analysis$",
        r"^report: a page of [\d.]+ MB; open runs/quickstart/report/index.html\Z",
    ):
        assert re.search(told, ended.stderr.strip(), re.M), (told, ended.stderr)
    return place


def test_the_readme_has_commands_and_what_is_left_out_is_in_it() -> None:
    assert len(COMMANDS) > 10
    assert {RUN, *ELSEWHERE} <= set(LINES)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_readme_runs_as_pasted(line: str, folder: Path) -> None:
    ended = _run(line, folder)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout.strip() or ended.stderr.strip()
    if " compute " in line and "--json" in line:
        assert len((folder / line.rsplit(maxsplit=1)[-1]).read_text().splitlines()) == 5
