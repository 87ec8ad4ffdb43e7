"""Shares of atoms as auxiliary targets, beside plain loops and a target whose shares are known."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from hpcml.errors import InputError, SettingsError
from hpcml.models import build, collate, example
from hpcml.store import Dataset, Row, Schema, ShardWriter
from hpcml.store.schema import own_column
from hpcml.training import Target, TrainSettings, faults, load_model, train
from hpcml.training.data import epoch_batches, find_candidates, share_of_rank
from hpcml.training.fit import Stopped
from hpcml.training.identity import differences, identity_of
from hpcml.training.world import Alone

SHARED = Target(name="worth", extensive=True)
SETTINGS = TrainSettings(
    model="linear",
    target=SHARED,
    epochs=2,
    batch_size=20,
    schedule="constant",
    learning_rate=0.05,
    precision="float64",
    share_weight=0.7,
)


def worth(molecule) -> np.ndarray:
    """Of each atom: by its element, and more the nearer a heteroatom is."""
    far = np.linalg.norm(molecule.positions[:, None] - molecule.positions, axis=2)
    hetero = np.isin(molecule.numbers, (7, 8, 9))
    near = np.exp(-((far / 1.6) ** 2)) * (hetero & (far > 0))
    return 0.2 * molecule.numbers + 2.0 * near.sum(axis=1)


def write(folder: Path, molecules, columns=None, shares=lambda number, values: values) -> Dataset:
    columns = columns or (
        own_column("worth", "a0^3", ""),
        own_column("share_worth", "a0^3", "", per="atom"),
        own_column("other", "a0^3", ""),
    )
    schema = Schema(columns=tuple(column.name for column in columns), own=columns)
    with ShardWriter(folder, schema, "test") as writer:
        for number, molecule in enumerate(molecules):
            of_atoms = worth(molecule)
            values = {
                "worth": np.array(of_atoms.sum()),
                "other": np.array(1.0),
                "share_worth": shares(number, of_atoms),
            }
            writer.append(Row(f"{number:032x}", molecule, values))
    return Dataset.open(folder)


def some(number: int, values: np.ndarray) -> np.ndarray:
    """Two rows of three have shares, and in every fourth of them the first atom has none."""
    if number % 3 == 0:
        return np.full(len(values), np.nan)
    return np.where((np.arange(len(values)) == 0) & (number % 4 == 0), np.nan, values)


@pytest.fixture(scope="module")
def partly(molecules, tmp_path_factory) -> Dataset:
    return write(tmp_path_factory.mktemp("shares") / "partly", molecules, shares=some)


@pytest.fixture(scope="module")
def whole(molecules, tmp_path_factory) -> Dataset:
    return write(tmp_path_factory.mktemp("shares") / "whole", molecules)


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


# ---------------------------------------------------------------------------- the loss


@pytest.mark.parametrize("loss", ["mse", "mae"])
def test_training_with_shares_is_that_of_a_plain_loop(partly, tmp_path: Path, loss: str) -> None:
    """Adam on both losses, molecule by molecule and atom by atom."""
    settings = msgspec.structs.replace(SETTINGS, loss=loss)
    metrics = train(partly, tmp_path, settings, Alone())
    split = json.loads((tmp_path / "split.json").read_text())
    trained, info = load_model(tmp_path)
    rows = find_candidates(partly, (SHARED,)).rows
    place = {key: row for row, key in enumerate(rows.keys)}
    order = np.array([place[key] for key in split["train"]])
    shares = np.split(rows.column("share_worth"), rows.atom_offsets[1:-1])
    values = rows.scalar("worth")
    spread = np.nanstd(np.concatenate([shares[row] for row in order]))
    torch.manual_seed(settings.seed)
    model = build("linear", {}, scaling=info.scaling).double()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)

    def terms(network, row: int):
        batch = collate([example(rows.molecules[row], network.inputs)], torch.float64)
        return network.atomic_terms(batch)[:, 0]

    def size(error):
        return error**2 if loss == "mse" else error.abs()

    validation = [place[key] for key in split["validation"]]
    states = []
    for epoch in range(2):
        for batch in epoch_batches(order, 20, settings.seed, epoch):
            of_molecules, of_atoms = [], []
            for row in batch:
                each = terms(model, row)
                of_molecules.append(size((each.sum() - values[row]) / info.scaling.std[0]))
                of_atoms += [
                    size((term - share) / spread)
                    for term, share in zip(each, shares[row].tolist(), strict=True)
                    if np.isfinite(share)
                ]
            optimizer.zero_grad()
            objective = sum(of_molecules) / len(of_molecules)
            (objective + 0.7 * sum(of_atoms) / len(of_atoms)).backward()
            optimizer.step()
        errors = [(terms(model, row).detach().numpy() - shares[row]) for row in validation]
        mae = float(np.nanmean(np.abs(np.concatenate(errors))))
        said = float(table(tmp_path)[epoch]["validation_share_mae"])
        assert said == pytest.approx(mae, rel=1e-9)
        states.append({name: value.clone() for name, value in model.state_dict().items()})
    best = int(np.argmin([float(row["validation_mae"]) for row in table(tmp_path)]))
    for name, weights in trained.double().state_dict().items():
        torch.testing.assert_close(states[best][name], weights)
    errors = metrics["errors"]["worth"]
    said = float(table(tmp_path)[best]["validation_share_mae"])
    assert errors["validation"]["share_mae"] == pytest.approx(said, rel=1e-12)
    assert errors["test"]["share_mae"] > 0


def fit_of(dataset, tmp_path, settings):
    """A Fit as training begins it."""
    from hpcml.training import run as run_module

    kept = []
    begin = run_module.Run.begin

    def keep(self):
        kept.append(begin(self))
        return kept[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module.Run, "begin", keep)
        train(dataset, tmp_path, settings, Alone())
    return kept[0]


def test_gradient_is_the_slope_of_the_loss(partly, tmp_path: Path) -> None:
    settings = msgspec.structs.replace(
        SETTINGS, model="dtnn", hyperparameters={"coefficients": 6, "factors": 5}, epochs=1
    )
    fit = fit_of(partly, tmp_path, settings)
    rows = fit.train[:9]
    model = fit.model

    def loss():
        _, terms = fit.predictor.forward_terms(model, rows)
        return fit.shares.loss(terms, rows) / fit.shares.weight(rows)

    weights = list(model.parameters())
    gradients = torch.autograd.grad(loss(), weights, allow_unused=True)
    random = torch.Generator().manual_seed(1)
    steps = [torch.randn(one.shape, dtype=one.dtype, generator=random) for one in weights]
    slope = sum(
        float((g * s).sum()) for g, s in zip(gradients, steps, strict=True) if g is not None
    )
    told = []
    with torch.no_grad():
        for sign in (1.0, -2.0):
            for one, step in zip(weights, steps, strict=True):
                one.add_(step, alpha=sign * 1e-5)
            told.append(float(loss()))
    assert (told[0] - told[1]) / 2e-5 == pytest.approx(slope, rel=1e-6)


def test_parts_of_ranks_add_up(partly, tmp_path: Path) -> None:
    """Each rank's sum over its own rows, divided by what is known on all of them."""
    fit = fit_of(partly, tmp_path, SETTINGS)
    rows, shares = fit.train[:17], fit.shares

    def loss(mine):
        return shares.loss(fit.predictor.forward_terms(fit.model, mine)[1], mine).item()

    parts = [share_of_rank(rows, fit.data.atoms, rank, 3) for rank in range(3)]
    assert sum(map(loss, parts)) == pytest.approx(loss(rows), rel=1e-12)
    assert sum(map(shares.weight, parts)) == shares.weight(rows)
    without = np.array([row for row in fit.train if np.isnan(shares.of(np.array([row]))).all()])
    assert len(without)
    assert (loss(without), shares.weight(without)) == (0.0, 1.0)


# ---------------------------------------------------------------------------- what it is good for


def test_atoms_learn_what_they_are_worth(whole, tmp_path: Path) -> None:
    """On a sum over atoms with known shares, at equal data and steps."""
    settings = TrainSettings(
        model="dtnn",
        hyperparameters={"coefficients": 12, "factors": 12, "passes": 1, "farthest": 8.0},
        target=SHARED,
        scaling="standardize",
        epochs=25,
        batch_size=16,
        learning_rate=5e-3,
    )
    truth = np.concatenate([worth(molecule) for molecule in whole.molecules])
    found = {}
    for weight in (0.0, 1.0):
        folder = tmp_path / str(weight)
        train(whole, folder, msgspec.structs.replace(settings, share_weight=weight), Alone())
        model, _ = load_model(folder)
        batch = collate([example(molecule, model.inputs) for molecule in whole.molecules])
        with torch.no_grad():
            terms = model.atomic_terms(batch)[:, 0].double().numpy()
        parts = json.loads((folder / "split.json").read_text())
        place = {key: row for row, key in enumerate(whole.keys)}
        held = np.isin(batch.molecule.numpy(), [place[key] for key in parts["test"]])
        found[weight] = np.corrcoef(terms[held], truth[held])[0, 1]
    assert found[1.0] > max(0.95, found[0.0] + 0.02), found


@pytest.mark.parametrize("batch_size", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_ranks_follow_the_curve_of_one(finish, partly, tmp_path: Path, batch_size: int) -> None:
    """With batches of one, too few to deal out, each rank computes all."""
    settings = msgspec.structs.replace(SETTINGS, batch_size=batch_size, clip_norm=1.0)
    train(partly, tmp_path / "one", settings, Alone())
    code, said = finish(settings, tmp_path / "two", ranks=2, of=partly)
    assert code == 0, said
    for one, two in zip(table(tmp_path / "one"), table(tmp_path / "two"), strict=True):
        for name in ("train_loss", "validation_mae", "validation_share_mae"):
            assert float(two[name]) == pytest.approx(float(one[name]), rel=1e-7)


# ---------------------------------------------------------------------------- runs and settings


def test_without_weight_nothing_is_another(partly, tmp_path: Path) -> None:
    """Shares in the data set are not looked at, and a run of before goes on."""
    plain = msgspec.structs.replace(SETTINGS, share_weight=0.0)
    metrics = train(partly, tmp_path, plain, Alone())
    assert list(table(tmp_path)[0]) == [
        "epoch", "learning_rate", "train_loss", "validation_mae", "unit"
    ]  # fmt: skip
    assert "share_mae" not in metrics["errors"]["worth"]["validation"]
    before = identity_of(plain, "f")
    del before["share_weight"]
    assert differences(before, identity_of(plain, "f")) == {}
    assert list(differences(before, identity_of(SETTINGS, "f"))) == ["share_weight"]


def test_stopped_and_gone_on_is_the_same_run(partly, tmp_path: Path) -> None:
    settings = msgspec.structs.replace(SETTINGS, checkpoint_steps=3)
    train(partly, tmp_path / "unbroken", settings, Alone())
    with pytest.raises(Stopped):
        train(partly, tmp_path / "stopped", settings, Alone(), stop=lambda: True)
    train(partly, tmp_path / "stopped", settings, Alone())
    for name in ("metrics.csv", "predictions.csv"):
        contents = [(tmp_path / run / name).read_bytes() for run in ("unbroken", "stopped")]
        assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "graphconv"}, "graphconv as set has no atomic terms"),
        ({"model": "weave"}, "weave as set has no atomic terms"),
        ({"target": Target(name="other", extensive=True)}, "no column 'share_other' of atoms"),
        ({"target": "worth"}, "worth is a mean over atoms"),
        ({"target": msgspec.structs.replace(SHARED, yes_or_no=True)}, "worth is yes_or_no"),
        (
            {"target": Target(name="worth", extensive=True, process="shg", frequency=0.1)},
            "shares of static properties alone",
        ),
    ],
)
def test_what_shares_cannot_teach(partly, tmp_path: Path, changes, message) -> None:
    settings = msgspec.structs.replace(SETTINGS, **changes)
    (fault,) = faults(settings, partly.schema)
    assert fault.startswith("train.share_weight: ")
    assert message in fault
    with pytest.raises(SettingsError, match=message):
        train(partly, tmp_path / "model", settings, Alone())
    assert not (tmp_path / "model").exists()
    assert faults(msgspec.structs.replace(settings, share_weight=0.0), partly.schema) == []


def test_shares_in_another_unit_and_without_values(molecules, tmp_path: Path) -> None:
    columns = (own_column("worth", "a0^3", ""), own_column("share_worth", "Eh", "", per="atom"))
    schema = Schema(columns=("worth", "share_worth"), own=columns)
    (fault,) = faults(SETTINGS, schema)
    assert "share_worth is in 'Eh', worth in 'a0^3'" in fault
    empty = write(tmp_path / "none", molecules[:30], shares=lambda _, v: np.full(len(v), np.nan))
    with pytest.raises(InputError, match="no training row has a value of share_worth"):
        train(empty, tmp_path / "model", SETTINGS, Alone())


def test_weave_as_a_sum_and_several_targets() -> None:
    settings = TrainSettings(
        hyperparameters={"readout": "sum"}, target=("alpha_iso", "zpve"), share_weight=1.0
    )
    schema = Schema(columns=("alpha_iso", "share_alpha_iso", "zpve"), frequencies=(0.0,))
    assert faults(settings) == []
    (fault,) = faults(settings, schema)
    assert "no column 'share_zpve' of atoms here" in fault


def test_the_study_s_shares_are_learned(tmp_path: Path) -> None:
    dataset = Dataset.open(Path(__file__).parents[2] / "jobs" / "study" / "small")
    settings = TrainSettings(model="linear", epochs=2, learning_rate=0.05, share_weight=1.0)
    metrics = train(dataset, tmp_path, settings, Alone())
    assert metrics["errors"]["alpha_iso"]["test"]["share_mae"] < 10
