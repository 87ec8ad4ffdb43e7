"""The reader gives back what the writer got, seen as rows, columns, subsets and shards."""

import numpy as np
import pytest

from hpcml.errors import InputError
from hpcml.molecules import Molecule
from hpcml.molecules.molecule import molecule_keys
from hpcml.store import Dataset, Row, Schema, ShardWriter, verify
from hpcml.store.rows import pack, unpack_keys


@pytest.fixture
def folder(tmp_path, schema, make_row):
    with ShardWriter(tmp_path, schema, "a", rows_per_shard=4) as writer:
        for number in range(10):
            writer.append(make_row(number))
    return tmp_path


def test_rows_come_back(folder, make_row, same_row):
    data = Dataset.open(folder)
    assert len(data) == 10
    assert [shard.rows for shard in data.shards] == [4, 4, 2]
    for number in range(10):
        same_row(data[number], make_row(number))
    same_row(data[-1], make_row(9))


def test_columns_are_the_rows_stacked(folder, make_row, schema):
    data = Dataset.open(folder)
    rows = [make_row(number) for number in range(10)]
    assert list(data.keys) == [row.key for row in rows]
    assert list(data.molecule_keys) == [row.molecule.key for row in rows]
    for name in ("energy", "polarizability", "beta_vector", "beta_hrs"):
        assert np.array_equal(data.column(name), np.stack([row.values[name] for row in rows]))
    for name in ("share_zpve", "vibrational_frequencies"):
        flat, cuts = data.column(name), data.offsets(name)
        for i, row in enumerate(rows):
            assert np.array_equal(flat[cuts[i] : cuts[i + 1]], row.values[name])
    assert data.texts("name") == [row.molecule.name for row in rows]
    assert [m.key for m in data.molecules] == [row.molecule.key for row in rows]
    assert [m.key for m in data.molecules[7:2:-2]] == [rows[i].molecule.key for i in (7, 5, 3)]


def test_scalars_are_picked_by_process_and_frequency(folder, make_row):
    data = Dataset.open(folder)
    rows = [make_row(number) for number in range(10)]
    assert np.array_equal(
        data.scalar("alpha_iso", frequency=0.0428), [row.values["alpha_iso"][1] for row in rows]
    )
    assert np.array_equal(
        data.scalar("beta_parallel"), [row.values["beta_parallel"][0] for row in rows]
    )
    assert np.array_equal(
        data.scalar("beta_parallel", process="shg", frequency=0.0428),
        [row.values["beta_parallel"][1] for row in rows],
    )
    assert "Eh^-2" in data.unit("beta_parallel")
    with pytest.raises(InputError, match="no eope"):
        data.scalar("beta_parallel", process="eope", frequency=0.0428)
    with pytest.raises(InputError, match="more than one number"):
        data.scalar("dipole")
    with pytest.raises(InputError, match="has no column 'colour'"):
        data.column("colour")


def test_subsets_keep_order_and_compose(folder, make_row):
    data = Dataset.open(folder)
    chosen = [8, 1, 5, 1]
    part = data.subset(chosen)
    assert [row.key for row in part] == [make_row(number).key for number in chosen]
    for name in data.schema.columns:
        flat, cuts = part.column(name), None
        expected = [make_row(number).values[name] for number in chosen]
        if flat.shape[0] != 4 or name.startswith("share") or name == "vibrational_frequencies":
            cuts = part.offsets(name)
            assert np.array_equal(flat, np.concatenate(expected))
            assert list(np.diff(cuts)) == [len(value) for value in expected]
        else:
            assert np.array_equal(flat, np.stack(expected))
    again = part.subset(np.array([True, False, False, True]))
    assert [row.key for row in again] == [make_row(8).key, make_row(1).key]
    shard, row = part.places
    assert [data.shards[s].name for s in shard] == [data.shards[s].name for s in (2, 0, 1, 0)]
    assert list(row) == [0, 1, 1, 1]


def test_a_picker_gives_what_the_rows_hold(folder, make_row):
    data = Dataset.open(folder)
    pick = data.picker("positions", "alpha_iso", "share_zpve")
    picked_subset = data.subset([9, 0]).picker("energy")
    for number in (9, 0, 4, 3):
        row = make_row(number)
        positions, alpha, share = pick(number)
        assert np.array_equal(positions, row.molecule.positions)
        assert np.array_equal(alpha, row.values["alpha_iso"])
        assert np.array_equal(share, row.values["share_zpve"])
    assert picked_subset(0)[0] == make_row(9).values["energy"]
    for index in (-1, 10):
        with pytest.raises(IndexError):
            pick(index)
    with pytest.raises(InputError, match="has no column 'colour'"):
        data.picker("colour")


def test_keys_by_column_are_those_of_the_molecules(make_row, schema):
    rows = [make_row(number) for number in range(40)]
    rows.append(Row("0" * 32, Molecule([1], [[1e9, -1e-7, 5e-7]]), {}))
    packed = pack(rows, schema)
    with_keys = unpack_keys(molecule_keys(packed))
    assert list(with_keys) == [row.molecule.key for row in rows]
    for name, place, value in (
        ("positions", (3, 1), np.nan),
        ("numbers", 3, 0),
        ("numbers", 3, 200),
    ):
        broken = dict(packed)
        broken[name] = broken[name].copy()
        broken[name][place] = value
        with pytest.raises(InputError, match="no such element"):
            molecule_keys(broken)


def test_a_shard_alone(folder, make_row):
    data = Dataset.open(folder)
    alone = data.shard(data.shards[1].name)
    assert list(alone.keys) == [make_row(number).key for number in range(4, 8)]


def test_the_fingerprint_follows_the_content(folder, tmp_path_factory, schema, make_row):
    before = Dataset.open(folder).fingerprint
    assert Dataset.open(folder).fingerprint == before
    with ShardWriter(folder, schema, "b") as writer:
        writer.append(make_row(77))
    assert Dataset.open(folder).fingerprint != before


def test_a_key_written_twice_is_there_once(folder, schema, make_row):
    with ShardWriter(folder, schema, "b") as writer:
        for number in (3, 42, 0):
            writer.append(make_row(number))
    data = Dataset.open(folder)
    assert len(data) == 11
    assert sorted(data.keys) == sorted(make_row(n).key for n in [*range(10), 42])
    assert len(data.column("energy")) == 11


def test_a_key_twice_in_one_shard_is_there_once(tmp_path, schema, make_row):
    with ShardWriter(tmp_path, schema, "a") as writer:
        for number in (1, 2, 1):
            writer.append(make_row(number))
    data = Dataset.open(tmp_path)
    assert list(data.keys) == [make_row(1).key, make_row(2).key]
    assert len(data.shard(data.shards[0].name)) == 3  # the file as it is


def test_keys_that_agree_in_one_half_are_different(tmp_path, make_row):
    schema = Schema(columns=())
    keys = ["1" * 16 + "a" * 16, "2" * 32, "1" * 16 + "b" * 16, "1" * 16 + "a" * 16, "2" * 32]
    for name, part in (("a", keys[:3]), ("b", keys[3:])):
        with ShardWriter(tmp_path, schema, name) as writer:
            for key in part:
                writer.append(Row(key, make_row(1).molecule, {}))
    assert list(Dataset.open(tmp_path).keys) == keys[:3]
    assert verify(tmp_path).duplicates == 2


def test_no_data_set_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no data set here"):
        Dataset.open(tmp_path)


def test_two_schemas_in_one_folder_are_an_error(folder):
    with ShardWriter(folder, Schema(columns=("energy",)), "b") as writer:
        row = Row("0" * 32, Dataset.open(folder)[0].molecule, {"energy": np.array(1.0)})
        writer.append(row)
    with pytest.raises(InputError, match="different schemas"):
        Dataset.open(folder)
