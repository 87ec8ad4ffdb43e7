"""Words of warning, TensorBoard's numbers, and a neuron that must equal least squares."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hpcml.models import Scaling
from hpcml.molecules import Molecule
from hpcml.training import ModelInfo, Target, TrainSettings, applicability, load_model, train
from hpcml.training.world import Alone

INFO = ModelInfo(
    model="linear",
    hyperparameters={},
    targets=(Target(name="alpha_iso"),),
    units=("a0^3",),
    scaling=Scaling(),
    elements=(1, 6, 8),
    heavy_atoms=2,
    charges=(0,),
    multiplicities=(1,),
)


def molecule(*numbers: int, charge: int = 0, multiplicity: int = 1) -> Molecule:
    positions = [[0.0, 0.0, 1.2 * i] for i in range(len(numbers))]
    return Molecule(list(numbers), positions, charge=charge, multiplicity=multiplicity)


@pytest.mark.parametrize(
    ("outside", "warnings"),
    [
        (molecule(1, 6, 8), []),
        (molecule(6, 7, 1), ["N: not among the elements of the training set (H, C, O)"]),
        (molecule(6, 6, 8), ["3 heavy atoms: the largest training molecule has 2"]),
        (molecule(8, 1, charge=-1), ["charge -1: not in the training set"]),
        (molecule(8, 8, multiplicity=3), ["multiplicity 3: not in the training set"]),
    ],
)
def test_warnings(outside: Molecule, warnings: list[str]) -> None:
    assert applicability(INFO, outside) == warnings


@pytest.mark.parametrize(
    ("level", "warned"),
    [("", False), ("HF/6-31G(D)", False), ("pbe/sto-3g", False), ("HF/STO-3G", True)],
)
def test_warning_of_another_level(level: str, warned: bool) -> None:
    info = msgspec.structs.replace(INFO, levels=("HF/6-31G(d)", "PBE/STO-3G"))
    expected = [f"level {level}: the network has learned HF/6-31G(d) and PBE/STO-3G"]
    assert applicability(info, molecule(1, 6, 8), level) == (expected if warned else [])
    assert applicability(INFO, molecule(1, 6, 8), level) == []


def test_neuron_equals_least_squares_and_tensorboard_shows_it(dataset, tmp_path) -> None:
    settings = TrainSettings(
        model="linear",
        hyperparameters={"elements": [1, 6, 7, 8]},
        target="zpve",
        scaling="standardize",
        epochs=200,
        batch_size=64,
        learning_rate=1.0,
        precision="float64",
        checkpoint_steps=1000,
        tensorboard=True,
    )
    metrics = train(dataset, tmp_path, settings, Alone())
    # zpve was made 0.01 for each hydrogen: least squares has no error at all
    assert metrics["test_mae"] < 1e-5
    model, info = load_model(tmp_path)
    assert info.target == "zpve"
    weight = next(p for name, p in model.named_parameters() if name.endswith("weight"))
    scale = info.scaling.atom_std[0]
    found = weight.detach().numpy()[0] * scale
    np.testing.assert_allclose(found - found[1], [0.01, 0.0, 0.0, 0.0], atol=1e-5)

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    last = events.Scalars("validation_mae")[-1]
    curve = (tmp_path / "metrics.csv").read_text().splitlines()[-1].split(",")
    assert last.step == 200
    assert last.value == pytest.approx(float(curve[3]), rel=1e-6)
