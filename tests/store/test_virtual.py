"""dataset.h5 shows HDF5 programs what the reader shows, or refuses to be made."""

import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest

from hpcml.errors import InputError, ResourceError
from hpcml.store import Dataset, ShardWriter, compact, shards, virtual, write_virtual


@pytest.fixture
def folder(tmp_path, schema, make_row):
    with ShardWriter(tmp_path / "d", schema, "a", rows_per_shard=4) as writer:
        for number in range(10):
            writer.append(make_row(number))
    return tmp_path / "d"


def test_h5py_sees_the_whole_data_set(folder):
    path = write_virtual(folder)
    data = Dataset.open(folder)
    with h5py.File(path) as file:
        assert file.attrs["fingerprint"] == data.fingerprint
        assert file["energy"].is_virtual
        for name in data.columns:
            assert np.array_equal(file[name][...], data.column(name), equal_nan=True), name
            assert file[name].attrs["unit"] == data.unit(name)
        assert np.array_equal(file["atom_offsets"][...], data.atom_offsets)
        assert np.array_equal(file["name_offsets"][...], data.offsets("name"))


def test_the_view_moves_with_its_folder(folder, tmp_path):
    write_virtual(folder)
    expected = Dataset.open(folder).column("energy")
    moved = shutil.move(folder, tmp_path / "elsewhere")
    read = "import h5py, sys; print(h5py.File(sys.argv[1])['energy'][...].tolist())"
    result = subprocess.run(
        [sys.executable, "-c", read, f"{moved}/dataset.h5"],
        capture_output=True,
        check=True,
        text=True,
        cwd="/",
    )
    assert result.stdout.strip() == str(expected.tolist())


def test_what_cannot_be_opened_is_no_plausible_number(folder):
    path = write_virtual(folder)
    shards.shard_file(folder, Dataset.open(folder).shards[1].name).unlink()
    with h5py.File(path) as file:
        assert np.isnan(file["energy"][4:8]).all()
        assert np.isfinite(file["energy"][:4]).all()
        assert (file["charge"][4:8] == -1).all()


def test_too_many_shards_are_refused(folder, monkeypatch):
    monkeypatch.setattr(virtual, "MOST_SHARDS", 2)
    with pytest.raises(ResourceError, match=r"3 shards are more than the 2.*hpcml compact"):
        write_virtual(folder)
    assert not (folder / "dataset.h5").exists()
    compact(folder)
    assert write_virtual(folder).exists()


def test_the_open_file_limit_of_the_process_counts(folder):
    """In a process of its own, where a limit this low disturbs nobody else."""
    program = (
        "import resource, sys; from hpcml.store import write_virtual\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]), 1024))\n"
        "write_virtual(sys.argv[1])"
    )
    few, enough = (
        subprocess.run(
            [sys.executable, "-c", program, str(folder), limit],
            capture_output=True,
            check=False,
            text=True,
        )
        for limit in ("5", "32")
    )
    assert "3 shards are more than the 2" in few.stderr
    assert enough.returncode == 0, enough.stderr


def test_rows_that_come_twice_are_refused(folder, schema, make_row):
    with ShardWriter(folder, schema, "b") as writer:
        writer.append(make_row(3))
    with pytest.raises(InputError, match="come twice"):
        write_virtual(folder)
