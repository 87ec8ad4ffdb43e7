"""Ranks that share products: here threads that talk like an MPI communicator."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from hpcml.errors import ConvergenceError
from hpcml.response import team as spread


class ThreadedCommunicator:
    """bcast and gather among threads; collective calls must match, as with MPI."""

    def __init__(self, rank: int, size: int, shared: dict, barrier: threading.Barrier) -> None:
        self.rank, self.size = rank, size
        self._shared, self._barrier = shared, barrier

    def bcast(self, obj, root=0):
        if self.rank == root:
            self._shared["bcast"] = obj
        self._barrier.wait(timeout=20)
        result = self._shared["bcast"]
        self._barrier.wait(timeout=20)
        return result

    def gather(self, sendobj, root=0):
        self._shared[self.rank] = sendobj
        self._barrier.wait(timeout=20)
        result = [self._shared[rank] for rank in range(self.size)]
        self._barrier.wait(timeout=20)
        return result if self.rank == root else None


def run(size: int, program: Callable) -> list:
    """What ``program(communicator)`` returns, or the exception that it raises, by rank."""
    shared: dict = {}
    barrier = threading.Barrier(size)
    outcomes: list = [None] * size

    def body(rank: int) -> None:
        try:
            outcomes[rank] = program(ThreadedCommunicator(rank, size, shared, barrier))
        except Exception as error:
            outcomes[rank] = error

    threads = [threading.Thread(target=body, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


MATRIX = np.random.default_rng(1).standard_normal((6, 6))


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_every_rank_gets_rank_zeros_result_in_order(size: int) -> None:
    trials = np.arange(24.0).reshape(4, 6)
    asked = [0] * size

    def program(communicator):
        def product(rows):
            asked[communicator.rank] += len(rows)
            return rows @ MATRIX, rows.sum(axis=1)

        return spread.lead(
            {"product": product}, communicator, lambda shared: shared["product"](trials)
        )

    for images, sums in run(size, program):
        np.testing.assert_allclose(images, trials @ MATRIX, rtol=1e-13)
        np.testing.assert_array_equal(sums, trials.sum(axis=1))
    assert sum(asked) == 4
    assert max(asked) - min(asked) <= 1


def test_a_failing_share_is_raised_on_every_rank() -> None:
    def program(communicator):
        def product(rows):
            if communicator.rank == 1:
                raise ConvergenceError("rank 1 has had enough", 0.5)
            return (rows,)

        return spread.lead({"p": product}, communicator, lambda shared: shared["p"](np.eye(4)))

    outcomes = run(3, program)
    assert [str(outcome) for outcome in outcomes] == ["rank 1 has had enough"] * 3


def test_failures_before_the_work_stop_all_ranks() -> None:
    def program(communicator):
        def work():
            if communicator.rank == 2:
                raise ConvergenceError("no SCF")
            return communicator.rank

        return spread.together(communicator, work)

    assert all(isinstance(outcome, ConvergenceError) for outcome in run(3, program))


def test_work_on_the_root_only() -> None:
    done: list[int] = []

    def program(communicator):
        return spread.on_root(communicator, lambda: done.append(communicator.rank) or "result")

    assert run(3, program) == ["result"] * 3
    assert done == [0]


def test_without_a_communicator_everything_happens_here() -> None:
    assert spread.together(None, lambda: 1) == spread.on_root(None, lambda: 1) == 1
