"""A data set opened for reading: columns as numpy arrays, molecules as objects, lazily."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpcml.errors import InputError
from hpcml.molecules import Molecule
from hpcml.store.distinct import distinct_rows, known_distinct
from hpcml.store.lines import Entry
from hpcml.store.manifest import Problem
from hpcml.store.reader import ReaderPool, ShardReader, check_entry
from hpcml.store.rows import Row, offsets_of, ranges, unpack_keys
from hpcml.store.schema import BY_THE_WAY, IDENTITY, OPTIONAL, Schema
from hpcml.store.shards import Shard
from hpcml.store.unlisted import lost_rows, read_manifest
from hpcml.store.verified import check_once, check_shard

if TYPE_CHECKING:
    from typing_extensions import Self


class ShardInfo(NamedTuple):
    name: str
    rows: int
    checksum: str


class Dataset:
    """The rows of a data set, each key once, in the order of the shards.

    schema     columns and axes
    shards     (name, rows, checksum) of each shard
    problems   what ``salvage`` left out

    Opening reads the manifest, and the keys unless the shards were written together; everything
    else is read when it is asked for.
    """

    def __init__(
        self,
        folder: Path,
        schema: Schema,
        entries: Sequence[Entry],
        fingerprint: str,
        *,
        rows: NDArray[np.int64] | None = None,
        problems: Sequence[Problem] = (),
        pool: ReaderPool | None = None,
    ) -> None:
        """Use ``Dataset.open``.  rows: numbers of the rows to show, over all shards; None: all."""
        self.folder = folder
        self.schema = schema
        self.fingerprint = fingerprint
        self.problems = tuple(problems)
        self._entries = tuple(entries)
        self._starts = offsets_of([entry.rows for entry in entries])
        self._first_rows: list[int] = self._starts.tolist()
        self._rows = rows
        self._length = self._first_rows[-1] if rows is None else len(rows)
        self._pool = pool or ReaderPool(folder, self._entries, schema)

    @classmethod
    def open(cls, path: Path | str, *, salvage: bool = False, verified: bool = False) -> Self:
        """Open the data set in a folder.

        salvage    read every byte, leave out the shards that are damaged, and name them in
                   ``problems``; otherwise a shard that is seen to be damaged is an error
        verified   compare every byte with its checksum, once: a shard that was compared is
                   remembered while its file is not touched, so that asking again costs next to
                   nothing

        Raises InputError that names what is missing, truncated or of a newer schema.
        """
        folder = Path(path)
        manifest, unlisted = read_manifest(folder)
        problems = [problem for problem in manifest.problems if problem.loses_rows]
        problems += [lost_rows(found, folder) for found in unlisted if found.lost]
        entries: list[Entry] = []
        schemas: dict[str, Schema] = {}
        wrong = check_once(folder, list(manifest)) if verified else {}
        for entry in manifest:
            try:
                text = str(entry.attributes.get("schema", ""))
                if text not in schemas:
                    schemas[text] = Schema.from_json(text)
                check_entry(entry, schemas[text])
                shard = Shard(folder, entry)
                shard.check_file()
                if entry.name in wrong:
                    raise wrong[entry.name]
                if salvage and not verified:
                    check_shard(shard)
            except InputError as error:
                problems.append(Problem(f"{folder.name}", str(error)))
            else:
                entries.append(entry)
        if problems and not salvage:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise InputError(
                f"{folder}: {problems[0]}{more}; `hpcml verify {folder}` names all, "
                "and open(..., salvage=True) reads the rest"
            )
        found = {entry.attributes["schema"]: None for entry in entries}
        if len(found) > 1:
            raise InputError(
                f"{folder}: its shards have {len(found)} different schemas "
                f"({', '.join(map(str, found))}); give each request a data set of its own"
            )
        schema = schemas[str(next(iter(found)))] if found else Schema(columns=())
        rows = None
        if not known_distinct(entries):
            rows = distinct_rows([Shard(folder, entry) for entry in entries])
        return cls(folder, schema, entries, manifest.fingerprint, rows=rows, problems=problems)

    def __len__(self) -> int:
        return self._length

    def __repr__(self) -> str:
        return f"Dataset({str(self.folder)!r}, {len(self)} rows, {len(self._entries)} shards)"

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Row | Self:
        if isinstance(index, slice):
            return self.subset(np.arange(len(self))[index])
        reader, row = self._locate(index)
        return reader.row(row)

    def __iter__(self) -> Iterator[Row]:
        return (self[index] for index in range(len(self)))

    @property
    def shards(self) -> tuple[ShardInfo, ...]:
        return tuple(ShardInfo(e.name, e.rows, e.checksum) for e in self._entries)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The manifest's lines of the shards."""
        return self._entries

    def shard(self, name: str) -> Dataset:
        """The rows of one shard alone, all of them, in the order of the file."""
        for entry in self._entries:
            if entry.name == name:
                return Dataset(self.folder, self.schema, (entry,), entry.checksum)
        raise InputError(f"{self.folder}: no shard {name!r}")

    def subset(self, chosen: ArrayLike) -> Self:
        """The rows of these numbers in this order, or those where a boolean mask is true."""
        index = np.asarray(chosen)
        if index.dtype == np.bool_:
            if index.shape != (len(self),):
                raise InputError(f"a mask over {len(self)} rows has shape {index.shape}")
            index = np.flatnonzero(index)
        index = index.astype(np.int64)
        if index.size and (index.min() < -len(self) or index.max() >= len(self)):
            raise InputError(f"row numbers must lie between 0 and {len(self) - 1}")
        rows = index % max(len(self), 1) if self._rows is None else self._rows[index]
        given = self.folder, self.schema, self._entries, self.fingerprint
        return type(self)(*given, rows=rows, problems=self.problems, pool=self._pool)

    @property
    def places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For each row its shard (index into ``shards``) and its row there, (N,) each."""
        rows = np.arange(len(self)) if self._rows is None else self._rows
        shard = np.searchsorted(self._starts, rows, side="right") - 1
        return shard, rows - self._starts[shard]

    def unit(self, name: str) -> str:
        """The unit of a column."""
        self._require(name)
        return self.schema.column(name).unit

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column: those of the molecules, then the properties."""
        optional = self.optional_columns
        first = [name for name in optional if name not in BY_THE_WAY]
        last = [name for name in optional if name in BY_THE_WAY]
        return (*IDENTITY, *first, *self.schema.columns, *last)

    @property
    def optional_columns(self) -> tuple[str, ...]:
        """Those of ``schema.OPTIONAL`` that some shard has and the schema does not name."""
        there = set().union(*(entry.columns for entry in self._entries)) - set(self.schema.columns)
        return tuple(name for name in OPTIONAL if name in there)

    @property
    def warnings(self) -> list[str]:
        """What the reader of each row must know, a line each; "" for most."""
        return self.texts("warnings")

    @property
    def warned(self) -> NDArray[np.bool_]:
        """Which rows have a warning, (N,)."""
        return np.diff(self.offsets("warnings")) > 0

    @property
    def keys(self) -> NDArray[np.str_]:
        """The rows' keys as 32 hexadecimal digits, (N,)."""
        return unpack_keys(self.column("key"))

    @property
    def molecule_keys(self) -> NDArray[np.str_]:
        """The molecules' keys, whatever was computed for them, (N,)."""
        return unpack_keys(self.column("molecule_key"))

    def column(self, name: str) -> NDArray[Any]:
        """A column as one array: (N, ...), or for ragged ones flat, cut by ``offsets(name)``.

        Returns
        -------
        (N, ...) array, or (values, ...) array where ragged
        """
        self._require(name)
        if self._rows is None:
            return self._whole_column(name)
        if self.schema.column(name).per == "molecule":
            return self._picked_rows(name)
        return self._picked_ragged(name)

    def offsets(self, name: str) -> NDArray[np.int64]:
        """Cuts of a ragged column: row i has the values offsets[i] to offsets[i + 1], (N + 1,).

        Returns
        -------
        (N + 1,) int64 array
        """
        if self.schema.column(name).per == "molecule":
            raise InputError(f"column {name!r} is not ragged")
        lengths = np.empty(len(self), np.int64)
        for index, places, rows in self._by_shard():
            lengths[places] = np.diff(self._pool[index].offsets(name))[rows]
        return offsets_of(lengths)

    @property
    def atom_offsets(self) -> NDArray[np.int64]:
        """Cuts of the per-atom columns, (N + 1,)."""
        return self.offsets("numbers")

    def texts(self, name: str) -> list[str]:
        """A column of texts (name, smiles, provenance), one for each row."""
        raw = self.column(name).tobytes()
        cuts = self.offsets(name).tolist()
        return [raw[a:b].decode(errors="replace") for a, b in pairwise(cuts)]

    def scalar(
        self,
        name: str,
        *,
        process: str = "static",
        frequency: float | tuple[float, float] = 0.0,
    ) -> NDArray[np.float64]:
        """One number a row: a scalar column, at one point of its axes if it has any.

        Parameters
        ----------
        process
            static, shg, eope, or, pair: for columns with a process axis
        frequency
            w of alpha(-w; w), or of the process (or its pair (w_1, w_2)), in Eh

        Returns
        -------
        (N,) float64 array
        """
        self._require(name)
        place = self.schema.scalar_index(name, process, frequency)
        values = self.column(name)
        return values if place is None else np.array(values[..., place])

    @property
    def molecules(self) -> Sequence[Molecule]:
        """The molecules, made when they are asked for."""
        return _Molecules(self)

    def molecule(self, index: int) -> Molecule:
        reader, row = self._locate(index)
        return reader.molecule(row)

    def atoms(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Atomic numbers (n,) and positions (n, 3) in angstrom of a row: read-only, no copy.

        Returns
        -------
        numbers : (n,) uint8 array
        positions : (n, 3) array
            In angstrom.
        """
        reader, row = self._locate(index)
        return reader.atoms(row)

    def value(self, name: str, index: int) -> NDArray[Any]:
        """One row's value of a column.

        Returns
        -------
        array of the column's shape, or (n, ...) where ragged
        """
        reader, row = self._locate(index)
        return reader.value(name, row)

    def picker(self, *columns: str) -> Callable[[int], tuple[NDArray[Any], ...]]:
        """A function from a row number (from 0) to these columns of that row, as views of the
        files: the quickest way to many rows in random order."""
        for name in columns:
            self._require(name)
        cut = {name for name in columns if self.schema.column(name).per != "molecule"}
        parts: dict[int, list[tuple[NDArray[Any], memoryview | None]]] = {}

        def shard_parts(shard: int) -> list[tuple[NDArray[Any], memoryview | None]]:
            reader = self._pool[shard]
            if len(parts) >= self._pool.most:
                parts.clear()
            parts[shard] = [
                (reader.view(name), reader.offsets(name).data if name in cut else None)
                for name in columns
            ]
            return parts[shard]

        def pick(index: int) -> tuple[NDArray[Any], ...]:
            if not 0 <= index < self._length:
                raise IndexError(f"row {index} of {self._length}")
            row = index if self._rows is None else int(self._rows[index])
            shard = bisect_right(self._first_rows, row) - 1
            row -= self._first_rows[shard]
            return tuple(
                [
                    view[row] if cuts is None else view[cuts[row] : cuts[row + 1]]
                    for view, cuts in parts.get(shard) or shard_parts(shard)
                ]
            )

        return pick

    def _locate(self, index: int) -> tuple[ShardReader, int]:
        if not -self._length <= index < self._length:
            raise IndexError(f"row {index} of {self._length}")
        if index < 0:
            index += self._length
        row = index if self._rows is None else int(self._rows[index])
        shard = bisect_right(self._first_rows, row) - 1
        return self._pool[shard], row - self._first_rows[shard]

    def _require(self, name: str) -> None:
        if name not in self.columns and name not in OPTIONAL:
            raise InputError(
                f"{self.folder} has no column {name!r}; it has {', '.join(self.columns)}"
            )

    def _by_shard(self) -> Iterator[tuple[int, Any, Any]]:
        """(shard, places in the result, rows in the shard) for every shard with chosen rows."""
        if self._rows is not None:
            yield from self._chosen_by_shard
            return
        for index in range(len(self._entries)):
            yield index, slice(*self._starts[index : index + 2]), slice(None)

    @cached_property
    def _chosen_by_shard(self) -> list[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
        shard, row = self.places
        order = np.argsort(shard, kind="stable")
        bounds = np.flatnonzero(np.diff(shard[order], prepend=-1, append=len(self._entries)))
        return [
            (int(shard[order[start]]), order[start:stop], row[order[start:stop]])
            for start, stop in pairwise(bounds.tolist())
        ]

    def _whole_column(self, name: str) -> NDArray[Any]:
        if name in OPTIONAL and name not in self.schema.columns:  # which not every shard has
            parts = [self._pool[index].view(name) for index in range(len(self._entries))]
            return np.concatenate([np.empty(0, self.schema.column(name).dtype), *parts])
        extents = [entry.columns[name] for entry in self._entries]
        tail = self.schema.shape(name) if name not in ("key", "molecule_key") else (16,)
        total = sum(extent.shape[0] for extent in extents)
        values = np.empty((total, *tail), self.schema.column(name).dtype)
        for index in range(min(len(extents), self._pool.most)):
            self._pool[index].shard.prefetch(name)
        start = 0
        for index, extent in enumerate(extents):
            # A copy out of the map is twice as fast as read(2) into fresh memory.
            values[start : start + extent.shape[0]] = self._pool[index].view(name)
            start += extent.shape[0]
        return values

    def _picked_rows(self, name: str) -> NDArray[Any]:
        tail = self.schema.shape(name) if name not in ("key", "molecule_key") else (16,)
        values = np.empty((len(self), *tail), self.schema.column(name).dtype)
        for index, places, rows in self._by_shard():
            values[places] = self._pool[index].view(name)[rows]
        return values

    def _picked_ragged(self, name: str) -> NDArray[Any]:
        target = self.offsets(name)
        tail, dtype = self.schema.shape(name), self.schema.column(name).dtype
        values = np.empty((int(target[-1]), *tail), dtype)
        for index, places, rows in self._by_shard():
            reader = self._pool[index]
            cuts = reader.offsets(name)
            values[ranges(target, places)] = reader.view(name)[ranges(cuts, rows)]
        return values


class _Molecules(Sequence[Molecule]):
    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    @overload
    def __getitem__(self, index: int) -> Molecule: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Molecule]: ...

    def __getitem__(self, index: int | slice) -> Molecule | Sequence[Molecule]:
        if isinstance(index, slice):
            return self._dataset.subset(np.arange(len(self))[index]).molecules
        return self._dataset.molecule(index)
