"""A small campaign, and ways to look at its processes and to kill them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hpcml.cluster import RunFolder, Site
from hpcml.generation import generate
from hpcml.generation.protocol.task import task_folders
from hpcml.molecules import Molecule
from hpcml.response import Level, Request

PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture(autouse=True)
def _programs_importable(monkeypatch):
    """Subprocesses find the calculators of programs/ and this source tree."""
    paths = [str(PROGRAMS), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def _wait_until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds:g} s: {condition}")


@pytest.fixture
def wait_until():
    """``wait_until(condition)``: its first true value; fails after ``seconds``."""
    return _wait_until


class Campaign:
    """A campaign over water molecules, RHF/STO-3G, two ranks, in a temporary folder."""

    level = Level(method="HF", basis="STO-3G")
    request = Request(properties=("dipole", "alpha", "beta"))

    def __init__(self, path):
        self.path = path
        self.folder = RunFolder(path / "run")
        self.site = Site(ranks_per_node=2, memory_mb=1200, hang_seconds=60, scratch=str(path))
        self.started = []

    def waters(self, *names):
        """One molecule a name, each another geometry."""
        molecules = []
        for stretch, name in enumerate(names):
            r = 0.95 + 0.002 * stretch
            positions = np.array([[0, 0, 0], [0, 0.79 * r, 0.61 * r], [0, -0.79 * r, 0.61 * r]])
            molecules.append(Molecule(np.array([8, 1, 1]), positions, name=name))
        return molecules

    def run(self, molecules, *, site=None, calculator="faulty:compute"):
        """``generate`` in this process."""
        return generate(
            self.folder,
            molecules,
            self.level,
            self.request,
            site or self.site,
            calculator=calculator,
        )

    def launch(self, names, *, calculator="faulty:compute", **site):
        """``generate`` over such waters in a process of its own."""
        command = [sys.executable, str(PROGRAMS / "launcher.py"), str(self.folder.path), calculator]
        settings = {"ranks_per_node": 2, "memory_mb": 1200, "scratch": str(self.path)} | site
        process = subprocess.Popen(
            [*command, repr(settings), *names],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        return process

    def rows_done(self):
        """What the tasks of the run say to be done."""
        return sum(folder.read_progress().done for folder in task_folders(self.folder.work))

    def processes(self, word):
        """Ids of this campaign's processes with a word in their command line, oldest first."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if word in line and str(self.path) in line:
                found.append(int(path.parent.name))
        return sorted(found)


@pytest.fixture
def campaign(tmp_path):
    """A Campaign; what its tests have started is killed in the end."""
    made = Campaign(tmp_path)
    yield made
    for process in made.started:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    _wait_until(lambda: not made.processes("generate_program"))
