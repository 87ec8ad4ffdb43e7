"""Any columns make a shard; HDF5 and the memory map see the same numbers."""

import hashlib
import json

import h5py
import numpy as np
import pytest

from hpcml.errors import InputError
from hpcml.store import Manifest, Shard, shards


def test_h5py_and_the_map_agree(tmp_path):
    rng = np.random.default_rng(3)
    columns = {
        "atoms": rng.normal(size=7).astype(np.float32),
        "offsets": np.array([0, 3, 7]),
        "flags": np.array([True, False]),
        "empty": np.zeros((0, 3)),
        "strided": rng.normal(size=(4, 6))[::2, ::3],
        "big_endian": np.arange(3, dtype=">f8"),
    }
    entry = shards.write(
        tmp_path, "one", columns, {"rule": "epsilon", "epsilon": 0.01}, units={"atoms": "Eh"}
    )
    assert entry.rows == 7
    assert list(Manifest(tmp_path)) == [entry]
    shard = Shard(tmp_path, entry)
    with h5py.File(tmp_path / "shards" / "one.h5") as file:
        attributes = dict(file.attrs)
        assert attributes.pop("hpcml_rows") == 7
        by_hand = hashlib.sha256()
        for name, array in sorted(columns.items()):
            stored = array.astype(array.dtype.newbyteorder("<"))
            by_hand.update(f"{name}\0{stored.dtype.str}\0{array.shape}\0".encode())
            by_hand.update(stored.tobytes())
        assert attributes.pop("hpcml_digest") == by_hand.hexdigest()
        assert attributes == {"hpcml_schema_version": 1, "rule": "epsilon", "epsilon": 0.01}
        assert file["atoms"].attrs["unit"] == "Eh"
        for name, array in columns.items():
            assert np.array_equal(file[name][...], array)
            assert np.array_equal(shard.column(name), array)
            assert np.array_equal(shard.view(name), array)
            assert not shard.view(name).flags.writeable or not array.size
    assert shard.checksum() == entry.checksum


def test_numpy_alone_reads_a_column_by_the_manifest(tmp_path):
    columns = {"x": np.arange(12.0).reshape(4, 3), "y": np.arange(5, dtype=np.uint8)}
    shards.write(tmp_path, "one", columns, {})
    line = json.loads((tmp_path / "manifest.jsonl").read_text())
    for name, (dtype, shape, offset) in line["columns"].items():
        path = tmp_path / "shards" / f"{line['name']}.h5"
        mapped = np.memmap(path, dtype, "r", offset, tuple(shape))
        assert np.array_equal(mapped, columns[name])


def test_rows_are_counted_by_the_key(tmp_path):
    columns = {"atoms": np.zeros(9), "key": np.zeros((4, 16), np.uint8)}
    assert shards.write(tmp_path, "one", columns, {}).rows == 4


def test_writing_again_replaces(tmp_path):
    shards.write(tmp_path, "one", {"x": np.zeros(2)}, {})
    entry = shards.write(tmp_path, "one", {"x": np.ones(3)}, {})
    assert list(Manifest(tmp_path)) == [entry]
    assert np.array_equal(Shard(tmp_path, entry).column("x"), np.ones(3))


def test_the_same_content_has_the_same_checksum(tmp_path):
    entries = [shards.write(tmp_path, name, {"x": np.arange(5)}, {}) for name in ("a", "b")]
    assert entries[0].checksum == entries[1].checksum


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("objects", np.array([{}], dtype=object)),
        ("complex", np.zeros(2, complex)),
        ("text", np.array(["a"])),
        ("scalar", np.array(1.0)),
    ],
)
def test_only_plain_numbers_are_stored(tmp_path, name, array):
    with pytest.raises(InputError, match=f"column '{name}'"):
        shards.write(tmp_path, "one", {name: array}, {})


def test_names_cannot_leave_the_folder(tmp_path):
    for name in ("../one", "a/b", "/tmp/one", ".one"):
        with pytest.raises(InputError, match="cannot name"):
            shards.write(tmp_path, name, {"x": np.zeros(1)}, {})
