"""The tables of a small data set whose relevances are known."""

import csv
import json

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from hpcml.analysis import AnalyzeSettings, analyze, reasons_score, summary
from hpcml.analysis.analyze_stage import CANCELLATION
from hpcml.analysis.atom_traits import AtomTraits
from hpcml.analysis.perception import Perceived
from hpcml.analysis.untrained import untrained_relevance
from hpcml.errors import InputError
from hpcml.models import Scaling, build
from hpcml.molecules import Molecule, molecule_from_smiles, perceive
from hpcml.relevance import LEDGER, open_relevance
from hpcml.store import Dataset, Row, Schema, ShardWriter, shards
from hpcml.training import ModelInfo, Target
from hpcml.training.model_file import save_model

SMILES = ["CCO", "CCN", "CC(=O)O", "C1CC1", "CCCC", "OCCO", "CC#N", "NCC=O"]


def known_share(molecule):
    """Half the number of bonds of an atom beside its atomic number: not composition alone."""
    return molecule.numbers + 0.5 * np.array([a.GetDegree() for a in perceive(molecule).GetAtoms()])


@pytest.fixture
def dataset(tmp_path):
    """Eight molecules in shards of three rows, with shares of alpha_iso."""
    schema = Schema(columns=("energy", "alpha_iso", "share_alpha_iso"), frequencies=(0.0,))
    with ShardWriter(tmp_path / "dataset", schema, "test", rows_per_shard=3) as writer:
        for number, smiles in enumerate(SMILES):
            molecule = molecule_from_smiles(smiles)
            share = known_share(molecule)
            values = {
                "energy": np.array(0.0),
                "alpha_iso": np.array([share.sum()]),
                "share_alpha_iso": share,
            }
            writer.append(Row(f"{number:032x}", molecule, values, {}))
    return Dataset.open(tmp_path / "dataset")


def write_relevance(folder, dataset, relevance_of, offset=0.25):
    """Relevances as hpcml explain writes them: ``relevance_of(share)``, the mean holds the rest."""
    for info in dataset.shards:
        shard = dataset.shard(info.name)
        share = shard.column("share_alpha_iso")
        relevance = relevance_of(share)
        starts = shard.atom_offsets[:-1]
        ledger = np.zeros((info.rows, len(LEDGER)))
        ledger[:, LEDGER.index("mean")] = np.add.reduceat(share - relevance, starts) + offset
        columns = {
            "key": shard.column("key"),
            "prediction": np.add.reduceat(share, starts) + offset,
            "ledger": ledger,
            "atom_offsets": shard.atom_offsets,
            "relevance": relevance,
        }
        about = {"source": info.checksum, "identity": "test", "model": "made up"}
        about |= {"target": '{"name": "alpha_iso"}', "unit": "a0^3", "rule": "epsilon"}
        shards.write(folder, info.name, columns, about)


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def model_folder(tmp_path):
    """A split of the eight rows: five, one, and two."""
    folder = tmp_path / "model"
    folder.mkdir()
    keys = [f"{number:032x}" for number in range(8)]
    split = {"train": keys[:5], "validation": keys[5:6], "test": keys[6:]}
    (folder / "split.json").write_text(json.dumps(split))
    return folder


def test_tables_of_a_network_that_is_right(dataset, model_folder, tmp_path):
    """Relevance twice the share: the score is one everywhere, the error is the offset."""
    write_relevance(tmp_path / "relevance", dataset, lambda share: 2.0 * share)
    files = analyze(dataset, tmp_path / "relevance", model_folder, tmp_path / "analysis")
    reasons = read(files["reasons"])
    assert {row["part"] for row in reasons} == {"all", "train", "validation", "test"}
    whole = next(r for r in reasons if (r["part"], r["of"]) == ("all", "all atoms"))
    assert float(whole["correlation"]) == pytest.approx(1.0)
    assert whole["molecules"] == "8"
    assert float(whole["mae"]) == pytest.approx(0.25)
    test = next(r for r in reasons if (r["part"], r["of"]) == ("test", "all atoms"))
    assert test["molecules"] == "2"
    assert {r["of"] for r in reasons} >= {"element C", "ring atoms", "molecules with alcohol"}

    elements = {row["element"]: row for row in read(files["elements"])}
    oxygens = [
        share
        for molecule in dataset.molecules
        for share, z in zip(known_share(molecule), molecule.numbers, strict=True)
        if z == 8
    ]
    assert int(elements["O"]["count"]) == len(oxygens)
    assert float(elements["O"]["share_mean"]) == pytest.approx(np.mean(oxygens))
    assert float(elements["O"]["relevance_mean"]) == pytest.approx(2.0 * np.mean(oxygens))
    assert float(elements["O"]["relevance_std"]) == pytest.approx(2.0 * np.std(oxygens))

    groups = {row["group"]: row for row in read(files["groups"])}
    # methyl: one C with four bonds, three H with one; atomic numbers and half the bonds
    assert float(groups["methyl"]["share_mean"]) == pytest.approx(6 + 2.0 + 3 * 1.5)
    assert float(groups["methyl"]["relevance_std"]) == pytest.approx(0.0, abs=1e-12)
    assert int(groups["methyl"]["count"]) == 6
    assert int(groups["methyl"]["molecules"]) == 5
    assert "amide" not in groups

    conservation = {row["term"]: row for row in read(files["conservation"])}
    assert float(conservation["closure"]["largest_absolute"]) < 1e-12
    assert conservation["prediction"]["molecules"] == "8"
    totals = [known_share(molecule).sum() for molecule in dataset.molecules]
    assert float(conservation["atoms"]["mean"]) == pytest.approx(2.0 * np.mean(totals))
    assert float(conservation["mean"]["mean"]) == pytest.approx(0.25 - np.mean(totals))


def test_controls_stand_beside_the_network(dataset, model_folder, tmp_path):
    """Noise scores nothing; an element's mean share is the best that composition alone can say."""
    write_relevance(tmp_path / "relevance", dataset, lambda share: 2.0 * share)
    files = analyze(dataset, tmp_path / "relevance", model_folder, tmp_path / "analysis")
    rows = {
        (row["scored"], row["composition"]): row
        for row in read(files["reasons"])
        if (row["part"], row["of"]) == ("all", "all atoms")
    }
    assert {what for what, _ in rows} == {
        *("network", "random", "shuffled shares", "isomer's shares", "element means"),
        *("environment means", "hydrogens", "additive fit"),
    }
    for what in ("random", "shuffled shares"):
        for column in ("correlation", "rank"):
            assert abs(float(rows[what, "removed"][column])) < 0.4
    assert float(rows["element means", "kept"]["correlation"]) > 0.9
    assert rows["element means", "removed"]["correlation"] == "nan"
    assert float(rows["hydrogens", "removed"]["correlation"]) > 0.1  # more bonds, larger share
    assert rows["random", "kept"]["mae"] == "nan"


def scored_on_all_atoms(files, of="all atoms"):
    """(what is scored, composition) -> its row of all molecules."""
    return {
        (row["scored"], row["composition"]): row
        for row in read(files["reasons"])
        if (row["part"], row["of"]) == ("all", of)
    }


def test_hydrogens_merged_with_their_heavy_atom(dataset, model_folder, tmp_path):
    """Against a plain loop over bonds, for relevances that are noise about the share."""
    noise = np.random.default_rng(1).normal(size=int(dataset.atom_offsets[-1]))
    shift = iter(np.split(noise, dataset.atom_offsets[[3, 6]]))
    write_relevance(tmp_path / "relevance", dataset, lambda share: share + 3.0 * next(shift))
    files = analyze(dataset, tmp_path / "relevance", model_folder, tmp_path / "analysis")
    found = scored_on_all_atoms(files, "heavy atoms with their hydrogens")["network", "kept"]
    told, true = [], []
    relevance = open_relevance(tmp_path / "relevance", dataset)
    for row, molecule in enumerate(dataset.molecules):
        sums = [
            [sum(v[[atom.GetIdx(), *(n.GetIdx() for n in atom.GetNeighbors()
                                     if n.GetAtomicNum() == 1)]])
             for atom in perceive(molecule).GetAtoms() if atom.GetAtomicNum() > 1]
            for v in (relevance[row].atoms, known_share(molecule))
        ]  # fmt: skip
        told.append(np.array(sums[0]) - np.mean(sums[0]))
        true.append(np.array(sums[1]) - np.mean(sums[1]))
    expected = np.corrcoef(np.concatenate(told), np.concatenate(true))[0, 1]
    assert float(found["correlation"]) == pytest.approx(expected)
    assert int(found["atoms"]) == sum(map(len, told))


def test_composition_by_environment(dataset, model_folder, tmp_path):
    """Shares that follow from element, hybridization and hydrogens: a network that has them is
    right beyond the elements, and nothing is left of them beyond the environments."""
    numbers = dataset.column("numbers").astype(int)
    traits = AtomTraits(numbers, Perceived(dataset.molecules, dataset.atom_offsets))
    write_relevance(tmp_path / "relevance", dataset, np.copy)
    settings = AnalyzeSettings(composition="environments")
    arguments = (dataset, tmp_path / "relevance", model_folder, tmp_path / "analysis", settings)
    rows = scored_on_all_atoms(analyze(*arguments))
    assert set(rows) >= {("network", c) for c in ("removed", "environments removed", "kept")}
    assert float(rows["network", "removed"]["rank"]) == pytest.approx(1.0)
    for column in ("correlation", "rank"):
        assert rows["network", "environments removed"][column] == "nan"
    assert rows["environment means", "environments removed"]["correlation"] == "nan"
    assert float(rows["environment means", "removed"]["correlation"]) > 0.9
    assert summary(tmp_path / "analysis")[0].count("environments removed") == 1
    means = iter(np.split(2.0 * traits.hydrogens.astype(float), dataset.atom_offsets[[3, 6]]))
    write_relevance(tmp_path / "relevance", dataset, lambda share: 0.0 * share + next(means))
    rows = scored_on_all_atoms(analyze(*arguments))
    assert float(rows["network", "removed"]["correlation"]) > 0.3
    assert rows["network", "environments removed"]["correlation"] == "nan"


def test_second_partition_is_a_ceiling_where_there_is_one(dataset, model_folder, tmp_path):
    """Shares by another partition are scored as relevances are; they need not be there."""
    columns = ("energy", "alpha_iso", "share_alpha_iso", "share_alpha_iso_loewdin")
    schema = Schema(columns=columns, frequencies=(0.0,))
    random = np.random.default_rng(0)
    others = []
    with ShardWriter(tmp_path / "both", schema, "test", rows_per_shard=3) as writer:
        for number, molecule in enumerate(dataset.molecules):
            share = known_share(molecule)
            others.append(share + random.normal(size=len(share)))
            values = {"energy": np.array(0.0), "alpha_iso": np.array([share.sum()])}
            values |= {"share_alpha_iso": share, "share_alpha_iso_loewdin": others[-1]}
            writer.append(Row(f"{number:032x}", molecule, values, {}))
    both = Dataset.open(tmp_path / "both")
    write_relevance(tmp_path / "relevance", both, np.copy)
    files = analyze(both, tmp_path / "relevance", model_folder, tmp_path / "analysis")
    found = scored_on_all_atoms(files)["second partition", "removed"]
    expected = reasons_score(
        np.concatenate(others),
        both.column("share_alpha_iso"),
        both.atom_offsets,
        kinds=both.column("numbers").astype(int),
    )
    assert float(found["correlation"]) == pytest.approx(expected.correlation)
    assert float(found["rank"]) == pytest.approx(expected.rank)


def test_differences_from_the_controls_are_paired(dataset, model_folder, tmp_path):
    """Of a perfect network: one less each control's own rank score, Holm above plain, and the
    intervals for all lines together hold those of each."""
    write_relevance(tmp_path / "relevance", dataset, lambda share: 2.0 * share)
    files = analyze(dataset, tmp_path / "relevance", model_folder, tmp_path / "analysis")
    rows = scored_on_all_atoms(files)
    lines = [
        line
        for line in read(files["reasons_differences"])
        if (line["part"], line["of"], line["composition"]) == ("all", "all atoms", "removed")
    ]
    known = [line for line in lines if line["p"] != "nan"]
    assert {line["less"] for line in known} >= {"random", "shuffled shares", "hydrogens"}
    for line in known:
        if line["molecules"] == rows[line["less"], "removed"]["molecules"]:
            rank = float(rows[line["less"], "removed"]["rank"])
            assert float(line["rank_difference"]) == pytest.approx(1.0 - rank)
        assert float(line["p"]) <= float(line["p_holm"]) <= len(known) * float(line["p"]) + 1e-15
    network = [row for row in read(files["reasons"]) if row["scored"] == "network"]
    for row in network:
        assert int(row["comparisons"]) == sum(one["part"] == row["part"] for one in network)
        if row["rank_low"] != "nan":
            assert float(row["rank_low_all"]) <= float(row["rank_low"])


def test_the_untrained_network_is_a_control(dataset, model_folder, tmp_path):
    """The linear network's relevances are its weights times what it is told of the elements:
    before training too they are one number an element, so that without composition none is left."""
    hyperparameters = {"elements": [1, 6, 7, 8]}
    model = build("linear", hyperparameters)
    info = ModelInfo(model="linear", hyperparameters=hyperparameters, scaling=Scaling(),
                     targets=(Target(name="alpha_iso"),), units=("a0^3",))  # fmt: skip
    save_model(model_folder, model.state_dict(), info)
    write_relevance(tmp_path / "relevance", dataset, lambda share: 2.0 * share)
    relevance = untrained_relevance(
        dataset, open_relevance(tmp_path / "relevance", dataset), model_folder
    )
    numbers = dataset.column("numbers")
    for z in (1, 6, 7, 8):
        assert np.ptp(relevance[numbers == z]) < 1e-6
    files = analyze(dataset, tmp_path / "relevance", model_folder, tmp_path / "analysis")
    found = [row for row in read(files["reasons"]) if row["scored"] == "untrained network"]
    assert {row["part"] for row in found} == {"all", "train", "validation", "test"}


def test_cancellation_is_told(dataset, model_folder, tmp_path):
    """Relevances of ten times the share, the rest taken back by the biases: 10 + 9 over 1."""
    for info in dataset.shards:
        shard = dataset.shard(info.name)
        share = shard.column("share_alpha_iso")
        total = np.add.reduceat(share, shard.atom_offsets[:-1])
        ledger = np.zeros((info.rows, len(LEDGER)))
        ledger[:, LEDGER.index("bias")] = -9.0 * total
        columns = {
            "key": shard.column("key"),
            "prediction": total,
            "ledger": ledger,
            "atom_offsets": shard.atom_offsets,
            "relevance": 10.0 * share,
        }
        about = {"source": info.checksum, "identity": "test", "model": "made up"}
        about |= {"target": '{"name": "alpha_iso"}', "unit": "a0^3", "rule": "epsilon"}
        shards.write(tmp_path / "relevance", info.name, columns, about)
    files = analyze(dataset, tmp_path / "relevance", model_folder, tmp_path / "analysis")
    row = next(row for row in read(files["conservation"]) if row["term"] == CANCELLATION)
    assert float(row["median"]) == pytest.approx(19.0)
    assert float(row["largest_absolute"]) == pytest.approx(19.0)
    score, warning = summary(tmp_path / "analysis")
    assert score.startswith("reasons score 1.00 (no interval: fewer than 3 molecules) pooled, 1.00")
    assert score.endswith("2 molecules (test)")
    assert warning.startswith("mostly cancellation: the parts of an explanation are 19 times")


def test_row_that_could_not_be_explained(dataset, model_folder, tmp_path):
    """NaN relevances stay out of every average, and are counted by their absence."""
    write_relevance(tmp_path / "relevance", dataset, np.copy, offset=0.0)
    first = dataset.shards[0]
    shard = dataset.shard(first.name)
    cut = int(shard.atom_offsets[1])
    relevance = shard.column("share_alpha_iso").copy()
    relevance[:cut] = np.nan
    ledger = np.zeros((first.rows, len(LEDGER)))
    ledger[0] = np.nan
    prediction = np.add.reduceat(relevance, shard.atom_offsets[:-1])
    about = {"source": first.checksum, "identity": "test", "model": "made up"}
    about |= {"target": '{"name": "alpha_iso"}', "unit": "a0^3", "rule": "epsilon"}
    columns = {"key": shard.column("key"), "prediction": prediction, "ledger": ledger}
    columns |= {"atom_offsets": shard.atom_offsets, "relevance": relevance}
    shards.write(tmp_path / "relevance", first.name, columns, about)
    files = analyze(dataset, tmp_path / "relevance", model_folder, tmp_path / "analysis")
    conservation = {row["term"]: row for row in read(files["conservation"])}
    assert conservation["prediction"]["molecules"] == "7"
    assert float(conservation["closure"]["largest_absolute"]) < 1e-12
    reasons = read(files["reasons"])
    assert reasons[0]["molecules"] == "7"
    assert float(reasons[0]["correlation"]) == pytest.approx(1.0)


def test_same_input_same_bytes(dataset, model_folder, tmp_path):
    write_relevance(tmp_path / "relevance", dataset, np.sqrt)
    first = analyze(dataset, tmp_path / "relevance", model_folder, tmp_path / "one")
    second = analyze(dataset, tmp_path / "relevance", model_folder, tmp_path / "two")
    for name, path in first.items():
        assert path.read_bytes() == second[name].read_bytes()


def test_data_set_without_shares_has_no_reasons(tmp_path, model_folder):
    schema = Schema(columns=("energy", "alpha_iso"), frequencies=(0.0,))
    methane = molecule_from_smiles("C")
    with ShardWriter(tmp_path / "dataset", schema, "test") as writer:
        values = {"energy": np.array(0.0), "alpha_iso": np.array([16.0])}
        writer.append(Row(f"{1:032x}", methane, values, {}))
    dataset = Dataset.open(tmp_path / "dataset")
    info = dataset.shards[0]
    about = {
        "source": info.checksum,
        "identity": "t",
        "target": '{"name": "alpha_iso"}',
        "unit": "a0^3",
    }
    columns = {
        "key": dataset.column("key"),
        "prediction": np.array([15.0]),
        "ledger": np.zeros((1, len(LEDGER))),
        "atom_offsets": dataset.atom_offsets,
        "relevance": np.full(5, 3.0),
    }
    shards.write(tmp_path / "relevance", info.name, columns, about)
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis" / "reasons.csv").write_text("of another target\n")
    files = analyze(dataset, tmp_path / "relevance", model_folder, tmp_path / "analysis")
    assert sorted(files) == ["conservation", "elements", "groups"]
    assert not (tmp_path / "analysis" / "reasons.csv").exists()
    assert [row["element"] for row in read(files["elements"])] == ["H", "C"]


def test_broken_split(dataset, model_folder, tmp_path):
    (model_folder / "split.json").write_text("{")
    write_relevance(tmp_path / "relevance", dataset, np.sqrt)
    with pytest.raises(InputError, match=r"split\.json: is not a split"):
        analyze(dataset, tmp_path / "relevance", model_folder, tmp_path / "analysis")


def test_nothing_explained(dataset, model_folder, tmp_path):
    with pytest.raises(InputError, match="hpcml explain makes them"):
        analyze(dataset, tmp_path / "relevance", model_folder, tmp_path / "analysis")


def test_molecule_without_perceivable_bonds(tmp_path, model_folder):
    """It has no groups, but counts by element."""
    strange = Molecule([6, 6, 8], [[0, 0, 0], [0, 0, 0.01], [0, 0, 0.02]], charge=1)
    schema = Schema(columns=("energy", "alpha_iso"), frequencies=(0.0,))
    with ShardWriter(tmp_path / "dataset", schema, "test") as writer:
        values = {"energy": np.array(0.0), "alpha_iso": np.array([16.0])}
        writer.append(Row(f"{1:032x}", strange, values, {}))
    dataset = Dataset.open(tmp_path / "dataset")
    info = dataset.shards[0]
    columns = {
        "key": dataset.column("key"),
        "prediction": np.array([6.0]),
        "ledger": np.zeros((1, len(LEDGER))),
        "atom_offsets": dataset.atom_offsets,
        "relevance": np.array([1.0, 2.0, 3.0]),
    }
    about = {
        "source": info.checksum,
        "identity": "t",
        "target": '{"name": "alpha_iso"}',
        "unit": "a0^3",
    }
    shards.write(tmp_path / "relevance", info.name, columns, about)
    files = analyze(dataset, tmp_path / "relevance", model_folder, tmp_path / "analysis")
    assert read(files["groups"]) == []
    assert {r["element"]: r["count"] for r in read(files["elements"])} == {"C": "2", "O": "1"}


def test_pairs_by_distance(dataset, model_folder, tmp_path):
    """Relevance of a pair minus its distance in angstrom: within a bin of its middle."""
    for info in dataset.shards:
        shard = dataset.shard(info.name)
        atoms = np.diff(shard.atom_offsets)
        pairs = [-pdist(molecule.positions) for molecule in shard.molecules]
        columns = {
            "key": shard.column("key"),
            "prediction": np.zeros(info.rows),
            "ledger": np.zeros((info.rows, len(LEDGER))),
            "atom_offsets": shard.atom_offsets,
            "relevance": np.zeros(int(shard.atom_offsets[-1])),
            "pair_offsets": np.concatenate([[0], np.cumsum(atoms * (atoms - 1) // 2)]),
            "pair_relevance": np.concatenate(pairs),
        }
        about = {"source": info.checksum, "identity": "test", "model": "made up"}
        about |= {
            "target": '{"name": "alpha_iso"}',
            "unit": "a0^3",
            "rule": "epsilon",
            "pairs": "inputs",
        }
        shards.write(tmp_path / "relevance", info.name, columns, about)
    files = analyze(dataset, tmp_path / "relevance", model_folder, tmp_path / "analysis")
    table = read(files["distances"])
    distances = np.concatenate([pdist(molecule.positions) for molecule in dataset.molecules])
    assert sum(int(row["pairs"]) for row in table) == len(distances)
    assert float(table[0]["from"]) == 0.5 * int(distances.min() / 0.5)
    for row in table:
        inside = distances[(distances >= float(row["from"])) & (distances < float(row["to"]))]
        assert int(row["pairs"]) == len(inside)
        assert float(row["relevance_mean"]) == pytest.approx(-inside.mean())
        assert float(row["relevance_mean_absolute"]) == pytest.approx(inside.mean())
    write_relevance(tmp_path / "relevance", dataset, lambda share: share)
    files = analyze(dataset, tmp_path / "relevance", model_folder, tmp_path / "analysis")
    assert "distances" not in files
    assert not (tmp_path / "analysis" / "distances.csv").exists()
