"""Every export read back by the program it is for."""

import csv
import json
import sys
from pathlib import Path

import ase.io
import numpy as np
import pyarrow.parquet
import pytest
import torch
from qcelemental.models import AtomicResult
from torch_geometric.data.data import Data, DataEdgeAttr, DataTensorAttr
from torch_geometric.data.storage import GlobalStorage
from torch_geometric.loader import DataLoader

from hpcml.errors import PlatformError, SettingsError
from hpcml.molecules import Molecule, read
from hpcml.store import Dataset, Row, Schema, ShardWriter, export, to_pyg

ROWS = 9


@pytest.fixture
def data(tmp_path, schema, make_row):
    with ShardWriter(tmp_path / "d", schema, "a", rows_per_shard=4) as writer:
        for number in range(ROWS - 1):
            writer.append(make_row(number))
        odd = Molecule([2], [[0, 0, 0]], name='he said: "x" \\ =\n,', smiles="[He]")
        writer.append(Row("f" * 32, odd, {}, {"nan": float("nan")}))
    return Dataset.open(tmp_path / "d")


def test_extended_xyz_through_ase(data, tmp_path, make_row):
    path = tmp_path / "out.xyz"
    assert export(data, "extxyz", path) == ROWS
    frames = ase.io.read(path, ":", format="extxyz")
    assert len(frames) == ROWS
    for number, frame in enumerate(frames[:-1]):
        row = make_row(number)
        assert np.array_equal(frame.numbers, row.molecule.numbers)
        assert np.array_equal(frame.positions, row.molecule.positions)
        assert frame.info["key"] == f"k{row.key}"
        assert frame.info["name"] == row.molecule.name
        assert frame.info["charge"] == row.molecule.charge
        assert frame.info["energy_au"] == row.values["energy"]
        assert frame.calc is None  # nothing was taken for an energy in eV
        assert np.array_equal(frame.info["dipole_au"], row.values["dipole"])
        beta = frame.info["hyperpolarizability_au"].reshape(2, 3, 3, 3)
        assert np.array_equal(beta, row.values["hyperpolarizability"])
        assert np.array_equal(frame.arrays["share_zpve_au"], row.values["share_zpve"])
    assert frames[-1].info["name"].startswith('he said: "x" \\ =')
    assert "energy_au" not in frames[-1].info


def test_extended_xyz_through_our_own_reader(data, tmp_path):
    path = tmp_path / "out.xyz"
    export(data, "extxyz", path)
    assert [m.key for m in read(path)] == list(data.molecule_keys)


def test_csv(data, tmp_path, make_row):
    path = tmp_path / "out.csv"
    assert export(data.folder, "csv", path) == ROWS
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == ROWS
    for number, line in enumerate(lines[:-1]):
        row = make_row(number)
        assert line["key"] == row.key
        assert float(line["energy [Eh]"]) == row.values["energy"]
        xy = next(v for k, v in line.items() if k.startswith("polarizability:0.0428:xy"))
        assert float(xy) == row.values["polarizability"][1, 0, 1]
        zxy = next(v for k, v in line.items() if k.startswith("hyperpolarizability:shg,0.0428,"
                                                              "0.0428:zxy"))  # fmt: skip
        assert float(zxy) == row.values["hyperpolarizability"][1, 2, 0, 1]
    assert lines[-1]["name"] == 'he said: "x" \\ =\n,'
    assert lines[-1]["energy [Eh]"] == ""


def test_parquet(data, tmp_path, make_row):
    path = tmp_path / "out.parquet"
    export(data, "parquet", path)
    table = pyarrow.parquet.read_table(path)
    assert table.num_rows == ROWS
    assert table.schema.field("energy").metadata[b"unit"] == b"Eh"
    for number, record in enumerate(table.to_pylist()[:-1]):
        row = make_row(number)
        assert record["key"] == row.key
        assert record["numbers"] == row.molecule.numbers.tolist()
        assert record["positions"] == row.molecule.positions.ravel().tolist()
        assert record["beta_parallel:static"] == row.values["beta_parallel"][0]
        assert record["share_zpve"] == row.values["share_zpve"].tolist()
        frequencies = row.values["vibrational_frequencies"]
        assert record["vibrational_frequencies"] == frequencies.tolist()
        assert json.loads(record["provenance"]) == row.provenance


def test_qcschema_is_valid(data, tmp_path, make_row):
    path = tmp_path / "out.jsonl"
    export(data.subset(range(ROWS - 1)), "qcschema", path)
    for number, line in enumerate(path.read_text().splitlines()):
        row = make_row(number)
        result = AtomicResult.parse_raw(line)
        assert result.properties.return_energy == row.values["energy"]
        assert list(result.molecule.symbols) == row.molecule.symbols
        bohr = np.asarray(result.molecule.geometry)
        assert bohr * 0.529177210903 == pytest.approx(row.molecule.positions, abs=1e-7)
        assert result.molecule.molecular_charge == row.molecule.charge
        assert result.return_result["polarizability"] == row.values["polarizability"].tolist()


def test_qcschema_of_a_calculation(tmp_path):
    """Basis, program version, dipole and energy where other programs look for them."""
    written = Dataset.open(Path(__file__).parent / "data" / "written_by_0_1_0")
    path = tmp_path / "out.jsonl"
    export(written, "qcschema", path)
    results = [AtomicResult.parse_raw(line) for line in path.read_text().splitlines()]
    assert [result.model.basis for result in results] == ["STO-3G"] * 3
    assert {result.model.method for result in results} == {"HF"}
    assert {(r.provenance.creator, r.provenance.version) for r in results} == {("Psi4", "1.3.2")}
    assert [result.properties.calcinfo_nbasis for result in results] == [8, 7, 6]
    for result, row in zip(results, written, strict=True):
        assert result.properties.scf_dipole_moment == pytest.approx(row.values["dipole"])
        assert result.properties.scf_total_energy == float(row.values["energy"])
        assert np.shape(result.return_result["hyperpolarizability"]) == (2, 3, 3, 3)


def test_qcschema_has_isotopes(tmp_path, schema, make_row):
    heavy = Molecule([8, 1, 1], [[0, 0, 0.1], [0, 0.8, -0.5], [0, -0.8, -0.5]], isotopes=[0, 2, 0])
    with ShardWriter(tmp_path / "d", schema, "a") as writer:
        writer.append(Row("a" * 32, heavy, make_row(0).values | {"vibrational_frequencies": []}
                          | {f"share_{n}": np.zeros(3) for n in ("zpve", "alpha_iso",
                                                                 "beta_parallel")}))  # fmt: skip
    export(tmp_path / "d", "qcschema", tmp_path / "out.jsonl")
    result = AtomicResult.parse_raw((tmp_path / "out.jsonl").read_text())
    assert result.molecule.mass_numbers.tolist() == [16, 2, 1] or (
        result.molecule.mass_numbers.tolist() == [-1, 2, -1]
    )
    assert result.molecule.masses[1] == pytest.approx(2.0141, abs=1e-4)


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", "-1+2", "@SUM(A1)", "\t=1", " =1"])
def test_a_spreadsheet_takes_no_text_for_a_formula(tmp_path, name):
    molecule = Molecule([2], [[0, 0, 0]], name=name, smiles="=C")
    schema = Schema(columns=("energy",))
    with ShardWriter(tmp_path / "d", schema, "a") as writer:
        writer.append(Row("a" * 32, molecule, {"energy": np.array(-1.5)}))
    export(tmp_path / "d", "csv", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        line = next(csv.DictReader(file))
    assert (line["name"], line["smiles"], line["energy [Eh]"]) == (f"'{name}", "'=C", "-1.5")


def test_pytorch_geometric(data, tmp_path, make_row):
    path = tmp_path / "out.pt"
    export(data, "pyg", path)
    known = [Data, DataEdgeAttr, DataTensorAttr, GlobalStorage]
    with torch.serialization.safe_globals(known):
        read_back = torch.load(path, weights_only=True)
    assert {type(graph) for graph in read_back} == {Data}
    for graphs in (to_pyg(data), read_back):
        assert len(graphs) == ROWS
        for number, graph in enumerate(graphs[:-1]):
            row = make_row(number)
            assert graph.z.tolist() == row.molecule.numbers.tolist()
            assert graph.alpha_iso.tolist() == [row.values["alpha_iso"].tolist()]
            assert graph.share_zpve.tolist() == row.values["share_zpve"].tolist()
        batch = next(iter(DataLoader(graphs[:4], batch_size=4)))
        assert batch.beta_parallel.shape == (4, 2)
        assert batch.num_graphs == 4


@pytest.mark.parametrize(
    ("form", "module"),
    [("pyg", "torch_geometric.data"), ("parquet", "pyarrow")],
)
def test_a_missing_library_says_how_to_get_it(data, tmp_path, monkeypatch, form, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(PlatformError, match="pip install"):
        export(data, form, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unknown_form_names_the_known_ones(data, tmp_path):
    with pytest.raises(SettingsError, match="extxyz, csv, parquet"):
        export(data, "xlsx", tmp_path / "out")


def test_an_export_that_fails_leaves_nothing(data, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(Exception, match="out"):
        export(data, "csv", tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir() if p.name not in ("d", "out")] == []
