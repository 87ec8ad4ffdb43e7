"""What is held out by name stands in no molecule that is learned from."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import Fragments, rdFingerprintGenerator
from rdkit.Chem.rdMolDescriptors import CalcNumRings
from rdkit.Chem.Scaffolds import MurckoScaffold

from hpcml.cli.main import main
from hpcml.errors import InputError, SettingsError
from hpcml.molecules import Molecule, perceive, write_extended_xyz
from hpcml.response.engine import Faults
from hpcml.store.rows import pack_keys
from hpcml.training import Target, TrainSettings
from hpcml.training.data import Candidates
from hpcml.training.held_out import CLUSTERS, KINDS, holdable
from hpcml.training.settings_check import faults
from hpcml.training.splits import PARTS, Split, make_split


def keys_of(molecules: list[Molecule]) -> list[str]:
    return [molecule.key for molecule in molecules]


def rows_of(molecules: list[Molecule]) -> SimpleNamespace:
    """What a split asks a data set for."""

    def column(name: str) -> np.ndarray:
        if name == "key":
            return pack_keys(keys_of(molecules))
        return np.concatenate([np.atleast_1d(getattr(m, name)) for m in molecules])

    return SimpleNamespace(
        keys=np.array(keys_of(molecules)),
        molecules=molecules,
        column=column,
        subset=lambda rows: rows_of([molecules[row] for row in rows.tolist()]),
        atom_offsets=np.cumsum([0, *map(len, molecules)]),
    )


def split_of(molecules: list[Molecule], **settings) -> Split:
    candidates = Candidates(
        rows=rows_of(molecules),
        values=np.zeros((len(molecules), 1)),
        targets=(Target(name="alpha_iso"),),
        units=("a0^3",),
        left_out={"no value of zpve": 3},
    )
    return make_split(TrainSettings(**settings), candidates, "f" * 32)


def mols(molecules: list[Molecule], split: Split, *parts: str) -> list[Chem.Mol]:
    by_key = {molecule.key: molecule for molecule in molecules}
    return [perceive(by_key[key]) for part in parts for key in split.part(part)]


def in_ring_of(mol: Chem.Mol, size: int) -> bool:
    return any(len(ring) == size for ring in mol.GetRingInfo().AtomRings())


def elements(mol: Chem.Mol) -> set[str]:
    return {atom.GetSymbol() for atom in mol.GetAtoms()} - {"H"}


@pytest.mark.parametrize(
    ("settings", "has"),
    [
        ({"split": "scaffold_class", "hold_out": "monocyclic"}, lambda m: CalcNumRings(m) == 1),
        ({"split": "scaffold_class", "hold_out": "Acyclic"}, lambda m: CalcNumRings(m) == 0),
        (
            {"split": "scaffold_class", "hold_out": "C(C1)C1"},  # as one may write it
            lambda m: MurckoScaffold.MurckoScaffoldSmiles(mol=m) == "C1CC1",
        ),
        ({"split": "group", "hold_out": "nitrile"}, lambda m: Fragments.fr_nitrile(m) > 0),
        ({"split": "group", "hold_out": "Three-membered_ring"}, lambda m: in_ring_of(m, 3)),
        ({"split": "elements", "hold_out": "NOC"}, lambda m: elements(m) == set("CNO")),
        ({"split": "elements", "hold_out": "N+"}, lambda m: "N" in elements(m)),
        ({"split": "elements", "hold_out": "ON+"}, lambda m: elements(m) >= set("NO")),
    ],
    ids=lambda value: value.get("hold_out") if isinstance(value, dict) else "",
)
def test_all_that_has_it_is_tested_on_and_nothing_else(molecules, settings, has) -> None:
    split = split_of(molecules, **settings)
    assert all(map(has, mols(molecules, split, "test")))
    assert not any(map(has, mols(molecules, split, "train", "validation")))
    assert len(split.test) >= 3
    rows = [key for part in PARTS for key in split.part(part)]
    assert sorted(rows) == sorted(keys_of(molecules))
    assert len(split.validation) == round((80 - len(split.test)) / 9)  # of 0.8 and 0.1
    assert (split.kind, split.held_out) == (settings["split"], settings["hold_out"])


@pytest.mark.parametrize("cluster", ["1", "9"])
def test_each_tested_molecule_has_an_environment_that_was_never_learned(molecules, cluster) -> None:
    """Held against RDKit's own identifiers of environments of radius two."""
    split = split_of(molecules, split="environment", hold_out=cluster)
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2)

    def environments(mol: Chem.Mol) -> set[tuple[int, ...]]:
        heavy = Chem.RemoveHs(mol)
        return {
            tuple(sorted(generator.GetSparseFingerprint(heavy, fromAtoms=[i]).GetOnBits()))
            for i in range(heavy.GetNumAtoms())
        }

    learned = set().union(*map(environments, mols(molecules, split, "train", "validation")))
    assert split.test
    assert all(environments(mol) - learned for mol in mols(molecules, split, "test"))


def test_a_cluster_is_named_by_its_number_or_its_words(molecules) -> None:
    known = holdable("environment", molecules)
    named = Counter(known.words.values())
    for number, words in known.words.items():
        if named[words] == 1:
            assert known.find(words.upper()).tolist() == known.find(number).tolist()
        else:
            with pytest.raises(SettingsError, match=rf"the clusters .*{number}.* its number"):
                known.find(words)
    assert set(named.values()) > {1}  # both were met


@pytest.mark.parametrize("kind", KINDS)
def test_what_can_be_held_out_does_not_depend_on_the_order(molecules, kind) -> None:
    forward, back = holdable(kind, molecules), holdable(kind, molecules[::-1])
    assert forward.told() == back.told()
    for name, rows in forward.having.items():
        assert sorted(79 - back.having[name]) == rows.tolist()
    if kind == "environment":
        assert len(forward.having) == CLUSTERS
    seeds = [
        split_of(molecules, split=kind, hold_out=list(forward.having)[1], seed=s) for s in (1, 2)
    ]
    assert set(seeds[0].test) == set(seeds[1].test)
    assert set(seeds[0].validation) != set(seeds[1].validation)


def test_numbers_of_rows_are_of_those_that_are_left(molecules) -> None:
    split = split_of(molecules, split="elements", hold_out="N+", train=20, validation=5)
    assert (len(split.train), len(split.validation)) == (20, 5)
    with pytest.raises(SettingsError, match=r"train 70 \+ validation 5 rows are more than the"):
        split_of(molecules, split="elements", hold_out="N+", train=70, validation=5)


def test_copies_of_what_is_held_out_go_with_it(molecules) -> None:
    shifted = [Molecule(one.numbers, one.positions + 3.0) for one in molecules]
    split = split_of(molecules + shifted, split="group", hold_out="nitrile")
    alone = split_of(molecules, split="group", hold_out="nitrile")
    assert len(split.test) == 2 * len(alone.test)
    assert split.copies == 80


def test_a_molecule_without_bonds_is_left_out_where_bonds_are_needed(molecules) -> None:
    broken = Molecule([6, 6, 6, 1], np.diag([1.0, 2.0, 3.0, 0.4])[:, :3] * 0.5)
    with pytest.raises(InputError):
        perceive(broken)
    split = split_of([*molecules, broken], split="group", hold_out="nitrile")
    assert split.left_out == {"no value of zpve": 3, "bonds cannot be perceived": 1}
    assert broken.key not in {key for part in PARTS for key in split.part(part)}
    by_element = split_of([*molecules, broken], split="elements", hold_out="CNO")
    assert broken.key in {*by_element.train, *by_element.validation}


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (
            {"split": "group", "hold_out": "nitril"},
            SettingsError,
            r"hold_out: no molecule has 'nitril'; did you mean 'nitrile'\? of 80 .*methyl: \d+, ",
        ),
        ({"split": "group"}, SettingsError, r"split = 'group' needs it; of 80 molecules: methyl"),
        ({"split": "elements", "hold_out": "CNX"}, SettingsError, r"no molecule has 'CNX'.* CO: "),
        (
            {"split": "scaffold_class", "hold_out": "cyclic("},
            SettingsError,
            r"no molecule has 'cyclic\('.*acyclic: 68, monocyclic: ",
        ),
        ({"split": "environment", "hold_out": "99"}, SettingsError, r"1 \(.* of .*\): \d+, 2 "),
        ({"split": "elements", "hold_out": "C+"}, InputError, r"leaves 2 rows to .* and 0 to"),
        (
            {"split": "scaffold_class", "hold_out": "C1CO1"},
            InputError,
            r"2 molecules have 'C1CO1', .* at least 3, 1 and 1 are needed; of 80 molecules: ",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_held_out_is_one_line_with_what_can(
    molecules, settings, error, message
) -> None:
    with pytest.raises(error, match=message) as raised:
        split_of(molecules, **settings)
    assert "\n" not in str(raised.value)


def test_check_tells_what_can_be_held_out(molecules, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hpcml.response.level_faults.level_faults", lambda *_: Faults())
    write_extended_xyz(tmp_path / "some.xyz", molecules)
    text = (
        'name = "c"\n[molecules]\nsource = "some.xyz"\n[level]\nmethod = "HF"\nbasis = "STO-3G"\n'
        '[train]\nmodel = "dtnn"\n'
    )
    campaign = tmp_path / "c.toml"
    campaign.write_text(text + 'split = "group"\nhold_out = "nitriles"\n')
    assert main(["check", "c.toml"]) == 2
    told = capsys.readouterr().out
    assert "c.toml: train.hold_out: no molecule has 'nitriles'; did you mean 'nitrile'?" in told
    nitriles = sum(Fragments.fr_nitrile(perceive(one)) > 0 for one in molecules)
    assert f"nitrile: {nitriles}," in told
    campaign.write_text(text + 'split = "group"\nhold_out = "nitrile"\n')
    assert main(["train", "c.toml", "--dry-run"]) == 0
    assert "held out for test: all molecules with group nitrile" in capsys.readouterr().out
    [fault] = faults(TrainSettings(model="dtnn", hold_out="nitrile"))
    assert fault.startswith("train.hold_out: 'nitrile' needs a split that can hold it out: ")
