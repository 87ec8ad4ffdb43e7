"""Networks whose reasons are known are trained and asked: the score must say what is true."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hpcml.analysis import analyze
from hpcml.analysis.atom_traits import AtomTraits
from hpcml.analysis.perception import Perceived
from hpcml.analysis.reasons import molecule_of
from hpcml.models import build, collate, example, fit_scaling
from hpcml.molecules import molecule_from_smiles, read
from hpcml.relevance import LEDGER, ExplainSettings, explain_by
from hpcml.relevance.brief_training import train_briefly
from hpcml.store import Dataset, Row, Schema, ShardWriter, shards
from hpcml.training import ModelInfo, Target

QUICKSTART = Path(__file__).parents[2] / "jobs" / "quickstart.xyz"


def analyzed(folder, molecules, *, values, predicted, share, relevance, test):
    """reasons.csv of one target, and reasons_differences.csv, on the test molecules."""
    schema = Schema(columns=("energy", "alpha_iso", "share_alpha_iso"), frequencies=(0.0,))
    offsets = np.cumsum([0, *map(len, molecules)])
    with ShardWriter(folder / "dataset", schema, "test", rows_per_shard=1000) as writer:
        for row, molecule in enumerate(molecules):
            mine = share[offsets[row] : offsets[row + 1]]
            cells = {"energy": np.array(0.0), "alpha_iso": values[row : row + 1]}
            writer.append(Row(f"{row:032x}", molecule, cells | {"share_alpha_iso": mine}, {}))
    dataset = Dataset.open(folder / "dataset")
    (info,) = dataset.shards
    shard = dataset.shard(info.name)
    columns = {
        "key": shard.column("key"),
        "prediction": predicted,
        "ledger": np.zeros((info.rows, len(LEDGER))),
        "atom_offsets": shard.atom_offsets,
        "relevance": relevance,
    }
    about = {"source": info.checksum, "identity": "test", "model": "dtnn"}
    about |= {"target": '{"name": "alpha_iso"}', "unit": "a0^3", "rule": "atomic_terms"}
    shards.write(folder / "relevance", info.name, columns, about)
    (folder / "model").mkdir()
    keys = np.array([f"{row:032x}" for row in range(len(molecules))])
    split = {"train": keys[~test].tolist(), "validation": [], "test": keys[test].tolist()}
    (folder / "model" / "split.json").write_text(json.dumps(split))
    files = analyze(dataset, folder / "relevance", folder / "model", folder / "analysis")
    found = []
    for name, scored in (("reasons", "scored"), ("reasons_differences", "less")):
        with files[name].open(newline="") as file:
            rows = list(csv.DictReader(file))
        found.append(
            {
                (row[scored], row["composition"]): row
                for row in rows
                if (row["part"], row["of"]) == ("test", "all atoms")
            }
        )
    return found


def test_a_network_that_counts_hydrogens_is_right_for_wrong_reasons(tmp_path):
    """The target is as large as the number of hydrogens, and truly lies on heavy atoms by their
    neighbours.  A network that learns to count hydrogens predicts it well, and is caught."""
    molecules = list(read(QUICKSTART))
    offsets = np.cumsum([0, *map(len, molecules)])
    numbers = np.concatenate([molecule.numbers for molecule in molecules]).astype(int)
    traits = AtomTraits(numbers, Perceived(molecules, offsets))
    molecule = molecule_of(offsets)
    hydrogens = np.bincount(molecule, numbers == 1)
    weight = (numbers > 1) * (1.0 + 3.0 * traits.neighbours(8) + 2.0 * traits.neighbours(7))
    share = weight * (hydrogens / np.bincount(molecule, weight))[molecule]
    values = np.add.reduceat(share, offsets[:-1])
    np.testing.assert_allclose(values, hydrogens)

    test = np.arange(len(molecules)) % 4 == 0
    rows = np.flatnonzero(~test)
    learned = [molecules[row].numbers for row in rows]
    scaling = fit_scaling(learned, values[rows, None], extensive=True)
    info = ModelInfo(
        model="dtnn",
        hyperparameters={"passes": 2, "gaussians": 40, "farthest": 8.0},
        scaling=scaling,
        targets=(Target(name="alpha_iso"),),
        units=("a0^3",),
    )
    examples = [example(molecule, frozenset({"pairs"})) for molecule in molecules]
    targets = torch.from_numpy(values[rows, None])
    model = train_briefly(
        info, scaling, [examples[row] for row in rows], lambda some: targets[some], scaling.std
    )
    batch = collate(examples)
    with torch.no_grad():
        predicted = model(batch).double().numpy()[:, 0]
    atoms = explain_by(model, batch, ExplainSettings(rule="atomic_terms")).atoms.double().numpy()

    scores, less = analyzed(tmp_path, molecules, values=values, predicted=predicted, share=share,
                            relevance=atoms, test=test)  # fmt: skip
    spread = np.abs(values[test] - values[test].mean()).mean()
    assert float(scores["network", "removed"]["mae"]) < 0.2 * spread
    # below what the elements alone would say, and no better than another molecule's shares
    assert float(scores["network", "kept"]["rank_high"]) < 0.5
    assert float(less["element means", "kept"]["high"]) < 0.0
    assert float(less["element means", "kept"]["p_holm"]) < 0.001
    beyond = less["isomer's shares", "removed"]
    assert not (float(beyond["low"]) > 0.0 and float(beyond["p_holm"]) < 0.05)
    # what can be known of the shares from such totals: nothing, and the ceiling says so
    assert float(scores["additive fit", "kept"]["rank"]) < 0.0
    assert float(scores["additive fit", "kept"]["mae"]) < 0.2 * spread


def test_an_additive_network_has_the_score_one(tmp_path):
    """Linear regression on counts of elements, trained on a sum over elements."""
    smiles = ("CCO", "CCN", "CC(=O)O", "C1CC1", "CCCC", "OCCO", "CC#N", "NCC=O", "CCF", "C=CC=O",
              "FCCF", "NCCN", "CCC", "COC", "CNC", "OC=O")  # fmt: skip
    molecules = [molecule_from_smiles(s) for s in smiles]
    share = np.concatenate([1.0 + 0.3 * molecule.numbers**0.5 for molecule in molecules])
    offsets = np.cumsum([0, *map(len, molecules)])
    values = np.add.reduceat(share, offsets[:-1])
    scaling = fit_scaling([m.numbers for m in molecules], values[:, None], extensive=True)
    examples = [example(molecule, frozenset()) for molecule in molecules]
    model = build("linear", {}, scaling=scaling)
    targets, batch = torch.from_numpy(values)[:, None], collate(examples)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=500, tolerance_change=0.0)

    def loss():
        optimizer.zero_grad()
        found = (model(batch) - targets).square().mean()
        found.backward()
        return found

    optimizer.step(loss)
    with torch.no_grad():
        predicted = model(batch).double().numpy()[:, 0]
    atoms = explain_by(model, batch, ExplainSettings(rule="atomic_terms")).atoms.double().numpy()
    test = np.arange(len(molecules)) % 2 == 0
    scores, _ = analyzed(tmp_path, molecules, values=values, predicted=predicted, share=share,
                         relevance=atoms, test=test)  # fmt: skip
    assert float(scores["network", "kept"]["mae"]) < 0.01 * values.std()
    assert float(scores["network", "kept"]["correlation"]) == pytest.approx(1.0, abs=1e-3)
