"""Rows are committed one by one and survive; what does not fit is refused."""

import numpy as np
import pytest

from hpcml.errors import InputError, PlatformError
from hpcml.store import Dataset, Row, ShardWriter, recover, verify
from hpcml.store import writer as writing


def test_a_writer_that_never_closed_is_recovered(tmp_path, schema, make_row, same_row):
    writer = ShardWriter(tmp_path, schema, "a", rows_per_shard=4)
    for number in range(6):
        writer.append(make_row(number))
    assert recover(tmp_path).alive == ["a"]  # it lives: hands off
    writer._journal.close(remove=False)  # what the end of a process does to its lock
    assert recover(tmp_path).rows == 2
    assert recover(tmp_path).rows == 0
    data = Dataset.open(tmp_path)
    for number in range(6):
        same_row(data[number], make_row(number))
    assert verify(tmp_path).ok


def test_the_same_writer_goes_on_where_it_was_killed(tmp_path, schema, make_row):
    first = ShardWriter(tmp_path, schema, "a")
    first.append(make_row(0))
    first._journal.close(remove=False)
    with ShardWriter(tmp_path, schema, "a") as second:
        second.append(make_row(1))
    assert list(Dataset.open(tmp_path).keys) == [make_row(0).key, make_row(1).key]


def test_rows_that_are_committed_together_survive_and_fill_shards_as_others(
    tmp_path, schema, make_row, same_row
):
    writer = ShardWriter(tmp_path, schema, "a", rows_per_shard=4)
    writer.append(make_row(0))
    writer.append(*(make_row(number) for number in range(1, 11)))
    with pytest.raises(InputError):  # one that does not fit: none of them is taken
        writer.append(make_row(11), Row("not a key", make_row(12).molecule, {}))
    writer._journal.close(remove=False)
    assert recover(tmp_path).rows == 3
    data = Dataset.open(tmp_path)
    assert [shard.rows for shard in data.shards] == [4, 4, 3]
    for number in range(11):
        same_row(data[number], make_row(number))


def test_rows_committed_together_wait_for_the_disk_once(tmp_path, schema, make_row, monkeypatch):
    syncs = []
    monkeypatch.setattr("os.fdatasync", syncs.append)
    with ShardWriter(tmp_path, schema, "a") as writer:
        writer.append(*(make_row(number) for number in range(50)))
        assert len(syncs) == 1
        assert len(writer._journal.pending().rows) == 50


def test_large_molecules_make_shards_of_fewer_rows(tmp_path, schema, make_row, monkeypatch):
    monkeypatch.setattr(writing, "_MOST_BYTES", 1)
    with ShardWriter(tmp_path, schema, "a") as writer:
        for number in range(4):
            writer.append(make_row(number))
    assert [shard.rows for shard in Dataset.open(tmp_path).shards] == [1, 1, 1, 1]


def test_two_processes_cannot_share_a_name(tmp_path, schema):
    with ShardWriter(tmp_path, schema, "a"), pytest.raises(PlatformError, match="another process"):
        ShardWriter(tmp_path, schema, "a")


def test_rows_that_do_not_fit_are_refused(tmp_path, schema, make_row):
    row = make_row(1)
    wrong = {**row.values, "dipole": np.zeros(4)}
    with ShardWriter(tmp_path, schema, "a") as writer:
        with pytest.raises(InputError, match="dipole has shape"):
            writer.append(Row(row.key, row.molecule, wrong))
        with pytest.raises(InputError, match="no column 'colour'"):
            writer.append(Row(row.key, row.molecule, {"colour": np.zeros(())}))
        with pytest.raises(InputError, match="32 hexadecimal"):
            writer.append(Row("zz", row.molecule, {}))
        writer.append(Row(row.key, row.molecule, {}))
    assert np.isnan(Dataset.open(tmp_path).column("dipole")).all()


def test_a_writer_needs_a_plain_name(tmp_path, schema):
    for name in ("../up", "", ".hidden", "a b"):
        with pytest.raises(InputError, match="cannot name a writer"):
            ShardWriter(tmp_path, schema, name)
