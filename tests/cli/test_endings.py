"""How a command ends when something else goes wrong: one line, a code of ours, no work lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import hpcml
from hpcml.cli import doctor_command, output_files
from hpcml.cli.main import main
from hpcml.doctor import Finding
from hpcml.errors import HpcmlError

WATER = "3\nwater\nO 0 0 0.117790\nH 0 0.755453 -0.471161\nH 0 -0.755453 -0.471161\n"
ROOT = Path(__file__).parents[2]
HPCML = [sys.executable, "-m", "hpcml"]


@pytest.fixture
def water(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "water.xyz").write_text(WATER)
    return tmp_path / "water.xyz"


def examined(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    """The exit code of a command in which this happens."""

    def fail() -> list[Finding]:
        raise error

    monkeypatch.setattr("hpcml.doctor.examine", fail)
    return main(["doctor"])


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (OSError(errno.ENOSPC, "No space", "/data/x"), 1, "/data/x: the disk is full"),
        (PermissionError(errno.EACCES, "Denied", "/other/run"), 1, "/other/run: permission denied"),
        (FileNotFoundError(errno.ENOENT, "None", "x.json"), 2, "x.json: no such file"),
        (OSError(errno.EIO, "Input/output error"), 1, "nput/output error"),
        (MemoryError(), 1, "not enough memory"),
        (KeyboardInterrupt(), 85, "stopped; the same command goes on"),
    ],
)
def test_what_the_system_refuses_is_one_line(
    error: BaseException,
    code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert examined(monkeypatch, error) == code
    said = capsys.readouterr().err
    assert said.startswith("hpcml: ") and words in said and said.count("\n") == 1


def test_a_bug_shows_where_it_is_and_asks_to_be_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert examined(monkeypatch, IndexError("list index out of range")) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("Traceback") and "IndexError: list index out of range" in said
    assert "this is a bug" in said[-1] and "report it" in said[-1]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["comput"], "did you mean 'compute'?"),
        (["RUN"], "did you mean 'run'?"),
        (["compute", "w", "--propery", "beta"], "did you mean '--property'?"),
        (["compute", "w", "--property", "betta"], "did you mean 'beta'?"),
        (["compute", "w", "--process", "shq"], "there are static, shg, eope, or"),
        (["compute", "w", "--threads", "0"], "0 is less than 1"),
        (["compute", "w", "--memory", "lots"], "'lots' is no whole number"),
        (["export", "d", "--to", "cvs"], "did you mean 'csv'?"),
        (["run", "water.xyz"], '[molecules] source = "water.xyz"'),
        (["run", "."], "is a folder, and a campaign is a TOML file"),
        (["status", "."], "no run's folder, which has a campaign.toml"),
        (["verify", "run"], "run/dataset: no data set here"),
        (["predict", "run", "water.xyz"], "run/model"),
        (["compute", "watr.xyz", "--method", "HF", "--basis", "STO-3G"], "mean water.xyz?"),
        (["status", "rum"], "rum: no such folder of a run; did you mean run?"),
        (["run", "c.toml"], "`hpcml init c.toml` writes a campaign"),
        (["study", "grid-c.toml"], "is a campaign's file, and no study's: hpcml run"),
        (["check", "grid-s.toml"], "is a study's file, and no campaign's: hpcml study"),
    ],
)
def test_wrong_words_are_told_with_what_was_expected(
    words: list[str], expected: str, water: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (water.parent / "run").mkdir()
    (water.parent / "run" / "campaign.toml").write_text("")
    (water.parent / "grid-c.toml").write_text("[train]\n")
    (water.parent / "grid-s.toml").write_text("[networks]\n")
    assert main(words) == 2
    told = capsys.readouterr()
    said = told.err or told.out  # what `check` finds it prints
    assert expected in said and said.count("\n") == 1


def test_what_is_found_is_told_to_programs_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpcml.doctor.examine", lambda: [Finding("MPI", False, "gone", "apt-get")])
    assert main(["doctor", "--json"]) == 1
    told = capsys.readouterr()
    assert json.loads(told.out) == [
        {"what": "MPI", "works": False, "seen": "gone", "mend": "apt-get"}
    ]
    assert told.err == "doctor: 0 of 1 work\n"
    (tmp_path / "c.toml").write_text('name = "c"\ndataset = "none"\n[train]\nmodel = "no"\n')
    assert main(["check", str(tmp_path / "c.toml"), "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert told["code"] == 2 and "no such folder" in " ".join(told["findings"])
    small = shutil.copytree(ROOT / "jobs/study/small", tmp_path / "small")
    assert main(["verify", str(small), "--json", "--quiet"]) == 0
    good = json.loads(capsys.readouterr().out)
    assert good["ok"] and good["problems"] == [] and good["rows"] == len(hpcml.open(small))
    shard = next((small / "shards").iterdir())
    shard.write_bytes(shard.read_bytes()[:-1])
    assert main(["verify", str(small), "--json"]) == 1
    told = capsys.readouterr()
    bad = json.loads(told.out)
    assert not bad["ok"] and len(bad["bad"]) == 1 and shard.stem in bad["problems"][0]
    assert f"hpcml repair {small}" in told.err


def test_a_run_stands_for_the_data_set_that_its_campaign_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run" / "dataset").mkdir(parents=True)
    settings = f'name = "c"\ndataset = "{tmp_path}/given"\n[train]\nmodel = "dtnn"\ntarget = "x"\n'
    (tmp_path / "run" / "campaign.toml").write_text(settings)
    assert main(["verify", str(tmp_path / "run")]) == 2
    assert f"{tmp_path}/given: no data set here" in capsys.readouterr().err


def test_words_of_properties_are_taken_in_any_case(
    water: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compute", "none.xyz", "--method", "HF", "--basis", "STO-3G"]
    assert main([*words, "--property", "Beta", "--process", "SHG", "--frequency", "0.05"]) == 2
    assert "none.xyz" in capsys.readouterr().err  # the words were right


@pytest.mark.parametrize("where", ["no/such/out.json", ".", "/proc/out.json"])
def test_an_output_that_cannot_be_written_is_told_before_the_work(
    where: str, water: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpcml.generation.Foreground", None, raising=False)  # never come to
    words = ["compute", "water.xyz", "--method", "HF", "--basis", "STO-3G", "--json", where]
    assert main(words) in {1, 2}
    said = capsys.readouterr().err
    assert f"cannot write {where}" in said and said.count("\n") == 1
    assert sorted(path.name for path in water.parent.iterdir()) == ["water.xyz"]


def test_what_is_no_file_is_written_into_and_stays_what_it_is(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    output_files.check_output(pipe)
    output_files.write_output(pipe, "text\n")
    assert os.read(reader, 100) == b"text\n" and pipe.is_fifo()
    os.close(reader)
    with pytest.raises(HpcmlError, match="the disk is full"):
        output_files.write_output(Path("/dev/full"), "text\n")
    assert Path("/dev/full").is_char_device()


def test_a_full_disk_behind_the_screen_is_one_line(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [*HPCML, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ended.returncode == 1
    assert "the disk is full" in ended.stderr and ended.stderr.count("\n") == 1


def test_a_reader_that_has_left_is_no_complaint() -> None:
    process = subprocess.Popen([*HPCML, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    assert process.wait() == 85 and said == b""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_command_that_is_asked_to_stop_ends_with_85(number: int, tmp_path: Path) -> None:
    """A doctor that sleeps, asked twice."""
    program = tmp_path / "slow.py"
    program.write_text(
        "import sys, time\nimport hpcml.doctor\nfrom hpcml.cli.main import main\n"
        "def examine():\n    print('ready', flush=True)\n    time.sleep(60)\n"
        "hpcml.doctor.examine = examine\nsys.argv[1:] = ['doctor']\nsys.exit(main())\n"
    )
    # whatever the suite itself was started by: nohup and & have some of them ignored
    command = ["env", "--default-signal=INT,TERM,HUP,USR1", sys.executable, str(program)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(number)
    time.sleep(0.02)
    process.send_signal(number)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 85
    assert said == "hpcml: stopped; the same command goes on from here\n"


def test_doctor_says_what_mends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [Finding("MPI", False, "not there", "apt-get install openmpi-bin")]
    monkeypatch.setattr("hpcml.doctor.examine", lambda: found)
    (command,) = doctor_command.commands()
    assert command.name == "doctor" and main(["doctor"]) == 1
    assert "MISSING" in (said := capsys.readouterr().out) and "apt-get install openmpi-bin" in said
