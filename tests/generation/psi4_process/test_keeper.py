"""The keeper with real worker processes: every way in which a calculation can end."""

import os
import signal
import subprocess
import sys
import time

import msgspec
import pytest

from hpcml.generation.protocol import wire
from hpcml.generation.protocol.task import Orders


class KeeperProcess:
    """A keeper at the end of two pipes, as a rank holds it."""

    def __init__(self, orders, folder, calculator):
        command = [
            sys.executable,
            "-m",
            "hpcml.generation.psi4_process.keeper",
            "--calculator",
            calculator,
        ]
        command += ["--orders", msgspec.json.encode(orders).decode()]
        command += ["--scratch", str(folder), "--log", str(folder / "psi4.log")]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.read()  # ready

    def read(self):
        return wire.read(self.process.stdout)

    def ask(self, molecule, limit=60.0):
        question = {"key": "k", "molecule": wire.pack_molecule(molecule), "limit": limit}
        wire.write(self.process.stdin, question)

    def compute(self, molecule, limit=60.0):
        self.ask(molecule, limit)
        return self.read()


@pytest.fixture
def keeper(campaign, tmp_path):
    """``keeper(**orders)``: a keeper whose calculator does what the molecule's name says."""
    started = []

    def start(calculator="faulty:compute", **orders):
        given = Orders(level=campaign.level, request=campaign.request, **orders)
        started.append(KeeperProcess(given, tmp_path, calculator))
        return started[-1]

    yield start
    for one in started:
        one.process.stdin.close()
        assert one.process.wait(timeout=10) is not None
        one.process.stdout.close()


def test_faults_cost_a_molecule_its_tries_and_nothing_else(keeper, campaign):
    names = ["fine", "crash", "stubborn-1", "wrong", "bug", "misspelt"]
    fine, crash, stubborn, wrong, bug, misspelt = campaign.waters(*names)
    one = keeper(tries=2)
    assert "values" in one.compute(fine)
    answer = one.compute(crash)
    assert (answer["cause"], answer["tries"]) == ("crash", 2)
    assert "SIGSEGV" in answer["message"]
    answer = one.compute(stubborn)
    assert (answer["tries"], "values" in answer) == (2, True)
    answer = one.compute(wrong)
    assert (answer["cause"], answer["tries"]) == ("input", 1)
    answer = one.compute(bug)
    assert (answer["cause"], answer["message"]) == ("internal", "KeyError: 'a bug'")
    assert one.compute(misspelt)["cause"] == "settings"
    assert "values" in one.compute(fine)


def test_a_hang_and_too_much_memory_are_ended(keeper, campaign):
    hang, hungry, fine = campaign.waters("hang", "hungry", "fine")
    one = keeper(tries=1, memory_mb=900)
    start = time.monotonic()
    answer = one.compute(hang, limit=1.0)
    assert answer["cause"] == "hang"
    assert time.monotonic() - start < 20
    answer = one.compute(hungry)
    assert answer["cause"] == "resources"
    assert "memory_mb = 900" in answer["message"]
    assert "values" in one.compute(fine)


def test_a_process_is_replaced_after_its_share_of_molecules(keeper, campaign, tmp_path):
    one = keeper(molecules_per_process=2)
    scratches = []
    for water in campaign.waters("a", "b", "c", "d"):
        one.compute(water)
        scratches.append(campaign.processes("psi4_process.process"))
    assert len({tuple(processes) for processes in scratches}) >= 2


def test_nothing_outlives_the_keeper(keeper, campaign, wait_until, tmp_path):
    one = keeper()
    one.ask(campaign.waters("slow-3600")[0])
    wait_until(lambda: campaign.processes("psi4_process.process"))
    os.kill(one.process.pid, signal.SIGKILL)
    one.process.wait()
    wait_until(lambda: not campaign.processes("psi4_process.process"))
    assert len(list(tmp_path.glob("hpcml-*"))) == 1  # nobody was left to remove it
    keeper().compute(campaign.waters("fine")[0])
    assert len(list(tmp_path.glob("hpcml-*"))) == 1  # its own: the orphan is swept away


def test_a_rank_that_is_gone_ends_the_keeper_in_mid_calculation(
    keeper, campaign, wait_until, tmp_path
):
    one = keeper()
    one.ask(campaign.waters("slow-3600")[0])
    one.process.stdin.close()
    one.process.wait(timeout=10)
    wait_until(lambda: not campaign.processes("psi4_process.process"))
    assert not list(tmp_path.glob("hpcml-*"))  # scratch folders
