"""``hpcml predict``: what it writes for files and data sets, by one network and by several."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from hpcml.cli.main import main
from hpcml.molecules import Molecule, molecule_from_smiles, read
from hpcml.predict_file import predict_file
from hpcml.relevance import LEDGER, ExplainSettings
from hpcml.relevance.rule_choice import Calibration, write_calibration
from hpcml.store import Dataset, Row, Schema, ShardWriter
from hpcml.training import Ensemble, TrainSettings, load_model, predict, predict_ensemble, train
from hpcml.training.model_folder import ModelFolder
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


def predicted(folder: Path, source: Path, explain=None) -> tuple[str, list[str]]:
    """What is written into a file, and what failed."""
    file = source.with_suffix(".predictions")
    failed = predict_file(folder, source, file, explain=explain)
    return file.read_text(encoding="utf-8"), failed


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_an_ensemble_gives_its_mean_and_uncertainty(ensemble, molecules, tmp_path) -> None:
    write_dataset(tmp_path / "others", molecules[20:], ["HF"])
    text, failed = predicted(ensemble, tmp_path / "others")
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
    text, _ = predicted(ensemble, tmp_path / "others", ExplainSettings())
    for row in table(text):
        columns = list(row)
        ledger = [float(row[name]) for name in columns[columns.index("warnings") + 1 : -2]]
        atoms = [float(word.split(":")[1]) for word in row["relevance"].split()]
        assert sum(ledger) + sum(atoms) == pytest.approx(float(row["energy [Eh]"]), rel=1e-4)
        # of a sum over atoms nothing is the molecule's own
        whole = [float(word.split(":")[1]) for word in row["with_own_terms"].split()]
        assert sum(whole) == pytest.approx(float(row["energy [Eh]"]), rel=1e-4)


def test_another_level_is_told(ensemble, molecules, tmp_path) -> None:
    write_dataset(tmp_path / "mixed", molecules[:4], ["HF", "PBE"])
    rows = table(predicted(ensemble, tmp_path / "mixed")[0])
    told = [
        "level PBE/6-31G(d): the network has learned HF/6-31G(d)" in r["warnings"] for r in rows
    ]
    assert told == [False, True, False, True]


def test_levels_of_the_training_data_are_kept(molecules, tmp_path) -> None:
    dataset = write_dataset(tmp_path / "mixed", molecules[:20], ["HF", "PBE"])
    settings = TrainSettings(model="linear", target="energy", epochs=1)
    train(dataset, tmp_path / "model", settings, Alone())
    assert load_model(tmp_path / "model")[1].level == "HF/6-31G(d) and PBE/6-31G(d)"
    rows = table(predicted(tmp_path / "model", tmp_path / "mixed")[0])
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
    summary, failed = said.err.splitlines()
    assert summary.startswith("predict: 2 molecules by ") and ", 1 failed" in summary
    assert "Xx" in failed


def test_rows_come_batch_by_batch_and_a_molecule_that_fails_costs_its_own(
    ensemble, molecules, tmp_path, monkeypatch, capsys
) -> None:
    """Uranium is beyond the embedding; what was predicted before it stands in the file by then."""
    heavy = Molecule([92], [[0.0, 0.0, 0.0]], name="heavy")
    file = tmp_path / "many.xyz"
    write_xyz(file, [*molecules[:5], heavy, *molecules[5:9]])
    monkeypatch.setattr("hpcml.predict_file._MOST_MOLECULES", 4)
    lines_at_a_batch: list[int] = []
    of_batch = Ensemble.of_batch

    def counted(self, batch):
        lines_at_a_batch.append(len((tmp_path / "out.csv").read_text().splitlines()))
        return of_batch(self, batch)

    monkeypatch.setattr(Ensemble, "of_batch", counted)
    failed = predict_file(ensemble, file, tmp_path / "out.csv")
    rows = table((tmp_path / "out.csv").read_text())
    assert [row["key"] for row in rows] == [molecule.key for molecule in molecules[:9]]
    assert [line.split(": ")[1] for line in failed] == ["heavy"]
    assert lines_at_a_batch[0] == 0
    assert 5 in lines_at_a_batch  # the heading and the first batch
    said = capsys.readouterr().err
    assert said.startswith("predict: 4")  # a rate follows once there is one


def write_xyz(path: Path, molecules: list[Molecule]) -> None:
    frames = [
        f"{len(one)}\n{one.name}\n"
        + "".join(
            f"{s} {x:.9f} {y:.9f} {z:.9f}\n"
            for s, (x, y, z) in zip(one.symbols, one.positions.tolist(), strict=True)
        )
        for one in molecules
    ]
    path.write_text("".join(frames))


def test_a_file_that_cannot_be_written_is_told_before_computing(
    ensemble, tmp_path, monkeypatch, capsys
) -> None:
    (tmp_path / "water.xyz").write_text(WATER)
    monkeypatch.setattr(Ensemble, "of_batch", None)  # would fail if it were called
    where = tmp_path / "nowhere" / "out.csv"
    code = main(["predict", str(ensemble), str(tmp_path / "water.xyz"), "--csv", str(where)])
    assert code == 2
    assert capsys.readouterr().err.startswith(f"hpcml: cannot write {where}: ")


def test_warnings_of_two_waters_far_apart_and_of_a_geometry_from_smiles(
    ensemble, tmp_path, capsys
) -> None:
    oxygen, *hydrogens = WATER.splitlines()[2:]
    far = [line.replace(" 0 ", " 50 ", 1) for line in (oxygen, *hydrogens)]
    two = "\n".join(["6", "two waters", oxygen, *hydrogens, *far]) + "\n"
    (tmp_path / "waters.xyz").write_text(WATER + two)
    near, apart = table(predicted(ensemble, tmp_path / "waters.xyz")[0])
    assert near["warnings"] == ""
    assert apart["warnings"].startswith(
        "2 pieces with no bond between them: training molecules have one; atoms 50.0 angstrom "
        "apart: the widest training molecule has "
    )
    assert "1 of 2 predictions reach beyond" in capsys.readouterr().err
    (tmp_path / "water.smi").write_text("O water\n")
    (made,) = table(predicted(ensemble, tmp_path / "water.smi")[0])
    assert made["warnings"] == (
        "geometry by a force field from the SMILES: the network has learned others"
    )


def test_a_network_that_learned_geometries_from_smiles_takes_them_without_a_word(tmp_path) -> None:
    learned = [molecule_from_smiles("C" * n, name=f"chain {n}") for n in range(1, 9)]
    dataset = write_dataset(tmp_path / "dataset", learned, ["HF"])
    settings = TrainSettings(model="linear", target="energy", epochs=1)
    train(dataset, tmp_path / "model", settings, Alone())
    assert load_model(tmp_path / "model")[1].geometries_made
    (tmp_path / "propane.smi").write_text("CCC propane\n")
    (row,) = table(predicted(tmp_path / "model", tmp_path / "propane.smi")[0])
    assert row["warnings"] == ""


def test_published_ani_files(tmp_path) -> None:
    """TorchANI's energies from the authors' files, and reasons that add up to them."""
    data = Path(__file__).parent / "models" / "data"
    known = json.loads((data / "ani-1ccx-torchani.json").read_text())["molecules"][:3]
    molecules = [Molecule(one["numbers"], one["positions"], name=one["smiles"]) for one in known]
    write_xyz(tmp_path / "known.xyz", molecules)
    text, failed = predicted(data / "ani-1ccx", tmp_path / "known.xyz", ExplainSettings())
    assert failed == []
    for row, one in zip(table(text), known, strict=True):
        assert float(row["energy [Eh]"]) == pytest.approx(one["energy"], abs=2e-5)
        assert row["warnings"] == ""
        atoms = [float(word.split(":")[1]) for word in row["relevance"].split()]
        ledger = [float(row[term]) for term in LEDGER]
        assert sum(atoms) + sum(ledger) == pytest.approx(one["energy"], abs=1e-4)


def test_explained_by_the_rule_that_was_found_or_is_named(ensemble, molecules, tmp_path) -> None:
    """Of an uncalibrated network gamma; the column says which it was."""
    write_dataset(tmp_path / "others", molecules[20:24], ["HF"])

    def rules(settings: ExplainSettings) -> set[str]:
        return {row["rule"] for row in table(predicted(ensemble, tmp_path / "others", settings)[0])}

    assert rules(ExplainSettings()) == {"gamma"}
    assert rules(ExplainSettings(rule="epsilon")) == {"epsilon"}
    found = Calibration(rule="z_plus", reason="", learned={}, molecules=1, identity="")
    folder = ModelFolder(ensemble)
    write_calibration(folder, found)
    try:
        assert rules(ExplainSettings()) == {"z_plus"}
    finally:
        folder.calibration.unlink()


def test_rule_that_does_not_exist_is_one_line(ensemble, tmp_path, capsys) -> None:
    (tmp_path / "water.xyz").write_text(WATER)
    code = main(["predict", str(ensemble), str(tmp_path / "water.xyz"), "--rule", "gama"])
    assert code == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "no rule 'gama'; there are auto, epsilon" in said[0]
