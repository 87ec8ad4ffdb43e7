"""The keeper with real worker processes: every way in which a calculation can end."""

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import msgspec
import pytest

from hpcml.cluster import Site
from hpcml.generation.protocol import wire
from hpcml.generation.protocol.messages import (
    Compute,
    Error,
    FromKeeper,
    NoPsi4,
    Question,
    Ready,
    Values,
)
from hpcml.generation.protocol.task import Orders
from hpcml.generation.psi4_process.keeper import Keeper


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
        self.first = self.read()  # ready, unless Psi4 does not start

    def read(self):
        return wire.read(self.process.stdout, FromKeeper)

    def ask(self, *molecules, limit=60.0):
        questions = [Question(wire.pack_molecule(molecule), limit) for molecule in molecules]
        wire.write(self.process.stdin, Compute(questions))

    def compute(self, molecule, limit=60.0):
        (answer,) = self.compute_together([molecule], limit)
        return answer

    def compute_together(self, molecules, limit=60.0):
        """Their answers, in however many messages these come."""
        self.ask(*molecules, limit=limit)
        answers = []
        while len(answers) < len(molecules):
            answers += self.read().answers
        return answers


@pytest.fixture
def keeper(campaign, tmp_path):
    """``keeper(**site)``: a keeper whose calculator does what the molecule's name says."""
    started = []

    def start(calculator="faulty:compute", **site):
        given = Orders(level=campaign.level, request=campaign.request, site=Site(**site))
        started.append(KeeperProcess(given, tmp_path, calculator))
        return started[-1]

    yield start
    for one in started:
        one.process.stdin.close()
        assert one.process.wait(timeout=10) is not None
        one.process.stdout.close()


def test_faults_cost_a_molecule_its_tries_and_nothing_else(keeper, campaign, tmp_path):
    names = ["fine", "crash", "stubborn-1", "wrong", "bug", "misspelt"]
    fine, crash, stubborn, wrong, bug, misspelt = campaign.waters(*names)
    one = keeper(tries=2)
    assert isinstance(one.compute(fine).result, Values)
    answer = one.compute(crash)
    assert (answer.result.cause, answer.tries) == ("crash", 2)
    assert "SIGSEGV" in answer.result.message
    answer = one.compute(stubborn)
    assert (answer.tries, type(answer.result)) == (2, Values)
    answer = one.compute(wrong)
    assert (answer.result.cause, answer.tries) == ("input", 1)
    answer = one.compute(bug)
    assert answer.result == Error("bug", "KeyError: 'a bug'")
    assert "Traceback" in (tmp_path / "psi4.log").read_text()
    assert one.compute(misspelt).result.cause == "settings"
    assert isinstance(one.compute(fine).result, Values)


def test_a_process_that_a_signal_ended_is_tried_on_the_same_rung_once(keeper, campaign):
    killed, crash = campaign.waters("killed", "crash-report")
    answer = keeper().compute(killed)
    assert answer.tries == 2
    assert answer.result.provenance["rung"] == 0
    answer = keeper(tries=4).compute(crash)
    assert (answer.tries, answer.result.cause) == (4, "crash")
    assert answer.result.by_signal


def test_a_process_that_ends_while_it_starts_gets_one_more_start(keeper, monkeypatch, tmp_path):
    monkeypatch.setenv("FAULTY_STARTS", str(tmp_path / "starts"))
    (tmp_path / "starts").write_text("x")
    assert isinstance(keeper("faulty_start:compute").first, Ready)
    (tmp_path / "starts").write_text("xx")
    last = keeper("faulty_start:compute").first
    assert isinstance(last, NoPsi4)
    assert last.message.startswith("the Psi4 process does not start: the Psi4 process ended by ")


def test_a_hang_and_too_much_memory_are_ended(keeper, campaign):
    hang, hungry, fine = campaign.waters("hang", "hungry", "fine")
    one = keeper(tries=1, memory_mb=900)
    start = time.monotonic()
    answer = one.compute(hang, limit=1.0)
    assert answer.result.cause == "hang"
    assert time.monotonic() - start < 20
    answer = one.compute(hungry)
    assert answer.result.cause == "resources"
    assert "memory_mb = 900" in answer.result.message
    assert isinstance(one.compute(fine).result, Values)


def test_of_those_asked_for_together_each_fails_alone_and_answers_keep_their_order(
    keeper, campaign
):
    names = ["a", "stubborn-1", "b", "crash", "c", "wrong", "killed", "d", "bug", "e"]
    answers = keeper(tries=2).compute_together(campaign.waters(*names))
    found = [
        ("" if isinstance(answer.result, Values) else answer.result.cause, answer.tries)
        for answer in answers
    ]
    once, twice = ("", 1), ("", 2)
    assert found == [
        *(once, twice, once, ("crash", 2), once, ("input", 1), twice, once, ("bug", 1), once)
    ]


def test_a_hang_among_others_has_a_limit_of_its_own(keeper, campaign):
    one = keeper(tries=1)
    molecules = campaign.waters("slow-0.6", "slow-0.6", "hang", "slow-0.6")
    start = time.monotonic()
    answers = one.compute_together(molecules, limit=1.0)
    assert [type(answer.result) for answer in answers] == [Values, Values, Error, Values]
    assert answers[2].result.cause == "hang"
    assert answers[2].busy == pytest.approx(1.0, abs=0.9)
    assert time.monotonic() - start < 30


def test_what_has_ended_is_told_before_something_long_begins_to_last(keeper, campaign):
    """Short ones share a message; what lasts goes at once, though the group is not over."""
    one = keeper()
    one.ask(*campaign.waters("a", "b", "slow-0.5", "slow-3600"))
    assert len(one.read().answers) == 3
    assert one.process.poll() is None


@pytest.mark.parametrize(
    ("answered", "worked", "held_mb", "due"),
    [
        (10, 99.0, 100.0, False),  # its start took a second: that is not paid yet
        (10, 101.0, 100.0, True),
        (9, 101.0, 100.0, False),
        (10, 1.0, 470.0, True),  # more than half of its memory
        (9, 1.0, 470.0, False),
    ],
)
def test_a_process_is_replaced_after_its_share_of_molecules(
    campaign, answered, worked, held_mb, due
):
    site = msgspec.structs.replace(campaign.site, molecules_per_process=10, memory_mb=1000)
    orders = Orders(level=campaign.level, request=campaign.request, site=site)
    now = time.monotonic()
    life = SimpleNamespace(
        answered=answered,
        began=now - worked - 1.0,
        ready=now - worked,
        resident_mb=lambda: held_mb,
    )
    assert Keeper._has_done_its_share(SimpleNamespace(orders=orders), life) == due


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
