"""Batches cut out of packed examples against those joined of the examples themselves."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch

from hpcml.models import Batch, collate, example
from hpcml.molecules import Molecule
from hpcml.training.examples import (
    PackedExamples,
    examples_without_features,
    make_examples,
    pack,
)
from hpcml.training.world import Alone

EVERYTHING = frozenset({"pairs", "atom_features", "pair_features", "bonds"})


def assert_same(found: Batch, expected: Batch) -> None:
    for field in fields(Batch):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(other, torch.Tensor):
            torch.testing.assert_close(one, other, rtol=1e-15, atol=0.0)
        else:
            assert one == other


@pytest.mark.parametrize(
    "inputs",
    [EVERYTHING, *(frozenset({one}) for one in sorted(EVERYTHING)), frozenset()],
)
def test_batches_are_those_of_collate(molecules, inputs) -> None:
    examples = [example(molecule, inputs) for molecule in molecules]
    packed = PackedExamples(inputs, pack(examples, inputs, Alone()))
    assert len(packed) == len(examples)
    for rows in ([3], [79, 0, 41, 41, 7], range(80)):
        chosen = np.array(rows)
        found = packed.batch(chosen, torch.float64)
        assert_same(found, collate([examples[row] for row in chosen], torch.float64))


@pytest.mark.parametrize("inputs", [frozenset({"pairs"}), frozenset()])
def test_columns_give_the_same_without_features(dataset, molecules, inputs) -> None:
    chosen = np.array([79, 0, 41, 7])
    found = examples_without_features(dataset, inputs).batch(chosen, torch.float64)
    expected = collate([example(molecules[row], inputs) for row in chosen], torch.float64)
    assert_same(found, expected)


def test_packing_is_small(molecules) -> None:
    examples = [example(molecule, EVERYTHING) for molecule in molecules]
    packed = sum(array.nbytes for array in pack(examples, EVERYTHING, Alone()).values())
    plain = sum(
        value.nbytes
        for one in examples
        for value in vars(one).values()
        if isinstance(value, np.ndarray)
    )
    assert packed < plain / 2


class OneOfSeveral(Alone):
    """A rank whose messages come from a list: what each of three ranks sent."""

    size = 3

    def __init__(self, rank: int, messages: list[bytes]) -> None:
        self.rank = rank
        self.messages = messages

    def broadcast(self, message: bytes, root: int = 0) -> bytes:
        if root == self.rank:
            self.messages[root] = message
        return self.messages[root] or message


def test_ranks_share_the_work_and_leave_out_the_same(molecules) -> None:
    far = Molecule(numbers=[92, 92], positions=[[0, 0, 0], [0, 0, 9]])
    mixed = [*molecules[:5], far, *molecules[5:11]]
    inputs = frozenset({"atom_features"})
    alone_rows, alone = make_examples(mixed, inputs, Alone())
    assert alone_rows == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    messages = [b""] * 3
    for rank in range(3):  # the last one has heard of all
        rows, shared = make_examples(mixed, inputs, OneOfSeveral(rank, messages))
    assert rows == alone_rows
    everyone = np.arange(len(rows))
    assert_same(shared.batch(everyone), alone.batch(everyone))
