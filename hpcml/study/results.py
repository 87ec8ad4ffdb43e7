"""What a finished cell leaves on the disk, and where everything of a study lies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec

from hpcml.errors import InputError, SettingsError
from hpcml.files import make_folder, write_whole
from hpcml.study.cells import Cell

Number = float | None


class SetError(msgspec.Struct, frozen=True, kw_only=True):
    """How wrong a network is about a set of molecules.

    set    "validation", "test", or a transfer set; a part of one behind a slash
    role   "in": drawn as the training set was; "out": molecules of another kind
    """

    set: str
    role: str
    molecules: int
    mae: Number
    r2: Number


class SetScore(msgspec.Struct, frozen=True, kw_only=True):
    """What an attribution's agreement with the shares is on a set of molecules.

    Pooled and rank score with their 95 % intervals over molecules, composition removed; both with
    composition kept; the rank score of heavy atoms with their hydrogens, composition removed; and
    the median over molecules of what cancels (sum of |parts| over |sum|).
    """

    set: str
    attribution: str
    rule: str
    explained: int
    score: Number
    low: Number
    high: Number
    rank: Number
    rank_low: Number
    rank_high: Number
    score_kept: Number
    rank_kept: Number
    rank_merged: Number
    cancellation: Number


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A finished cell.

    trained_by   what decides its weights, as text by name
    explained_by what decides its lines beside the weights
    train_rows   training molecules
    refused      what could not be told of it, one line each
    """

    cell: Cell
    unit: str
    train_rows: int
    parameters: int
    epochs: int
    train_seconds: float
    explain_seconds: float
    errors: tuple[SetError, ...]
    scores: tuple[SetScore, ...]
    refused: tuple[str, ...] = ()
    trained_by: dict[str, str]
    explained_by: dict[str, str]


class StudyFolder:
    """The paths of a study.

    ::

        RUN/study.toml     settings as resolved      RUN/tables/         CSV files and figures
        RUN/cells/NAME/    model/, result.json       RUN/failures.jsonl  one line for what failed
        RUN/rules/         rule chosen, by network   RUN/splits/         which row is where
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).absolute()
        self.study_toml = self.path / "study.toml"
        self.cells = self.path / "cells"
        self.rules = self.path / "rules"
        self.splits = self.path / "splits"
        self.tables = self.path / "tables"
        self.failures = self.path / "failures.jsonl"

    def cell(self, cell: Cell) -> Path:
        """The folder of a cell."""
        return self.cells / cell.name

    def model(self, cell: Cell) -> Path:
        """Its network's."""
        return self.cell(cell) / "model"

    def result(self, cell: Cell) -> Result | None:
        """What it has left; None where it is not finished."""
        path = self.cell(cell) / "result.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=Result)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise InputError(f"{path}: is no result of a cell ({error}): remove it") from None

    def write_result(self, result: Result) -> None:
        """Whole or not at all; the cell has not failed any more."""
        folder = self.cell(result.cell)
        make_folder(folder)
        write_whole(folder / "result.json", msgspec.json.format(msgspec.json.encode(result)))
        self.forget_failure(result.cell)

    def write_failure(self, cell: Cell, words: str) -> None:
        """One line that says why there is no result."""
        folder = self.cell(cell)
        make_folder(folder)
        write_whole(folder / "failure.txt", " ".join(words.split()).encode())

    def forget_failure(self, cell: Cell) -> None:
        """It is tried again."""
        (self.cell(cell) / "failure.txt").unlink(missing_ok=True)

    def outdate(self, cell: Cell) -> None:
        """Its lines are made anew, from its network where that is trained."""
        (self.cell(cell) / "result.json").unlink(missing_ok=True)

    def gone_through(self, cell: Cell) -> bool:
        """Whether it has left a result, or word of its failure."""
        folder = self.cell(cell)
        return (folder / "result.json").exists() or (folder / "failure.txt").exists()

    def failure(self, cell: Cell) -> str:
        """Why the cell has no result; "" where nothing is known."""
        path = self.cell(cell) / "failure.txt"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def results(self, cells: Sequence[Cell]) -> list[Result]:
        """Of the cells that are finished, in their order."""
        return [found for cell in cells if (found := self.result(cell)) is not None]

    def gather_failures(self, cells: Sequence[Cell]) -> list[str]:
        """Write failures.jsonl; its lines in words.

        One line for all cells that have failed, or were refused something, in the same words.
        """
        said: dict[tuple[str, str], list[str]] = {}
        for cell in cells:
            if why := self.failure(cell):
                said.setdefault(("failed", why), []).append(cell.name)
        for result in self.results(cells):
            for why in result.refused:
                said.setdefault(("refused", why), []).append(result.cell.name)
        lines = [
            {"cell": names[0], "cells": names, "what": what, "why": why}
            for (what, why), names in said.items()
        ]
        write_whole(self.failures, "".join(json.dumps(line) + "\n" for line in lines).encode())
        return [
            f"{what}: {names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}: {why}"
            for (what, why), names in said.items()
        ]


def check_same(result: Result, trained_by: dict[str, str], where: Path) -> None:
    """SettingsError where a finished cell was trained by other settings or on other data."""
    keys = result.trained_by.keys() | trained_by.keys()
    differing = sorted(k for k in keys if result.trained_by.get(k) != trained_by.get(k))
    if differing:
        raise SettingsError(
            f"{where}: was trained with other {', '.join(differing)}: give the study another "
            "folder by --run, or remove this one"
        )
