"""QCSchema: one AtomicResult document a line, as the MolSSI programs exchange them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from hpcml import __version__
from hpcml.molecules import Molecule
from hpcml.response import units
from hpcml.store.dataset import Dataset
from hpcml.store.exports.table import blocks, whole_file
from hpcml.store.rows import Row


def write_qcschema(dataset: Dataset, destination: Path) -> None:
    """JSON Lines of ``qcschema_output`` version 1 with driver "properties".

    Energy and dipole stand where QCSchema has a place for them; all columns, tensors among them,
    are in ``return_result``, their units and axes in ``extras``.  NaN and infinity, which JSON does
    not have, become null.
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
    basis = provenance.get("basis", "unknown")
    result = {name: _plain(value.tolist()) for name, value in row.values.items()}
    return {
        "schema_name": "qcschema_output",
        "schema_version": 1,
        "id": row.key,
        "driver": "properties",
        "model": {
            "method": str(provenance.get("method", "unknown")),
            "basis": str(basis.get("name", "unknown") if isinstance(basis, dict) else basis),
        },
        "molecule": {
            "schema_name": "qcschema_molecule",
            "schema_version": 2,
            "name": molecule.name or molecule.formula,
            "symbols": molecule.symbols,
            "geometry": (np.ravel(molecule.positions) / units.ANGSTROM).tolist(),
            "molecular_charge": float(molecule.charge),
            "molecular_multiplicity": molecule.multiplicity,
            **_mass_numbers(molecule),
            "fix_com": True,
            "fix_orientation": True,
            "identifiers": {"canonical_isomeric_explicit_hydrogen_mapped_smiles": None},
            "extras": {"smiles": molecule.smiles},
            "provenance": {"creator": "hpcml", "version": __version__, "routine": "export"},
        },
        "properties": _properties(row),
        "return_result": result,
        "success": True,
        "provenance": {
            "creator": str(provenance.get("program", "hpcml")),
            "version": str(provenance.get("program_version", "unknown")),
            "routine": "hpcml",
        },
        "extras": {
            "provenance": _plain(provenance),
            "units": {name: dataset.schema.column(name).unit for name in row.values},
            "frequencies": list(dataset.schema.frequencies),
            "processes": [list(process) for process in dataset.schema.processes],
        },
    }


def _properties(row: Row) -> dict[str, Any]:
    """What QCSchema has a name for; it has none for polarizabilities."""
    found: dict[str, Any] = {"calcinfo_natom": len(row.molecule)}
    for name, place in (("basis_functions", "calcinfo_nbasis"), ("orbitals", "calcinfo_nmo")):
        if isinstance(row.provenance.get(name), int):
            found[place] = row.provenance[name]
    energy = row.values.get("energy")
    if energy is not None and np.isfinite(energy):
        found["return_energy"] = found["scf_total_energy"] = float(energy)
    dipole = row.values.get("dipole")
    if dipole is not None and np.isfinite(dipole).all():
        found["scf_dipole_moment"] = dipole.tolist()
    return found


def _mass_numbers(molecule: Molecule) -> dict[str, list[int]]:
    """Isotopes as QCSchema has them, -1 for the most abundant; nothing where all are."""
    if not molecule.isotopes.any():
        return {}
    return {"mass_numbers": [int(isotope) or -1 for isotope in molecule.isotopes]}


def _plain(value: Any) -> Any:
    """JSON has no NaN: null stands for it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value
