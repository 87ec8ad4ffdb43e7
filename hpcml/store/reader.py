"""Rows out of one shard: molecules, texts and values by row number."""

from __future__ import annotations

import json
import resource
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcml.errors import InputError
from hpcml.molecules import Molecule, molecule_keys
from hpcml.store.lines import Entry
from hpcml.store.rows import Row, pack_texts, warning_text
from hpcml.store.schema import BY_THE_WAY, IDENTITY, OPTIONAL, Schema
from hpcml.store.shards import Shard


def check_entry(entry: Entry, schema: Schema) -> None:
    """InputError unless the manifest line has every column of the schema in its shape."""
    atoms = entry.columns["numbers"].shape[0] if "numbers" in entry.columns else 0
    optional = [name for name in OPTIONAL if name in entry.columns and name not in schema.columns]
    for name in (*IDENTITY, *optional, *schema.columns):
        column = schema.column(name)
        extent = entry.columns.get(name)
        if extent is None:
            raise InputError(f"shard {entry.name}: has no column {name!r}")
        tail = (16,) if name in ("key", "molecule_key") else schema.shape(name)
        first = {"molecule": entry.rows, "atom": atoms, "list": extent.shape[0]}[column.per]
        if extent.shape != (first, *tail) or np.dtype(extent.dtype) != np.dtype(column.dtype):
            raise InputError(
                f"shard {entry.name}: column {name!r} has shape {extent.shape} of "
                f"{extent.dtype}, the schema wants {(first, *tail)} of {column.dtype}"
            )
    warnings = ["warnings_offsets"] if "warnings" in entry.columns else []
    for name in (*offset_columns(schema), *warnings):
        extent = entry.columns.get(name)
        if extent is None or extent.shape != (entry.rows + 1,) or extent.dtype != "<i8":
            raise InputError(f"shard {entry.name}: {name!r} is not a column of offsets")


def offsets_name(schema: Schema, name: str) -> str:
    """The column that cuts this ragged one."""
    return "atom_offsets" if schema.column(name).per == "atom" else f"{name}_offsets"


def offset_columns(schema: Schema) -> list[str]:
    """Every column of offsets that a data set of this schema has."""
    names = (*IDENTITY, *schema.columns)
    ragged = (name for name in names if schema.column(name).per != "molecule")
    return list(dict.fromkeys(offsets_name(schema, name) for name in ragged))


class ShardReader:
    """One shard as rows; what is read stays mapped until the reader is dropped."""

    def __init__(self, shard: Shard, schema: Schema) -> None:
        self.shard = shard
        self.schema = schema
        self._offsets: dict[str, NDArray[np.int64]] = {}
        self._views: dict[str, NDArray[Any]] = {}

    def view(self, name: str) -> NDArray[Any]:
        """A column, memory-mapped and read-only; an optional one that the shard has not is made up:
        no isotopes, the warnings of the provenance, NaN.

        Returns
        -------
        (rows, ...) array, or (values, ...) array where ragged
        """
        if name not in self._views:
            if name in self.shard.entry.columns or name not in OPTIONAL:
                self._views[name] = self.shard.view(name)
            elif name == "isotopes":
                self._views[name] = np.zeros(self.shard.extent("numbers").shape, "<u2")
            elif name == "warnings":
                self._views[name], self._offsets["warnings_offsets"] = self._warnings()
            else:
                self._views[name] = np.full(self.shard.entry.rows, np.nan)
        return self._views[name]

    def _warnings(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Texts and cuts as of the column "warnings", for a shard that has it not."""
        rows = self.shard.entry.rows
        # version 0.1.0 wrote warnings into the provenance alone
        if b'"warnings": ["' not in self.view("provenance").tobytes():
            return pack_texts([""] * rows)
        return pack_texts([warning_text(self.provenance(row)) for row in range(rows)])

    def offsets(self, name: str) -> NDArray[np.int64]:
        """Cuts of a ragged column, (rows + 1,), checked.

        Returns
        -------
        (rows + 1,) int64 array
        """
        cuts = offsets_name(self.schema, name)
        if name == "warnings" and name not in self.shard.entry.columns:
            self.view(name)
        if cuts not in self._offsets:
            column = "numbers" if cuts == "atom_offsets" else name
            self._offsets[cuts] = self.shard.offsets(cuts, self.shard.extent(column).shape[0])
        return self._offsets[cuts]

    def text(self, name: str, row: int) -> str:
        cuts = self.offsets(name)
        return self.view(name)[cuts[row] : cuts[row + 1]].tobytes().decode(errors="replace")

    @cached_property
    def _atoms(self) -> tuple[memoryview, NDArray[Any], NDArray[Any]]:
        # An int out of a memoryview costs a third of a numpy scalar.
        return self.offsets("numbers").data, self.view("numbers"), self.view("positions")

    def atoms(self, row: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Atomic numbers (n,) and positions (n, 3) of a row, views of the file.

        Returns
        -------
        numbers : (n,) array
        positions : (n, 3) array
            In angstrom.
        """
        cuts, numbers, positions = self._atoms
        start, stop = cuts[row], cuts[row + 1]
        return numbers[start:stop], positions[start:stop]

    def isotopes(self, row: int) -> NDArray[Any]:
        """Mass numbers of a row's atoms, (n,); (0,) where the shard has none.

        Returns
        -------
        (n,) array, or (0,)
        """
        if "isotopes" not in self.shard.entry.columns:
            return np.zeros(0, np.int64)
        cuts = self.offsets("numbers")
        return self.view("isotopes")[cuts[row] : cuts[row + 1]]

    def molecule(self, row: int) -> Molecule:
        numbers, positions = self.atoms(row)
        return Molecule(
            numbers,
            positions,
            int(self.view("charge")[row]),
            int(self.view("multiplicity")[row]),
            self.text("name", row),
            self.text("smiles", row),
            self.isotopes(row),
        )

    def value(self, name: str, row: int) -> NDArray[Any]:
        """One row's value of a column, a copy.

        Returns
        -------
        array of the column's shape, or (n, ...) where ragged
        """
        if self.schema.column(name).per == "molecule":
            return np.array(self.view(name)[row])
        cuts = self.offsets(name)
        return np.array(self.view(name)[cuts[row] : cuts[row + 1]])

    def provenance(self, row: int) -> dict[str, Any]:
        text = self.text("provenance", row)
        if not text:
            return {}
        try:
            provenance = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"shard {self.shard.entry.name}: provenance of row {row}: {error}"
            ) from error
        return provenance if isinstance(provenance, dict) else {"provenance": provenance}

    def row(self, row: int) -> Row:
        values = {name: self.value(name, row) for name in self.schema.columns}
        for name in BY_THE_WAY:
            if name in self.shard.entry.columns and name not in values:
                number = self.value(name, row)
                if np.isfinite(number):
                    values[name] = number
        return Row(
            self.view("key")[row].tobytes().hex(),
            self.molecule(row),
            values,
            self.provenance(row),
        )


def check_rows(shard: Shard) -> None:
    """InputError unless offsets cut, and each row is the molecule of its molecule key."""
    schema = Schema.from_json(str(shard.entry.attributes["schema"]))
    check_entry(shard.entry, schema)
    reader = ShardReader(shard, schema)
    for name in offset_columns(schema):
        reader.offsets("numbers" if name == "atom_offsets" else name.removesuffix("_offsets"))
    if "warnings" in shard.entry.columns:
        reader.offsets("warnings")
    names = ("numbers", "positions", "atom_offsets", "charge", "multiplicity")
    stored = shard.column("molecule_key")
    columns = {name: shard.column(name) for name in names}
    if "isotopes" in shard.entry.columns:
        columns["isotopes"] = shard.column("isotopes")
    expected = molecule_keys(columns)
    wrong = np.flatnonzero((stored != expected).any(axis=1))
    if wrong.size:
        raise InputError(f"shard {shard.entry.name}: row {wrong[0]} is not the molecule of its key")


class ReaderPool:
    """The readers of a data set's shards, shared by its subsets; so many are kept that the
    open-file limit is far away."""

    def __init__(self, folder: Path, entries: Sequence[Entry], schema: Schema) -> None:
        self._folder = folder
        self._entries = entries
        self._schema = schema
        self._open: OrderedDict[int, ShardReader] = OrderedDict()
        self.most = max(8, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)

    def __getitem__(self, index: int) -> ShardReader:
        reader = self._open.get(index)
        if reader is None:
            reader = ShardReader(Shard(self._folder, self._entries[index]), self._schema)
            self._open[index] = reader
            if len(self._open) > self.most:
                self._open.popitem(last=False)
        return reader
