"""A target goes through settings, model file and relevances whole; its label is for eyes."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest

from hpcml.analysis import analyze
from hpcml.errors import InputError, SettingsError
from hpcml.molecules import Molecule
from hpcml.relevance import ExplainSettings, open_relevance
from hpcml.relevance.explain_stage import explain_dataset
from hpcml.store import Dataset, Row, Schema, ShardWriter
from hpcml.training import Target, TrainSettings, load_model, train
from hpcml.training.model_folder import ModelFolder
from hpcml.training.targets import short_unit
from hpcml.training.world import Alone

FREQUENCIES = (0.0656, 0.04282272, 1e-5 / 3, 0.04282268)  # the second and last agree to 6 digits


@pytest.fixture(scope="module")
def dispersion(tmp_path_factory: pytest.TempPathFactory, molecules: list[Molecule]) -> Dataset:
    """SHG at four frequencies: 100 times the frequency for each atom; and static shares."""
    folder = tmp_path_factory.mktemp("dispersion") / "dataset"
    processes = (("static", 0.0, 0.0), *(("shg", w, w) for w in FREQUENCIES))
    columns = ("dipole", "beta_parallel", "share_beta_parallel")
    with ShardWriter(folder, Schema(columns=columns, processes=processes), "test") as writer:
        for number, molecule in enumerate(molecules[:12]):
            values = {
                "dipole": np.array([0.0, 3.0, 4.0]) * len(molecule),
                "beta_parallel": np.array([100.0 * w * len(molecule) for _, w, _ in processes]),
                "share_beta_parallel": np.zeros(len(molecule)),
            }
            writer.append(Row(f"{number:032x}", molecule, values, {}))
    return Dataset.open(folder)


@pytest.mark.parametrize("frequency", FREQUENCIES)
def test_frequency_survives_to_the_reference_values(dispersion, tmp_path, frequency) -> None:
    target = Target(name="beta_parallel", process="shg", frequency=frequency)
    settings = TrainSettings(model="linear", target=target, epochs=1)
    train(dispersion, tmp_path / "model", settings, Alone())
    assert load_model(tmp_path / "model")[1].targets == (target,)
    relevance = tmp_path / "relevance"
    explain_dataset(
        dispersion, tmp_path / "model", relevance, ExplainSettings(rule="epsilon"), Alone()
    )
    found = open_relevance(relevance, dispersion).target
    assert found == target
    atoms = np.diff(dispersion.atom_offsets)
    np.testing.assert_allclose(found.values(dispersion), 100.0 * frequency * atoms)
    # the shares are those of the static value: none of this one
    assert "reasons" not in analyze(dispersion, relevance, tmp_path / "model", tmp_path / "tables")


def test_targets_that_agree_to_six_digits_are_judged_apart(dispersion, tmp_path) -> None:
    targets = tuple(
        Target(name="beta_parallel", process="shg", frequency=w) for w in FREQUENCIES[1::2]
    )
    train(dispersion, tmp_path, TrainSettings(model="linear", target=targets, epochs=1), Alone())
    errors = json.loads(ModelFolder(tmp_path).metrics.read_bytes())["errors"]
    assert [msgspec.convert(one["target"], Target) for one in errors.values()] == list(targets)
    heading = ModelFolder(tmp_path).predictions.read_text().splitlines()[0]
    assert heading.count("reference_beta_parallel[shg,0.0428226") == 1
    assert heading.count("reference_beta_parallel[shg,0.0428227") == 1


def test_the_same_target_twice() -> None:
    with pytest.raises(SettingsError, match="a target stands twice in zpve, zpve"):
        TrainSettings(target=("zpve", Target(name="zpve"))).targets  # noqa: B018


def test_dipole_is_its_length(dispersion) -> None:
    atoms = np.diff(dispersion.atom_offsets)
    np.testing.assert_allclose(Target(name="dipole").values(dispersion), 5.0 * atoms)
    assert Target(name="dipole").unit(dispersion) == "e a0"


def test_frequency_that_the_data_set_has_not(dispersion) -> None:
    with pytest.raises(InputError, match=r"no shg at 0\.05 Eh here"):
        Target(name="beta_parallel", process="shg", frequency=0.05).values(dispersion)


def test_short_units() -> None:
    assert short_unit("atomic units (e^2 a0^2 Eh^-1 = a0^3)") == "a0^3"
    assert short_unit("atomic units (e^3 a0^3 Eh^-2)") == "a.u."
    assert short_unit("cal mol^-1 K^-1") == "cal mol^-1 K^-1"
