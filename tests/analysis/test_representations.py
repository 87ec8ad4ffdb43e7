"""Vectors on disk and their analysis, beside the networks asked molecule by molecule."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from hpcml.analysis import compression
from hpcml.analysis.chemical_labels import atom_labels, molecule_labels
from hpcml.analysis.perception import Perceived
from hpcml.analysis.representation_tables import analyze_representations
from hpcml.analysis.vector_rows import VectorRows, write_vectors
from hpcml.errors import InputError
from hpcml.models import build, collate, example, unit_scaling
from hpcml.molecules import molecule_from_smiles
from hpcml.pipeline import look_inside
from hpcml.store import Dataset, Row, Schema, ShardWriter
from hpcml.training import Target
from hpcml.training.model_file import ModelInfo, save_model

PUBLISHED = Path(__file__).parents[1] / "models" / "data" / "ani-1ccx"
SMILES = [
    *("CCO", "CCN", "CC(=O)O", "C1CC1", "CCCC", "OCCO", "CC#N", "NCC=O", "c1ccccc1", "c1ccoc1"),
    *("CO", "C=CC", "CC(C)C", "C1CCC1", "COC", "CC=O", "NC=O", "C#CC", "c1ccncc1", "CCCO"),
    *("OC=O", "CC(C)O", "C1CO1", "CNC", "OO", "NCCO", "CCC#N", "CC(C)=O"),
]
FLUORINE = SMILES.index("COC")
NETWORKS = {
    "weave": ("weave", {"hidden": 8, "representation": 6, "fully_connected": (9, 7)}),
    "weave, no hidden layers": ("weave", {"representation": 6, "fully_connected": ()}),
    "weave, sum": ("weave", {"hidden": 8, "representation": 6, "readout": "sum"}),
    "graphconv": ("graphconv", {"hidden": (8,), "dense": 6}),
    "dtnn": ("dtnn", {"coefficients": 6, "factors": 8, "output": 4}),
    "ani": ("ani", {"hidden": [[12, 6]] * 4}),
    "painn": ("painn", {"features": 6, "interactions": 1}),
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Twenty-eight molecules in shards of ten rows, with charges and shares; one has fluorine,
    which ANI-1ccx does not know."""
    folder = tmp_path_factory.mktemp("data") / "dataset"
    columns = ("energy", "alpha_iso", "share_alpha_iso", "mulliken_charges")
    schema = Schema(columns=columns, frequencies=(0.0,))
    random = np.random.default_rng(0)
    with ShardWriter(folder, schema, "test", rows_per_shard=10) as writer:
        for number, smiles in enumerate(SMILES):
            molecule = molecule_from_smiles("CF" if number == FLUORINE else smiles)
            share = molecule.numbers + 0.1 * random.normal(size=len(molecule))
            values = {
                "energy": np.array(-float(len(molecule))),
                "alpha_iso": np.array([share.sum()]),
                "share_alpha_iso": share,
                "mulliken_charges": random.normal(size=len(molecule)),
            }
            writer.append(Row(f"{number:032x}", molecule, values, {}))
    return Dataset.open(folder)


def network(kind):
    """A network with nothing at its initial value, and what is known of it."""
    name, hyperparameters = NETWORKS[kind]
    torch.manual_seed(1)
    model = build(name, hyperparameters, scaling=unit_scaling(1)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) / max(1, parameter.shape[-1]) ** 0.5)
    info = ModelInfo(model=name, hyperparameters=hyperparameters, scaling=unit_scaling(1),
                     targets=(Target(name="alpha_iso"),), units=("a0^3",))  # fmt: skip
    return model, info


def heads(model, molecules, batch):
    """The prediction from the molecules' vectors, by the network's own last layers."""
    if type(model).__name__ == "GraphConv":
        return model.readout(model.head(molecules), batch)
    return model.molecule_readout(model.head[-1](molecules), batch)


@pytest.mark.parametrize("kind", NETWORKS)
def test_vectors_are_what_the_network_predicts_from(kind, dataset):
    model, _ = network(kind)
    batch = collate([example(dataset.molecules[row], model.inputs) for row in range(6)])
    with torch.no_grad():
        atoms = model.representation(batch)
        molecules = model.molecule_representation(atoms, batch)
        prediction = model(batch)
        if kind in ("weave", "weave, no hidden layers", "graphconv"):
            torch.testing.assert_close(heads(model, molecules, batch), prediction)
        else:
            for row in range(6):
                torch.testing.assert_close(molecules[row], atoms[batch.molecule == row].mean(dim=0))


@pytest.mark.parametrize("kind", ["weave", "ani"])
def test_rows_are_those_of_the_data_set(kind, dataset, tmp_path):
    """Row for row, NaN where the network cannot take a molecule; and nothing is made twice."""
    model, info = network(kind)
    rows = write_vectors(dataset, model, info, tmp_path)
    for row in range(len(dataset)):
        found = rows[row]
        if kind == "ani" and row == FLUORINE:
            assert np.isnan(found.atoms).all() and np.isnan(found.molecule).all()
            continue
        batch = collate([example(dataset.molecules[row], model.inputs)])
        with torch.no_grad():
            atoms = model.representation(batch)
            whole = model.molecule_representation(atoms, batch)
        np.testing.assert_allclose(found.atoms, atoms, atol=2e-5)
        np.testing.assert_allclose(found.molecule, whole[0], atol=2e-5)
    for level in ("atoms", "molecules"):
        places, vectors = (np.concatenate(p) for p in zip(*rows.blocks(level), strict=True))
        lost = (kind == "ani") * (len(dataset.molecules[FLUORINE]) if level == "atoms" else 1)
        total = int(dataset.atom_offsets[-1]) if level == "atoms" else len(dataset)
        assert len(places) == total - lost and np.isfinite(vectors).all()
        some, again = rows.some(level, np.array([2, 15, 27]))
        where = np.searchsorted(places, some)
        np.testing.assert_array_equal(again, vectors[where])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.h5")}
    write_vectors(dataset, model, info, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    first = rows[0].atoms
    with torch.no_grad():
        list(model.parameters())[2].add_(1.0)
    changed = write_vectors(dataset, model, info, tmp_path)
    assert not np.array_equal(changed[0].atoms, first)
    shutil.rmtree(tmp_path / "shards")
    (tmp_path / "manifest.jsonl").unlink()
    with pytest.raises(InputError, match="no vectors of shard"):
        VectorRows(tmp_path, dataset)


def test_labels_are_those_of_the_molecules(dataset):
    perceived = Perceived(dataset.molecules, dataset.atom_offsets)
    atoms = {label.name: label for label in atom_labels(dataset, perceived).labels}
    ethanol = slice(0, 9)
    assert [atoms["element"].kinds[k] for k in atoms["element"].values[ethanol]] == list(
        "CCOHHHHHH"
    )
    assert atoms["in a ring"].values[ethanol].tolist() == [0, 0, 0, *[-1] * 6]
    assert atoms["bonded hydrogens"].values[:3].tolist() == [3, 2, 1]
    assert atoms["alcohol"].values[ethanol].sum() == 2  # the oxygen and its hydrogen
    np.testing.assert_array_equal(
        atoms["Mulliken charge"].values, dataset.column("mulliken_charges")
    )
    assert "share of alpha_iso" in atoms
    targets = (Target(name="alpha_iso"), Target(name="zpve"))
    molecules = {one.name: one for one in molecule_labels(dataset, perceived, targets).labels}
    assert molecules["atoms"].values[0] == 9 and molecules["heteroatoms"].values[0] == 1
    ring = [SMILES.index(one) for one in ("C1CC1", "c1ccccc1", "C1CO1", "c1ccncc1")]
    assert molecules["with a ring"].values[ring].all()
    assert molecules["aromatic"].values[ring].tolist() == [0, 1, 0, 1]
    assert "target alpha_iso" in molecules and "target zpve" not in molecules


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_published_network_looked_into(dataset, tmp_path, monkeypatch):
    """Its hidden layer belongs to an element, so that elements are read off it without an error."""
    monkeypatch.setattr(compression, "STEPS", 30)
    monkeypatch.setattr(compression, "EPOCHS", 1)
    lines, files = look_inside(dataset, PUBLISHED, tmp_path / "vectors", tmp_path / "tables")
    assert lines[0].startswith("ani:") and any("autoencoder of width 2" in one for one in lines)
    assert all(path.stat().st_size > 100 for path in files)
    probed = {
        (line["level"], line["vectors"], line["label"]): line
        for line in read(tmp_path / "tables" / "representation_probes.csv")
    }
    element = probed["atoms", "network", "element"]
    assert float(element["score"]) > 0.99 and abs(float(element["shuffled"]) - 0.5) < 0.2
    assert {key[1] for key in probed} == {
        *("network", "untrained network", "PCA of width 2", "autoencoder of width 2"),
        *("PCA of width 8", "autoencoder of width 8"),
    }
    assert ("atoms", "network", "Mulliken charge") in probed
    labels = read(tmp_path / "tables" / "representation_labels.csv")
    mine = [line for line in labels if line["level"] == "atoms" and line["label"] == "element"]
    assert max(float(line["r2"]) for line in mine) > 0.5
    assert max(abs(float(line["r2_within"])) for line in mine) < 1e-6
    rows = VectorRows(tmp_path / "vectors", dataset)
    known = np.concatenate([v for _, v in rows.blocks("atoms")]).astype(float)
    known = (known - known.mean(axis=0)) / np.where(np.ptp(known, axis=0) > 0, known.std(axis=0), 1)
    ends = read(tmp_path / "tables" / "representation_ends.csv")
    outer = [e for e in ends if (e["level"], e["direction"], e["side"]) == ("atoms", "1", "high")]
    along = np.linalg.svd(known, full_matrices=False)[0][:, 0] * np.sqrt(len(known))
    both = [along.max(), -along.min()]  # the sign of a singular vector is free
    assert min(abs(float(outer[0]["score"]) - one) for one in both) < 1e-2
    assert len({e["row"] for e in outer}) == 3


def test_bad_input_is_one_line(dataset, tmp_path):
    with pytest.raises(InputError, match="no trained model"):
        analyze_representations(dataset, tmp_path, tmp_path / "vectors")
    info = ModelInfo(model="linear", hyperparameters={}, scaling=unit_scaling(1),
                     targets=(Target(name="alpha_iso"),), units=("a0^3",))  # fmt: skip
    save_model(tmp_path, build("linear").state_dict(), info)
    with pytest.raises(InputError, match="linear has no representation to look into"):
        analyze_representations(dataset, tmp_path, tmp_path / "vectors")
    few = dataset.subset(np.arange(12))
    with pytest.raises(InputError, match=r"12 molecules .* from 20 on"):
        analyze_representations(few, PUBLISHED, tmp_path / "vectors")
    fluorine = dataset.subset(np.array([FLUORINE]))
    with pytest.raises(InputError, match="can take none of 1 molecules: "):
        analyze_representations(fluorine, PUBLISHED, tmp_path / "other")
