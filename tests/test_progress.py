"""Progress: rate and time left, plain lines in a log, silence where it is asked for."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from hpcml import progress as shown

PROGRAM = """
import sys, time
from hpcml.progress import progress, tell
with progress("train", 40, before=10) as advance:
    for done in range(10, 41, 10):
        advance(done, "a note [red]")
        time.sleep(0.05)
tell("train: done")
"""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time as the test sets it."""
    now = [100.0]
    monkeypatch.setattr(shown.time, "monotonic", lambda: now[0])
    return now


def test_a_log_has_rate_and_time_left(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with shown.progress("train", 100, before=40) as advance:
        advance(40)
        for _ in range(6):  # two a second, told of at most every five seconds
            clock[0] += 1.0
            advance(40 + round(2 * (clock[0] - 100.0)), "MAE 0.3")
        clock[0] += 24.0
        advance(100)
    assert capsys.readouterr().err.splitlines() == [
        "train: 40/100",
        "train: 52/100 MAE 0.3, 2/s, 0:00:24 left",
        "train: 100/100 2/s",
    ]


def test_lines_of_long_work_come_once_a_minute(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with shown.progress("explain", 10**6) as advance:
        for _ in range(24 * 3600):  # a day
            clock[0] += 1.0
            advance(round(10 * (clock[0] - 100.0)))
    lines = capsys.readouterr().err.splitlines()
    assert 24 * 55 < len(lines) < 24 * 62
    assert lines[-1].endswith("10/s, 3:46:40 left") or "10/s" in lines[-1]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "2.5/s"), (24.0, "2.5/min"), (1e5, "0.036/h")]
)
def test_a_rate_is_told_in_a_unit_that_suits_it(
    seconds: float, words: str, clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with shown.progress("import", None) as advance:
        clock[0] += seconds
        advance(1)
    assert capsys.readouterr().err == f"import: 1 {words}\n"


def test_what_is_known_of_the_rest_counts_more_than_the_rate(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with shown.progress("generate", 80) as advance:
        clock[0] += 10.0
        advance(1, left=7322.0)
    assert "2:02:02 left" in capsys.readouterr().err


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    shown.be_quiet()
    try:
        with shown.progress("train", 2) as advance:
            advance(1)
        shown.tell("train: done")
    finally:
        shown.be_quiet(False)
    assert capsys.readouterr().err == ""
    shown.tell("train: done\nnow")
    assert capsys.readouterr().err == "train: done now\n"


def _on_a_terminal(**variables: str) -> str:
    """What the program shows on one."""
    master, end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stderr=end,
        env={**os.environ, "COLUMNS": "100", "TERM": "xterm-256color", **variables},
    )
    os.close(end)
    seen = b""
    try:
        while piece := os.read(master, 65536):
            seen += piece
    except OSError:  # the other end is closed
        pass
    assert process.wait(60) == 0
    return seen.decode()


def test_a_terminal_has_a_bar_in_colours_unless_it_wants_none() -> None:
    colours = "\x1b[3"
    usual = _on_a_terminal()
    assert colours in usual and "40/40" in usual and "/s" in usual
    assert "a note [red]" in usual  # names of molecules are no markup
    plain = _on_a_terminal(NO_COLOR="1")
    assert colours not in plain and "40/40" in plain
    dumb = _on_a_terminal(TERM="dumb")
    assert "\x1b" not in dumb and "train: 40/40" in dumb
