"""Writing that survives: every file that hpcml puts on a disk whole goes through here.

A file appears under its name only when it is whole and on the disk (temporary name, fsync,
rename, fsync of the folder); an append is one write followed by fsync.  What the operating
system refuses becomes an error that says what to do.
"""

from __future__ import annotations

import difflib
import errno
import fcntl
import os
import stat
from itertools import islice
from pathlib import Path

from hpcml.errors import HpcmlError, InputError, PlatformError, ResourceError

TEMPORARY_SUFFIX = ".part"

_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)
_NO_SPACE = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota is used up",
             errno.EFBIG: "the file would exceed the allowed size"}  # fmt: skip
_NOT_ALLOWED = {errno.EROFS: "the file system is read-only", errno.EACCES: "permission denied",
                errno.EPERM: "operation not permitted"}  # fmt: skip

_NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP,
            errno.EINVAL, errno.ENXIO)  # fmt: skip


_MOST_NAMES = 1000  # of a folder that are compared with a name that is not there


def no_such_file(path: Path, words: str = "no such file") -> str:
    """The words for a path that is not there, with the nearest name that is."""
    try:
        names = [entry.name for entry in islice(path.parent.iterdir(), _MOST_NAMES)]
    except (OSError, ValueError):
        return f"{path}: {words}, and no folder {path.parent} either"
    near = difflib.get_close_matches(path.name, names, 1)
    return f"{path}: {words}" + (f"; did you mean {path.parent / near[0]}?" if near else "")


def storage_error(error: OSError, doing: str) -> HpcmlError:
    """The hpcml error for an OSError: ResourceError for space, PlatformError for permission."""
    code = error.errno or 0
    if code in _NO_SPACE:
        return ResourceError(
            f"{doing}: {_NO_SPACE[code]}; nothing half-written is left, free space and go on"
        )
    if code in _NOT_ALLOWED:
        return PlatformError(f"{doing}: {_NOT_ALLOWED[code]}; write to a folder that is yours")
    if code in _NO_FILE:
        return InputError(f"{doing}: {os.strerror(code).lower()}")
    return PlatformError(f"{doing}: {error.strerror or error}")


def make_folder(folder: Path) -> None:
    """Create a folder and its parents; fine if it is there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, f"cannot create {folder}") from error


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """os.write until everything is written; OSError as it comes."""
    view = memoryview(data).cast("B")
    while view.nbytes:
        view = view[os.write(descriptor, view) :]


def sync_folder(folder: Path) -> None:
    """Make renames and removals in a folder durable; OSError as it comes."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, data: bytes | memoryview, *, durable: bool = True) -> None:
    """Let ``path`` hold ``data``, all at once: before, the old file or none; after, the new one.

    durable   on the disk when this returns; else a power cut may leave none or an empty one

    Raises ResourceError (space, quota) or PlatformError (permission); the temporary file is
    removed then and whatever was at ``path`` is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            write_all(descriptor, data)
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
        if durable:
            sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise storage_error(error, f"cannot write {path}") from error


def read_file(path: Path, most_bytes: int) -> bytes:
    """All of a plain file; InputError if it is none (a pipe would hang) or larger than allowed."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > most_bytes:
            raise InputError(
                f"{path}: not a plain file of at most {most_bytes >> 20} MB, as it has to be"
            )
        return path.read_bytes()
    except OSError as error:
        raise storage_error(error, f"cannot read {path}") from error


def text_of_cell(text: str) -> str:
    """A text for a table: one that a spreadsheet would compute begins with an apostrophe."""
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) else text


def append_line(path: Path, line: bytes) -> None:
    """Append a line durably; a torn line left by a crash before is closed off first.

    Several processes may append to one file where the file system honours O_APPEND; the lock
    serves those file systems that emulate it.  A line that could not be written whole is cut
    off again.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            lock_if_possible(descriptor, wait=True)
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise PlatformError(f"cannot append to {path}: it is not a plain file; remove it")
            end = status.st_size
            torn = end > 0 and os.pread(descriptor, 1, end - 1) != b"\n"
            try:
                write_all(descriptor, (b"\n" if torn else b"") + line + b"\n")
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, end)
                raise
        finally:
            os.close(descriptor)
        if end == 0:
            sync_folder(path.parent)
    except OSError as error:
        raise storage_error(error, f"cannot append to {path}") from error


def lock(descriptor: int, path: Path, *, shared: bool = False, wait: bool = False) -> bool:
    """Take the lock of an open file; False if another process holds it.

    Raises PlatformError where the file system has no locks: for what nothing else keeps apart.
    """
    how = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise PlatformError(
                f"cannot lock {path}: its file system has no locks; mount it with them (Lustre: "
                "-o flock), or put the run's folder elsewhere"
            ) from error
        raise storage_error(error, f"cannot lock {path}") from error
    return True


def lock_if_possible(descriptor: int, *, wait: bool = False) -> bool:
    """Take the exclusive lock of an open file; False if another process holds it.

    File systems without locks (some Lustre mounts) count as granted: there the names of the
    files alone keep writers apart.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True
