"""Processes of a group talk through their ranks: here threads, each with its rank's letters."""

import queue
import threading

import numpy as np
import pytest

from hpcml.errors import ConvergenceError
from hpcml.generation.protocol.letters import GroupCommunicator, Letters, LostMemberError
from hpcml.generation.protocol.messages import Letter, WantLetter
from hpcml.response import team as spread


class Member:
    """A process and its rank; the rank's letters are kept under a lock instead of by a loop."""

    lock = threading.Lock()

    def __init__(self, rank, members):
        self.rank, self.members = rank, members
        self.box = queue.Queue()
        self.letters = Letters(lambda content: self.box.put(Letter(content)))
        self.letters.begin(7)
        self.communicator = GroupCommunicator(
            rank, len(members), self.send, lambda: self.box.get(timeout=20)
        )

    def send(self, message):
        with self.lock:
            if isinstance(message, WantLetter):
                self.letters.wanted(message.member)
            else:
                for member in message.members:
                    self.members[member].letters.arrived(7, self.rank, message.content)

    def run(self, program, outcomes):
        try:
            outcomes[self.rank] = program(self.communicator)
        except Exception as error:
            outcomes[self.rank] = error
        with self.lock:  # it has ended, well or badly
            self.letters.end()
            for other in self.members:
                other.letters.arrived(7, self.rank, None)


def run(size, program):
    """What ``program(communicator)`` returns, or the exception that it raises, by rank."""
    members = [None] * size
    members[:] = [Member(rank, members) for rank in range(size)]
    outcomes = [None] * size
    threads = [threading.Thread(target=m.run, args=(program, outcomes)) for m in members]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


MATRIX = np.random.default_rng(1).standard_normal((6, 6))


@pytest.mark.parametrize("size", [2, 3, 5])
def test_responses_products_are_shared_and_every_member_has_the_result(size):
    trials = np.arange(24.0).reshape(4, 6)

    def program(communicator):
        return spread.lead(
            {"product": lambda rows: (rows @ MATRIX,)},
            communicator,
            lambda shared: shared["product"](trials),
        )

    for (images,) in run(size, program):
        np.testing.assert_allclose(images, trials @ MATRIX, rtol=1e-13)


def test_bcast_and_gather_are_those_of_mpi():
    def program(group):
        spoken = group.bcast({"from": group.rank}, root=1)
        return spoken, group.gather(group.rank**2, root=2)

    assert run(3, program) == [
        ({"from": 1}, None),
        ({"from": 1}, None),
        ({"from": 1}, [0, 1, 4]),
    ]


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_nobody_waits_for_a_member_that_has_ended(victim):
    def program(communicator):
        def work():
            return np.eye(4)

        spread.together(communicator, work)
        if communicator.rank == victim:
            raise RuntimeError("out of step")  # outside of what spread shares
        return spread.lead(
            {"p": lambda rows: (rows,)}, communicator, lambda shared: shared["p"](np.eye(4))
        )

    outcomes = run(3, program)
    assert isinstance(outcomes.pop(victim), RuntimeError)
    assert all(isinstance(outcome, LostMemberError) for outcome in outcomes)


def test_an_error_that_cannot_travel_arrives_in_words():
    class HoldsAWaveFunctionError(Exception):
        def __init__(self, words):
            super().__init__(words)
            self.wave_function = lambda: None  # as little to be pickled as Psi4's

    def program(communicator):
        def work():
            if communicator.rank == 0:
                raise HoldsAWaveFunctionError("no SCF")

        return spread.together(communicator, work)

    own, *others = run(3, program)
    assert isinstance(own, HoldsAWaveFunctionError)
    assert all(isinstance(other, ConvergenceError) for other in others)
    assert {str(other) for other in others} == {"HoldsAWaveFunctionError: no SCF"}


def test_letters_that_come_too_early_or_too_late():
    delivered = []
    letters = Letters(delivered.append)
    letters.begin(1)
    letters.arrived(2, 0, b"of the next")
    letters.arrived(1, 0, b"of this")
    letters.begin(2)
    letters.arrived(1, 0, b"of the last")
    letters.wanted(0)
    letters.wanted(0)
    assert delivered == [b"of the next"]
    letters.end()
    letters.arrived(2, 0, b"nobody waits")
    assert delivered == [b"of the next"]
