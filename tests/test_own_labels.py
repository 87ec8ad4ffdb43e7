"""Labels of one's own, from a table to the reasons of a network that learned them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import hpcml
from hpcml import config
from hpcml.analysis import analyze
from hpcml.cli.main import main
from hpcml.relevance import ExplainSettings
from hpcml.relevance.explain_stage import explain_dataset
from hpcml.store import export
from hpcml.training import train
from hpcml.training.world import Alone

SMILES = """
CCO CC(C)O CCC OCCO CCCO COC CC CO C1CC1 C1CCO1 CC(=O)C CC=O C=C C=CC C#C CC#N
NCC NC CNC CCN OC1CC1 CC(C)C CCCC C1CCC1 CN(C)C OCC=C NCCO C=CO O CC(O)C#C
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A property that is 1 for each oxygen and 0.1 for each other heavy atom, with its shares."""
    path = tmp_path_factory.mktemp("own")
    lines = ["smiles,my own,parts"]
    for smiles in SMILES.split():
        shares = [1.0 if letter == "O" else 0.1 for letter in smiles if letter in "CNO"]
        lines.append(f"{smiles},{sum(shares)},{' '.join(map(str, shares))}")
    (path / "own.csv").write_text("\n".join(lines))
    words = ["import", "table", str(path / "own.csv"), "--to", str(path / "dataset")]
    assert main([*words, "--target", "oxygen=my own:eV", "--atom-target", "oxygen=parts:eV"]) == 0
    (path / "own.toml").write_text(
        'name = "own"\ndataset = "dataset"\n[train]\nmodel = "linear"\n'
        'target = { name = "oxygen", extensive = true }\nepochs = 10\npasses = 20\n'
        'learning_rate = 0.2\nscaling = "standardize"\n'
    )
    return path


def test_from_a_table_to_reasons(folder: Path) -> None:
    """One weight for each element is the truth here: the score with composition kept is one."""
    campaign = config.load(folder / "own.toml")
    assert campaign.train is not None
    data = hpcml.open(campaign.dataset)
    metrics = train(data, folder / "model", campaign.train, Alone())
    assert metrics["unit"] == "eV"
    assert metrics["test_mae"] < 0.1
    settings = ExplainSettings(rule="epsilon")
    explain_dataset(data, folder / "model", folder / "relevance", settings, Alone())
    files = analyze(data, folder / "relevance", folder / "model", folder / "analysis")
    with files["reasons"].open() as file:
        rows = list(csv.DictReader(file))
    kept = next(r for r in rows if r["of"] == "all atoms" and r["composition"] == "kept")
    assert float(kept["correlation"]) > 0.95
    assert export(data, "csv", folder / "out.csv") == len(SMILES.split())
    assert "oxygen [eV]" in (folder / "out.csv").read_text().splitlines()[0]
