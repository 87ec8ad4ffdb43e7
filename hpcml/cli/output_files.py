"""Files that a command writes when it has computed: looked at before, so that nothing is lost."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hpcml.errors import InputError
from hpcml.files import storage_error, write_whole


def check_output(path: Path) -> None:
    """Raise what writing this file would raise, as far as that can be known before."""
    try:
        if path.is_dir():
            raise InputError(f"cannot write {path}: it is a folder, a file's name is needed")
        if not path.parent.is_dir():
            raise InputError(f"cannot write {path}: there is no folder {path.parent}, create it")
        if path.exists() and not path.is_file():
            return  # a terminal, a pipe, /dev/null
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.") as file:
            file.write(b" " * 4096)
            file.flush()
    except OSError as error:
        raise storage_error(error, f"cannot write {path}") from error


def write_output(path: Path, text: str) -> None:
    """Write a file whole, or into what is there if that is no file (a pipe, /dev/null)."""
    data = text.encode(errors="backslashreplace")
    if path.is_file() or not path.exists():
        write_whole(path, data)
        return
    try:
        path.write_bytes(data)
    except OSError as error:
        raise storage_error(error, f"cannot write {path}") from error
