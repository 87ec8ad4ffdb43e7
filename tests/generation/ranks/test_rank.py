"""What a rank asks of its keeper and writes down, message by message; mail and keeper are stubs."""

from types import SimpleNamespace

import pytest

from hpcml.generation.protocol import wire
from hpcml.generation.protocol.messages import (
    Answer,
    Answers,
    Bye,
    Committed,
    Compute,
    Ended,
    Finished,
    Free,
    Rows,
    Stop,
    Values,
    Work,
    Written,
)
from hpcml.generation.protocol.messages import Error as Failed
from hpcml.generation.protocol.queue_file import QueueEntry
from hpcml.generation.protocol.task import Assignment, TaskFolder
from hpcml.generation.psi4_process.calculators import none
from hpcml.generation.ranks.rank import Rank
from hpcml.store import Dataset, Row, Schema, ShardWriter
from hpcml.store.journal import read_pending

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
        writer=None,
        node=[0, 1],
        in_flight=flight / "0",
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
    asked = sum(isinstance(message, Rows) for message in rank.keeper.sent)
    assert not any(isinstance(message, Committed) for message in rank.keeper.sent)
    for _ in range(asked):  # the node's first rank says that they are on the disk
        rank._hear(Written())
    told = [len(m.outcomes) for m in rank.keeper.sent if isinstance(m, Committed)]
    assert len(told) == asked
    assert sum(told) == 100
    assert sum(isinstance(message, Free) for message in rank.keeper.sent) == 1


def test_a_rank_says_bye_only_when_its_rows_are_on_the_disk(rank):
    rank.keeper.end = lambda: None
    rank.mail.receive = lambda: None
    rank._hear(work(200, 200))
    rank._hear_keeper(failed(1))
    rank._hear(Stop())
    rank._turn()
    assert [type(message) for message in rank.keeper.sent] == [Rows]
    rank._hear(Written())
    rank._turn()
    assert [type(message) for message in rank.keeper.sent[1:]] == [Committed, Ended, Bye]


@pytest.fixture
def first(campaign, tmp_path):
    """The first rank of a node of three, on a data set of its own."""
    sent = []
    schema = Schema.for_request(campaign.request)
    return Rank(
        mail=SimpleNamespace(
            rank=0,
            size=4,
            sent=sent,
            send=lambda message, *to: sent.append((message, to)),
            receive=lambda: None,
        ),
        task=SimpleNamespace(site=campaign.site),
        keeper=SimpleNamespace(ask=lambda _message: None, end=lambda: None, poll=lambda: None),
        writer=ShardWriter(tmp_path / "dataset", schema, "t-0"),
        node=[0, 1, 3],
        in_flight=tmp_path / "0",
        server=None,
    )


def finished(campaign, number):
    """A row as another rank sends it."""
    (molecule,) = campaign.waters(f"m{number}")
    properties = none(molecule, campaign.level, campaign.request, None)
    row = Row.from_result("", molecule, properties, Schema.for_request(campaign.request))
    values = wire.encoded(Values(dict(row.values), dict(row.provenance)))
    return Finished(f"{number:032x}", wire.pack_molecule(molecule), values, 2)


def test_a_nodes_first_rank_writes_for_all_and_leaves_last(first, campaign, tmp_path):
    first.writer.hear(1, Rows([finished(campaign, 1), finished(campaign, 2)]))
    first.writer.hear(3, Rows([finished(campaign, 3)]))
    first._turn()
    assert first.mail.sent == [(Written(), (1, 3))]
    (journal,) = (tmp_path / "dataset" / "journal").iterdir()
    assert len(read_pending(journal).rows) == 3
    first._hear(Stop())
    first._turn()
    first.writer.hear(1, Ended())
    first.writer.hear(3, Rows([finished(campaign, 4)]))
    first._turn()
    assert first.mail.sent[1:] == [(Written(), (3,))]
    first.writer.hear(3, Ended())
    first._turn()
    assert first.mail.sent[2:] == [(Bye(), (0,))]
    rows = list(Dataset.open(tmp_path / "dataset"))
    assert [row.key for row in rows] == [f"{number:032x}" for number in (1, 2, 3, 4)]
    assert [row.provenance["tries"] for row in rows] == [2] * 4
    assert "ranks" not in rows[0].provenance
    assert not list((tmp_path / "dataset" / "journal").iterdir())
