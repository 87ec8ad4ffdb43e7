"""What a data set holds: every column with unit, convention and axes, in one table.

``python -m hpcml.store > docs/schema.md`` writes the table for people.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from hpcml.errors import InputError, SettingsError
from hpcml.molecules import Molecule
from hpcml.response.level import SHARES, Level, Request

SCHEMA_VERSION = 1

_AXIS_LENGTH = {"xyz": 3}
_ALPHA = "atomic units (e^2 a0^2 Eh^-1 = a0^3)"
_BETA = "atomic units (e^3 a0^3 Eh^-2)"
_GAMMA = "atomic units (e^4 a0^4 Eh^-3)"
_TAYLOR = "physical sign, Taylor convention"


class Column(msgspec.Struct, frozen=True):
    """One column of the table.

    per   "molecule": one value (of shape ``axes``) a row; "atom": one for each atom of the row,
          cut by ``atom_offsets``; "list": as many as the row has, cut by ``NAME_offsets``
    axes  names of the axes behind the first: "frequency" (F), "process" (P), "xyz" (3)
    """

    name: str
    unit: str
    description: str
    per: Literal["molecule", "atom", "list"] = "molecule"
    axes: tuple[str, ...] = ()
    dtype: str = "<f8"


_IDENTITY = (
    Column("key", "", "16 bytes: hash of molecule, level, request and schema version", dtype="u1"),
    Column("molecule_key", "", "16 bytes: hash of nuclei, geometry, charge, multiplicity",
           dtype="u1"),
    Column("charge", "e", "total charge", dtype="<i4"),
    Column("multiplicity", "", "2S + 1", dtype="<i4"),
    Column("name", "", "UTF-8 text", "list", dtype="u1"),
    Column("smiles", "", "UTF-8 text", "list", dtype="u1"),
    Column("provenance", "", "JSON: level, program versions, residuals, iterations, wall time, "
           "host, warnings", "list", dtype="u1"),
    Column("numbers", "", "atomic numbers", "atom", dtype="u1"),
    Column("positions", "angstrom", "nuclear positions", "atom", ("xyz",)),
)  # fmt: skip

_RESPONSE = (
    Column("energy", "Eh", "total electronic energy with nuclear repulsion"),
    Column("dipole", "e a0", "about the origin; for an ion about the centre of nuclear charge "
           "(of what effective cores leave of it)", axes=("xyz",)),
    Column("polarizability", _ALPHA, f"alpha_ij(-w; w), {_TAYLOR}, in the frame of the positions",
           axes=("frequency", "xyz", "xyz")),
    Column("alpha_iso", _ALPHA, "(alpha_xx + alpha_yy + alpha_zz) / 3", axes=("frequency",)),
    Column("alpha_anisotropy", _ALPHA, "invariant of the traceless part, >= 0",
           axes=("frequency",)),
    Column("hyperpolarizability", _BETA, f"beta_ijk(-w_sigma; w_1, w_2), {_TAYLOR}, i belongs to "
           "w_sigma, in the frame of the positions", axes=("process", "xyz", "xyz", "xyz")),
    Column("beta_parallel", _BETA, "1/(5 |mu|) sum_ij (beta_iij + beta_iji + beta_jii) mu_j; "
           "NaN where |mu| < 1e-6", axes=("process",)),
    Column("beta_vector", _BETA, "1/3 sum_i (beta_iij + beta_iji + beta_jii)",
           axes=("process", "xyz")),
    Column("beta_hrs", _BETA, "sqrt(<beta_ZZZ^2> + <beta_XZZ^2>)", axes=("process",)),
    Column("second_hyperpolarizability", _GAMMA, "gamma_ijkl(-w_sigma; w_1, w_2, 0), the "
           f"hyperpolarizability's derivative by a static field along l; {_TAYLOR}",
           axes=("process", "xyz", "xyz", "xyz", "xyz")),
    Column("gamma_parallel", _GAMMA, "1/15 sum_ij (gamma_iijj + gamma_ijij + gamma_ijji)",
           axes=("process",)),
    Column("zpve", "Eh", "harmonic zero-point vibrational energy"),
    Column("vibrational_frequencies", "cm^-1", "harmonic, ascending; imaginary ones negative",
           "list"),
    Column("share_zpve", "Eh", "what each atom contributes to zpve; sums to it", "atom"),
    Column("share_alpha_iso", _ALPHA, "what each atom contributes to the static alpha_iso; sums "
           "to it", "atom"),
    Column("share_beta_parallel", _BETA, "what each atom contributes to the static "
           "beta_parallel; sums to it", "atom"),
    Column("share_alpha_iso_loewdin", _ALPHA, "as share_alpha_iso, divided over the atoms by "
           "Loewdin's orthonormal basis functions", "atom"),
    Column("share_beta_parallel_loewdin", _BETA, "as share_beta_parallel, divided over the atoms "
           "by Loewdin's orthonormal basis functions", "atom"),
)  # fmt: skip

_IMPORTED = (
    Column("polarizability_principal", _ALPHA, "eigenvalues of the static polarizability, "
           "ascending: what is left of a tensor whose frame is unknown", axes=("xyz",)),
    Column("dipole_norm", "e a0", "norm of the dipole"),
    Column("homo", "Eh", "energy of the highest occupied orbital"),
    Column("lumo", "Eh", "energy of the lowest unoccupied orbital"),
    Column("gap", "Eh", "lumo - homo"),
    Column("electronic_spatial_extent", "a0^2", "<R^2> of the electron density"),
    Column("internal_energy_0k", "Eh", "energy + zpve"),
    Column("internal_energy_298k", "Eh", "at 298.15 K"),
    Column("enthalpy_298k", "Eh", "at 298.15 K"),
    Column("free_energy_298k", "Eh", "Gibbs, at 298.15 K"),
    Column("heat_capacity", "cal mol^-1 K^-1", "at constant volume, 298.15 K"),
    Column("rotational_constants", "GHz", "A, B, C", axes=("xyz",)),
    Column("mulliken_charges", "e", "a result, never an input of a model", "atom"),
)  # fmt: skip

_OPTIONAL = (
    Column("isotopes", "", "mass numbers, 0 for the most abundant isotope", "atom", dtype="<u2"),
    Column("warnings", "", "UTF-8 text: what the reader of a result must know, a line each", "list",
           dtype="u1"),
    Column("spin_squared", "", "<S^2> of an open shell's determinant"),
    Column("orbital_hessian", "Eh", "lowest eigenvalue of the orbital Hessian; the SCF is no "
           "minimum where it is negative"),
    Column("first_excitation", "Eh", "lowest excitation energy where it was asked for; else "
           "the lowest that the response met, from above"),
)  # fmt: skip

CATALOGUE: dict[str, Column] = {c.name: c for c in (*_IDENTITY, *_OPTIONAL, *_RESPONSE, *_IMPORTED)}
"""Every column there is, by name."""

IDENTITY: tuple[str, ...] = tuple(column.name for column in _IDENTITY)
"""Columns that every data set has; the others are its properties, or optional."""

BY_THE_WAY = ("homo", "lumo", "gap", "spin_squared", "orbital_hessian", "first_excitation")
"""What a calculation gives besides what was asked for.  A shard has such a column where one of its
rows has a value, and the schema need not name it: so data sets written before these columns were
known are read and grow as ever."""

OPTIONAL = ("isotopes", "warnings", *BY_THE_WAY)
"""Every column that a shard may have without the schema's naming it."""

_PROPERTIES = tuple(column.name for column in (*_RESPONSE, *_IMPORTED))
_OF_PROPERTY = {
    "dipole": ("dipole",),
    "alpha": ("polarizability", "alpha_iso", "alpha_anisotropy"),
    "beta": ("hyperpolarizability", "beta_parallel", "beta_vector", "beta_hrs"),
    "gamma": ("second_hyperpolarizability", "gamma_parallel"),
    "zpve": ("zpve", "vibrational_frequencies"),
}
_SHARES_OF = {
    "alpha": {"shares": "share_alpha_iso", "shares_loewdin": "share_alpha_iso_loewdin"},
    "beta": {"shares": "share_beta_parallel", "shares_loewdin": "share_beta_parallel_loewdin"},
    "zpve": {"shares": "share_zpve"},
}


_OWN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,59}", re.ASCII)
_TAKEN = {"atoms", "lattice", "pbc", "pos", "properties", "species", "z"}
"""Names that stand for something else in a form that data sets are exported to."""


def own_column(
    name: str, unit: str, description: str, per: Literal["molecule", "atom"] = "molecule"
) -> Column:
    """A column of a user's own, one number for each molecule or atom.

    Raises InputError for a name that cannot be one, or that means something already.
    """
    if not _OWN_NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot name a column: use up to 60 letters, digits and _, a letter first"
        )
    if name in CATALOGUE:
        raise InputError(
            f"{name!r} is a column of hpcml's own ({CATALOGUE[name].description}): "
            "give another name"
        )
    if name.lower() in _TAKEN or name.endswith("_offsets"):
        raise InputError(f"{name!r} means something else in a data set: give another name")
    if not unit.isprintable() or len(unit) > 60:
        raise InputError(f"{name}: {unit[:60]!r} is no unit, expected up to 60 characters")
    return Column(name, unit, description, per)


_SAME_FREQUENCY = 1e-8  # Eh


class Schema(msgspec.Struct, frozen=True):
    """The property columns of a data set and the meaning of their axes.

    columns      names out of the catalogue, and of ``own``
    frequencies  F axis: w of alpha(-w; w) in Eh
    processes    P axis: (process, w_1, w_2) of beta(-w_1-w_2; w_1, w_2) in Eh, process one of
                 static, shg, eope, or, pair
    own          columns that the data set's user has named (``own_column``)
    """

    columns: tuple[str, ...]
    frequencies: tuple[float, ...] = ()
    processes: tuple[tuple[str, float, float], ...] = ()
    own: tuple[Column, ...] = ()

    def __post_init__(self) -> None:
        for column in self.own:
            if column != own_column(column.name, column.unit, column.description, _per(column)):
                raise InputError(f"schema: {column.name!r} is not one number a molecule or atom")
        known = (*_PROPERTIES, *(column.name for column in self.own))
        unknown = [c for c in self.columns if c not in known]
        if unknown:
            raise InputError(
                f"schema: no such column {unknown[0]!r}; there are " + ", ".join(known)
            )
        if len(set(self.columns)) < len(self.columns):
            raise InputError(f"schema: a column stands twice in {', '.join(self.columns)}")

    @classmethod
    def for_request(cls, request: Request) -> Schema:
        """The columns that the answers to this request fill.

        Their axes are those of the request: ``polarizability_frequencies`` and
        ``hyperpolarizabilities``.
        """
        wanted = set(request.properties)
        # Every calculation has an energy, and the dipole comes with it.
        columns = ["energy", "dipole"]
        for name in ("alpha", "beta", "gamma", "zpve"):
            if name in wanted:
                columns.extend(_OF_PROPERTY[name])
                columns.extend(
                    _SHARES_OF[name][word]
                    for word in SHARES
                    if word in wanted and word in _SHARES_OF.get(name, ())
                )
        return cls(
            columns=tuple(columns),
            frequencies=request.polarizability_frequencies if "alpha" in wanted else (),
            processes=tuple((name, w1, w2) for name, (_, w1, w2) in request.hyperpolarizabilities),
        )

    def column(self, name: str) -> Column:
        """What a column holds: one of the catalogue, or of the user's own."""
        return CATALOGUE.get(name) or next(c for c in self.own if c.name == name)

    @property
    def own_units(self) -> dict[str, str]:
        """The units of the user's own columns."""
        return {column.name: column.unit for column in self.own}

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one value of a column (behind the row, atom or list axis)."""
        lengths = {"frequency": len(self.frequencies), "process": len(self.processes)}
        return tuple((_AXIS_LENGTH | lengths)[axis] for axis in self.column(name).axes)

    def frequency_index(self, frequency: float) -> int:
        """Where ``frequency`` (Eh) lies on the F axis; InputError if it does not."""
        for index, found in enumerate(self.frequencies):
            if abs(found - frequency) <= _SAME_FREQUENCY:
                return index
        raise InputError(f"no frequency {frequency} Eh here; there are {self.frequencies}")

    def process_index(self, process: str, frequency: float | tuple[float, float]) -> int:
        """Where a process lies on the P axis; InputError if it does not.

        frequency   w_1 in Eh (the optical frequency of static, shg, eope, or), or (w_1, w_2)
        """
        wanted = frequency if isinstance(frequency, tuple) else (frequency,)
        for index, (name, *found) in enumerate(self.processes):
            apart = [abs(a - b) for a, b in zip(found, wanted, strict=False)]
            if name == process and max(apart) <= _SAME_FREQUENCY:
                return index
        raise InputError(f"no {process} at {frequency} Eh here; there are {self.processes}")

    def scalar_index(
        self, name: str, process: str, frequency: float | tuple[float, float]
    ) -> int | None:
        """Where on its axis a column holds one number a row; None for a column without axis.

        Raises InputError for a column that is not here or holds more, and for a process or a
        frequency (Eh) that is not on the axis.
        """
        if name not in (*IDENTITY, *self.columns, *BY_THE_WAY):
            raise InputError(f"no column {name!r} here; there are {', '.join(self.columns)}")
        column = self.column(name)
        if "xyz" in column.axes or column.per != "molecule":
            raise InputError(f"column {name!r} has more than one number a row")
        if column.axes == ("process",):
            return self.process_index(process, frequency)
        if column.axes != ("frequency",):
            return None
        if isinstance(frequency, tuple):
            raise InputError(f"column {name!r} has one frequency, not {frequency}")
        return self.frequency_index(frequency)

    def to_json(self) -> str:
        """The schema as a text that shards are compared by."""
        fields = msgspec.structs.asdict(self)
        if not self.own:
            del fields["own"]  # as data sets of version 0.1.0 have it
        return msgspec.json.encode(fields).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Schema:
        """Inverse of ``to_json``; InputError for anything else."""
        try:
            return msgspec.json.decode(text, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InputError(f"not a schema: {error}") from error


def _per(column: Column) -> Literal["molecule", "atom"]:
    return "atom" if column.per == "atom" else "molecule"


def result_key(molecule: Molecule, level: Level, request: Request) -> str:
    """32 hexadecimal digits: what this result is, wherever and whenever it is computed.

    The order in which the request names properties, processes and frequencies does not matter,
    and a basis set from a file is known by the file's contents, wherever it lies.
    """
    return result_keys(level, request)(molecule)


def result_keys(level: Level, request: Request) -> Callable[[Molecule], str]:
    """``result_key`` of many molecules at one level: what they have in common is said once."""
    level_as_said = msgspec.to_builtins(level.meaning)
    if level.basis.lower().endswith(".gbs"):
        level_as_said["basis"] = _digest_of_file(level.basis)
    asked = msgspec.to_builtins(request)
    for name, value in asked.items():
        if isinstance(value, list | tuple):
            asked[name] = sorted(value)
    meaning = json.dumps([SCHEMA_VERSION, "", level_as_said, asked], sort_keys=True)
    before, after = meaning.split('""', 1)
    start = hashlib.sha256(b"hpcml result\0" + before.encode() + b'"')
    end = b'"' + after.encode()

    def key(molecule: Molecule) -> str:
        digest = start.copy()
        digest.update(molecule.key.encode() + end)
        return digest.hexdigest()[:32]

    return key


@cache
def _digest_of_file(path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise SettingsError(f"basis set {path}: {error.strerror}") from None


def as_markdown() -> str:
    """The schema as a page for people: one table."""
    lines = [
        f"# The data set's schema, version {SCHEMA_VERSION}",
        "",
        "Written by `python -m hpcml.store`; do not edit.",
        "",
        "## The table",
        "",
        "N rows, A atoms in all; F frequencies and P pairs of a process with its frequencies are",
        "listed in the schema, a JSON text in the root attribute `schema` of every shard. The",
        "atoms of row i are `atom_offsets[i]` to `atom_offsets[i + 1]`; a column X of lists is cut",
        "in the same way by `X_offsets`. A value that does not exist is NaN.",
        "",
        "Columns that a user has named (`hpcml import table`) stand beside these: one number for",
        "each row, or for each atom, with name and unit in the schema under `own`. `share_NAME` is",
        "what each atom contributes to NAME.",
        "",
        "| column | shape | type | unit | meaning |",
        "|---|---|---|---|---|",
    ]
    letters = {"frequency": "F", "process": "P", "xyz": "3"}
    for column in CATALOGUE.values():
        first = {"molecule": "N", "atom": "A", "list": "ragged"}[column.per]
        axes = [letters[axis] for axis in column.axes]
        if column.name in ("key", "molecule_key"):
            axes = ["16"]
        shape = ", ".join([first, *axes])
        lines.append(
            f"| `{column.name}` | ({shape}) | `{column.dtype}` | {column.unit or '-'} "
            f"| {column.description.replace('|', chr(92) + '|')} |"
        )
    return "\n".join([*lines, *_LAYOUT]) + "\n"


_LAYOUT = (
    "",
    "## The folder",
    "",
    "| file | what it is |",
    "|---|---|",
    "| `shards/NAME.h5` | some rows: an immutable HDF5 file of flat, contiguous, uncompressed data "
    "sets |",
    "| `manifest.jsonl`, `manifest.WRITER.jsonl` | one JSON line a shard; a shard without a line "
    "does not exist |",
    "| `journal/WRITER.journal` | rows committed and in no shard yet, overwritten in place |",
    "| `verified.json` | which files were compared with their checksums; may be deleted |",
    "| `aside/` | what repair or a compaction took out of use |",
    "| `dataset.h5` | all shards as one HDF5 virtual data set, for other programs |",
    "",
    "A line of a manifest has the shard's `name`, `rows`, `bytes`, `checksum` (sha256 of the whole",
    "file), `schema_version`, `attributes`, and `columns`: for each its numpy type, its shape and",
    "the byte of the file at which it begins. So a column is read by",
    "`numpy.memmap(file, dtype, 'r', offset, shape)`, or by any HDF5 program under its name. Its",
    "`digest` tells whether the line itself is as it was written (version 0.1.0 wrote none).",
    "A shard bears its rows and a digest of its columns in the root attributes `hpcml_rows` and",
    "`hpcml_digest`, so that `hpcml repair` can give a shard whose line was lost a new one.",
    "",
    'A line `{"type": "replaces", "names": [...]}` is left by a compaction that was stopped:',
    "those shards are in others now. A row's key comes from the molecule, the level of theory, the",
    "request and the schema version; a key that comes twice counts once, the first time.",
)
