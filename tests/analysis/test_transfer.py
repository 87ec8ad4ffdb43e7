"""Transfer to other data sets: whose errors, scores and drifts are known, and by the command."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t

from hpcml.analysis.transfer import Explained, transfer
from hpcml.cli.main import main
from hpcml.errors import InputError, SettingsError
from hpcml.molecules import molecule_from_smiles, perceive
from hpcml.relevance import LEDGER, open_relevance
from hpcml.store import Dataset, Row, Schema, ShardWriter, shards

LEARNED = ["CCO", "CCN", "CC(=O)O", "C1CC1", "CCCC", "OCCO", "CC#N", "NCC=O", "CC(C)O", "CCOC"]
OTHERS = ["CCCCCO", "CCCCCN", "CCO", "CCCC(=O)O", "C1CCCCC1", "NCCCCO"]
SMALL = Path(__file__).parents[2] / "jobs" / "study" / "small"


def written(folder: Path, smiles: list[str], *, shares: bool = True, level: str = "HF") -> Dataset:
    columns = ("energy", "alpha_iso", *(["share_alpha_iso"] if shares else []))
    schema = Schema(columns=columns, frequencies=(0.0,))
    with ShardWriter(folder, schema, "test") as writer:
        for number, text in enumerate(smiles):
            molecule = molecule_from_smiles(text)
            degrees = [atom.GetDegree() for atom in perceive(molecule).GetAtoms()]
            share = molecule.numbers + 0.5 * np.array(degrees)
            values = {"energy": np.array(0.0), "alpha_iso": np.array([share.sum()])}
            if shares:
                values["share_alpha_iso"] = share
            writer.append(Row(f"{number:032x}", molecule, values, {"method": level}))
    return Dataset.open(folder)


def explained(
    folder: Path, dataset: Dataset, relevance_of, *, target: str = "alpha_iso"
) -> Explained:
    """Predictions 0.25 (0.5 from the fourth atom on up) too large, as hpcml explain writes them."""
    for info in dataset.shards:
        shard = dataset.shard(info.name)
        numbers = shard.column("numbers").astype(float)
        share = shard.column("share_alpha_iso") if "share_alpha_iso" in shard.columns else numbers
        relevance = relevance_of(numbers, share)
        starts = shard.atom_offsets[:-1]
        prediction = shard.scalar("alpha_iso") + 0.25 * (1 + np.arange(info.rows) % 2)
        ledger = np.zeros((info.rows, len(LEDGER)))
        ledger[:, LEDGER.index("mean")] = prediction - np.add.reduceat(relevance, starts)
        columns = {
            "key": shard.column("key"),
            "prediction": prediction,
            "ledger": ledger,
            "atom_offsets": shard.atom_offsets,
            "relevance": relevance,
        }
        about = {"source": info.checksum, "identity": "test", "model": "made up", "unit": "a0^3"}
        about |= {"target": json.dumps({"name": target}), "rule": "epsilon"}
        shards.write(folder, info.name, columns, about)
    return Explained(dataset, open_relevance(folder, dataset))


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    keys = [f"{number:032x}" for number in range(len(LEARNED))]
    split = {"train": keys[:7], "validation": keys[7:9], "test": keys[9:]}
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "split.json").write_text(json.dumps(split))
    return tmp_path / "model"


@pytest.fixture
def own(tmp_path: Path) -> Explained:
    dataset = written(tmp_path / "learned", LEARNED)
    return explained(tmp_path / "own-relevance", dataset, lambda numbers, share: share / 2.0)


def line_of(table, dataset, part="", heavy="all", explained="relevance"):
    [line] = [
        line
        for line in table
        if (line["dataset"], line["part"], line["heavy_atoms"], line["explained"])
        == (dataset, part, heavy, explained)
    ]
    return line


def test_errors_scores_and_drifts_stand_in_the_table(tmp_path, own, model_folder) -> None:
    larger = written(tmp_path / "larger", OTHERS)
    alike = explained(tmp_path / "r1", larger, lambda numbers, share: share / 2.0)
    wrong = explained(
        tmp_path / "r2", larger, lambda numbers, share: np.where(numbers == 6, -9, share / 2)
    )
    found = transfer(own, model_folder, {"alike": alike, "wrong": wrong})
    assert len(found.notes) == 2
    assert found.notes[0].startswith("alike: 1 of 6 molecules are copies")
    line = line_of(found.table, "alike")
    errors = np.array([0.25, 0.5, 0.5, 0.25, 0.5])  # all but ethanol's
    assert (line["molecules"], line["mae"]) == (5, pytest.approx(errors.mean()))
    width = t.ppf(0.975, 4) * errors.std(ddof=1) / 5**0.5
    assert line["mae_high"] - line["mae"] == pytest.approx(width)
    assert line["bias"] == pytest.approx(errors.mean())
    assert line["spread"] == pytest.approx(larger.scalar("alpha_iso")[[0, 1, 3, 4, 5]].std())
    sizes = {
        row["heavy_atoms"]: row["molecules"] for row in found.table if row["dataset"] == "alike"
    }
    assert sizes == {"all": 5, "6": 5}
    assert [row["part"] for row in found.table if row["heavy_atoms"] == "all"][::2] == [
        *("train", "validation", "test", "", "")
    ]
    assert np.isnan(line_of(found.table, "own", "train")["drift_element"])
    worse = line_of(found.table, "wrong")
    assert line["drift_element"] == pytest.approx(0.0, abs=1e-9)
    assert worse["drift_element"] > 0.3
    assert line["correlation"] == pytest.approx(1.0)
    assert worse["rank"] < 1.0
    assert line["slope"] == pytest.approx(2.0)
    carbon = [row for row in found.drifts
              if (row["dataset"], row["of"], row["kind"], row["explained"], row["heavy_atoms"])
              == ("wrong", "element", "C", "relevance", "all")]  # fmt: skip
    assert len(carbon) == 1 and carbon[0]["drift"] < -10.0
    files = found.write(tmp_path / "analysis")
    with files["transfer"].open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(found.table)
    assert len({len(text.split("  ")[0]) for text in found.lines()}) > 1


def test_what_a_reader_must_know_is_told(tmp_path, own, model_folder) -> None:
    bare = written(tmp_path / "bare", OTHERS[:2], shares=False, level="B3LYP")
    other = explained(tmp_path / "r", bare, lambda numbers, share: numbers)
    found = transfer(own, model_folder, {"bare": other})
    assert found.notes == [
        "bare: its values are B3LYP, the network has learned HF",
        "bare: no share_alpha_iso, so that its errors alone are judged",
    ]
    line = line_of(found.table, "bare")
    assert line["mae"] == pytest.approx(0.375)
    assert np.isnan([line["correlation"], line["slope"], line["drift_element"]]).all()


def test_what_cannot_be_judged_is_one_line(tmp_path, own, model_folder) -> None:
    other = written(tmp_path / "xx", OTHERS)
    zpve = explained(tmp_path / "r", other, lambda numbers, share: numbers, target="energy")
    with pytest.raises(InputError, match="xx: explained is energy, not alpha_iso"):
        transfer(own, model_folder, {"xx": zpve})
    with pytest.raises(InputError, match="cannot be called 'own'"):
        transfer(own, model_folder, {"own": zpve})
    (model_folder / "split.json").unlink()
    with pytest.raises(InputError, match="nobody knows what it learned from"):
        transfer(own, model_folder, {})


def test_the_command(tmp_path, monkeypatch, capsys) -> None:
    """Trained on five heavy atoms, judged on six of another data set."""
    monkeypatch.chdir(tmp_path)
    campaign = tmp_path / "c.toml"
    campaign.write_text(
        f'name = "c"\ndataset = "{SMALL}"\n'
        '[train]\nmodel = "linear"\ntarget = "alpha_iso"\nepochs = 2\nranks = 1\n'
        'split = "elements"\nhold_out = "N+"\n'
        '[explain]\nrule = "epsilon"\nranks = 1\n'
    )
    assert main(["train", "c.toml"]) == 0
    assert main(["explain", "c.toml"]) == 0
    capsys.readouterr()
    assert main(["transfer", "runs/c", str(SMALL)]) == 0
    said = capsys.readouterr()
    assert re.search(rf"small: \d+ of {len(Dataset.open(SMALL))} molecules are copies", said.err)
    assert said.out.splitlines()[0].split()[-2:] == ["drift", "chance"]
    with (tmp_path / "runs/c/analysis/transfer.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    same = {name: line_of(table, *where) for name, where in
            {"test": ("own", "test"), "small": ("small", "")}.items()}  # fmt: skip
    for column in ("molecules", "mae", "rank", "slope", "drift_environment"):  # the same molecules
        assert same["test"][column] == same["small"][column]
    assert main(["transfer", "runs/c", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err
    with pytest.raises(SettingsError, match="called 'small' too"):
        from hpcml import pipeline

        pipeline.transfer(Path("runs/c"), [SMALL, tmp_path / "small"])
