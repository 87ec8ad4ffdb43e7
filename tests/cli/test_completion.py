"""Completion as bash does it: the words of a line, and what comes behind the cursor."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from hpcml.cli.completion_command import script
from hpcml.cli.main import main, whole_parser


@pytest.fixture(scope="module")
def bash(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "hpcml"
    path.write_text(script(whole_parser(), "bash"))
    return path


def completed(bash: Path, *words: str) -> set[str]:
    """What bash offers for the last of these words."""
    line = " ".join(f"'{word}'" for word in words)
    program = (
        f"source {bash}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; "
        "_shtab_hpcml 2>/dev/null; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", program], capture_output=True, text=True, check=True,
        cwd=bash.parent,
    )  # fmt: skip
    assert done.stderr == ""
    return set(done.stdout.split())


def test_bash_completes_commands_options_choices_and_files(bash: Path) -> None:
    assert completed(bash, "hpcml", "re") >= {"report", "retry", "repair", "represent"}
    assert completed(bash, "hpcml", "compute", "--wave") == {"--wavelength"}
    assert "--quiet" in completed(bash, "hpcml", "verify", "--")
    assert completed(bash, "hpcml", "compute", "x", "--units", "e") == {"esu"}
    assert completed(bash, "hpcml", "import", "q") == {"qm9"}
    (bash.parent / "some.toml").write_text("")
    (bash.parent / "folder").mkdir()
    assert completed(bash, "hpcml", "run", "so") == {"some.toml"}
    assert completed(bash, "hpcml", "verify", "fo") == {"folder"}


def test_bash_completes_the_last_of_several_words(bash: Path) -> None:
    line = ("hpcml", "compute", "x", "--property")
    assert completed(bash, *line, "dip") == {"dipole"}
    assert completed(bash, *line, "dipole,al") == {"dipole,alpha"}
    assert completed(bash, "hpcml", "export", "d", "--to", "csv,q") == {"csv,qcschema"}


def test_the_command_prints_it_and_says_where_it_goes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for shell in ("bash", "zsh"):
        assert main(["completion", shell]) == 0
        told = capsys.readouterr()
        assert "represent" in told.out and "--wavelength" in told.out
        assert told.err.startswith("completion: save it as ~/")
