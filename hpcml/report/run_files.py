"""Reading what a run's folder holds: JSON, TOML and tables, with one clear line for a bad one."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcml.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is no file."""
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{path}: is not JSON ({error})") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: expected a JSON object")
    return found


def read_toml(path: Path) -> dict[str, Any]:
    """TOML tables; empty where there is no file."""
    if not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: is not TOML ({error})") from None


class Columns:
    """The columns of a CSV file with a heading; none, and false, where there is no row."""

    def __init__(self, path: Path) -> None:
        self.path = path
        heading: list[str] = []
        rows: list[list[str]] = []
        if path.exists():
            with path.open(encoding="utf-8", newline="") as file:
                heading, *rows = [row for row in csv.reader(file) if row] or [[]]
        if any(len(row) != len(heading) for row in rows):
            raise InputError(f"{path}: a row has not the {len(heading)} columns of the heading")
        self.names = tuple(heading)
        self.rows = rows

    def __bool__(self) -> bool:
        return bool(self.rows)

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def texts(self, name: str) -> list[str]:
        """A column as it stands; InputError where there is none of this name."""
        if name not in self.names:
            raise InputError(
                f"{self.path}: expected a column {name!r}, found {', '.join(self.names)}"
            )
        at = self.names.index(name)
        return [row[at] for row in self.rows]

    def numbers(self, name: str) -> NDArray[np.float64]:
        """A column as numbers.

        Returns
        -------
        (rows,) array
        """
        try:
            return np.array(self.texts(name), dtype=np.float64)
        except ValueError as error:
            raise InputError(f"{self.path}, column {name!r}: {error}") from None
