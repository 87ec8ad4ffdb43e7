"""A flipped bit does not pass into a stage; shards are read for that once."""

import os

import pytest

from hpcml.errors import InputError
from hpcml.store import Dataset, Manifest, ShardWriter, export, verified, verify
from hpcml.store.lines import manifest_file
from hpcml.store.shards import shard_file


@pytest.fixture
def folder(tmp_path, schema, make_row):
    with ShardWriter(tmp_path / "d", schema, "a", rows_per_shard=4) as writer:
        for number in range(10):
            writer.append(make_row(number))
    return tmp_path / "d"


@pytest.fixture
def checked(monkeypatch):
    """Names of the shards that are read to be compared."""
    names = []
    check = verified.check_shard
    monkeypatch.setattr(verified, "check_shard", lambda s: names.append(s.entry.name) or check(s))
    return names


def flip_an_energy(folder, *, keep_times):
    entry = list(Manifest(folder))[1]
    path = shard_file(folder, entry.name)
    times = path.stat()
    data = bytearray(path.read_bytes())
    data[entry.columns["energy"].offset] ^= 1
    path.write_bytes(data)
    if keep_times:
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return entry.name


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("keep_times", [True, False])
def test_a_flipped_bit_in_an_energy_does_not_pass(folder, tmp_path, before, keep_times):
    if before:
        Dataset.open(folder, verified=True)
    name = flip_an_energy(folder, keep_times=keep_times)
    for _ in range(2):
        with pytest.raises(InputError, match=f"{name}: its bytes are not those written"):
            Dataset.open(folder, verified=True)
    with pytest.raises(InputError, match="not those written"):
        export(folder, "csv", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()
    data = Dataset.open(folder, verified=True, salvage=True)
    assert len(data) == 6
    assert name in str(data.problems[0])


def test_shards_are_compared_once(folder, checked, schema, make_row):
    Dataset.open(folder, verified=True)
    assert len(checked) == 3
    Dataset.open(folder, verified=True)
    Dataset.open(folder)
    assert len(checked) == 3
    with ShardWriter(folder, schema, "b") as writer:
        writer.append(make_row(20))
    assert len(Dataset.open(folder, verified=True)) == 11
    assert len(checked) == 4
    (folder / verified.FILE).write_bytes(b"[nonsense")
    assert len(Dataset.open(folder, verified=True)) == 11
    assert len(checked) == 8
    assert verify(folder).ok


def test_another_line_for_the_same_file_is_compared_again(folder):
    """A line without a digest, as 0.1.0 wrote it, whose offset has a flipped digit."""
    Dataset.open(folder, verified=True)
    path = manifest_file(folder, "a")
    entry = next(iter(Manifest(folder)))
    was = f'"energy":["<f8",[4],{entry.columns["energy"].offset}]'.encode()
    now = f'"energy":["<f8",[4],{entry.columns["energy"].offset + 8}]'.encode()
    first, *others = path.read_bytes().splitlines(keepends=True)
    assert was in first
    head = first.replace(was, now)[: first.rindex(b',"digest"')]
    path.write_bytes(b"".join([head + b"}\n", *others]))
    for options in ({"verified": True}, {"salvage": True}):
        try:
            assert len(Dataset.open(folder, **options)) == 6
        except InputError as error:
            assert "energy" in str(error)


def test_a_folder_of_someone_else_is_compared_each_time(folder, checked, monkeypatch):
    def refused(path, data):
        raise InputError("not yours")

    monkeypatch.setattr(verified, "write_whole", refused)
    for count in (3, 6):
        Dataset.open(folder, verified=True)
        assert len(checked) == count
