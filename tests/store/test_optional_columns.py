"""Columns that a shard may have beside the schema's: what a calculation gives by the way."""

import csv
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet
import pytest
import torch
from torch_geometric.loader import DataLoader

from hpcml.errors import InputError
from hpcml.molecules import Molecule
from hpcml.response.properties import ResponseProperties
from hpcml.store import (
    Dataset,
    Row,
    Schema,
    ShardWriter,
    compact,
    export,
    recover,
    to_pyg,
    verify,
    write_virtual,
)

WRITTEN_BY_0_1_0 = Path(__file__).parent / "data" / "written_by_0_1_0"
SCHEMA = Schema(columns=("energy", "dipole"))
FACTS = {"homo": -0.4, "lumo": 0.1, "orbital_hessian": -0.02, "first_excitation": 0.3}
WARNED = ["the SCF solution is no minimum", "frequency near a pole"]


def result(number, schema=SCHEMA, **provenance):
    molecule = Molecule([1, 9], [[0, 0, 0], [0, 0, 0.9 + 0.01 * number]], name=f"HF {number}")
    properties = ResponseProperties(-100.0 - number, np.array([0, 0, 0.7]), provenance=provenance)
    return Row.from_result(f"{number:032x}", molecule, properties, schema)


@pytest.fixture
def folder(tmp_path):
    """Rows 0 and 1 tell nothing, 2 has all facts, 3 has warnings: three shards."""
    with ShardWriter(tmp_path / "d", SCHEMA, "a") as writer:
        for number in range(2):
            writer.append(result(number, warnings=[]))
        writer.flush()
        writer.append(result(2, **FACTS, spin_squared=0.76, warnings=[]))
        writer.flush()
        writer.append(result(3, homo=-0.5, warnings=WARNED))
    return tmp_path / "d"


def check(data):
    assert data.texts("warnings") == data.warnings == ["", "", "", "\n".join(WARNED)]
    expected = {
        "homo": [np.nan, np.nan, -0.4, -0.5],
        "lumo": [np.nan, np.nan, 0.1, np.nan],
        "gap": [np.nan, np.nan, 0.5, np.nan],
        "spin_squared": [np.nan, np.nan, 0.76, np.nan],
        "orbital_hessian": [np.nan, np.nan, -0.02, np.nan],
    }
    for name, values in expected.items():
        assert np.array_equal(data.column(name), values, equal_nan=True), name
        assert np.array_equal(data.scalar(name), values, equal_nan=True), name
    assert set(data.optional_columns) == {*expected, "first_excitation", "warnings"}
    part = data.subset([3, 0, 2])
    assert part.warnings == ["\n".join(WARNED), "", ""]
    assert np.array_equal(part.column("homo"), [-0.5, np.nan, -0.4], equal_nan=True)
    assert data[2].values["gap"] == 0.5
    assert "gap" not in data[3].values
    assert sum(entry.attributes.get("warned", 0) for entry in data.entries) == 1
    assert verify(data.folder).ok


def test_they_are_read_and_compacted(folder):
    check(Dataset.open(folder))
    compact(folder)
    check(Dataset.open(folder))
    write_virtual(folder)
    with h5py.File(folder / "dataset.h5") as file:
        assert file["homo"][3] == -0.5
        start, stop = file["warnings_offsets"][3:5]
        assert file["warnings"][start:stop].tobytes().decode() == "\n".join(WARNED)


def test_they_outlive_a_kill(tmp_path):
    writer = ShardWriter(tmp_path, SCHEMA, "a")
    writer.append(result(2, **FACTS, warnings=WARNED))
    writer._journal.close(remove=False)
    recover(tmp_path)
    data = Dataset.open(tmp_path)
    assert data.column("homo").tolist() == [-0.4]
    assert data.warnings == ["\n".join(WARNED)]


def test_a_data_set_of_0_1_0_grows_by_them(tmp_path):
    """Its schema, and with it its axes, stays what it was; its rows have no value."""
    shutil.copytree(WRITTEN_BY_0_1_0, tmp_path / "d")
    before = Dataset.open(tmp_path / "d")
    assert before.optional_columns == ()
    assert before.warnings == ["", "", ""]
    assert np.isnan(before.column("homo")).all()
    with ShardWriter(tmp_path / "d", before.schema, "later") as writer:
        writer.append(result(2, before.schema, **FACTS, warnings=WARNED))
    for _ in range(2):
        after = Dataset.open(tmp_path / "d")
        assert after.schema == before.schema
        assert sorted(after.warnings) == ["", "", "", "\n".join(WARNED)]
        assert np.nansum(after.column("homo")) == -0.4
        compact(tmp_path / "d")


def test_warnings_of_0_1_0_stand_in_its_provenance(folder):
    """That version had no column of warnings."""
    data = Dataset.open(folder)
    entries = [entry for entry in data.entries if "warnings" in entry.columns]
    for entry in entries:
        del entry.columns["warnings"], entry.columns["warnings_offsets"]
    assert data.warnings == ["", "", "", "\n".join(WARNED)]


def test_exports_have_them(folder, tmp_path):
    for form in ("csv", "parquet", "extxyz", "qcschema"):
        export(folder, form, tmp_path / form)
    with (tmp_path / "csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["homo [Eh]"] for line in lines] == ["", "", "-0.4", "-0.5"]
    assert lines[3]["warnings"] == "\n".join(WARNED)
    table = pyarrow.parquet.read_table(tmp_path / "parquet").to_pylist()
    assert (table[2]["gap"], table[3]["warnings"]) == (0.5, "\n".join(WARNED))
    assert 'warnings="the SCF solution' in (tmp_path / "extxyz").read_text()
    document = json.loads((tmp_path / "qcschema").read_text().splitlines()[2])
    assert document["return_result"]["homo"] == -0.4
    batch = next(iter(DataLoader(to_pyg(Dataset.open(folder)), batch_size=4)))
    assert torch.isnan(batch.gap).tolist() == [True, True, False, True]


def test_a_text_with_lone_surrogates_is_refused_before_anything_is_written(tmp_path):
    with ShardWriter(tmp_path, SCHEMA, "a") as writer:
        molecule = Molecule([1], [[0, 0, 0]], 0, 2)
        with pytest.raises(InputError, match="no Unicode text"):
            writer.append(Row("1" * 32, molecule, {}, {"note": "\ud800"}))
        writer.append(result(1))
    assert len(Dataset.open(tmp_path)) == 1
