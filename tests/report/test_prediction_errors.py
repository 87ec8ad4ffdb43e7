"""The network held against least squares on atom counts."""

import numpy as np
import pytest

from hpcml.models.baselines import Baseline
from hpcml.molecules import molecule_from_smiles
from hpcml.report import Predictions, ReportFacts, comparison, errors, told
from hpcml.report.headlines import five_facts
from hpcml.report.prediction_errors import by_atom_counts

SMILES = ("C", "CC", "O", "CO", "N", "CN", "CCO", "OO", "NN", "CCC", "FC")


def counts_of(molecules, elements=(1, 6, 7, 8, 9)):
    return np.array([[(m.numbers == z).sum() for z in elements] for m in molecules])


def test_atom_counts_are_the_baseline_that_training_writes() -> None:
    molecules = [molecule_from_smiles(smiles, smiles) for smiles in SMILES]
    values = np.random.default_rng(1).uniform(5, 40, len(molecules))
    training = np.arange(len(molecules)) < 8
    said = by_atom_counts(counts_of(molecules), values, training)
    fitted = Baseline("atom counts", molecules[:8], values[:8])
    assert said[:10] == pytest.approx(fitted.predict(molecules[:10]))
    assert np.isnan(said[10])  # fluorine, which none of the first eight has


def test_nothing_is_said_from_too_few_molecules() -> None:
    counts = np.array([[1], [2], [3]])
    assert np.isnan(by_atom_counts(counts, np.ones(3), np.ones(3, dtype=bool))).all()


def beside(network: np.ndarray, counts: np.ndarray) -> Predictions:
    """Test molecules of value 10 that network and atom counts miss by these."""
    reference = np.full(len(network), 10.0)
    return Predictions(
        "q", "u", np.array(["test"] * len(network)), reference, reference + network,
        by_counts=reference + counts,
    )  # fmt: skip


def test_interval_is_that_of_the_ratio_of_two_means() -> None:
    """The delta method, good for this many molecules, gives the same interval."""
    rng = np.random.default_rng(2)
    network, counts = rng.exponential(1.0, 800), rng.exponential(2.0, 800)
    found = comparison(beside(network, counts))
    assert found is not None
    ratio = counts.mean() / network.mean()
    assert (found.ratio, found.molecules, found.part) == (pytest.approx(ratio), 800, "test")
    deviation = ratio * np.sqrt(
        (counts.var() / counts.mean() ** 2 + network.var() / network.mean() ** 2
         - 2 * np.cov(counts, network)[0, 1] / counts.mean() / network.mean()) / 800
    )  # fmt: skip
    assert found.low == pytest.approx(ratio - 1.96 * deviation, abs=0.15 * deviation + 0.02)
    assert found.high == pytest.approx(ratio + 1.96 * deviation, abs=0.15 * deviation + 0.02)


def test_a_few_molecules_give_a_ratio_without_interval() -> None:
    found = comparison(beside(np.array([1.0, 2.0]), np.array([3.0, 3.0])))
    assert found is not None
    assert found.ratio == 2.0
    assert np.isnan(found.low)
    assert comparison(Predictions("q", "u", np.array(["test"]), np.ones(1), np.ones(1))) is None


def test_molecules_that_atom_counts_cannot_judge_are_left_out_of_both() -> None:
    found = comparison(beside(np.array([1.0, 2.0, 90.0]), np.array([3.0, 3.0, np.nan])))
    assert found is not None
    assert (found.molecules, found.network_mae, found.counts_mae) == (2, 1.5, 3.0)


def test_head_and_screen_say_it() -> None:
    predictions = beside(np.full(6, 1.0), np.full(6, 2.0))
    facts = ReportFacts(title="t", computed=6, predictions=(predictions,))
    assert errors(predictions)[0].atom_counts_mae == 2.0
    (fact,) = [one for one in five_facts(facts) if "atom counts" in one["label"]]
    assert fact["value"] == "2 times smaller error"
    assert "95 % interval of the ratio 2.00 to 2.00" in fact["note"]
    assert any("atom counts 2.000: ratio 2.00 (95 % interval" in line for line in told(facts))
    worse = ReportFacts(title="t", predictions=(beside(np.full(6, 3.0), np.full(6, 2.0)),))
    assert five_facts(worse)[2]["value"] == "1.5 times larger error"
