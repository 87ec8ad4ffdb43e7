"""The table of faithfulness for a network that is known: a linear one."""

import csv

import numpy as np
import pytest
import torch

from hpcml.analysis.comparison import faithfulness
from hpcml.models import build, unit_scaling
from hpcml.molecules import molecule_from_smiles
from hpcml.store import Dataset, Row, Schema, ShardWriter
from hpcml.training import Target
from hpcml.training.model_file import ModelInfo, save_model

SMILES = ["CCO", "CCN", "CC(=O)O", "C1CC1", "CCCC", "OCCO", "CC#N", "NCC=O"]
WEIGHTS = {1: 0.3, 6: 1.0, 7: -2.0, 8: -1.0, 9: 0.0}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faithfulness") / "dataset"
    with ShardWriter(folder, Schema(columns=("energy",)), "test") as writer:
        for number, smiles in enumerate(SMILES):
            values = {"energy": np.array(0.0)}
            writer.append(Row(f"{number:032x}", molecule_from_smiles(smiles), values, {}))
    return Dataset.open(folder)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """One weight for each element, no bias."""
    folder = tmp_path_factory.mktemp("model")
    model = build("linear", {}, scaling=unit_scaling(1))
    with torch.no_grad():
        model.neuron.weight[0] = torch.tensor([WEIGHTS[z] for z in model.elements.tolist()])
        model.neuron.bias.zero_()
    info = ModelInfo(
        model="linear",
        hyperparameters={},
        targets=(Target(name="energy"),),
        units=("Eh",),
        scaling=unit_scaling(1),
    )
    save_model(folder, model.state_dict(), info)
    return folder


def expected_area(molecule):
    """Between the running sums of the largest and of the smallest weights first, 11 points."""
    weights = np.array([WEIGHTS[z] for z in molecule.numbers.tolist()])
    n = len(weights)
    removed = np.round(np.linspace(0.0, 1.0, 11) * n).astype(int)
    largest = np.concatenate([[0.0], np.cumsum(np.sort(weights)[::-1])])[removed]
    smallest = np.concatenate([[0.0], np.cumsum(np.sort(weights))])[removed]
    difference = largest - smallest
    return float(((difference[1:] + difference[:-1]) / 2).mean())


def test_table(dataset, model_folder, tmp_path):
    rules = ("epsilon", "gradient_times_input", "occlusion", "atomic_terms", "random")
    path = faithfulness(dataset, model_folder, tmp_path, rules=rules)
    with path.open(newline="") as file:
        rows = {row["rule"]: {k: float(v) for k, v in row.items() if k != "rule"}
                for row in csv.DictReader(file)}  # fmt: skip
    assert list(rows) == list(rules)
    area = np.mean([expected_area(molecule) for molecule in dataset.molecules])
    for rule in rules[:-1]:
        assert rows[rule]["flipping_area"] == pytest.approx(area, rel=1e-5)
        assert rows[rule]["symmetry"] == pytest.approx(0.0, abs=1e-6)
        assert rows[rule]["stability"] == 0.0
        assert rows[rule]["molecules"] == 8
    assert abs(rows["random"]["flipping_area"]) < area
    assert rows["random"]["symmetry"] > 0.5


def test_network_without_atomic_terms_has_no_such_line(dataset, tmp_path):
    torch.manual_seed(0)
    hyperparameters = {"hidden": [4], "dense": 4, "largest_degree": 4}
    model = build("graphconv", hyperparameters, scaling=unit_scaling(1))
    info = ModelInfo(
        model="graphconv",
        hyperparameters=hyperparameters,
        targets=(Target(name="energy"),),
        units=("Eh",),
        scaling=unit_scaling(1),
    )
    save_model(tmp_path, model.state_dict(), info)
    path = faithfulness(
        dataset, tmp_path, tmp_path / "out", rules=("epsilon", "atomic_terms"), molecules=3
    )
    with path.open(newline="") as file:
        assert [row["rule"] for row in csv.DictReader(file)] == ["epsilon"]
