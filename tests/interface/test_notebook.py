"""What a notebook does: molecules computed, a network trained, predictions explained, tables."""

import doctest
import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import hpcml
from hpcml.errors import InputError, PlatformError
from hpcml.interface import tables
from hpcml.store import Dataset

ROOT = Path(__file__).parents[2]
SMALL = ROOT / "jobs/study/small"
PARTS = ("computing", "trained_network", "opened")
MODULES = ("hpcml", *(f"hpcml.interface.{name}" for name in PARTS))


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    from hpcml.training import TrainSettings

    settings = TrainSettings(
        model="dtnn", hyperparameters={"passes": 1}, epochs=8, train=64, validation=16
    )
    return hpcml.train(SMALL, tmp_path_factory.mktemp("network"), settings=settings)


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_in_docstrings_run(module, request, monkeypatch):
    monkeypatch.chdir(ROOT)
    found = doctest.DocTestFinder().find(importlib.import_module(module))
    runner = doctest.DocTestRunner(verbose=False)
    for test in found:
        test.globs["getfixture"] = request.getfixturevalue
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0
    assert runner.tries > 0


def test_several_molecules_are_computed_and_one_that_fails_is_named():
    lithium = hpcml.Molecule([3], [[0.0, 0.0, 0.0]], multiplicity=2, name="unknown basis")
    water = hpcml.interface.given_molecules.as_molecule("O")
    heavy = hpcml.Molecule([92], [[0.0, 0.0, 0.0]], name="uranium")
    found = hpcml.compute([water, heavy, lithium], "HF", "6-31G", ["dipole", "alpha"], threads=1)
    assert [one.molecule.name for one in found] == ["O", "unknown basis"]
    assert list(found.failures) == ["uranium"]
    frame = found.to_pandas()
    assert frame["alpha_iso [a0^3]"][0] == pytest.approx(
        np.trace(found[0].properties.polarizability[0].tensor) / 3
    )
    assert "polarizability, static" in repr(found[0])
    assert found._repr_html_().count("<tr>") == 3


def test_predictions_are_those_of_the_network(network):
    data = hpcml.open(SMALL)[:3]
    told = network.predict(data.molecules)
    alone = [network.predict(one).values["alpha_iso"][0] for one in data.molecules]
    np.testing.assert_allclose(told.values["alpha_iso"], alone, rtol=1e-5)
    assert list(told.to_pandas().columns) == ["name", "alpha_iso [a0^3]", "warnings"]
    assert any(
        "force field" in line or "heavy" in line for line in network.predict("CCCCCCCC").warnings[0]
    )


def test_an_explanation_adds_up_and_is_drawn(network):
    data = hpcml.open(SMALL)[:3]
    found = network.explain(data.molecules, rule="gamma")
    assert [len(atoms) for atoms in found.atoms] == [len(one) for one in data.molecules]
    whole = network.explain(data.molecules, rule="atomic_terms")
    sums = [values.sum() for values in whole.booked]
    np.testing.assert_allclose(sums, whole.prediction, rtol=1e-4)
    html = found._repr_html_()
    assert html.count("<svg") == 3
    assert len(found.to_pandas()) == sum(len(one) for one in data.molecules)


def test_the_score_wants_shares(network):
    score = hpcml.reasons_score(network, SMALL, rule="atomic_terms", part="validation")
    assert score.molecules == 16
    assert -1.0 <= score.rank <= 1.0
    with pytest.raises(InputError, match="no row of the network's part"):
        hpcml.reasons_score(network, Dataset.open(SMALL).subset([]), part="all")


def test_a_data_set_shows_itself():
    data = hpcml.open(SMALL)
    part = data[5:9]
    assert type(part) is type(data)
    assert part.keys.tolist() == data.keys[5:9].tolist()
    nitrogen = data.filter(lambda molecule: 7 in molecule.numbers)
    assert 0 < len(nitrogen) < len(data)
    frame = part.to_pandas()
    alpha = next(name for name in frame.columns if name.startswith("alpha_iso"))
    assert frame[alpha].tolist() == part.scalar("alpha_iso").tolist()
    html = data._repr_html_()
    assert f"20 of {len(data):,} rows" in html
    assert html.count("<svg") == 20


def test_a_name_is_text_and_no_markup():
    assert "<script>" not in tables.html_table({"name": ["<script>alert(1)</script>"]})


def test_without_pandas_the_mending_command_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(PlatformError, match=re.escape("pip install 'hpcml[notebook]'")):
        tables.to_pandas({"a": [1]})


def test_no_molecules_is_said():
    with pytest.raises(InputError, match="no molecules"):
        hpcml.compute([])
    with pytest.raises(InputError, match="does not parse"):
        hpcml.compute("C1CC")
