"""``hpcml predict``: what it writes for files and data sets, by one network and by several."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from hpcml.cli.main import main
from hpcml.molecules import Molecule, read
from hpcml.predict_file import predict_file
from hpcml.store import Dataset, Row, Schema, ShardWriter
from hpcml.training import TrainSettings, load_model, predict, predict_ensemble, train
from hpcml.training.world import Alone

WATER = "3\nwater\nO 0 0 0.119\nH 0 0.763 -0.477\nH 0 -0.763 -0.477\n"


def write_dataset(folder: Path, molecules: list[Molecule], methods: list[str]) -> Dataset:
    schema = Schema(columns=("energy",))
    with ShardWriter(folder, schema, "test") as writer:
        for number, molecule in enumerate(molecules):
            values = {"energy": np.array(-float(molecule.electrons))}
            provenance = {"method": methods[number % len(methods)], "basis": "6-31G(d)"}
            writer.append(Row(f"{number:032x}", molecule, values, provenance))
    return Dataset.open(folder)


@pytest.fixture(scope="module")
def molecules() -> list[Molecule]:
    found = read(Path(__file__).parents[1] / "jobs" / "quickstart.xyz")
    return [one for one in found if isinstance(one, Molecule)][:30]


@pytest.fixture(scope="module")
def ensemble(molecules, tmp_path_factory) -> Path:
    """Three small networks that learned HF energies of the first twenty molecules."""
    folder = tmp_path_factory.mktemp("prediction")
    dataset = write_dataset(folder / "dataset", molecules[:20], ["HF"])
    settings = TrainSettings(model="dtnn", target="energy", epochs=2, members=3, test=0.1)
    train(dataset, folder / "model", settings, Alone())
    return folder / "model"


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_an_ensemble_gives_its_mean_and_uncertainty(ensemble, molecules, tmp_path) -> None:
    write_dataset(tmp_path / "others", molecules[20:], ["HF"])
    text, failed = predict_file(ensemble, tmp_path / "others", explain=False)
    rows = table(text)
    mean, width, info = predict_ensemble(ensemble, molecules[20:])
    assert failed == []
    assert list(rows[0]) == [
        *("name", "key", "energy [Eh]", "uncertainty energy [Eh]", "level", "warnings"),
    ]
    found = np.array([[float(r["energy [Eh]"]), float(r["uncertainty energy [Eh]"])] for r in rows])
    np.testing.assert_allclose(found, np.stack([mean[:, 0], width[:, 0]], axis=1), rtol=1e-5)
    assert (found[:, 1] > 0).all()
    assert [row["key"] for row in rows] == [molecule.key for molecule in molecules[20:]]
    assert {row["level"] for row in rows} == {info.level} == {"HF/6-31G(d)"}


def test_reasons_of_an_ensemble_add_up_to_its_mean(ensemble, molecules, tmp_path) -> None:
    write_dataset(tmp_path / "others", molecules[20:24], ["HF"])
    text, _ = predict_file(ensemble, tmp_path / "others", explain=True)
    for row in table(text):
        columns = list(row)
        ledger = [float(row[name]) for name in columns[columns.index("warnings") + 1 : -1]]
        atoms = [float(word.split(":")[1]) for word in row["relevance"].split()]
        assert sum(ledger) + sum(atoms) == pytest.approx(float(row["energy [Eh]"]), rel=1e-4)


def test_another_level_is_told(ensemble, molecules, tmp_path) -> None:
    write_dataset(tmp_path / "mixed", molecules[:4], ["HF", "PBE"])
    rows = table(predict_file(ensemble, tmp_path / "mixed", explain=False)[0])
    told = [
        "level PBE/6-31G(d): the network has learned HF/6-31G(d)" in r["warnings"] for r in rows
    ]
    assert told == [False, True, False, True]


def test_levels_of_the_training_data_are_kept(molecules, tmp_path) -> None:
    dataset = write_dataset(tmp_path / "mixed", molecules[:20], ["HF", "PBE"])
    settings = TrainSettings(model="linear", target="energy", epochs=1)
    train(dataset, tmp_path / "model", settings, Alone())
    assert load_model(tmp_path / "model")[1].level == "HF/6-31G(d) and PBE/6-31G(d)"
    rows = table(predict_file(tmp_path / "model", tmp_path / "mixed", explain=False)[0])
    assert not any("level" in row["warnings"] for row in rows)
    assert not any(name.startswith("uncertainty") for name in rows[0])


def test_one_network_and_a_file_with_a_bad_record(ensemble, tmp_path, capsys) -> None:
    file = tmp_path / "molecules.xyz"
    file.write_text(WATER + "2\nsalt\nNa 0 0 0\nCl 0 0 2.4\n" + "1\nbad\nXx 0 0 0\n")
    code = main(["predict", str(ensemble / "member-1"), str(file)])
    said = capsys.readouterr()
    rows = table(said.out)
    assert code == 1
    assert [row["name"] for row in rows] == ["water", "salt"]
    water = next(one for one in read(file) if isinstance(one, Molecule))
    alone = predict(load_model(ensemble / "member-1")[0], [water])[0, 0]
    assert float(rows[0]["energy [Eh]"]) == pytest.approx(alone, rel=1e-5)
    assert "Na, Cl: not among the elements of the training set" in rows[1]["warnings"]
    assert said.err.count("\n") == 1
    assert "Xx" in said.err
