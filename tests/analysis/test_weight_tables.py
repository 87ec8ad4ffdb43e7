"""Tables of weights: a network whose weights were changed by hand, and the published one."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec import json

from hpcml.analysis.weight_tables import analyze_weights, write_weights
from hpcml.errors import InputError
from hpcml.models import build, unit_scaling
from hpcml.molecules.features import ATOM_FEATURES
from hpcml.report.weight_figure import weight_figure
from hpcml.training import Target, TrainSettings
from hpcml.training.model_file import ModelInfo, save_model

PUBLISHED = Path(__file__).parents[1] / "models" / "data" / "ani-1ccx"


def saved(folder, name, change, seed=7, hyperparameters=None):
    """A run's folder as training leaves it, its first weights changed by hand."""
    torch.manual_seed(seed)
    model = build(name, hyperparameters, scaling=unit_scaling(1))
    with torch.no_grad():
        change(model)
    info = ModelInfo(
        model=name,
        hyperparameters=hyperparameters or {},
        targets=(Target(name="energy"),),
        units=("Eh",),
        scaling=unit_scaling(1),
    )
    folder.mkdir()
    (folder / "settings.json").write_bytes(json.encode(TrainSettings(seed=seed)))
    save_model(folder, model.state_dict(), info)
    return folder


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_planted_direction_and_feature(tmp_path):
    """A direction in a hidden layer, a feature three times as large: told, and nothing else."""
    grown = ATOM_FEATURES[2]

    def change(model):
        hidden = model.atom_dense[0].weight
        direction = torch.ones(hidden.shape) / hidden.numel() ** 0.5
        hidden += 3.0 * torch.linalg.matrix_norm(hidden, 2) * direction
        model.atom_updates[0].atom_to_atom[0].weight[:, 2] *= 3.0

    small = {"fully_connected": [30], "representation": 32}
    found = analyze_weights(saved(tmp_path / "model", "weave", change, hyperparameters=small))
    files = write_weights(found, tmp_path / "analysis")
    table = {line["layer"]: line for line in read(files["weights"])}
    assert "pair_updates.0.dense.0" in table
    changed = table.pop("atom_dense.0")
    assert (changed["above"], changed["above_own"], changed["initial_above"]) == ("1", "1", "0")
    table.pop("atom_updates.0.atom_to_atom.0")
    for line in table.values():
        assert (line["above"], line["largest"]) == ("0", line["initial_largest"])
    values = [line for line in read(files["weight_spectra"]) if line["layer"] == "atom_dense.0"]
    assert len(values) == min(int(changed["outputs"]), int(changed["inputs"]))
    growth = {
        (line["layer"], line["feature"]): float(line["growth"])
        for line in read(files["weight_inputs"])
    }
    assert growth.pop(("atom_updates.0.atom_to_atom.0", grown)) == pytest.approx(3.0)
    assert set(growth.values()) == {1.0}
    lines = found.lines()
    assert lines[0].startswith("2 of 13 ")  # a feature three times as large is a direction too
    assert any(line.startswith(f"  {grown}: 3.00 times") for line in lines)


def test_figure_is_the_same_each_time_and_has_every_layer(tmp_path):
    found = analyze_weights(saved(tmp_path / "model", "dtnn", lambda model: None))
    text = weight_figure(found.spectra)
    assert text == weight_figure(found.spectra)
    for name, one in found.spectra.items():
        assert name + (" *" if one.begins_at_zero else "") in re.findall(r">([^<>]+)</text>", text)


def test_layers_that_begin_at_zero_and_inputs_without_names(tmp_path):
    """DTNN begins with no interaction and no output."""

    def change(model):
        model.interaction.weight += 1.0

    found = analyze_weights(saved(tmp_path / "model", "dtnn", change))
    assert found.spectra["interaction"].begins_at_zero
    lines = found.lines()
    assert "2 begin at zero" in lines[0]
    assert "no names" in lines[-1]
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis" / "weight_inputs.csv").write_text("of another network")
    assert set(write_weights(found, tmp_path / "analysis")) == {"weights", "weight_spectra"}
    assert not (tmp_path / "analysis" / "weight_inputs.csv").exists()


def test_published_network():
    """The trained one stands out of chance, and its norms are those of its files."""
    found = analyze_weights(PUBLISHED)
    raw = np.fromfile(next(PUBLISHED.rglob("ANN-H.nnf-l1.wparam")), dtype="<f4")
    layer = [line for line in found.inputs if line["layer"] == "members.0.hidden.0.0"]
    assert sum(float(str(line["norm"])) ** 2 for line in layer) == pytest.approx(
        float((raw.astype(np.float64) ** 2).sum()), rel=1e-6
    )
    assert [line["feature"] for line in layer][:2] == ["radial H", "radial C"]
    assert found.spectra["members.0.hidden.0.0"].summary()["above_own"] > 0


def test_no_network_is_one_line(tmp_path):
    with pytest.raises(InputError, match="no trained model"):
        analyze_weights(tmp_path)
