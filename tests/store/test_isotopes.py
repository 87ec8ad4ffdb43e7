"""Isotopes in a data set: a column of their own where there are any, none where there are not."""

from dataclasses import replace

import h5py
import numpy as np
import pytest

from hpcml import store
from hpcml.molecules import Molecule, read
from hpcml.store import Dataset, ShardWriter, verify
from hpcml.store.virtual import write_virtual


@pytest.fixture
def folder(quick_path, schema, make_row):
    """Two shards: rows 0 to 2 of common molecules, rows 3 to 5 of which row 4 has isotopes."""
    for shard in ((0, 1, 2), (3, 4, 5)):
        with ShardWriter(quick_path / "set", schema, f"w{shard[0]}") as writer:
            for number in shard:
                writer.append(_row(make_row, number))
    return quick_path / "set"


def _row(make_row, number):
    row = make_row(number)
    if number != 4:
        return row
    mass_numbers = np.arange(len(row.molecule)) % 2 * 2
    numbers = np.where(mass_numbers, 1, row.molecule.numbers)
    odd = (int(numbers.sum()) - row.molecule.charge) % 2
    heavy = replace(
        row.molecule, numbers=numbers, isotopes=mass_numbers, multiplicity=1 + odd, name="heavy"
    )
    return replace(row, molecule=heavy)


def _molecules(dataset):
    return {row.key: row.molecule for row in dataset}


def test_rows_come_back_with_isotopes_and_their_keys(folder, make_row):
    expected = {row.key: row.molecule for row in (_row(make_row, n) for n in range(6))}
    assert any(molecule.isotopes.any() for molecule in expected.values())
    dataset = Dataset.open(folder)
    assert _molecules(dataset) == expected
    assert "isotopes" in dataset.columns
    flat = np.concatenate([row.molecule.isotopes for row in dataset])
    assert np.array_equal(dataset.column("isotopes"), flat)
    backwards = dataset.subset(np.arange(5, -1, -1))
    flat = np.concatenate([row.molecule.isotopes for row in backwards])
    assert np.array_equal(backwards.column("isotopes"), flat)
    keys = {row.key: key for row, key in zip(dataset, dataset.molecule_keys, strict=True)}
    assert keys == {key: molecule.key for key, molecule in expected.items()}
    assert verify(folder).ok


def test_a_shard_without_isotopes_is_as_it_was(tmp_path, schema, make_row):
    with ShardWriter(tmp_path, schema, "w") as writer:
        writer.append(make_row(1))
    (path,) = (tmp_path / "shards").glob("*.h5")
    with h5py.File(path) as file:
        assert "isotopes" not in file
    assert "isotopes" not in Dataset.open(tmp_path).columns


def test_isotopes_survive_compaction_the_view_and_a_killed_writer(folder, schema, make_row):
    before = _molecules(Dataset.open(folder))
    store.compact(folder)
    assert _molecules(Dataset.open(folder)) == before
    assert verify(folder).ok
    with h5py.File(write_virtual(folder)) as file:
        assert np.array_equal(file["isotopes"][:], Dataset.open(folder).column("isotopes"))
    killed = ShardWriter(folder, schema, "killed")
    row = _row(make_row, 4)
    killed.append(replace(row, key="f" * 32))
    killed._journal.close(remove=False)
    store.recover(folder)
    assert _molecules(Dataset.open(folder))["f" * 32] == row.molecule


def test_the_xyz_export_reads_back(folder, tmp_path):
    store.export(folder, "extxyz", tmp_path / "a.xyz")
    again = list(read(tmp_path / "a.xyz"))
    assert all(isinstance(molecule, Molecule) for molecule in again)
    assert {molecule.key for molecule in again} == {
        molecule.key for molecule in _molecules(Dataset.open(folder)).values()
    }
