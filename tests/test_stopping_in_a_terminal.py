"""Ctrl-C, a closed terminal, a lost reader: every stage ends in seconds, with 85, no traceback."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hpcml.cli.main import main
from hpcml.molecules import read
from hpcml.store import Row, Schema, ShardWriter

ROOT = Path(__file__).resolve().parents[1]

CAMPAIGN = """
name = "stopped"
dataset = "dataset"
[train]
model = "weave"
target = "alpha_iso"
epochs = {epochs}
batch_size = 4
ranks = 2
hyperparameters = {{ readout = "sum" }}
[explain]
rule = "integrated_gradients"
steps = 20000
batch_size = 1
ranks = 2
"""


class Terminal:
    """A command in the foreground of a pseudo-terminal of its own."""

    def __init__(self, words, folder):
        self.master, slave = pty.openpty()
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            "OMP_NUM_THREADS": "1",
        }
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *words],  # becomes the command, in the terminal's foreground
            cwd=folder,
            env=environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        self.screen = ""

    def read(self, seconds=0.1):
        if select.select([self.master], [], [], seconds)[0]:
            try:
                self.screen += os.read(self.master, 65536).decode(errors="replace")
            except OSError:  # every process has let the terminal go
                time.sleep(seconds)

    def read_until(self, condition, seconds=120.0):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, (
                f"not within {seconds:g} s; on the screen: {self.screen[-800:]}"
            )
            self.read()

    def read_until_it_works(self, condition):
        """As ``read_until``; a command that ends before is no reason to wait."""
        self.read_until(lambda: condition() or self.process.poll() is not None)
        assert self.process.poll() is None, self.screen[-800:]


def processes(word):
    """Ids of the processes with a word in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word in path.read_bytes().replace(b"\0", b" ").decode(errors="replace"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def ctrl_c(terminal):
    os.write(terminal.master, b"\x03")


def ctrl_c_twice(terminal):
    ctrl_c(terminal)
    time.sleep(0.3)
    ctrl_c(terminal)


def sent(number):
    return lambda terminal: terminal.process.send_signal(number)


WAYS = {
    "Ctrl-C": ctrl_c,
    "Ctrl-C twice": ctrl_c_twice,
    "SIGTERM": sent(signal.SIGTERM),
    "SIGHUP": sent(signal.SIGHUP),
    "SIGPIPE": sent(signal.SIGPIPE),
}


def ends_in_order(terminal, way, folder):
    WAYS[way](terminal)
    began = time.monotonic()
    terminal.read_until(lambda: terminal.process.poll() is not None, 90.0)
    terminal.read()
    assert terminal.process.returncode == 85, terminal.screen[-800:]
    assert "Traceback" not in terminal.screen
    assert time.monotonic() - began < 60.0  # seconds, on a machine that does nothing else
    terminal.read_until(lambda: not processes(str(folder)), 20.0)


@pytest.fixture
def campaign(tmp_path):
    """``campaign(epochs)``: a campaign file over 40 molecules of the quickstart."""
    schema = Schema(columns=("energy", "alpha_iso"), frequencies=(0.0,))
    with ShardWriter(tmp_path / "dataset", schema, "test") as writer:
        for number, molecule in enumerate(list(read(ROOT / "jobs" / "quickstart.xyz"))[20:60]):
            heavy = float((molecule.numbers > 1).sum())
            values = {"energy": np.array(-heavy), "alpha_iso": np.array([heavy])}
            writer.append(
                Row(
                    key=f"{number:032x}",
                    molecule=molecule,
                    values=values,
                    provenance={"method": "none", "basis": "none"},
                )
            )

    def make(epochs):
        path = tmp_path / "campaign.toml"
        path.write_text(CAMPAIGN.format(epochs=epochs))
        return path

    return make


@pytest.mark.parametrize("way", WAYS)
def test_training_ends_in_order(campaign, tmp_path, way):
    words = [sys.executable, "-m", "hpcml", "train", str(campaign(100000)), "--run", "run"]
    terminal = Terminal(words, tmp_path)
    curve = tmp_path / "run/model/metrics.csv"
    if way == "SIGTERM":  # before the ranks have begun to listen, too
        terminal.read_until_it_works((tmp_path / "run/logs/train.log").exists)
    else:
        terminal.read_until_it_works(lambda: curve.exists() and curve.read_text().count("\n") > 1)
    ends_in_order(terminal, way, tmp_path)


def test_explaining_ends_in_order(campaign, tmp_path):
    path = campaign(2)
    assert main(["train", str(path), "--run", str(tmp_path / "run")]) == 0
    words = [sys.executable, "-m", "hpcml", "explain", str(path), "--run", "run"]
    terminal = Terminal(words, tmp_path)
    terminal.read_until_it_works((tmp_path / "run/logs/explain.log").exists)
    ends_in_order(terminal, "Ctrl-C twice", tmp_path)


@pytest.mark.parametrize("way", WAYS)
def test_a_command_without_programs_ends_in_order(tmp_path, way):
    """Any command, wherever it is: here one that waits for ever in its own process."""
    (tmp_path / "waiting.py").write_text(
        "import sys, time\n"
        "from hpcml.cli import main as line\n"
        "def wait(options):\n"
        "    print('waits', flush=True)\n"
        "    time.sleep(600)\n"
        "line._doctor = wait\n"
        "sys.exit(line.main(['doctor']))\n"
    )
    terminal = Terminal([sys.executable, str(tmp_path / "waiting.py")], tmp_path)
    terminal.read_until_it_works(lambda: "waits" in terminal.screen)
    ends_in_order(terminal, way, tmp_path)
    assert terminal.screen.count("\n") <= 3, terminal.screen[-800:]
