"""Data sets made elsewhere, brought into the store's form."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from hpcml.errors import InputError
from hpcml.molecules import Defect
from hpcml.molecules.qm9 import Qm9Record, read_qm9
from hpcml.progress import progress
from hpcml.response import invariants, units
from hpcml.store.distinct import WRITTEN_TOGETHER
from hpcml.store.lines import Entry, Replaces, manifest_file, write_manifest
from hpcml.store.manifest import Manifest
from hpcml.store.rows import Row, check_row, pack
from hpcml.store.schema import SCHEMA_VERSION, Schema
from hpcml.store.shards import put_file
from hpcml.store.unlisted import unfinished

_ROWS_PER_SHARD = 8192
_QM9_MOLECULES = 130_831
_QM9_LEVEL = {"method": "B3LYP", "basis": "6-31G(2df,p)", "program": "Gaussian 09"}


@dataclass
class Imported:
    """What an import did.

    rows       rows written
    defects    records that could not be used
    warnings   what is odd about the source as a whole
    """

    rows: int = 0
    defects: list[Defect] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"left out: {defect}" for defect in self.defects]
        lines += [f"warning: {warning}" for warning in self.warnings]
        return "\n".join([*lines, f"{self.rows} rows imported, {len(self.defects)} left out"])


def import_qm9(source: Path | str, destination: Path | str) -> Imported:
    """QM9 as a data set in the folder ``destination``, from any of its published forms.

    The polarizability tensor of qm9pack is not in the frame of the positions and no rotation
    into it is published: its invariants are kept (alpha_iso, alpha_anisotropy, the principal
    values), the tensor itself is not.  Nothing is visible before all of it is on the disk.

    Raises InputError if the source is not QM9 or the destination holds a data set already.
    """
    folder = Path(destination)
    if Manifest(folder).listed:
        raise InputError(f"{folder}: holds a data set already; import into a new folder")
    report = Imported()
    records = _sound_records(source, report)
    first = next(records, None)
    if first is None:
        raise InputError(f"{source}: no molecule of QM9 could be read from it")
    schema = _schema(first)
    attributes = {"schema": schema.to_json(), "source": "QM9", WRITTEN_TOGETHER: "QM9"}
    entries: list[Entry | Replaces] = []
    records = chain([first], records)
    with unfinished(folder, "QM9"), progress("import", _QM9_MOLECULES) as advance:
        while block := list(islice(records, _ROWS_PER_SHARD)):
            rows = [_row(record) for record in block]
            for row in rows:
                check_row(row, schema)
            name = f"qm9-{len(entries):04d}"
            entries.append(put_file(folder, name, pack(rows, schema), attributes))
            report.rows += len(rows)
            advance(report.rows)
        write_manifest(manifest_file(folder), entries)
    return report


def _sound_records(source: Path | str, report: Imported) -> Iterator[Qm9Record]:
    seen: set[str] = set()
    for record in read_qm9(source, report.warnings.append):
        if isinstance(record, Defect):
            report.defects.append(record)
        elif record.molecule.key in seen:
            message = "has the nuclei and positions of an earlier record"
            report.defects.append(Defect(str(source), record.molecule.name, "", message))
        else:
            seen.add(record.molecule.key)
            yield record


def _schema(record: Qm9Record) -> Schema:
    """The columns that this form of QM9 fills."""
    columns = ["energy", "dipole_norm", "alpha_iso"]
    if record.polarizability is not None:
        columns += ["alpha_anisotropy", "polarizability_principal"]
    columns += ["homo", "lumo", "gap", "electronic_spatial_extent", "zpve"]
    if record.frequencies is not None:
        columns += ["vibrational_frequencies"]
    columns += ["internal_energy_0k", "internal_energy_298k", "enthalpy_298k", "free_energy_298k"]
    columns += ["heat_capacity", "rotational_constants"]
    if record.mulliken is not None:
        columns += ["mulliken_charges"]
    return Schema(columns=tuple(columns), frequencies=(0.0,))


def _row(record: Qm9Record) -> Row:
    published = record.scalars
    values: dict[str, Any] = {
        "energy": published["u0"] - published["zpve"],
        "dipole_norm": published["mu"] / units.DEBYE,
        "alpha_iso": [published["alpha"]],
        "homo": published["homo"],
        "lumo": published["lumo"],
        "gap": published["gap"],
        "electronic_spatial_extent": published["r2"],
        "zpve": published["zpve"],
        "internal_energy_0k": published["u0"],
        "internal_energy_298k": published["u298"],
        "enthalpy_298k": published["h298"],
        "free_energy_298k": published["g298"],
        "heat_capacity": published["cv"],
        "rotational_constants": [published[axis] for axis in "ABC"],
    }
    if record.polarizability is not None:
        # The tensor has one more digit than the table, and read_qm9 saw that they agree.
        values["alpha_iso"] = [invariants.isotropic(record.polarizability)]
        values["alpha_anisotropy"] = [invariants.anisotropy(record.polarizability)]
        values["polarizability_principal"] = np.linalg.eigvalsh(record.polarizability)
    if record.frequencies is not None:
        values["vibrational_frequencies"] = record.frequencies
    if record.mulliken is not None:
        values["mulliken_charges"] = record.mulliken
    provenance: dict[str, Any] = {**_QM9_LEVEL, "source": "QM9", "index": record.number}
    if record.inchi:
        provenance["inchi"] = record.inchi
    if record.warnings:
        provenance["warnings"] = record.warnings
    meaning = f"hpcml qm9 {SCHEMA_VERSION} {record.molecule.key}"
    return Row(
        hashlib.sha256(meaning.encode()).hexdigest()[:32],
        record.molecule,
        {name: np.asarray(value, np.float64) for name, value in values.items()},
        provenance,
    )
