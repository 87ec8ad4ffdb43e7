"""Every command that the documentation shows is run, as it stands but for names of your own.

A command that is added to a page is run without being named here; one that cannot be run here is
named in ``ELSEWHERE``, with where it is.
"""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from hpcml.cli.main import main
from hpcml.config import tomllib
from hpcml.generation.failures import Failure, write
from hpcml.models import MODELS

ROOT = Path(__file__).parents[2]
PAGES = ("docs/*.md", "jobs/*.md", "slurm/README.md", "benchmarks/README.md")
"""The README's commands are run by tests/test_readme.py."""

ELSEWHERE = {
    r"make (setup|docs|test|test-all)": "Makefile",  # what runs these very tests
    r"\. \.venv/bin/activate": "Makefile",
    r"pip install 'hpcml\[pyscf.*\]'": "setup.cfg",  # needs an index; the extra is read by setup
    r"hpcml submit \S+ --site \S+": "tests/slurm/test_slurm.py",
    r"hpcml represent ANI_FOLDER .*": "tests/analysis/test_representations.py",
    r"python -m hpcml.store > docs/schema.md": "tests/store/test_schema.py",
    r"python docs/site/pictures.py": "docs/site/pictures.py",  # minutes; draws what is shipped
    r"python benchmarks/.*": "benchmarks/README.md",  # minutes; named there
}
"""Command (all of it) -> the file that has to do with it."""

SLOW = r"hpcml (calibrate|study|represent|transfer|(import table|run) solubility|analyze .*--\w+)\b"
"""Commands of more than some seconds: left to ``make test-all``."""

YOURS = {
    "CAMPAIGN.toml": "jobs/quickstart.toml",
    "OTHERS": "runs/other/dataset",
    "OTHER_DATASET": "runs/other/dataset",
    "DATASET": "runs/quickstart/dataset",
    "DIR": "looked-into",
    "FOLDER": "runs/quickstart/model",
    "MOLECULES": "jobs/water.xyz",
    "RUN": "runs/quickstart",
    "gdb_000083": "gdb_000021",
    "jobs/study.toml": "jobs/study_quick.toml",
    # smaller than what is shown
    "B3LYP": "HF",
    "6-31G(d)": "STO-3G",
    "6-31+G(d)": "STO-3G",
    "aug-cc-pVDZ": "STO-3G",
}
"""A word of a page -> what stands for it here."""


def _shown(text: str) -> Iterator[str]:
    """The commands of a page's sh blocks, and those behind a prompt in its console blocks."""
    for kind, block in re.findall(r"^```(sh|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if kind == "console" and not line.startswith("$ "):
                continue
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words:
                yield re.split(r"\s+#\s", line.removeprefix("$ "))[0].strip()


def _collected() -> dict[str, str]:
    """Command -> the first page that shows it, in the order of the pages."""
    shown: dict[str, str] = {}
    for pattern in PAGES:
        for page in sorted(ROOT.glob(pattern)):
            for command in _shown(page.read_text(encoding="utf-8")):
                shown.setdefault(" ".join(command.split()), str(page.relative_to(ROOT)))
    return shown


def _elsewhere(command: str) -> str | None:
    return next((file for what, file in ELSEWHERE.items() if re.fullmatch(what, command)), None)


HERE = {command: page for command, page in _collected().items() if not _elsewhere(command)}


def test_a_block_is_read_command_by_command() -> None:
    page = "```sh\na --b 'c d'  # words\n\n# nothing\ne \\\n  f\n```\n```console\n$ g\nh\n```\n"
    assert list(_shown(page)) == ["a --b 'c d'", "e    f", "g"]


def test_what_is_not_run_here_is_somewhere_and_is_shown_somewhere() -> None:
    assert len(HERE) > 20
    for what, file in ELSEWHERE.items():
        assert (ROOT / file).exists(), file
        assert any(re.fullmatch(what, command) for command in _collected()), what


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder as the checkout is for its user, its quickstart made small, and run."""
    folder = tmp_path_factory.mktemp("desk")
    for name in ("slurm", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("made", "study"))
    shutil.copytree(ROOT / "jobs", folder / "jobs")
    quickstart = tomllib.loads((ROOT / "jobs/quickstart.toml").read_text())
    quickstart["molecules"]["limit"] = 28
    quickstart["level"]["basis"] = "STO-3G"
    quickstart["train"] |= {"epochs": 8, "leave_out": "nothing"}
    (folder / "jobs/quickstart.toml").write_text(tomli_w.dumps(quickstart))
    shutil.copy(ROOT / "jobs/water.xyz", folder / "water.xyz")
    _write_own_table(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("OMP_NUM_THREADS", "1")
        assert main(["run", "jobs/quickstart.toml"]) == 0
        shutil.copytree(folder / "runs/quickstart/dataset", folder / "runs/other/dataset")
        yield folder


def _write_own_table(folder: Path) -> None:
    """The files that docs/own_data.md shows, the table with some more rows."""
    text = (ROOT / "docs/own_data.md").read_text(encoding="utf-8")
    block = re.findall(r"```console\n(.*?)```", text, re.DOTALL)[0]
    printed = dict(re.findall(r"^\$ (?:head -3|cat) (\S+)\n(.*?)(?=^\$ )", block, re.M | re.S))
    rows = [f"{'C' * n}{end},{0.5 * n},{'yes' if n % 2 else 'no'}" for n in range(1, 9) for end in
            ("O", "N", "C=O")]  # fmt: skip
    (folder / "solubility.csv").write_text(printed["solubility.csv"] + "\n".join(rows) + "\n")
    settings = printed["solubility.toml"].replace("[explain]", "epochs = 3\nranks = 1\n[explain]")
    (folder / "solubility.toml").write_text(settings)


def _with_marks(command: str) -> object:
    marks = [pytest.mark.slow] if re.match(SLOW, command) else []
    return pytest.param(command, marks=marks, id=f"{HERE[command]}: {command}")


@pytest.mark.parametrize("command", [_with_marks(command) for command in HERE])
def test_the_command_does_what_it_says(
    command: str, desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program, *words = [YOURS.get(word, word) for word in shlex.split(command)]
    if program == "cp":
        assert len(words) == 2
        shutil.copy(*(desk / word for word in words))
        return
    if program in ("head", "cat"):  # they show what the fixture has written as the page has it
        assert (desk / words[-1]).exists()
        return
    if words[0] == "retry":
        lost = Failure(key="0" * 32, name="lost", cause="convergence", message="no SCF", tries=4)
        write(desk / "runs/quickstart/failures.jsonl", [lost])
    target = None
    if ">" in words:
        words, (target,) = words[: words.index(">")], words[words.index(">") + 1 :]
    assert program == "hpcml", f"{HERE[command]}: say in ELSEWHERE where {command!r} is run"
    if re.match(SLOW, command):  # a process of its own, whose libraries keep to one thread
        ended = subprocess.run(
            [sys.executable, "-m", "hpcml", *words], capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stderr
        return
    code = main(words)
    said = capsys.readouterr()
    assert code == 0, said.err
    if target is not None:
        (desk / target).write_text(said.out)
    assert said.out or said.err


def _python_of(page: str) -> str:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


def test_the_python_of_the_quickstart_runs(desk: Path) -> None:
    names: dict[str, Any] = {}
    exec(compile(_python_of("quickstart.md"), "quickstart.md", "exec"), names)
    assert len(names["data"]) == 28


def test_the_network_that_is_shown_learns_and_is_explained_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One vector an element is a count of elements: its terms are its relevances."""
    monkeypatch.chdir(ROOT)
    text = _python_of("add_network.md")
    assert "runs/tiny" in text and "epochs=20" in text
    text = text.replace("runs/tiny", str(tmp_path / "tiny")).replace("epochs=20", "epochs=2")
    names: dict[str, Any] = {"__name__": "shown"}
    try:
        exec(compile(text, "add_network.md", "exec"), names)
    finally:
        MODELS.pop("tiny", None)
    explained = names["explained"]
    for prediction, atoms in zip(explained.prediction, explained.booked, strict=True):
        assert atoms.sum() == pytest.approx(prediction, rel=1e-3)
