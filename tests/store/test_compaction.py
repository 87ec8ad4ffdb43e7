"""Compaction changes the files and nothing else, whenever it is stopped."""

import numpy as np
import pytest

from hpcml.errors import InputError, PlatformError
from hpcml.store import Dataset, Manifest, ShardWriter, compact, compaction, merge, shards, verify


@pytest.fixture
def folder(tmp_path, schema, make_row):
    """12 rows in six shards of two writers; row 3 is there twice."""
    for writer, numbers in (("a", range(7)), ("b", [3, *range(7, 12)])):
        with ShardWriter(tmp_path / "d", schema, writer, rows_per_shard=2) as open_writer:
            for number in numbers:
                open_writer.append(make_row(number))
    return tmp_path / "d"


def test_the_rows_stay_the_same(folder, make_row, same_row):
    before = Dataset.open(folder)
    keys = list(before.keys)
    assert len(before.shards) == 7
    assert compact(folder, rows_per_shard=5) == 3
    after = Dataset.open(folder)
    assert [shard.rows for shard in after.shards] == [5, 5, 2]
    assert list(after.keys) == keys
    for number, row in zip([*range(7), *range(7, 12)], after, strict=True):
        same_row(row, make_row(number))
    report = verify(folder)
    assert report.ok
    assert not report.notes
    assert len(list((folder / "shards").iterdir())) == 3
    assert [path.name for path in folder.glob("manifest*")] == ["manifest.jsonl"]


def test_writers_go_on_afterwards(folder, schema, make_row):
    compact(folder)
    with ShardWriter(folder, schema, "a") as writer:
        writer.append(make_row(50))
        writer.append(make_row(3))
    assert len(Dataset.open(folder)) == 13  # a key of the compacted shards does not count again
    compact(folder)
    assert len(Dataset.open(folder)) == 13


def test_a_living_writer_is_not_disturbed(folder, schema, make_row):
    with ShardWriter(folder, schema, "c") as writer:
        writer.append(make_row(99))
        with pytest.raises(PlatformError, match="c is writing"):
            compact(folder)
    compact(folder)
    assert len(Dataset.open(folder)) == 13


class Killed(BaseException):
    pass


def test_killed_after_any_change_to_the_disk(quick_path, schema, make_row, monkeypatch):
    """Stop after the 1st, 2nd, ... change to a file until a run comes through."""
    expected = sorted(make_row(number).key for number in range(12))
    stop_after = 0
    finished = False
    while not finished:
        stop_after += 1
        folder = quick_path / str(stop_after)
        for writer, numbers in (("a", range(7)), ("b", [3, *range(7, 12)])):
            with ShardWriter(folder, schema, writer, rows_per_shard=2) as open_writer:
                for number in numbers:
                    open_writer.append(make_row(number))
        with monkeypatch.context() as patch:
            left = [stop_after]

            def count(function, left=left):
                def counted(*args, **kwargs):
                    result = function(*args, **kwargs)
                    left[0] -= 1
                    if left[0] == 0:
                        raise Killed
                    return result

                return counted

            path_type = type(quick_path)
            patch.setattr(path_type, "unlink", count(path_type.unlink))
            patch.setattr(path_type, "replace", count(path_type.replace))
            try:
                compact(folder, rows_per_shard=5)
                finished = True
            except Killed:
                pass
        assert sorted(Dataset.open(folder).keys) == expected, stop_after
        compact(folder, rows_per_shard=5)
        assert sorted(Dataset.open(folder).keys) == expected, stop_after
        assert len(list((folder / "shards").iterdir())) == 3, stop_after
        assert verify(folder).ok
    assert stop_after > 10


def test_damage_is_not_given_a_fresh_checksum(folder):
    path = shards.shard_file(folder, Dataset.open(folder).shards[2].name)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="not those written"):
        compact(folder)


def test_merging_keeps_each_key_once(tmp_path, schema, make_row):
    for name, numbers in (("x", range(5)), ("y", range(3, 9))):
        with ShardWriter(tmp_path / name, schema, "a") as writer:
            for number in numbers:
                writer.append(make_row(number))
    assert merge([tmp_path / "x", tmp_path / "y"], tmp_path / "z") == 9
    merged = Dataset.open(tmp_path / "z")
    assert list(merged.keys) == [make_row(number).key for number in range(9)]
    with pytest.raises(InputError, match="holds a data set already"):
        merge([tmp_path / "x"], tmp_path / "z")


def test_flat_columns_are_those_of_the_shard(folder):
    """Reading every column and writing it again gives the same file, bit for bit."""
    name = Dataset.open(folder).shards[0].name
    alone = Dataset.open(folder).shard(name)
    entry = Manifest(folder).entries[name]
    columns = compaction.flat_columns(alone)
    assert set(columns) == set(entry.columns)
    for column, array in columns.items():
        assert np.array_equal(array, shards.Shard(folder, entry).column(column), equal_nan=True)
