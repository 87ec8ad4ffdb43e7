"""Probes of vectors in which it is known what there is to be read; compression beside numpy."""

import numpy as np
import pytest

from hpcml.analysis import compression
from hpcml.analysis.chemical_labels import Label, Labelled
from hpcml.analysis.probes import FOLDS, probes

ROWS = 1200


@pytest.fixture(scope="module")
def told():
    """Elements stand in one feature, a planted kind and number in two others, noise in the rest."""
    random = np.random.default_rng(0)
    element, kind = random.integers(0, 3, ROWS), random.integers(0, 2, ROWS)
    number = random.normal(size=ROWS)
    vectors = random.normal(size=(ROWS, 8))
    vectors[:, 0] = element + 0.01 * vectors[:, 0]
    vectors[:, 1] = kind + 0.01 * vectors[:, 1]
    vectors[:, 2] = 3.0 * number
    of_element = (element == 2).astype(np.int8)
    labels = (
        Label("planted", ("no", "yes"), kind.astype(np.int8)),
        Label("number", (), np.where(random.random(ROWS) < 0.3, np.nan, number)),
        Label("absent", ("no", "yes"), random.integers(0, 2, ROWS).astype(np.int8)),
        Label("element alone", ("no", "yes"), of_element),
        Label("rare", ("no", "yes"), (np.arange(ROWS) < 4).astype(np.int8)),
        Label("constant", (), np.ones(ROWS)),
    )
    molecule = np.arange(ROWS) // 10
    labelled = Labelled(labels, molecule, "element", element)
    return {line["label"]: line for line in probes(vectors, np.arange(ROWS), labelled)}


def test_what_is_there_is_read_and_what_is_not_is_chance(told):
    assert told["planted"]["score"] > 0.999
    assert told["number"]["score"] > 0.999
    assert abs(told["absent"]["score"] - 0.5) < 0.06
    assert told["number"]["rows"] < ROWS
    assert told["planted"]["molecules"] == ROWS // 10


def test_controls_are_chance_or_what_the_stratum_tells(told):
    for label in ("planted", "absent", "element alone"):
        assert abs(told[label]["shuffled"] - 0.5) < 0.06
    assert abs(told["planted"]["shuffled_within"] - 0.5) < 0.06
    assert told["element alone"]["shuffled_within"] == told["element alone"]["score"]
    assert told["number"]["shuffled"] < 0.02


def test_what_cannot_be_probed_is_left_out(told):
    assert set(told) == {"planted", "number", "absent", "element alone"}


def test_atoms_of_one_molecule_never_stand_on_both_sides():
    """Each molecule has its own code, and its own label: across molecules nothing can be learned,
    though a probe that had seen a molecule's other atoms would know all."""
    random = np.random.default_rng(1)
    molecules = 40
    codes, of_molecule = random.normal(size=(molecules, 60)), random.integers(0, 2, molecules)
    molecule = np.repeat(np.arange(molecules), 10)
    label = Label("its own", ("no", "yes"), of_molecule[molecule].astype(np.int8))
    labelled = Labelled((label,), molecule, "element", np.zeros(len(molecule), dtype=np.int64))
    (line,) = probes(codes[molecule], np.arange(len(molecule)), labelled)
    assert abs(line["score"] - 0.5) < 0.25
    assert FOLDS == 5


def test_pca_loses_what_its_last_directions_hold(monkeypatch):
    monkeypatch.setattr(compression, "STEPS", 300)
    monkeypatch.setattr(compression, "EPOCHS", 1)
    random = np.random.default_rng(0)
    mixing = random.normal(size=(3, 6)) * [[3.0], [2.0], [1.0]]
    fit, held = (random.normal(size=(n, 3)) @ mixing for n in (400, 300))
    fit, held = (np.concatenate([one, np.full((len(one), 1), 7.0)], axis=1) for one in (fit, held))
    pca, autoencoder = compression.compress(fit, held, 2)
    known = (fit[:, :6] - fit[:, :6].mean(axis=0)) / fit[:, :6].std(axis=0)
    squares = np.linalg.svd(known, compute_uv=False) ** 2
    assert pca.fitted == pytest.approx(squares[2:].sum() / squares.sum(), rel=1e-6)
    assert pca.held_out == pytest.approx(pca.fitted, rel=0.3)
    assert (autoencoder.method, autoencoder.codes.shape) == ("autoencoder", (300, 2))
    assert pca.held_out < autoencoder.held_out < 1.0  # a plane is best met by a plane
