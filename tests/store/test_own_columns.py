"""Columns that the user has named, through every form a data set takes."""

import csv
import json

import h5py
import numpy as np
import pytest

import hpcml
from hpcml.errors import InputError
from hpcml.molecules import Molecule
from hpcml.store import Row, Schema, ShardWriter, compact, export, merge, verify, write_virtual
from hpcml.store.schema import own_column

OWN = (
    own_column("logS", "log10(mol/L)", "solubility"),
    own_column("share_logS", "log10(mol/L)", "of each atom", "atom"),
)
SCHEMA = Schema(columns=("logS", "share_logS"), own=OWN)
SOLUBILITY = [-1.5, np.nan, 0.25]


def row(number: int) -> Row:
    atoms = number + 2
    molecule = Molecule(np.full(atoms, 2), 2.0 * np.arange(3 * atoms).reshape(-1, 3))
    values = {
        "logS": np.array(SOLUBILITY[number]),
        "share_logS": 10.0 * number + np.arange(float(atoms)),
    }
    return Row(f"{number:032x}", molecule, values)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "own"
    with ShardWriter(path, SCHEMA, "a") as writer:
        for number in range(3):
            writer.append(row(number))
    return path


def check(dataset):
    np.testing.assert_array_equal(dataset.scalar("logS"), SOLUBILITY)
    assert dataset.unit("logS") == "log10(mol/L)"
    expected = [0, 1, 10, 11, 12, 20, 21, 22, 23]
    np.testing.assert_array_equal(dataset.column("share_logS"), expected)
    np.testing.assert_array_equal(dataset.subset([2]).column("share_logS"), expected[5:])
    np.testing.assert_array_equal(dataset[1].values["share_logS"], expected[2:5])


def test_written_read_compacted_and_merged(folder, tmp_path):
    check(hpcml.open(folder))
    compact(folder)
    check(hpcml.open(folder))
    assert verify(folder).ok
    merge([folder], tmp_path / "merged")
    check(hpcml.open(tmp_path / "merged"))
    for one in (folder, tmp_path / "merged"):
        (shard,) = (one / "shards").glob("*.h5")
        with h5py.File(shard) as file:
            assert file["logS"].attrs["unit"] == "log10(mol/L)"


def test_seen_by_other_programs(folder, tmp_path):
    with h5py.File(write_virtual(folder)) as file:
        np.testing.assert_array_equal(file["logS"][:], SOLUBILITY)
        assert file["share_logS"].attrs["unit"] == "log10(mol/L)"
    export(folder, "csv", tmp_path / "t.csv")
    rows = list(csv.DictReader((tmp_path / "t.csv").open()))
    assert [one["logS [log10(mol/L)]"] for one in rows] == ["-1.5", "", "0.25"]
    export(folder, "qcschema", tmp_path / "t.jsonl")
    first = json.loads((tmp_path / "t.jsonl").read_text().splitlines()[0])
    assert first["return_result"]["logS"] == -1.5
    assert first["extras"]["units"]["logS"] == "log10(mol/L)"
    ase_io = pytest.importorskip("ase.io")
    export(folder, "extxyz", tmp_path / "t.xyz")
    frames = ase_io.read(tmp_path / "t.xyz", ":")
    assert [one.info.get("logS") for one in frames] == [-1.5, None, 0.25]
    assert frames[1].arrays["share_logS"].tolist() == [10, 11, 12]
    parquet = pytest.importorskip("pyarrow.parquet")
    export(folder, "parquet", tmp_path / "t.parquet")
    table = parquet.read_table(tmp_path / "t.parquet")
    assert table["share_logS"].to_pylist()[2] == [20, 21, 22, 23]
    assert table.schema.field("logS").metadata[b"unit"] == b"log10(mol/L)"


def test_a_schema_without_own_columns_reads_as_it_did():
    """Shards are compared by this text: it is that of version 0.1.0."""
    text = Schema(columns=("energy",), frequencies=(0.0,)).to_json()
    assert text == '{"columns":["energy"],"frequencies":[0.0],"processes":[]}'
    assert Schema.from_json(SCHEMA.to_json()) == SCHEMA


@pytest.mark.parametrize(
    ("name", "unit", "message"),
    [
        ("alpha_iso", "", "column of hpcml's own"),
        ("positions", "", "column of hpcml's own"),
        ("log S", "", "cannot name a column"),
        ("", "", "cannot name a column"),
        ("1st", "", "cannot name a column"),
        ("name_offsets", "", "means something else"),
        ("Lattice", "", "means something else"),
        ("x", "a\nb", "is no unit"),
    ],
)
def test_names_that_cannot_be(name, unit, message):
    with pytest.raises(InputError, match=message):
        own_column(name, unit, "")


def test_a_schema_is_checked_when_it_is_read():
    with pytest.raises(InputError, match="column of hpcml's own"):
        Schema.from_json('{"columns":[],"own":[{"name":"energy","unit":"","description":""}]}')
    twice = SCHEMA.to_json().replace('"share_logS"],', '"logS"],')
    with pytest.raises(InputError, match="stands twice"):
        Schema.from_json(twice)
