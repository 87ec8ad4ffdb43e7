"""One row, and many rows as the flat columns of a shard."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpcml.errors import InputError
from hpcml.molecules import Molecule, molecule_keys
from hpcml.response.properties import ResponseProperties
from hpcml.store.schema import BY_THE_WAY, Schema


@dataclass(frozen=True, eq=False)
class Row:
    """A molecule with its results.

    key         what the result is (``result_key``), 32 hexadecimal digits
    values      column -> array; shapes and units as in the schema, NaN where there is no value
    provenance  JSON-able: how the values were obtained
    """

    key: str
    molecule: Molecule
    values: Mapping[str, NDArray[Any]]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_result(
        cls, key: str, molecule: Molecule, properties: ResponseProperties, schema: Schema
    ) -> Row:
        """The row of a calculation; columns that the result does not fill are NaN.

        Raises InputError if the result has a frequency or process that the schema has not.
        """
        values: dict[str, NDArray[Any]] = {}
        wanted = set(schema.columns)
        shapes = _shapes(schema)

        def put(name: str, value: Any, index: int | None = None) -> None:
            if name not in wanted or value is None:
                return
            if index is None:
                values[name] = np.asarray(value, np.float64)
            else:
                if name not in values:
                    values[name] = _empty(*shapes[name], len(molecule))
                values[name][index] = value

        put("energy", properties.energy)
        put("dipole", properties.dipole)
        put("zpve", properties.zpve)
        put("vibrational_frequencies", properties.vibrational_frequencies)
        for alpha in properties.polarizability:
            if "polarizability" in wanted:
                index = schema.frequency_index(alpha.frequency)
                put("polarizability", alpha.tensor, index)
                put("alpha_iso", alpha.isotropic, index)
                put("alpha_anisotropy", alpha.anisotropy, index)
        for beta in properties.hyperpolarizability:
            if "hyperpolarizability" in wanted:
                index = schema.process_index(beta.process, beta.frequencies[1:])
                put("hyperpolarizability", beta.tensor, index)
                put("beta_parallel", beta.parallel(properties.dipole), index)
                put("beta_vector", beta.vector, index)
                put("beta_hrs", beta.hrs, index)
        for gamma in properties.second_hyperpolarizability:
            if "second_hyperpolarizability" in wanted:
                index = schema.process_index(gamma.process, gamma.frequencies[1:3])
                put("second_hyperpolarizability", gamma.tensor, index)
                put("gamma_parallel", gamma.parallel, index)
        for name in BY_THE_WAY:
            number = _by_the_way(properties.provenance, name)
            if number is not None:
                values[name] = np.asarray(number, np.float64)
        for name, share in properties.shares.items():
            put(f"share_{name}", share)
        for name in wanted - values.keys():
            values[name] = _empty(*shapes[name], len(molecule))
        return cls(key, molecule, values, properties.provenance)


def _by_the_way(provenance: Mapping[str, Any], name: str) -> float | None:
    """What the calculation's provenance says of an optional scalar."""
    if name == "gap":
        homo, lumo = (provenance.get(level) for level in ("homo", "lumo"))
        return None if homo is None or lumo is None else lumo - homo
    number: float | None = provenance.get(name)
    return number


def empty_value(name: str, schema: Schema, atoms: int) -> NDArray[Any]:
    """No value: NaN in the column's shape, or an empty list.

    Returns
    -------
    array of the column's shape, (atoms, ...) where per atom, (0,) for a list
    """
    return _empty(schema.column(name).per, schema.shape(name), atoms)


def _empty(per: str, tail: tuple[int, ...], atoms: int) -> NDArray[Any]:
    length = {"molecule": (), "atom": (atoms,), "list": (0,)}[per]
    return np.full((*length, *tail), np.nan)


def check_row(row: Row, schema: Schema) -> None:
    """InputError unless the row fits the schema."""
    if len(row.key) != 32 or not _HEXADECIMAL.issuperset(row.key):
        raise InputError(f"row of {row.molecule!r}: key {row.key!r} is not 32 hexadecimal digits")
    expected = _shapes(schema)
    for name, value in row.values.items():
        if name not in expected:
            raise InputError(f"row {row.key}: the schema has no column {name!r}")
        per, tail = expected[name]
        shape = np.shape(value)
        if per == "molecule":
            fits = shape == tail
        else:
            fits = shape[1:] == tail and len(shape) > len(tail)
            fits = fits and (per == "list" or shape[0] == len(row.molecule))
        if not fits:
            raise InputError(
                f"row {row.key}: {name} has shape {shape}, the schema wants "
                f"{empty_value(name, schema, len(row.molecule)).shape}"
            )


_HEXADECIMAL = frozenset("0123456789abcdef")


@lru_cache(maxsize=8)
def _shapes(schema: Schema) -> dict[str, tuple[str, tuple[int, ...]]]:
    names = (*schema.columns, *BY_THE_WAY)
    return {name: (schema.column(name).per, schema.shape(name)) for name in names}


def pack(rows: Sequence[Row], schema: Schema) -> dict[str, NDArray[Any]]:
    """The columns of a shard with these rows.

    Returns
    -------
    dict of (N, ...) arrays
        Ragged columns flat, with their (N + 1,) cuts.
    """
    atoms = [len(row.molecule) for row in rows]
    columns: dict[str, NDArray[Any]] = {
        "key": pack_keys([row.key for row in rows]),
        "charge": np.array([row.molecule.charge for row in rows], "<i4"),
        "multiplicity": np.array([row.molecule.multiplicity for row in rows], "<i4"),
        "numbers": np.concatenate([row.molecule.numbers for row in rows]).astype("u1"),
        "positions": np.concatenate([row.molecule.positions for row in rows]),
        "atom_offsets": offsets_of(atoms),
    }
    isotopes = np.concatenate([row.molecule.isotopes for row in rows])
    if isotopes.any():
        columns["isotopes"] = isotopes.astype("<u2")
    columns["molecule_key"] = molecule_keys(columns)
    texts = {
        "name": [row.molecule.name for row in rows],
        "smiles": [row.molecule.smiles for row in rows],
        "provenance": [json.dumps(row.provenance, default=float) if row.provenance else ""
                       for row in rows],
    }  # fmt: skip
    warnings = [warning_text(row.provenance) for row in rows]
    if any(warnings):
        texts["warnings"] = warnings
    for name, strings in texts.items():
        columns[name], columns[f"{name}_offsets"] = pack_texts(strings)
    for name in BY_THE_WAY:
        if name not in schema.columns and any(name in row.values for row in rows):
            columns[name] = np.array([row.values.get(name, np.nan) for row in rows], "<f8")
    for name in schema.columns:
        values = [
            np.asarray(row.values[name], np.float64)
            if name in row.values
            else empty_value(name, schema, n)
            for row, n in zip(rows, atoms, strict=True)
        ]
        if schema.column(name).per == "molecule":
            columns[name] = np.stack(values)
        else:
            columns[name] = np.concatenate(values)
        if schema.column(name).per == "list":
            columns[f"{name}_offsets"] = offsets_of([len(value) for value in values])
    return columns


def warning_text(provenance: Mapping[str, Any]) -> str:
    """The warnings that a row's provenance lists, a line each."""
    warnings = provenance.get("warnings")
    if isinstance(warnings, list | tuple):
        return "\n".join(map(str, warnings))
    return warnings if isinstance(warnings, str) else ""


def offsets_of(lengths: ArrayLike) -> NDArray[np.int64]:
    """Cuts of a ragged column: 0 and the running sum of the lengths.

    Returns
    -------
    (N + 1,) int64 array
        For N lengths.
    """
    return np.concatenate([[0], np.cumsum(np.asarray(lengths, np.int64))]).astype("<i8")


def ranges(offsets: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers of all values of these rows of a ragged column, end to end.

    Parameters
    ----------
    offsets : (N + 1,) int64 array
    rows : (m,) int64 array

    Returns
    -------
    (values,) int64 array
    """
    lengths = offsets[rows + 1] - offsets[rows]
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    starts = np.repeat(offsets[rows] - (ends - lengths), lengths)
    return np.asarray(np.arange(total) + starts, np.int64)


def pack_texts(strings: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Texts as UTF-8 bytes end to end, and the cuts between them.

    Returns
    -------
    (bytes,) uint8 array and (N + 1,) int64 array
    """
    encoded = [text.encode() for text in strings]
    return np.frombuffer(b"".join(encoded), "u1"), offsets_of([len(text) for text in encoded])


def pack_keys(keys: Sequence[str]) -> NDArray[np.uint8]:
    """Hexadecimal keys as (n, 16) bytes.

    Returns
    -------
    (n, 16) uint8 array
    """
    return np.frombuffer(bytes.fromhex("".join(keys)), "u1").reshape(len(keys), 16)


def unpack_keys(packed: NDArray[np.uint8]) -> NDArray[np.str_]:
    """(n, 16) bytes as hexadecimal texts, (n,).

    Parameters
    ----------
    packed : (n, 16) uint8 array

    Returns
    -------
    (n,) array of 32 letters each
    """
    return np.frombuffer(np.ascontiguousarray(packed).tobytes().hex().encode(), "S32").astype("U32")
