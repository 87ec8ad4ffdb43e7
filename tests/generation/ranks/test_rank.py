"""What a rank asks of its keeper and writes down, message by message; mail and keeper are stubs."""

from types import SimpleNamespace

import pytest

from hpcml.generation.protocol import wire
from hpcml.generation.protocol.messages import Answer, Answers, Committed, Compute, Free, Work
from hpcml.generation.protocol.messages import Error as Failed
from hpcml.generation.protocol.queue_file import QueueEntry
from hpcml.generation.protocol.task import Assignment, TaskFolder
from hpcml.generation.ranks.rank import Rank

A_PIPE = 1 << 16  # bytes


@pytest.fixture
def rank(campaign, tmp_path):
    """A rank whose ``keeper`` and ``mail`` keep what they are told."""
    asked, sent = [], []
    flight = tmp_path / "task" / "flight"
    flight.mkdir(parents=True)
    return Rank(
        mail=SimpleNamespace(rank=1, size=2, send=lambda message, _to: sent.append(message)),
        task=SimpleNamespace(site=campaign.site),
        keeper=SimpleNamespace(ask=asked.append, asked=asked, sent=sent),
        writer=SimpleNamespace(append=lambda *_rows: None),
        in_flight=flight / "1",
        server=None,
    )


def work(*sizes):
    """A molecule of so many bytes each."""
    entries = [
        QueueEntry(f"{i:032x}", f"m{i}", "H2O", bytes(size), 0.001, 60.0, False, 1.0)
        for i, size in enumerate(sizes)
    ]
    return Work([Assignment(entry, i, (1,)) for i, entry in enumerate(entries)])


def failed(count):
    """So many answers."""
    return Answers([Answer(Failed("input", "bad"), wire.NOTHING, 1, 1.0, 2.0, 1.0)] * count)


def counts(rank):
    """How many molecules each message to the keeper had."""
    assert all(isinstance(message, Compute) for message in rank.keeper.asked)
    return [len(message.questions) for message in rank.keeper.asked]


def test_short_molecules_go_together_two_messages_ahead_and_never_fill_a_pipe(rank):
    rank._hear(work(*[200] * 300))
    first = counts(rank)
    assert len(first) == 2
    assert min(first) > 20
    assert sum(len(wire.encode(message)) for message in rank.keeper.asked) < A_PIPE
    rank._hear_keeper(failed(first[0] - 1))
    assert counts(rank) == first
    rank._hear_keeper(failed(1))
    assert len(counts(rank)) == 3


def test_a_large_molecule_goes_alone_and_not_before_the_keeper_reads(rank):
    rank._hear(work(100, 100, 50_000, 100))
    assert counts(rank) == [2]
    rank._hear_keeper(failed(2))
    assert counts(rank) == [2, 1, 1]


def test_whatever_the_keeper_has_is_on_the_disk_and_nothing_else(rank, tmp_path):
    """So that a program that dies names whoever may have killed it."""
    folder = TaskFolder(tmp_path / "task")
    rank._hear(work(*[200] * 300))
    count = sum(counts(rank))
    assert folder.in_flight() == [f"{i:032x}" for i in range(count)]
    rank._hear_keeper(failed(5))
    assert folder.in_flight() == [f"{i:032x}" for i in range(5, count)]
    while rank.hand:
        rank._hear_keeper(failed(rank._asked[0]))
    assert folder.in_flight() == []


def test_all_is_told_once_and_in_order_and_more_is_asked_for_when_the_last_has_ended(rank):
    rank._hear(work(*[200] * 100))
    while rank.hand:
        assert not any(isinstance(message, Free) for message in rank.keeper.sent)
        rank._hear_keeper(failed(rank._asked[0]))
    told = [len(m.outcomes) for m in rank.keeper.sent if isinstance(m, Committed)]
    assert sum(told) == 100
    assert sum(isinstance(message, Free) for message in rank.keeper.sent) == 1
