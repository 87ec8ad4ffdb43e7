"""``hpcml compute``: whatever the engine does, a person sees results or one line, and no debris."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpcml.cluster import Site
from hpcml.errors import ResourceError
from hpcml.generation import Foreground
from hpcml.generation.protocol.task import Orders
from hpcml.molecules import write_extended_xyz

PROGRAM = Path(__file__).parent / "programs" / "compute_faulty.py"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the command works; ``scratch`` beside it is all the room for temporary files."""
    (tmp_path / "here").mkdir()
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    monkeypatch.delenv("PSI_SCRATCH", raising=False)
    return tmp_path / "here"


def _command(folder, campaign, names, *words):
    write_extended_xyz(folder / "a.xyz", campaign.waters(*names))
    return [sys.executable, str(PROGRAM), "a.xyz", *words]


def _compute(folder, campaign, *names):
    command = _command(folder, campaign, names)
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def _nothing_left(folder, campaign):
    assert [path.name for path in folder.iterdir()] == ["a.xyz"]
    assert not list((folder.parent / "scratch").iterdir())
    assert not campaign.processes("psi4_process")


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("crash", 1, ("crash: ", "SIGSEGV", "(4 tries)", "--exact")),
        ("stubborn-9", 1, ("stubborn-9: ", "did not converge", "(4 tries)")),
        ("wrong", 2, ("wrong: ", "element Xx has no basis functions")),
        ("misspelt", 2, ("no method is called HFF",)),
    ],
)
def test_a_failure_is_one_line_with_name_and_advice(folder, campaign, name, code, words):
    ended = _compute(folder, campaign, name)
    assert ended.returncode == code
    assert len(ended.stderr.splitlines()) == 1
    assert all(word in ended.stderr for word in words)
    _nothing_left(folder, campaign)


def test_the_ladder_is_walked(folder, campaign):
    ended = _compute(folder, campaign, "stubborn-2")
    assert ended.returncode == 0
    assert "energy" in ended.stdout
    (summary,) = ended.stderr.splitlines()
    assert summary.startswith("compute: 1 of 1 molecules at ")
    _nothing_left(folder, campaign)


def test_a_bug_shows_its_traceback_and_asks_for_a_report(folder, campaign):
    ended = _compute(folder, campaign, "bug")
    assert ended.returncode == 1
    first, *_, last = ended.stderr.splitlines()
    assert first.startswith("Traceback")
    assert "KeyError: 'a bug'" in ended.stderr
    assert "please report it" in last


def test_one_of_several_fails(folder, campaign):
    ended = _compute(folder, campaign, "fine", "wrong", "good")
    assert ended.returncode == 1
    told = [line for line in ended.stderr.splitlines() if not line.startswith("compute: ")]
    assert told == ["failed (input): wrong: element Xx has no basis functions"]
    assert "\ncompute: 2 of 3 molecules at " in ended.stderr
    heading, _units, *rows = ended.stdout.splitlines()
    assert heading.split()[:3] == ["name", "energy", "dipole"]
    assert [row.split()[0] for row in rows] == ["fine", "good"]


def test_too_much_memory(folder, campaign):
    orders = Orders(
        level=campaign.level, request=campaign.request, site=Site(tries=1, memory_mb=900)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hpcml.generation.foreground.CALCULATOR", "faulty:compute")
        with Foreground(orders) as engine, pytest.raises(ResourceError, match="by --memory"):
            engine.compute(campaign.waters("hungry")[0])


@pytest.mark.parametrize("how", ["Ctrl-C", "Ctrl-C twice", "SIGTERM", "SIGHUP"])
def test_it_ends_in_seconds_whatever_ends_it(folder, campaign, wait_until, how):
    """In a terminal of its own, as a person has it: Ctrl-C goes to the whole foreground group."""
    command = _command(folder, campaign, ["slow-3600"])
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execv(command[0], command)
    wait_until(lambda: campaign.processes("psi4_process.process"))
    began = time.monotonic()
    if how.startswith("Ctrl-C"):
        os.write(terminal, b"\x03" * (2 if how.endswith("twice") else 1))
    else:
        os.kill(pid, signal.Signals[how])
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 4096)
        except OSError:  # the terminal's other end is closed
            break
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 85
    assert time.monotonic() - began < 10
    assert b"Traceback" not in shown
    _nothing_left(folder, campaign)


def test_killed_it_leaves_no_process_and_the_next_one_tidies_up(folder, campaign, wait_until):
    process = subprocess.Popen(_command(folder, campaign, ["slow-3600"]), cwd=folder)
    wait_until(lambda: campaign.processes("psi4_process.process"))
    process.kill()
    process.wait()
    wait_until(lambda: not campaign.processes("psi4_process"))
    assert _compute(folder, campaign, "fine").returncode == 0
    _nothing_left(folder, campaign)
