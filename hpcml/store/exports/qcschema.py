"""QCSchema: one AtomicResult document a line, as the MolSSI programs exchange them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from hpcml import __version__
from hpcml.response import units
from hpcml.store.dataset import Dataset
from hpcml.store.exports.table import blocks, whole_file
from hpcml.store.rows import Row


def write_qcschema(dataset: Dataset, destination: Path) -> None:
    """JSON Lines of ``qcschema_output`` version 1 with driver "properties".

    The energy stands where QCSchema has a place for it; all columns, with their units and axes,
    are in ``return_result``.  NaN and infinity, which JSON does not have, become null.
    """
    with whole_file(destination) as temporary, temporary.open("w", encoding="utf-8") as file:
        for block in blocks(dataset, "qcschema"):
            for row in block:
                document = atomic_result(row, block)
                file.write(json.dumps(document, allow_nan=False) + "\n")


def atomic_result(row: Row, dataset: Dataset) -> dict[str, Any]:
    """The row as a QCSchema AtomicResult.  Geometry in bohr, not recentred and not turned."""
    molecule = row.molecule
    provenance = dict(row.provenance)
    properties: dict[str, Any] = {"calcinfo_natom": len(molecule)}
    energy = row.values.get("energy")
    if energy is not None and math.isfinite(float(energy)):
        properties["return_energy"] = float(energy)
    result = {name: _plain(value.tolist()) for name, value in row.values.items()}
    return {
        "schema_name": "qcschema_output",
        "schema_version": 1,
        "id": row.key,
        "driver": "properties",
        "model": {
            "method": str(provenance.get("method", "unknown")),
            "basis": str(provenance.get("basis", "unknown")),
        },
        "molecule": {
            "schema_name": "qcschema_molecule",
            "schema_version": 2,
            "name": molecule.name or molecule.formula,
            "symbols": molecule.symbols,
            "geometry": (np.ravel(molecule.positions) / units.ANGSTROM).tolist(),
            "molecular_charge": float(molecule.charge),
            "molecular_multiplicity": molecule.multiplicity,
            "fix_com": True,
            "fix_orientation": True,
            "identifiers": {"canonical_isomeric_explicit_hydrogen_mapped_smiles": None},
            "extras": {"smiles": molecule.smiles},
            "provenance": {"creator": "hpcml", "version": __version__, "routine": "export"},
        },
        "properties": properties,
        "return_result": result,
        "success": True,
        "provenance": {
            "creator": str(provenance.get("program", "hpcml")),
            "version": str(provenance.get("version", "")),
            "routine": "hpcml",
        },
        "extras": {
            "provenance": _plain(provenance),
            "units": {name: dataset.schema.column(name).unit for name in row.values},
            "frequencies": list(dataset.schema.frequencies),
            "processes": [list(process) for process in dataset.schema.processes],
        },
    }


def _plain(value: Any) -> Any:
    """JSON has no NaN: null stands for it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value
