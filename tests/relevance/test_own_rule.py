"""A rule that comes from outside: by a call, and by another package's entry point."""

import msgspec
import pytest
import torch

from hpcml.errors import SettingsError
from hpcml.relevance import ExplainSettings, explain_by, explain_settings, register_rule
from hpcml.relevance.engine.rules import Addend, Epsilon, WeightedSum, identity


class Doubled:
    """The epsilon rule in two halves: the same relevance by a declaration of one's own."""

    epsilon = 0.0
    proportional = True

    def sums(self, weight, bias):
        half = WeightedSum((Addend(identity, weight, bias),), 0.5)
        return half, half


@pytest.fixture(autouse=True)
def no_rules_left(monkeypatch):
    monkeypatch.setattr(explain_settings, "_REGISTERED", {})


def test_registered_rule_explains(trained, molecules, batch_of):
    register_rule("doubled", lambda settings: Doubled())
    model = trained("weave")[0]
    batch = batch_of(model, molecules[:10])
    mine = explain_by(model, batch, ExplainSettings(rule="doubled"))
    plain = explain_by(model, batch, ExplainSettings(rule="epsilon"))
    torch.testing.assert_close(mine.atoms, plain.atoms)
    assert mine.closure.abs().max() < 1e-10
    with pytest.raises(SettingsError, match="'gamma' already"):
        register_rule("gamma", lambda settings: Epsilon())


def test_rule_of_another_package(tmp_path, monkeypatch, trained, molecules, batch_of):
    """Its function gets the settings: gamma is the user's own."""
    (tmp_path / "tiny_rule.py").write_text(
        "from hpcml.relevance import Gamma\n"
        "def twice(settings):\n    return Gamma(2.0 * settings.gamma, settings.epsilon)\n"
    )
    metadata = tmp_path / "tiny_rule-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny_rule\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[hpcml.rules]\ntwice = tiny_rule:twice\nbroken = tiny_rule:not_there\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    model = trained("weave")[0]
    batch = batch_of(model, molecules[:10])
    twice = explain_by(model, batch, ExplainSettings(rule="twice", gamma=0.1))
    known = explain_by(model, batch, ExplainSettings(rule="gamma", gamma=0.2))
    torch.testing.assert_close(twice.atoms, known.atoms)
    with pytest.raises(SettingsError, match="'broken': tiny_rule:not_there cannot be loaded"):
        explain_by(model, batch, ExplainSettings(rule="broken"))


def test_unknown_rule_is_told_with_all_names():
    register_rule("mine", lambda settings: Epsilon())
    with pytest.raises(
        msgspec.ValidationError, match=r"no rule 'gama'; there are auto, epsilon.*mine"
    ):
        msgspec.convert({"rule": "gama"}, ExplainSettings)
