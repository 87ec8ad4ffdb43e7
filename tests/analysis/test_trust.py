"""Checks of an explanation: of a network with known reasons, and of what deserves to fail."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hpcml.analysis import analyze, trust
from hpcml.analysis.account_checks import cancelled, carried, conserved, given
from hpcml.analysis.trust import trust_report
from hpcml.analysis.verdicts import FAILS, OPEN, PASSES
from hpcml.models import build, unit_scaling
from hpcml.molecules import molecule_from_smiles
from hpcml.relevance import ExplainSettings, brief_training, open_relevance
from hpcml.relevance.explain_stage import explain_dataset
from hpcml.report.trust_section import trust as section
from hpcml.store import Dataset, Row, Schema, ShardWriter
from hpcml.training import Target
from hpcml.training.model_file import ModelInfo, save_model
from hpcml.training.world import Alone

SMILES = [
    "NCCO", "OCC(N)C", "NCCCO", "NC(O)C", "CC(O)CN", "NCC(O)C", "C1C(N)C1O", "NC(C)CO",
    "NCC(N)C(O)CO", "OCC(N)C(O)CN", "NCC(O)C(N)O", "CCN", "CC=O", "OCCO", "NCCN", "CCC",
    "CC(=O)O", "CCOC", "CNC", "OCC(O)CO",
]  # fmt: skip
WEIGHTS = {1: 0.3, 6: 1.0, 7: 4.0, 8: -2.0}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Molecules of which half have as many nitrogens as oxygens."""
    folder = tmp_path_factory.mktemp("trust") / "dataset"
    with ShardWriter(folder, Schema(columns=("energy",)), "test") as writer:
        for number, smiles in enumerate(SMILES):
            values = {"energy": np.array(0.0)}
            writer.append(Row(f"{number:032x}", molecule_from_smiles(smiles), values, {}))
    return Dataset.open(folder)


def kept(folder, name, hyperparameters, model):
    info = ModelInfo(
        model=name, hyperparameters=hyperparameters, targets=(Target(name="energy"),),
        units=("Eh",), scaling=unit_scaling(1),
    )  # fmt: skip
    save_model(folder, model.state_dict(), info)
    return folder


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """One weight for each element, no bias: each atom is worth its weight."""
    model = build("linear", {}, scaling=unit_scaling(1))
    with torch.no_grad():
        weights = [WEIGHTS.get(z, 0.0) for z in model.elements.tolist()]
        model.neuron.weight[0] = torch.tensor(weights)
        model.neuron.bias.zero_()
    return kept(tmp_path_factory.mktemp("model"), "linear", {}, model)


@pytest.fixture
def reported(dataset, model_folder, tmp_path, monkeypatch):
    """reported(rule): check's name -> check, of a network explained by it, the linear one."""
    monkeypatch.setattr(brief_training, "_RATE", 0.1)  # a neuron alone wants larger steps

    def report(rule, model_folder=model_folder, steps=300):
        settings = ExplainSettings(rule=rule)
        explain_dataset(dataset, model_folder, tmp_path / "relevance", settings, Alone())
        rows = open_relevance(tmp_path / "relevance", dataset)
        analyze(dataset, rows, model_folder, tmp_path / "analysis")
        checks = trust_report(
            dataset, rows, model_folder, tmp_path / "analysis", settings, steps=steps
        )
        return {check.check: check for check in checks}

    return report


def test_exact_explanation_of_a_linear_network_passes(reported, model_folder, tmp_path):
    checks = reported("epsilon")
    undecided = {"randomized weights"}  # shuffled, four weights may lie much as they did
    assert {name: check.verdict for name, check in checks.items() if name not in undecided} == {
        name: PASSES for name in checks if name not in undecided
    }
    assert len(checks) == 11
    assert checks["rotation"].value == checks["displacement"].value == 0.0
    assert checks["symmetry"].value == pytest.approx(0.0, abs=1e-6)
    assert checks["given to atoms"].value == pytest.approx(1.0)
    # the prediction loses what the removed atoms are worth: half the area between the sorted sums
    with (tmp_path / "analysis" / trust.CURVES).open(newline="") as file:
        curves = list(csv.DictReader(file))
    numbers = [molecule_from_smiles(smiles).numbers.tolist() for smiles in SMILES]
    whole = np.mean([sum(WEIGHTS[z] for z in one) for one in numbers])
    for order in ("largest_first", "smallest_first", "random"):
        assert float(curves[-1][order]) == pytest.approx(-whole, rel=1e-5)
    caught = checks["planted bias"]
    assert "nitrogen" in caught.says and "oxygen" in caught.says and "caught" in caught.says
    assert caught.value > 1.0  # 1 with the own reason, and less than 0 with the other

    # the page shows them, and knows whose they are
    shown = section(tmp_path / "analysis", model_folder, "epsilon", "Eh")
    verdicts = [check.verdict for check in checks.values()]
    assert (shown.passed, shown.failed) == (verdicts.count(PASSES), verdicts.count(FAILS))
    assert [row[0] for row in shown.table.rows] == list(checks)
    assert not shown.warning
    assert len(shown.removal.fraction) == 11
    assert "earlier network" in section(tmp_path / "analysis", model_folder, "gamma", "Eh").warning
    assert section(tmp_path, model_folder, "epsilon", "Eh") is None


@pytest.mark.parametrize(
    ("blind", "failing"),
    [
        (lambda _, batch: batch.numbers.double(), ("randomized weights", "null test")),
        (lambda _, batch: torch.randn(batch.atoms).double(), ("rotation", "displacement")),
    ],
    ids=["atomic numbers", "noise"],
)
def test_what_does_not_look_at_the_network_fails(blind, failing, reported, monkeypatch):
    def explain(self, model, batch, target=None):
        return blind(model, batch)

    monkeypatch.setattr(trust._Asked, "explain", explain)
    checks = reported("epsilon")
    assert [checks[name].verdict for name in failing] == [FAILS, FAILS]
    assert checks["planted bias"].verdict != PASSES
    assert checks["removal"].verdict != PASSES


@pytest.mark.parametrize(
    ("name", "hyperparameters"),
    [
        ("graphconv", {"hidden": (8, 8), "dense": 8}),
        ("dtnn", {"passes": 2, "coefficients": 8, "factors": 8, "gaussians": 20}),
        ("ani", {"hidden": ((8, 8),) * 4}),
        ("painn", {"features": 8, "interactions": 2}),
        ("weave", {"hidden": 8, "representation": 8, "fully_connected": (8,)}),
    ],
)
def test_every_network_is_asked_every_question(name, hyperparameters, reported, tmp_path_factory):
    """Of random weights, which have learned nothing: what holds by construction must hold."""
    model = build(name, hyperparameters, scaling=unit_scaling(1))
    drawn = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in model.parameters():  # some networks begin with a last layer of zeros
            weights.add_(0.2 * torch.randn(weights.shape, generator=drawn))
    folder = tmp_path_factory.mktemp(name)
    checks = reported("gamma", kept(folder, name, hyperparameters, model), steps=20)
    assert len(checks) == 11
    # after so few steps a network may know neither of the reasons that are planted
    known = {check for check, found in checks.items() if np.isfinite(found.value)}
    assert known >= set(checks) - {"planted bias"}
    held = ("conservation", "rotation")
    assert {check: checks[check].verdict for check in held} == dict.fromkeys(held, PASSES)


def test_a_network_that_says_nothing_has_nothing_to_stand_out(reported, tmp_path_factory):
    hyperparameters = {"passes": 1, "coefficients": 4, "factors": 4, "gaussians": 4}
    model = build("dtnn", hyperparameters, scaling=unit_scaling(1))
    with torch.no_grad():
        for weights in model.parameters():
            weights.zero_()
    folder = tmp_path_factory.mktemp("silent")
    checks = reported("gamma", kept(folder, "dtnn", hyperparameters, model), steps=5)
    assert checks["null test"].verdict == OPEN


class Rows(SimpleNamespace):
    def __len__(self):
        return len(self.prediction)


def test_ledgers_that_are_no_account():
    """Of two molecules with two atoms each."""
    ledger = np.zeros((2, 5))

    def of(atoms, bias, prediction, cancellation):
        booked = ledger.copy()
        booked[:, 0] = bias
        return Rows(
            atoms=np.array(atoms), ledger=booked, prediction=np.array(prediction),
            offsets=np.array([0, 2, 4]), cancellation=np.array(cancellation),
        )  # fmt: skip

    sound = of([1.0, 1.0, 2.0, 2.0], 0.0, [2.0, 4.0], [1.0, 1.0])
    assert conserved(sound).verdict == given(sound).verdict == cancelled(sound).verdict == PASSES
    broken = of([1.0, 1.0, 2.0, 2.0], 0.0, [2.0, 4.1], [1.0, 1.0])
    assert conserved(broken).verdict == FAILS
    assert conserved(broken).value == pytest.approx(0.1 / 4.1)
    assert "of 1 molecules" in conserved(broken).says
    to_biases = of([0.1, 0.1, 0.1, 0.1], 3.0, [3.2, 3.2], [1.0, 1.0])
    assert given(to_biases).verdict == FAILS
    assert given(to_biases).value == pytest.approx(0.2 / 3.2)
    assert cancelled(of([9.0, -8.0, 9.0, -8.0], 0.0, [1.0, 1.0], [17.0, 17.0])).verdict == FAILS


def test_matched_pairs_are_those_of_the_analysis(tmp_path):
    assert carried(tmp_path).verdict == OPEN
    (tmp_path / "pairs_summary.csv").write_text(
        "part,change_of,with,transformation,correlation,low,high,carried,pairs\n"
        "all,relevance_changed,property,kept,0.9,0.8,0.95,1.0,30\n"
        "all,relevance_changed,prediction,kept,0.3,0.2,0.4,1.0,29\n"
    )
    check = carried(tmp_path)
    assert (check.value, check.low, check.high, check.count) == (0.3, 0.2, 0.4, 29)
    assert check.verdict == FAILS
