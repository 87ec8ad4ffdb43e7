"""A disk that refuses: a clear error, nothing half-visible, and work goes on afterwards."""

import errno
import os
import resource
import subprocess

import pytest

from hpcml import files
from hpcml.errors import PlatformError, ResourceError
from hpcml.store import Dataset, ShardWriter, recover, shards, verify

ROWS = 7


class FaultyDisk:
    """Stands for the module ``os`` inside hpcml.store: the n-th change to the disk fails.

    A write that fails has written half of its bytes before.
    """

    def __init__(self, fail_at: int, code: int) -> None:
        self.left = fail_at
        self.code = code

    def _fails(self) -> bool:
        self.left -= 1
        return self.left == 0

    def write(self, descriptor, data):
        if self._fails():
            os.write(descriptor, data[: len(data) // 2])
            raise OSError(self.code, os.strerror(self.code))
        return os.write(descriptor, data)

    def fsync(self, descriptor):
        if self._fails():
            raise OSError(self.code, os.strerror(self.code))
        os.fsync(descriptor)

    fdatasync = fsync

    def __getattr__(self, name):
        return getattr(os, name)


def write_rows_with_one_retry(folder, schema, make_row):
    """Append rows, each once more if the disk refused it: the errors seen."""
    errors = []

    def once_more(action):
        try:
            return action()
        except (ResourceError, PlatformError) as error:
            errors.append(error)
            assert_only_whole_shards(folder)
            return action()

    writer = once_more(lambda: ShardWriter(folder, schema, "a", rows_per_shard=3))
    for number in range(ROWS):
        once_more(lambda number=number: writer.append(make_row(number)))
    try:
        writer.close()
    except (ResourceError, PlatformError) as error:
        errors.append(error)
        recover(folder)
    return errors


def assert_only_whole_shards(folder):
    if list(folder.glob("manifest*")):
        assert verify(folder).ok
        Dataset.open(folder)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_every_single_refusal(quick_path, schema, make_row, monkeypatch, code):
    expected = sorted(make_row(number).key for number in range(ROWS))
    fail_at, seen = 0, [None]
    while seen:
        fail_at += 1
        folder = quick_path / str(fail_at)
        faulty = FaultyDisk(fail_at, code)
        with monkeypatch.context() as patch:
            patch.setattr("hpcml.files.os", faulty)
            patch.setattr("hpcml.store.journal.os", faulty)
            seen = write_rows_with_one_retry(folder, schema, make_row)
        assert len(seen) <= 1
        for error in seen:
            assert isinstance(error, ResourceError if code == errno.ENOSPC else PlatformError)
            assert str(folder) in str(error)
        assert sorted(Dataset.open(folder).keys) == expected
        report = verify(folder)
        assert report.ok, str(report)
        assert report.duplicates == 0
    assert fail_at > 25  # the loop went through every write and fsync there is


def test_the_error_says_what_to_do():
    cases = {
        errno.ENOSPC: (ResourceError, "the disk is full.*free space"),
        errno.EDQUOT: (ResourceError, "quota"),
        errno.EROFS: (PlatformError, "read-only"),
        errno.EACCES: (PlatformError, "permission denied"),
        errno.EIO: (PlatformError, "Input/output error"),
    }
    for code, (kind, text) in cases.items():
        error = files.storage_error(OSError(code, os.strerror(code)), "cannot write x")
        assert type(error) is kind
        with pytest.raises(kind, match=text):
            raise error


@pytest.fixture
def small_disk(tmp_path):
    """(folder, give_room): a folder that holds 1 MB, in a file system of its own if we may mount
    one, else by the limit on the size of a file; give_room() lifts the limit."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode == 0:
        grow = ["mount", "-o", "remount,size=64m", str(folder)]
        yield folder, lambda: subprocess.run(grow, check=True)
        subprocess.run(["umount", str(folder)], check=True)
        return
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, before[1]))
    lift = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)  # noqa: E731
    yield folder, lift
    lift()


def test_a_disk_that_really_fills_up(small_disk, schema, make_row):
    folder, give_room = small_disk
    writer = ShardWriter(folder, schema, "a", rows_per_shard=100)
    committed = []
    with pytest.raises(ResourceError, match=r"disk is full|allowed size"):
        for number in range(5000):
            writer.append(make_row(number))
            committed.append(make_row(number).key)
    assert committed
    assert_only_whole_shards(folder)
    with pytest.raises(ResourceError):
        writer.close()
    give_room()
    recover(folder)
    with ShardWriter(folder, schema, "a") as writer:
        writer.append(make_row(len(committed)))
    assert sorted(Dataset.open(folder).keys) == sorted([*committed, make_row(len(committed)).key])
    assert verify(folder).ok


@pytest.fixture
def read_only(small_disk):
    """A folder that nobody may write to, root included: by a mount, or else by being nobody."""
    folder, _ = small_disk
    remount = ["mount", "-o", "remount,ro", str(folder)]
    if subprocess.run(remount, capture_output=True, check=False).returncode == 0:
        yield folder
        subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
        return
    folder.chmod(0o500)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield folder
    os.seteuid(user)
    folder.chmod(0o700)


def test_a_read_only_folder(read_only, schema, make_row):
    with pytest.raises(PlatformError, match=r"read-only|permission denied"):
        ShardWriter(read_only, schema, "a")
    with pytest.raises(PlatformError, match=r"read-only|permission denied"):
        shards.write(read_only, "one", {"x": make_row(0).molecule.positions}, {})


@pytest.fixture
def written(small_disk, schema, make_row):
    with ShardWriter(small_disk[0], schema, "a") as writer:
        writer.append(make_row(0))


@pytest.mark.usefixtures("written", "read_only")
def test_reading_writes_nothing(small_disk, make_row):
    assert Dataset.open(small_disk[0])[0].key == make_row(0).key
    assert verify(small_disk[0]).ok
