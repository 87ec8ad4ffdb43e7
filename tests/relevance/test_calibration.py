"""Which rule tells the truth: the made-up truths, the choice, and what ``auto`` makes of it."""

import csv
import math

import msgspec
import numpy as np
import pytest
import torch
from rdkit import Chem

from hpcml.errors import InputError, SettingsError
from hpcml.relevance import (
    ExplainSettings,
    calibration,
    explain_by,
    explain_settings,
    open_relevance,
    register_rule,
    rule_choice,
)
from hpcml.relevance.calibration import calibrate
from hpcml.relevance.engine.rules import Composite, Epsilon
from hpcml.relevance.explain_stage import explain_dataset
from hpcml.relevance.known_truth import KnownTruth, agreement, known_truths
from hpcml.relevance.rule_choice import Calibration, Line, choose, read_calibration
from hpcml.training.model_file import load_model, save_model
from hpcml.training.model_folder import ModelFolder
from hpcml.training.world import Alone

# -------------------------------------------------------------------- properties made up


@pytest.fixture
def mols():
    smiles = ("CC=C", "C#CC", "c1ccccc1", "OC", "CCC=O")
    return [Chem.AddHs(Chem.MolFromSmiles(one)) for one in smiles]


def test_truths_are_functions_of_an_atoms_own_kind(mols):
    """Atoms of a kind are worth the same in every molecule; the seed, not the order, decides."""
    environment, pairs, decoy = known_truths(mols, seed=1)
    again = known_truths(mols[::-1], seed=1)[0].atoms
    sizes = [mol.GetNumAtoms() for mol in mols]
    mine = np.split(environment.atoms, np.cumsum(sizes)[:-1])
    theirs = np.split(again, np.cumsum(sizes[::-1])[:-1])[::-1]
    for one, other in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(one, other)
    hydrogens = np.concatenate([[a.GetAtomicNum() == 1 for a in mol.GetAtoms()] for mol in mols])
    assert np.ptp(environment.atoms[hydrogens]) == 0.0
    assert (decoy.atoms[hydrogens] == 0.0).all() and (decoy.atoms[~hydrogens] > 0.1).all()
    assert (pairs.atoms[hydrogens] == 0.0).all()
    # propene: C-C and C=C; the middle carbon has half of both, the ends half of one each
    first, middle, last = pairs.atoms[:3]
    assert middle == pytest.approx(first + last)
    assert not np.allclose(known_truths(mols, seed=2)[0].atoms, environment.atoms)


def test_decoy_grows_with_the_number_of_atoms(molecules):
    from hpcml.molecules import perceive

    sample = [perceive(one) for one in molecules]
    decoy = known_truths(sample)[2]
    sizes = [mol.GetNumAtoms() for mol in sample]
    totals = np.add.reduceat(decoy.atoms, np.cumsum([0, *sizes[:-1]]))
    assert np.corrcoef(totals, sizes)[0, 1] > 0.5


@pytest.mark.parametrize("composition", ["removed", "kept"])
def test_agreement_is_a_correlation_within_molecules(composition):
    random = np.random.default_rng(2)
    numbers = random.choice([1, 6, 8], 30)
    offsets = np.array([0, 8, 17, 30])
    truth, told = random.normal(size=30), random.normal(size=30) + numbers
    found = agreement(told, KnownTruth("made up", truth, composition), offsets, numbers)
    true = truth.copy()
    if composition == "removed":
        for z in (1, 6, 8):
            told[numbers == z] -= told[numbers == z].mean()
            true[numbers == z] -= true[numbers == z].mean()
    for row in range(3):
        atoms = slice(offsets[row], offsets[row + 1])
        assert found[row] == pytest.approx(np.corrcoef(told[atoms], true[atoms])[0, 1])


def test_agreement_where_there_is_nothing_to_agree_with():
    truth = KnownTruth("made up", np.array([1.0, 1.0, 1.0, 2.0]), "kept")
    told, numbers = np.array([1.0, 3.0, 5.0, 5.0]), np.array([1, 1, 1, 1])
    found = agreement(told, truth, np.array([0, 2, 4]), numbers)
    assert math.isnan(found[0])
    assert found[1] == 0.0


# ---------------------------------------------------------------------------- the choice


def line(rule, truth, flipping, error=0.05):
    return Line(
        rule=rule,
        truth=truth,
        truth_error=error,
        environment=truth,
        pairs=truth,
        decoy=truth,
        flipping=flipping,
        flipping_error=error,
    )


def test_truest_of_those_better_than_chance():
    lines = [line("gamma", 0.5, 0.3), line("z_plus", 0.7, 0.3), line("occlusion", 0.9, 0.08)]
    rule, reason = choose(lines)
    assert rule == "z_plus"  # occlusion is no better than chance in flipping: 1.6 errors
    assert reason.startswith("agrees with known atoms' shares by 0.70 +- 0.05; flipping 0.3")


def test_rules_with_a_ledger_come_first_among_equals():
    lines = [line("gamma", 0.66, 0.3), line("epsilon", 0.5, 0.4), line("occlusion", 0.70, 0.5)]
    assert choose(lines)[0] == "gamma"
    assert "as occlusion does within the error" in choose(lines)[1]


def test_without_a_truth_the_most_faithful():
    nan = float("nan")
    lines = [line("gamma", nan, 0.2), line("epsilon", nan, -0.1), line("occlusion", nan, 0.5)]
    rule, reason = choose(lines)
    assert rule == "occlusion"
    assert "no made-up property was learned" in reason
    untrue = [line("gamma", 0.01, 0.2), line("epsilon", -0.3, 0.5)]
    assert choose(untrue)[0] == "epsilon"
    assert "no rule agrees with known atoms' shares better than chance" in choose(untrue)[1]


def test_never_a_rule_that_is_no_better_than_chance():
    with pytest.raises(InputError, match=r"better than chance.*set explain\.rule"):
        choose([line("gamma", 0.8, 0.09), line("epsilon", 0.8, -0.2)])


def test_choice_is_read_as_it_was_written(tmp_path):
    lines = (line("gamma", float("nan"), 0.25), line("epsilon", 0.5, -0.125))
    made = Calibration(
        rule="gamma", reason="why", learned={"pairs": -0.5}, molecules=3, identity="x", lines=lines
    )
    rule_choice.write_calibration(ModelFolder(tmp_path), made)
    read = read_calibration(ModelFolder(tmp_path))
    assert (read.rule, read.reason, read.learned) == ("gamma", "why", {"pairs": -0.5})
    assert math.isnan(read.lines[0].truth)
    assert read.lines[1] == lines[1]
    assert read_calibration(ModelFolder(tmp_path / "other")) is None
    ModelFolder(tmp_path).calibration.write_text("{")
    with pytest.raises(InputError, match=r"calibration\.json: is no calibration"):
        read_calibration(ModelFolder(tmp_path))


# ------------------------------------------------------------------- measured and used


@pytest.fixture
def folder(model_folder, tmp_path):
    """A model folder of one's own, of the trained Weave."""
    model, info = load_model(model_folder)
    (tmp_path / "model").mkdir()
    save_model(tmp_path / "model", model.state_dict(), info)
    return tmp_path / "model"


def test_a_rule_of_noise_is_never_chosen(folder, dataset, monkeypatch):
    """Weights at random in the place of the network's: a rule that knows nothing of it."""
    generator = torch.Generator().manual_seed(1)

    class Noise(Epsilon):
        def sums(self, weight, bias):
            other = torch.randn(weight.shape, generator=generator).to(weight)
            return super().sums(other, bias)

    monkeypatch.setattr(explain_settings, "_REGISTERED", {})
    register_rule("noise", lambda settings: Composite(Noise()))
    monkeypatch.setattr(rule_choice, "CANDIDATES", ("noise", "gamma", "z_plus", "occlusion"))
    found = calibrate(dataset, folder, ExplainSettings(), steps=200)
    assert [one.rule for one in found.lines] == ["noise", "gamma", "z_plus", "occlusion"]
    assert found.learned["environment"] > rule_choice.LEARNED
    noise = found.lines[0]
    assert not (noise.true and noise.faithful)
    chosen = next(one for one in found.lines if one.rule == found.rule)
    assert chosen.rule != "noise" and chosen.faithful and chosen.true
    with ModelFolder(folder).calibration_table.open() as file:
        marked = [row["rule"] for row in csv.DictReader(file) if row["chosen"] == "yes"]
    assert marked == [found.rule]
    assert msgspec.structs.replace(found, lines=()) == msgspec.structs.replace(
        read_calibration(ModelFolder(folder)), lines=()
    )


def test_auto_explains_by_what_was_measured_once(folder, dataset, tmp_path, monkeypatch, capsys):
    asked = []

    def measured(dataset, folder, settings, tell=None):
        asked.append(settings)
        made = Calibration(
            rule="z_plus",
            reason="said so",
            learned={},
            molecules=1,
            identity=calibration.identity(folder, settings),
        )
        rule_choice.write_calibration(ModelFolder(folder), made)
        return made

    monkeypatch.setattr(calibration, "calibrate", measured)

    def explain(**settings):
        chosen = ExplainSettings(**settings)
        assert explain_dataset(dataset, folder, tmp_path / "relevance", chosen, Alone())
        return open_relevance(tmp_path / "relevance", dataset)

    assert explain().rule == "z_plus"
    assert "explain: rule z_plus: said so" in capsys.readouterr().err
    assert explain(batch_size=3).rule == "z_plus"
    assert len(asked) == 1
    assert explain(gamma=0.5).rule == "z_plus"  # another gamma may be worth something else
    assert len(asked) == 2
    assert explain(rule="epsilon").rule == "epsilon"
    assert len(asked) == 2


def test_auto_alone_is_no_rule(trained, molecules, batch_of):
    model = trained("linear")[0]
    with pytest.raises(SettingsError, match="chosen for a trained network"):
        explain_by(model, batch_of(model, molecules[:2]), ExplainSettings())


def test_pairs_need_a_rule_that_gives_them_something():
    assert "occlusion" in rule_choice.candidates(ExplainSettings())
    asked = rule_choice.candidates(ExplainSettings(pairs="interactions"))
    assert asked == ["gamma", "epsilon_gamma", "z_plus", "alpha_beta", "epsilon"]


def test_too_few_molecules_to_choose_by(folder, molecules, write_dataset, tmp_path, capsys):
    """Asked to choose it is refused; a campaign goes on, and says that nothing was measured."""
    few = write_dataset(tmp_path / "few", molecules[:5])
    assert explain_dataset(few, folder, tmp_path / "relevance", ExplainSettings(), Alone())
    assert open_relevance(tmp_path / "relevance", few).rule == "gamma"
    assert "rule gamma: not measured, as 5 molecules are too few" in capsys.readouterr().err
    assert read_calibration(ModelFolder(folder)) is None
    with pytest.raises(InputError, match=r"only 5 molecules.*set explain"):
        calibrate(few, folder, ExplainSettings())
