"""Commands in a terminal, stopped as people do it: Ctrl-C, window closed, kill, a dead pipe."""

import os
import pty
import select
import signal
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent


class Terminal:
    """``command`` behind a pseudo-terminal; ``output`` is what it has shown so far."""

    def __init__(self, command):
        self.output = ""
        self.process, self._master = pty.fork()
        if self.process == 0:
            for number in (signal.SIGINT, signal.SIGHUP):  # ignored by what nohup or & has started
                signal.signal(number, signal.SIG_DFL)
            os.execvp(command[0], [str(word) for word in command])

    def press_control_c(self):
        """The kernel sends SIGINT to every process of the foreground group."""
        os.write(self._master, b"\x03")

    def close(self):
        """The window is closed: SIGHUP to the group, and nobody reads what is printed."""
        os.close(self._master)
        self._master = -1

    def read(self, seconds=0.05):
        """Take up what it has printed meanwhile."""
        if self._master < 0:
            time.sleep(seconds)
        elif select.select([self._master], [], [], seconds)[0]:
            try:
                self.output += os.read(self._master, 65536).decode(errors="replace")
            except OSError:  # its last process has closed it
                time.sleep(seconds)

    def wait(self, seconds):
        """Its exit code (negative: a signal's number); it is killed after so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.read()
            process, status = os.waitpid(self.process, os.WNOHANG)
            if process:
                return os.waitstatus_to_exitcode(status)
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)
        raise AssertionError(f"it had not ended after {seconds} s:\n{self.output}")


def processes_with(word):
    """Command lines of living processes in which a word stands."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if word in line and path.parent.name != str(os.getpid()):
            found.append(line)
    return found


def _close(terminal):
    terminal.close()


def _control_c_twice(terminal):
    terminal.press_control_c()
    terminal.read(0.3)
    terminal.press_control_c()


def _send(*numbers):
    def send(terminal):
        for number in numbers:
            os.kill(terminal.process, number)
            terminal.read(0.1)

    return send


WAYS_TO_STOP = {
    "Ctrl-C twice": _control_c_twice,
    "the window closed": _close,
    "SIGTERM twice": _send(signal.SIGTERM, signal.SIGTERM),
    "SIGPIPE": _send(signal.SIGPIPE),
}


def stop_in_a_terminal(command, way, word, seconds=30.0):
    """Start it, stop it when it has printed ``computing``; its exit code and output.

    word   in the command lines of all its processes, none of which may be left
    """
    terminal = Terminal(command)
    end = time.monotonic() + 60.0
    while "computing" not in terminal.output:
        assert time.monotonic() < end, terminal.output
        terminal.read()
    WAYS_TO_STOP[way](terminal)
    code = terminal.wait(seconds)
    assert "Traceback" not in terminal.output
    end = time.monotonic() + 5.0
    while left := processes_with(str(word)):
        assert time.monotonic() < end, left
        time.sleep(0.05)
    return code, terminal.output


@pytest.fixture
def _programs_importable(monkeypatch):
    folders = [HERE / "cluster/programs", HERE / "generation/programs", HERE.parent]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, folders)))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.usefixtures("_programs_importable")
@pytest.mark.parametrize("way", WAYS_TO_STOP)
@pytest.mark.parametrize("what", ["generate", "an MPI program"])
def test_a_stop_ends_a_command_in_seconds_with_85_and_leaves_nothing(what, way, tmp_path):
    """An MPI program as training and explaining are, and a campaign with slow calculations."""
    if what == "generate":
        site = {"ranks_per_node": 2, "memory_mb": 1200, "scratch": str(tmp_path)}
        names = [f"slow-0.5{i:02d}" for i in range(80)]
        program = HERE / "generation/programs/launcher.py"
        command = [program, tmp_path / "run", "faulty:compute", repr(site), *names]
    else:
        command = [HERE / "cluster/programs/patient.py", tmp_path / "log"]
    code, output = stop_in_a_terminal([sys.executable, *command], way, tmp_path)
    assert code == 85, output
