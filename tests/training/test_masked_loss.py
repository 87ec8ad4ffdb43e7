"""Rows with some targets alone, and targets that are yes or no, beside plain loops."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from rdkit.Chem.rdMolDescriptors import CalcNumRings

from hpcml.errors import InputError
from hpcml.models import build, collate, example
from hpcml.molecules import perceive
from hpcml.relevance import ExplainSettings, open_relevance
from hpcml.relevance.explain_stage import explain_dataset
from hpcml.store import Dataset, Row, Schema, ShardWriter
from hpcml.store.schema import own_column
from hpcml.training import Target, TrainSettings, load_ensemble, load_model, train
from hpcml.training.data import epoch_batches, find_candidates
from hpcml.training.optimization import masked_loss, scaled_loss
from hpcml.training.world import Alone

NAN = math.nan


@pytest.fixture(scope="module")
def own(molecules, tmp_path_factory) -> Dataset:
    """Atom count for two rows of three, hydrogens for two others, and whether there is a ring."""
    folder = tmp_path_factory.mktemp("own") / "dataset"
    columns = tuple(own_column(name, "", "") for name in ("size", "hydrogens", "ring"))
    schema = Schema(columns=("size", "hydrogens", "ring"), own=columns)
    with ShardWriter(folder, schema, "test") as writer:
        for number, molecule in enumerate(molecules):
            values = {
                "size": NAN if number % 3 == 0 else float(len(molecule)),
                "hydrogens": NAN if number % 3 == 1 else float((molecule.numbers == 1).sum()),
                "ring": NAN if number == 5 else float(CalcNumRings(perceive(molecule)) > 0),
            }
            arrays = {name: np.array(value) for name, value in values.items()}
            writer.append(Row(f"{number:032x}", molecule, arrays))
    return Dataset.open(folder)


# ---------------------------------------------------------------------------- the loss


def plain_loss(kind, output, values, scale, yes_or_no) -> float:
    total = 0.0
    for of_row, said in zip(output.tolist(), values.tolist(), strict=True):
        for y, v, s, yes in zip(of_row, said, scale.tolist(), yes_or_no.tolist(), strict=True):
            if math.isnan(v):
                continue
            if yes:
                p = 1.0 / (1.0 + math.exp(-y))
                total -= math.log(p if v else 1.0 - p)
                continue
            e = abs(y - v) / s
            total += {"mse": e**2, "mae": e, "huber": e**2 / 2 if e < 1 else e - 0.5}[kind]
    return total / values.shape[1]


@pytest.mark.parametrize("kind", ["mse", "mae", "huber"])
def test_what_is_not_known_has_no_loss_and_no_gradient(kind) -> None:
    random = torch.Generator().manual_seed(3)
    output = torch.randn(7, 3, dtype=torch.float64, generator=random).requires_grad_()
    values = torch.randn(7, 3, dtype=torch.float64, generator=random)
    values[:, 2] = (values[:, 2] > 0).double()
    values[1, 0] = values[2, 1] = values[2, 2] = values[5, 2] = NAN
    scale = torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)
    yes = torch.tensor([False, False, True])
    loss = masked_loss(kind, output, values, scale=scale, yes_or_no=yes)
    assert loss.item() == pytest.approx(plain_loss(kind, output, values, scale, yes), rel=1e-12)
    loss.backward()
    assert torch.isfinite(output.grad).all()
    assert (output.grad[torch.isnan(values)] == 0).all()
    assert (output.grad[~torch.isnan(values)] != 0).all()


def test_nothing_changes_where_nothing_is_missing() -> None:
    output, values = torch.randn(2, 6, 2, dtype=torch.float64)
    scale = torch.tensor([0.5, 3.0], dtype=torch.float64)
    none = torch.tensor([False, False])
    found = masked_loss("huber", output, values, scale=scale, yes_or_no=none)
    assert torch.equal(found, scaled_loss("huber", (output - values) / scale))


# ---------------------------------------------------------------------------- training


def test_training_on_incomplete_rows_is_that_of_a_plain_loop(own, tmp_path: Path) -> None:
    """Adam on the mean over the known values of each batch, written out."""
    targets = (Target(name="size"), Target(name="hydrogens"))
    settings = TrainSettings(
        model="linear",
        target=targets,
        epochs=2,
        batch_size=20,
        schedule="constant",
        learning_rate=0.05,
        precision="float64",
    )
    metrics = train(own, tmp_path, settings, Alone())
    assert sum(metrics["rows"].values()) == 80
    assert metrics["left_out"] == {}
    split = json.loads((tmp_path / "split.json").read_text())
    _, info = load_model(tmp_path)
    candidates = find_candidates(own, targets)
    place = {key: row for row, key in enumerate(candidates.keys)}
    order = np.array([place[key] for key in split["train"]])
    torch.manual_seed(settings.seed)
    model = build("linear", {}, scaling=info.scaling).double()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    losses = []
    for epoch in range(2):
        total = known = 0.0
        for batch in epoch_batches(order, 20, settings.seed, epoch):
            examples = [example(candidates.rows.molecules[row], model.inputs) for row in batch]
            output = model(collate(examples, torch.float64))
            terms = [
                ((output[i, t] - candidates.values[row, t]) / info.scaling.std[t]) ** 2
                for i, row in enumerate(batch)
                for t in range(2)
                if math.isfinite(candidates.values[row, t])
            ]
            loss = sum(terms)
            optimizer.zero_grad()
            (loss / len(terms)).backward()
            optimizer.step()
            total, known = total + loss.item(), known + len(terms)
        losses.append(total / known)
    assert len(order) == 64
    with (tmp_path / "metrics.csv").open() as file:
        told = [float(row["train_loss"]) for row in csv.DictReader(file)]
    np.testing.assert_allclose(told, losses, rtol=1e-9)


def test_yes_or_no(own, tmp_path: Path) -> None:
    settings = TrainSettings(
        model="linear",
        hyperparameters={"features": "atom_features"},
        target=Target(name="ring", yes_or_no=True, extensive=True),
        epochs=25,
        learning_rate=0.1,
        train=0.5,
        validation=0.2,
    )
    metrics = train(own, tmp_path, settings, Alone())
    assert metrics["left_out"] == {"no value of ring": 1}
    with (tmp_path / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    truth = np.array([float(row["reference"]) for row in rows])
    said = np.array([float(row["predicted"]) for row in rows])
    assert 0 <= said.min() <= said.max() <= 1
    learned = np.array([row["part"] == "train" for row in rows])
    errors = metrics["errors"]["ring"]
    assert errors["unit"] == "probability"
    assert errors["train"]["accuracy"] == np.mean((said > 0.5) == (truth > 0.5), where=learned)
    # area under the curve: how often a molecule with a ring has the higher probability
    yes, no = said[learned & (truth == 1)], said[learned & (truth == 0)]
    higher = (yes[:, None] > no).mean() + 0.5 * (yes[:, None] == no).mean()
    assert errors["train"]["roc_auc"] == pytest.approx(higher, abs=1e-12)
    assert errors["train"]["accuracy"] > 0.95  # a sum over atoms knows rings
    by_key = {row["key"]: value for row, value in zip(rows, said, strict=True)}
    mean, _ = load_ensemble(tmp_path).predict(list(own.molecules)[:2])
    assert mean[0, 0] == pytest.approx(by_key[own.keys[0]], rel=1e-5)
    explain_dataset(own, tmp_path, tmp_path / "relevance", ExplainSettings(rule="epsilon"), Alone())
    relevance = open_relevance(tmp_path / "relevance", own)
    assert relevance.unit == "logit"
    logits = np.array([relevance[row].prediction for row in range(4)])
    expected = [by_key[key] for key in own.keys[:4]]
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), expected, rtol=1e-4)


def test_what_is_neither_yes_nor_no(own) -> None:
    with pytest.raises(InputError, match=r"size is yes_or_no, expected 0 or 1: row 0+1 has 4"):
        find_candidates(own, (Target(name="size", yes_or_no=True),))


def test_a_target_without_any_value_is_named(own) -> None:
    with pytest.raises(InputError, match="no row has a value of size"):
        find_candidates(own.subset([0, 3]), (Target(name="size"), Target(name="hydrogens")))
