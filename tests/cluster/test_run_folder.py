"""One process at a time, private to its owner, and no lock outlives its process."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from hpcml.cluster import RunFolder
from hpcml.errors import PlatformError, SettingsError

HOLDER = """
import sys, time
from hpcml.cluster import RunFolder
with RunFolder(sys.argv[1]).lock():
    print("held", flush=True)
    time.sleep(3600)
"""


@pytest.fixture
def holder(run_folder):
    """A process that holds the folder's lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(run_folder.path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


@pytest.fixture
def run_folder(tmp_path):
    return RunFolder(tmp_path / "run")


def test_everything_is_private_to_its_owner(run_folder):
    run_folder.create()
    folders = [run_folder.path, run_folder.dataset, run_folder.logs, run_folder.work]
    assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o700}


def test_the_lock_refuses_a_second_process_and_ends_with_its_own(run_folder, holder):
    with (
        pytest.raises(PlatformError, match=f"in use by process {holder.pid} on"),
        run_folder.lock(),
    ):
        pass
    holder.kill()
    holder.wait()
    with run_folder.lock():
        pass


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP])
def test_a_file_system_without_locks_is_one_clear_line(run_folder, monkeypatch, code):
    def refused(descriptor, how):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("hpcml.files.fcntl.flock", refused)
    with (
        pytest.raises(PlatformError, match=r"cannot lock .*has no locks.*-o flock"),
        run_folder.lock(),
    ):
        pass


def test_a_read_only_file_system_is_one_clear_line(run_folder, monkeypatch):
    run_folder.create()

    def refused(path, *args, **kwargs):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(type(run_folder.path), "open", refused)
    with pytest.raises(PlatformError, match="file system is read-only"), run_folder.lock():
        pass


def test_the_lock_may_be_taken_inside_itself(run_folder):
    with run_folder.lock(), RunFolder(run_folder.path).lock():
        pass
    with run_folder.lock():
        pass


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "a\0b"])
def test_a_name_of_several_lines_never_gets_into_a_script(tmp_path, name):
    with pytest.raises(SettingsError, match="must be one line"):
        RunFolder(tmp_path / name)


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(PlatformError, match="cannot create the run's folder"):
        RunFolder(tmp_path / "file" / "run").create()
