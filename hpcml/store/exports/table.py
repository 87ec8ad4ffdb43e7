"""What the exports share: columns by one number each, blocks of rows, files that come whole."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hpcml.errors import PlatformError
from hpcml.files import TEMPORARY_SUFFIX, make_folder, storage_error
from hpcml.progress import progress
from hpcml.store.dataset import Dataset
from hpcml.store.schema import BY_THE_WAY, Schema

_ROWS_PER_BLOCK = 4096
_XYZ = "xyz"


class Scalar(NamedTuple):
    """One number a row: its label, such as ``hyperpolarizability:shg,0.07,0.07:xxz``, and where
    it is: the column, and its place behind the row axis."""

    label: str
    column: str
    place: tuple[int, ...]
    unit: str


def properties(dataset: Dataset) -> tuple[str, ...]:
    """The property columns: those of the schema, and what calculations gave by the way."""
    return (*dataset.schema.columns, *(n for n in dataset.optional_columns if n in BY_THE_WAY))


def scalars(dataset: Dataset) -> list[Scalar]:
    """Every number that every row has, labelled by the points on its axes."""
    found = []
    schema = dataset.schema
    for name in properties(dataset):
        column = schema.column(name)
        if column.per != "molecule":
            continue
        for index in np.ndindex(*schema.shape(name)):
            label = ":".join([name, *_points(schema, column.axes, index)])
            found.append(Scalar(label, name, tuple(index), column.unit))
    return found


def number(values: NDArray[Any], scalar: Scalar) -> NDArray[Any]:
    """That number of every row, (N,), out of its column.

    Parameters
    ----------
    values : (N, ...) array
        A column.
    scalar : Scalar
        Which of its numbers.

    Returns
    -------
    (N,) array
    """
    return values.reshape(len(values), -1)[:, np.ravel_multi_index(scalar.place, values.shape[1:])]


def ragged(schema: Schema) -> list[str]:
    """The property columns with a number of values that differs by row."""
    return [name for name in schema.columns if schema.column(name).per != "molecule"]


def _points(schema: Schema, axes: tuple[str, ...], index: tuple[int, ...]) -> Iterator[str]:
    cartesian = ""
    for axis, i in zip(axes, index, strict=True):
        if axis == "frequency":
            yield f"{schema.frequencies[i]:g}"
        elif axis == "process":
            process, first, second = schema.processes[i]
            yield process if process == "static" else f"{process},{first:g},{second:g}"
        else:
            cartesian += _XYZ[i]
    if cartesian:
        yield cartesian


def blocks(dataset: Dataset, label: str) -> Iterator[Dataset]:
    """The data set piece by piece, so that memory does not grow with it."""
    with progress(label, len(dataset)) as advance:
        for start in range(0, len(dataset), _ROWS_PER_BLOCK):
            stop = min(start + _ROWS_PER_BLOCK, len(dataset))
            yield dataset.subset(np.arange(start, stop))
            advance(stop)


@contextmanager
def whole_file(destination: Path) -> Iterator[Path]:
    """A temporary path whose file takes the name ``destination`` when the block ends well."""
    make_folder(destination.parent)
    temporary = destination.with_name(f".{destination.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    try:
        yield temporary
        temporary.replace(destination)
    except OSError as error:
        raise storage_error(error, f"cannot write {destination}") from error
    finally:
        temporary.unlink(missing_ok=True)


def library(module: str, package: str) -> ModuleType:
    """A module that only this export needs; PlatformError with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise PlatformError(
            f"this export needs {package}: pip install {package} ({error})"
        ) from error
