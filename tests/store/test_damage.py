"""Damage is found and named, and the rest stays readable."""

import json

import numpy as np
import pytest

from hpcml.errors import InputError
from hpcml.store import Dataset, ShardWriter, recover, repair, verify
from hpcml.store.lines import manifest_file
from hpcml.store.shards import shard_file


@pytest.fixture
def folder(tmp_path, schema, make_row):
    with ShardWriter(tmp_path, schema, "a", rows_per_shard=4) as writer:
        for number in range(12):
            writer.append(make_row(number))
    return tmp_path


@pytest.fixture
def middle(folder):
    """The file of the second of the three shards, rows 4 to 7."""
    return shard_file(folder, Dataset.open(folder).shards[1].name)


def assert_the_rest_is_readable(folder, make_row, bad):
    report = verify(folder)
    assert not report.ok
    assert any(bad in str(problem) for problem in report.problems), str(report)
    assert report.rows == 8
    data = Dataset.open(folder, salvage=True)
    assert list(data.keys) == [make_row(n).key for n in (0, 1, 2, 3, 8, 9, 10, 11)]
    assert np.isfinite(data.column("energy")).all()
    assert any(bad in str(problem) for problem in data.problems)


def test_a_flipped_byte_anywhere_in_a_shard(folder, middle, make_row):
    good = middle.read_bytes()
    for place in np.linspace(0, len(good) - 1, 25).astype(int):
        data = bytearray(good)
        data[place] ^= 1 << (place % 8)
        middle.write_bytes(data)
        report = verify(folder)
        assert report.bad == [middle.stem], place
    assert_the_rest_is_readable(folder, make_row, middle.stem)


def test_a_truncated_shard(folder, middle, make_row):
    middle.write_bytes(middle.read_bytes()[:-100])
    with pytest.raises(InputError, match=f"{middle.stem}.*bytes instead of.*salvage"):
        Dataset.open(folder)
    assert_the_rest_is_readable(folder, make_row, middle.stem)


def test_a_missing_shard(folder, middle, make_row):
    middle.unlink()
    with pytest.raises(InputError, match=f"{middle.stem}.*is missing"):
        Dataset.open(folder)
    assert_the_rest_is_readable(folder, make_row, middle.stem)


def test_a_shard_of_a_newer_schema(folder, middle, make_row):
    path = manifest_file(folder, "a")
    lines = path.read_bytes().splitlines()
    newer = json.loads(lines[1])
    del newer["digest"]
    newer["schema_version"] = 2
    newer["columns"] = {"something": {"altogether": "different"}}
    lines[1] = json.dumps(newer).encode()
    path.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(InputError, match=f"{middle.stem}.*schema version 2.*update hpcml"):
        Dataset.open(folder)
    assert_the_rest_is_readable(folder, make_row, middle.stem)


def test_a_torn_last_line_of_the_manifest(folder, make_row, schema):
    """The rows are in the journal still where the writer was killed just there; once it is closed
    they are not, and the line is missed."""
    path = manifest_file(folder, "a")
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    report = verify(folder)
    assert not report.ok
    assert any("torn" in note for note in report.notes)
    assert any("its line is lost" in str(problem) for problem in report.problems)
    assert len(Dataset.open(folder, salvage=True)) == 8
    with ShardWriter(folder, schema, "a") as writer:
        writer.append(make_row(20))
    data = Dataset.open(folder, salvage=True)
    assert list(data.keys) == [make_row(n).key for n in (*range(8), 20)]
    repair(folder)
    data = Dataset.open(folder)
    assert sorted(data.keys) == sorted(make_row(n).key for n in (*range(12), 20))


def test_nonsense_in_the_manifest_is_named(folder, make_row):
    path = manifest_file(folder, "a")
    for nonsense in (b'{"type": "shard"}', b"[]", b"\xff\xfe", b'{"type":"shard","rows":"x"'):
        lines = path.read_bytes().splitlines()
        path.write_bytes(b"\n".join([*lines[:3], nonsense]) + b"\n")
        report = verify(folder)
        assert any("line 4" in str(line) for line in [*report.problems, *report.notes])
        assert list(Dataset.open(folder, salvage=True).keys) == [
            make_row(number).key for number in range(12)
        ]


def test_a_damaged_journal_gives_what_it_still_has(tmp_path, schema, make_row):
    writer = ShardWriter(tmp_path, schema, "a")
    for number in range(5):
        writer.append(make_row(number))
    writer._journal.close(remove=False)
    path = next((tmp_path / "journal").iterdir())
    data = bytearray(path.read_bytes())
    data[data.rindex(make_row(3).key.encode())] ^= 1
    path.write_bytes(data)
    assert recover(tmp_path).rows == 3
    assert len(Dataset.open(tmp_path)) == 3
