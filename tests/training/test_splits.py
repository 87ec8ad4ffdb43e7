"""Splits: what they hold, what they depend on, and what they refuse."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from rdkit.Chem.rdMolDescriptors import CalcNumRings
from rdkit.Chem.Scaffolds import MurckoScaffold

from hpcml.errors import InputError, SettingsError
from hpcml.molecules import Molecule, perceive
from hpcml.store.rows import pack_keys
from hpcml.training import Target, TrainSettings
from hpcml.training.data import Candidates
from hpcml.training.splits import (
    PARTS,
    Split,
    check_disjoint,
    check_same_data,
    make_split,
    read_split,
    told_of_copies,
    without,
    write_split,
)


def keys_of(molecules: list[Molecule]) -> list[str]:
    return [molecule.key for molecule in molecules]


def split_of(molecules: list[Molecule], keys: list[str] | None = None, **settings) -> Split:
    return make_split(TrainSettings(**settings), candidates_of(molecules, keys), "f" * 32)


def rows_of(molecules: list[Molecule], keys: list[str]) -> SimpleNamespace:
    """What a split asks a data set for."""

    def column(name: str) -> np.ndarray:
        if name == "key":
            return pack_keys(keys)
        return np.concatenate([np.atleast_1d(getattr(m, name)) for m in molecules])

    return SimpleNamespace(
        keys=np.array(keys),
        molecule_keys=np.array(keys_of(molecules)),
        molecules=molecules,
        column=column,
        subset=lambda rows: rows_of(
            [molecules[row] for row in rows.tolist()], [keys[row] for row in rows.tolist()]
        ),
        atom_offsets=np.cumsum([0, *map(len, molecules)]),
    )


def candidates_of(molecules: list[Molecule], keys: list[str] | None = None) -> Candidates:
    return Candidates(
        rows=rows_of(molecules, keys or keys_of(molecules)),
        values=np.zeros((len(molecules), 1)),
        targets=(Target(name="alpha_iso"),),
        units=("a0^3",),
        left_out={"no value of zpve": 3},
    )


def heavy(molecule: Molecule) -> int:
    return int((molecule.numbers > 1).sum())


@pytest.mark.parametrize("kind", ["random", "scaffold", "size"])
def test_each_row_stands_in_one_part(molecules, kind) -> None:
    split = split_of(molecules, split=kind)
    rows = [key for part in PARTS for key in split.part(part)]
    assert sorted(rows) == sorted(keys_of(molecules))
    sizes = (len(split.train), len(split.validation), len(split.test))
    # 68 of the 80 have no ring, which is one scaffold
    assert sizes == ((68, 8, 4) if kind == "scaffold" else (64, 8, 8))


def test_random_split_depends_on_seed_and_not_on_the_order_of_rows(molecules) -> None:
    forward = split_of(molecules, seed=3)
    assert split_of(molecules[::-1], seed=3) == forward
    assert split_of(molecules, seed=4) != forward


def test_rows_of_one_molecule_stay_together(molecules) -> None:
    twice = molecules + molecules
    keys = [f"{i:032x}" for i in range(len(twice))]
    split = split_of(twice, keys)
    parts = {key: part for part in PARTS for key in split.part(part)}
    assert all(parts[keys[i]] == parts[keys[i + 80]] for i in range(80))


def test_copies_of_a_molecule_stay_together(molecules) -> None:
    """Turned, renumbered, mirrored, shifted, conformers: none leaks into another part."""
    random = np.random.default_rng(5)
    copies = [changed(one, random) for one in molecules]
    split = split_of(molecules + copies)
    parts = {key: part for part in PARTS for key in split.part(part)}
    pairs = list(zip(keys_of(molecules), keys_of(copies), strict=True))
    assert all(parts[one] == parts[other] for one, other in pairs)
    assert split.copies == len(molecules)
    assert sum(one != other for one, other in pairs) == len(molecules)


def changed(molecule: Molecule, random: np.random.Generator) -> Molecule:
    order = random.permutation(len(molecule))
    turn, _ = np.linalg.qr(random.normal(size=(3, 3)))  # or mirror
    positions = molecule.positions[order] @ turn + random.normal(size=3)
    positions += 1e-7 * random.normal(size=positions.shape)
    return Molecule(molecule.numbers[order], positions, molecule.charge, molecule.multiplicity)


def test_without_copies_the_split_is_that_of_the_rows_alone(molecules) -> None:
    """What version 0.1.0 drew: rows in the order of their keys, permuted, cut."""
    keys = sorted(keys_of(molecules))
    drawn = [keys[i] for i in np.random.default_rng([1, 0x5917]).permutation(80)]
    split = split_of(molecules, seed=1)
    assert split.copies == 0
    assert [*split.train] == drawn[:64]
    assert [*split.validation] == drawn[64:72]
    assert [*split.test] == drawn[72:]


def test_conformers_of_one_molecule_cannot_be_divided(molecules, tmp_path) -> None:
    random = np.random.default_rng(2)
    conformers = [changed(molecules[40], random) for _ in range(6)]
    with pytest.raises(InputError, match=r"6 rows, but different molecules: 1;.*split file"):
        split_of(conformers)
    keys = keys_of(conformers)
    path = tmp_path / "split.json"
    write_split(path, Split(train=tuple(keys[:3]), validation=(keys[3],), test=tuple(keys[4:])))
    by_hand = split_of(conformers, split="file", split_file=str(path))
    told = told_of_copies(by_hand, candidates_of(conformers))
    assert told.startswith("3 rows of validation and test are copies of training molecules")


def test_scaffolds_of_acyclic_molecules_name_the_cause(molecules) -> None:
    acyclic = [one for one in molecules if not CalcNumRings(perceive(one))]
    with pytest.raises(InputError, match=r"68 of 68 molecules have no ring.*1 scaffold in all"):
        split_of(acyclic, split="scaffold")


def test_no_scaffold_is_in_two_parts(molecules) -> None:
    split = split_of(molecules, split="scaffold")
    by_key = {molecule.key: molecule for molecule in molecules}
    found = [
        {MurckoScaffold.MurckoScaffoldSmiles(mol=perceive(by_key[k])) for k in split.part(part)}
        for part in PARTS
    ]
    assert not found[0] & found[2]
    assert not found[0] & found[1]


def test_size_split_tests_on_larger_molecules(molecules) -> None:
    by_key = {molecule.key: molecule for molecule in molecules}
    split = split_of(molecules, split="size", heavy_atoms=4)
    assert max(heavy(by_key[k]) for k in split.train + split.validation) == 4
    assert min(heavy(by_key[k]) for k in split.test) == 5
    by_share = split_of(molecules, split="size")
    learned = [heavy(by_key[k]) for k in by_share.train + by_share.validation]
    assert max(learned) <= min(heavy(by_key[k]) for k in by_share.test)


def test_numbers_of_rows(molecules) -> None:
    split = split_of(molecules, train=30, validation=10, test=5)
    assert (len(split.train), len(split.validation), len(split.test)) == (30, 10, 5)
    with pytest.raises(SettingsError, match="more than the 80"):
        split_of(molecules, train=80, validation=10)


def test_too_few_rows(molecules) -> None:
    with pytest.raises(InputError, match="too few rows: 3 "):
        split_of(molecules[:3], train=0.9, validation=0.1)


def test_saved_split(molecules, tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    split = split_of(molecules)
    write_split(path, split)
    assert read_split(path) == split
    again = split_of(molecules, split="file", split_file=str(path))
    assert again == msgspec.structs.replace(split, kind="file")
    with pytest.raises(InputError, match="no rows of the data set"):
        split_of(molecules[1:], split="file", split_file=str(path))


def test_unreadable_split(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    with pytest.raises(InputError, match="no such split file"):
        read_split(path)
    path.write_text('{"kind": "random", "train": 3}')
    with pytest.raises(InputError, match=r"split.json: .*\$.train"):
        read_split(path)


def test_molecule_in_two_parts_is_an_error(molecules) -> None:
    named = {"a": molecules[0].key, "b": molecules[0].key, "c": molecules[1].key}
    with pytest.raises(InputError, match="row b stands in train and in test"):
        check_disjoint(Split(kind="file", train=("a",), validation=("c",), test=("b",)), named)
    with pytest.raises(InputError, match="twice in train"):
        check_disjoint(Split(kind="file", train=("a", "a"), validation=("c",)), named)


def test_changed_data_set_is_an_error(molecules) -> None:
    split = split_of(molecules)
    check_same_data(split, split.fingerprint, Path("split.json"))
    with pytest.raises(InputError, match="data set has changed since this split was made"):
        check_same_data(split, "0" * 32, Path("split.json"))


def test_rows_taken_out_are_counted(molecules) -> None:
    split = split_of(molecules)
    gone = {split.train[3], split.test[0]}
    less = without(split, gone, "bonds cannot be perceived")
    assert (len(less.train), len(less.validation), len(less.test)) == (63, 8, 7)
    assert less.left_out == {"no value of zpve": 3, "bonds cannot be perceived": 2}
    assert without(split, set(), "bonds cannot be perceived") is split
