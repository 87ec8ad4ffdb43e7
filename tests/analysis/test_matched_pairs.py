"""Pairs of molecules that differ in one group, by hand and for networks whose reasons are known."""

import csv
import json

import numpy as np
import pytest

from hpcml.analysis import AnalyzeSettings, analyze
from hpcml.analysis.matched_pairs import cuts, matched_pairs, pairs_summary
from hpcml.molecules import molecule_from_smiles, perceive
from hpcml.relevance import LEDGER
from hpcml.store import Dataset, Row, Schema, ShardWriter, shards

WORTH = {1: 1.5, 6: 8.0, 7: 6.0, 8: 4.5, 9: 2.0}
SMILES = (
    *("CCO", "CCN", "CCF", "CCCO", "CCCN", "CCCF", "CCCC", "CC(C)O", "CC(C)N", "CC(C)F"),
    *("OC1CC1", "NC1CC1", "CC1CC1", "OCC=C", "NCC=C", "CCC=C", "CC(=O)O", "CC(N)=O", "CC(C)=O"),
)


def test_cuts_of_ethanol():
    """C-C and C-O, C-H of the methyl and of the methylene, O-H: hydrogens that look alike once."""
    mol = perceive(molecule_from_smiles("CCO"))
    found = {cut.changes: [] for cut in cuts(mol)}
    for cut in cuts(mol):
        found[cut.changes].append((cut.stays, cut.atoms.tolist()))
    assert set(found) == {"C[*:1]", "O[*:1]", "[H][*:1]"}
    ((stays, atoms),) = found["O[*:1]"]
    assert stays == "CC[*:1]"
    assert sorted(mol.GetAtomWithIdx(i).GetSymbol() for i in atoms) == ["H", "O"]
    ((stays, atoms),) = found["C[*:1]"]
    assert stays == "OC[*:1]"
    assert sorted(mol.GetAtomWithIdx(i).GetSymbol() for i in atoms) == ["C", "H", "H", "H"]
    assert {stays for stays, _ in found["[H][*:1]"]} == {"OCC[*:1]", "CC(O)[*:1]", "CCO[*:1]"}


def test_pairs_by_hand():
    """Ethanol and ethylamine differ in a group, propanol from ethanol by a methyl for a hydrogen;
    ethanol and cyclopropane in more."""
    molecules = [molecule_from_smiles(s) for s in ("CCO", "CCN", "CCCO", "C1CC1")]
    pairs = matched_pairs((number, perceive(m)) for number, m in enumerate(molecules))
    found = {(pair.first, pair.second): (pair.stays, pair.changes) for pair in pairs}
    assert found[1, 0] == ("CC[*:1]", ("N[*:1]", "O[*:1]"))
    assert found[2, 0][1] == ("C[*:1]", "[H][*:1]")
    assert not [pair for pair in found if 3 in pair]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A property that is a sum over elements, in shards of seven rows."""
    folder = tmp_path_factory.mktemp("pairs") / "dataset"
    schema = Schema(columns=("energy", "alpha_iso", "share_alpha_iso"), frequencies=(0.0,))
    with ShardWriter(folder, schema, "test", rows_per_shard=7) as writer:
        for number, smiles in enumerate(SMILES):
            molecule = molecule_from_smiles(smiles)
            share = np.array([WORTH[z] for z in molecule.numbers.tolist()])
            values = {"energy": np.array(0.0), "alpha_iso": np.array([share.sum()])}
            writer.append(Row(f"{number:032x}", molecule, values | {"share_alpha_iso": share}, {}))
    return Dataset.open(folder)


def tables(dataset, folder, relevance_of):
    """pairs_matched.csv and pairs_summary.csv of relevances made of a row's shares."""
    for info in dataset.shards:
        shard = dataset.shard(info.name)
        share = np.split(shard.column("share_alpha_iso"), shard.atom_offsets[1:-1])
        relevance = np.concatenate([relevance_of(one) for one in share])
        columns = {
            "key": shard.column("key"),
            "prediction": np.add.reduceat(relevance, shard.atom_offsets[:-1]),
            "ledger": np.zeros((info.rows, len(LEDGER))),
            "atom_offsets": shard.atom_offsets,
            "relevance": relevance,
        }
        about = {"source": info.checksum, "identity": "test", "model": "made up"}
        about |= {"target": '{"name": "alpha_iso"}', "unit": "a0^3", "rule": "epsilon"}
        shards.write(folder / "relevance", info.name, columns, about)
    (folder / "model").mkdir(exist_ok=True)
    keys = [f"{number:032x}" for number in range(len(SMILES))]
    split = {"train": keys[:10], "validation": keys[10:11], "test": keys[11:]}
    (folder / "model" / "split.json").write_text(json.dumps(split))
    files = analyze(dataset, folder / "relevance", folder / "model", folder / "analysis")
    read = []
    for name in ("pairs_matched", "pairs_summary"):
        with files[name].open(newline="") as file:
            read.append(list(csv.DictReader(file)))
    return read


def asked(summary, change, against, part="all", transformation="kept"):
    (line,) = [
        line
        for line in summary
        if (line["part"], line["change_of"], line["with"], line["transformation"])
        == (part, change, against, transformation)
    ]
    return line


def test_a_network_that_is_right_gives_the_change_to_what_changed(dataset, tmp_path):
    pairs, summary = tables(dataset, tmp_path, np.copy)
    assert len(pairs) > 20
    for pair in pairs:
        assert float(pair["relevance_changed"]) == pytest.approx(float(pair["property"]))
        assert float(pair["relevance_stays"]) == pytest.approx(0.0, abs=1e-9)
    for change in ("relevance_changed", "share_changed", "prediction"):
        line = asked(summary, change, "property")
        assert float(line["correlation"]) == pytest.approx(1.0)
        assert float(line["carried"]) == pytest.approx(1.0)
        assert float(line["low"]) > 0.99
    test_keys = {f"{number:032x}" for number in range(11, len(SMILES))}
    for pair in pairs:
        assert (pair["part"] == "test") == ({pair["from"], pair["to"]} <= test_keys)
    assert int(asked(summary, "prediction", "property", "test")["pairs_all"]) == sum(
        pair["part"] == "test" for pair in pairs
    )


def test_a_network_that_is_right_for_wrong_reasons_gives_the_change_to_what_stays(
    dataset, tmp_path
):
    """Right predictions, all of each on the carbons: OH for NH2 changes the carbons' relevance."""

    def on_carbons(share):
        carbons = share == WORTH[6]
        return carbons * share.sum() / carbons.sum()

    pairs, summary = tables(dataset, tmp_path, on_carbons)
    line = asked(summary, "prediction", "property")
    assert float(line["carried"]) == pytest.approx(1.0)
    assert float(line["correlation"]) == pytest.approx(1.0)
    without = [pair for pair in pairs if "C" not in pair["changed"] + pair["into"]]
    assert without
    for pair in without:
        assert float(pair["relevance_changed"]) == 0.0
        assert float(pair["relevance_stays"]) == pytest.approx(float(pair["property"]))
    right = np.array([float(pair["property"]) for pair in pairs])
    told = np.array([float(pair["relevance_changed"]) for pair in pairs])
    expected = (told * right).sum() / np.sqrt((told**2).sum() * (right**2).sum())
    line = asked(summary, "relevance_changed", "property")
    assert float(line["correlation_all"]) == pytest.approx(expected)
    removed = asked(summary, "relevance_changed", "property", transformation="removed")
    assert removed["correlation_all"] == "nan"  # of a sum over elements nothing is left


def test_no_pairs_are_looked_for_where_none_are_wanted(dataset, tmp_path):
    tables(dataset, tmp_path, np.copy)
    settings = AnalyzeSettings(matched_pairs=0)
    files = analyze(dataset, tmp_path / "relevance", tmp_path / "model", tmp_path / "analysis",
                    settings)  # fmt: skip
    assert "pairs_matched" not in files
    assert not (tmp_path / "analysis" / "pairs_matched.csv").exists()


def test_intervals_cover_the_truth():
    """Changes that agree by 0.6, some molecules in many pairs: the pairs that are compared have
    none in common, so that the interval holds."""
    missed = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        property_, told = random.normal(size=(2, 60))
        told = 0.6 * property_ + 0.8 * told
        ends = [(0, k) for k in range(1, 15)] + [(k, k + 15) for k in range(15, 30)]
        table = [
            {
                **{"part": "test", "from": a, "to": b, "changed": "", "into": ""},
                **{"property": property_[b] - property_[a], "prediction": 0.0},
                "relevance_changed": told[b] - told[a],
            }
            for a, b in ends
        ]
        (line, *_) = pairs_summary(table, ["all"])
        assert line["pairs"] == 16
        missed += not line["low"] < 0.6 < line["high"]
    assert 2 <= missed <= 22  # 10 expected; beyond either end by chance below one in a thousand
