"""Manifests that a power cut, a bit, or a person has damaged: no row of a whole shard is lost."""

import json
import os
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcml.cli.main import main
from hpcml.errors import HpcmlError, InputError, PlatformError
from hpcml.files import append_line, read_file
from hpcml.store import (
    Dataset,
    Manifest,
    Shard,
    ShardWriter,
    compact,
    manifest,
    merge,
    recover,
    repair,
    shards,
    verify,
)
from hpcml.store.lines import decode_line, encode_line, manifest_file
from hpcml.store.shards import shard_file

ROWS = 12


@pytest.fixture
def folder(quick_path, schema, make_row):
    """12 rows in six shards of two writers."""
    for writer, numbers in (("a", range(6)), ("b", range(6, ROWS))):
        with ShardWriter(quick_path / "d", schema, writer, rows_per_shard=2) as open_writer:
            for number in numbers:
                open_writer.append(make_row(number))
    return quick_path / "d"


@pytest.fixture
def everything(make_row):
    return sorted(make_row(number).key for number in range(ROWS))


def zeros(path):
    path.write_bytes(bytes(path.stat().st_size))


def half_zeros(path):
    """As a file system leaves it whose first block was never written."""
    data = path.read_bytes()
    path.write_bytes(bytes(len(data) // 2) + data[len(data) // 2 :])


def without_last_byte(path):
    path.write_bytes(path.read_bytes()[:-1])


def empty(path):
    path.write_bytes(b"")


def gone(path):
    path.unlink()


def a_pipe(path):
    path.unlink()
    os.mkfifo(path)


def a_loop_of_links(path):
    path.unlink()
    path.symlink_to(path.name)


LOSSES = [zeros, half_zeros, empty, gone, a_pipe, a_loop_of_links]


@pytest.mark.parametrize("damage", LOSSES)
def test_lost_rows_are_told_and_brought_back(folder, everything, damage, capsys):
    damage(manifest_file(folder, "a"))
    with pytest.raises(InputError, match=r"its line is lost; `hpcml repair"):
        Dataset.open(folder)
    assert len(Dataset.open(folder, salvage=True)) < ROWS
    assert main(["verify", str(folder)]) == 1
    assert "no manifest names" in capsys.readouterr().out
    assert main(["repair", str(folder)]) == 0
    assert sorted(Dataset.open(folder).keys) == everything
    assert verify(folder).ok
    assert repair(folder).adopted == []


@pytest.mark.parametrize("damage", LOSSES)
def test_all_manifests_at_once(folder, everything, make_row, same_row, damage):
    for writer in "ab":
        damage(manifest_file(folder, writer))
    with pytest.raises(InputError, match="hpcml repair"):
        Dataset.open(folder)
    assert not verify(folder).ok
    repair(folder)
    data = Dataset.open(folder)
    assert sorted(data.keys) == everything
    for number in range(ROWS):
        same_row(data[list(data.keys).index(make_row(number).key)], make_row(number))


def test_a_line_without_its_line_break_counts(folder, everything, schema, make_row):
    without_last_byte(manifest_file(folder, "a"))
    assert sorted(Dataset.open(folder).keys) == everything
    assert verify(folder).ok
    with ShardWriter(folder, schema, "a") as writer:
        writer.append(make_row(20))
    assert len(Dataset.open(folder)) == ROWS + 1


@pytest.mark.parametrize("damage", [zeros, empty, gone])
def test_compaction_deletes_nothing_that_it_cannot_account_for(folder, everything, damage):
    compact(folder, rows_per_shard=5)
    files = sorted((folder / "shards").iterdir())
    damage(manifest_file(folder))
    with pytest.raises(HpcmlError):
        compact(folder)
    assert sorted((folder / "shards").iterdir()) == files
    repair(folder)
    assert sorted(Dataset.open(folder).keys) == everything
    compact(folder)
    assert sorted(Dataset.open(folder).keys) == everything


def test_compaction_moves_aside_what_it_does_not_know(folder, everything):
    strange = shard_file(folder, "c-0000-1")
    strange.write_bytes(b"not a shard, perhaps half of one")
    compact(folder)
    assert (folder / "aside" / strange.name).exists()
    assert sorted(Dataset.open(folder).keys) == everything


def test_a_shard_moved_aside_comes_back_if_its_rows_are_missing(folder, everything):
    name = Dataset.open(folder).shards[0].name
    (folder / "aside").mkdir()
    shard_file(folder, name).rename(folder / "aside" / f"{name}.h5")
    gone(manifest_file(folder, "a"))
    repair(folder)
    assert sorted(Dataset.open(folder).keys) == everything


def test_a_merge_that_was_stopped_is_no_lost_data_set(folder, tmp_path, monkeypatch):
    def stopped(path, records):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("hpcml.store.compaction.write_manifest", stopped)
        merge([folder], tmp_path / "m")
    with pytest.raises(InputError, match="no data set here"):
        Dataset.open(tmp_path / "m")
    assert not repair(tmp_path / "m").adopted
    assert merge([folder], tmp_path / "m") == ROWS
    assert verify(tmp_path / "m").ok


def test_a_shard_that_is_damaged_is_not_adopted(folder, everything):
    path = shard_file(folder, Dataset.open(folder).shards[0].name)
    place = Manifest(folder).entries[path.stem].columns["energy"].offset
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    gone(manifest_file(folder, "a"))
    done = repair(folder)
    assert [rows for _, rows in done.adopted] == [2, 2]
    assert "its bytes are not those written" in str(done)
    assert len(Dataset.open(folder)) == ROWS - 2


def test_a_shard_of_another_data_set_is_not_adopted(folder, everything, tmp_path, make_row):
    other = Dataset.open(folder).schema.__class__(columns=("energy",))
    row = make_row(30)
    with ShardWriter(tmp_path, other, "x") as writer:
        writer.append(row.__class__(row.key, row.molecule, {"energy": np.array(1.0)}))
    shutil.copy(next((tmp_path / "shards").iterdir()), folder / "shards")
    assert "another schema" in str(repair(folder))
    assert not verify(folder).ok
    assert sorted(Dataset.open(folder, salvage=True).keys) == everything


def test_a_living_writer_loses_nothing_to_repair(folder, schema, make_row, everything):
    with ShardWriter(folder, schema, "c", rows_per_shard=2) as writer:
        for number in range(20, 25):
            writer.append(make_row(number))
        assert repair(folder).alive == ["c"]
        assert Dataset.open(folder)
    expected = {*everything, *(make_row(number).key for number in range(20, 25))}
    assert set(Dataset.open(folder).keys) == expected


# --- lines that are wrong ----------------------------------------------------------------------


def change_energy_offset(path, *, keep_digest):
    """The second number of a shard's energies as its first: a digit that flipped."""
    lines = path.read_bytes().splitlines()
    line = json.loads(lines[0])
    line["columns"]["energy"][2] += 8
    if not keep_digest:
        del line["digest"]
    return json.dumps(line).encode(), lines


def test_a_flipped_digit_never_gives_wrong_numbers(folder, everything, make_row):
    """Every digit of a line, one at a time: refused or harmless, and mended by repair."""
    path = manifest_file(folder, "a")
    good = path.read_bytes()
    end = good.index(b"\n")
    digits = [i for i in range(end) if chr(good[i]).isdigit()]
    right = dict(zip(Dataset.open(folder).keys, Dataset.open(folder).column("energy"), strict=True))
    for place in digits[::7]:
        data = bytearray(good)
        data[place] ^= 1
        path.write_bytes(data)
        with pytest.raises(InputError, match="its line is lost"):
            Dataset.open(folder)
        data = Dataset.open(folder, salvage=True)
        assert len(data) == ROWS - 2
        assert all(right[k] == e for k, e in zip(data.keys, data.column("energy"), strict=True))
        path.write_bytes(good)
    path.write_bytes(good[: digits[40]] + bytes([good[digits[40]] ^ 1]) + good[digits[40] + 1 :])
    repair(folder)
    data = Dataset.open(folder)
    assert dict(zip(data.keys, data.column("energy"), strict=True)) == right
    assert not verify(folder).notes
    assert [p.name[:16] for p in (folder / "aside").iterdir()] == ["manifest.a.jsonl"]


def test_of_two_lines_that_disagree_the_one_counts_that_its_file_bears_out(folder, make_row):
    """The wrong one without a digest, as version 0.1.0 wrote, before and behind the right one."""
    path = manifest_file(folder, "a")
    wrong, lines = change_energy_offset(path, keep_digest=False)
    right = Dataset.open(folder).column("energy").tolist()
    for name in ("0", "z"):
        other = manifest_file(folder, name)
        other.write_bytes(wrong + b"\n")
        assert sorted(Dataset.open(folder).column("energy").tolist()) == sorted(right)
        repair(folder)
        assert other.read_bytes() == b""
        other.unlink()
    path.write_bytes(b"\n".join([wrong, *lines[1:]]) + b"\n")
    assert not verify(folder).ok


def test_a_shard_written_again_has_the_later_line(tmp_path):
    for value in (1.0, 2.0):
        shards.write(tmp_path, "s", {"x": np.full(3, value)}, {"rule": str(value)}, writer="w")
    written = Manifest(tmp_path)
    assert Shard(tmp_path, written.entries["s"]).column("x").tolist() == [2.0] * 3
    assert not written.problems


def test_a_line_says_what_it_said(folder):
    entry = next(iter(Manifest(folder)))
    assert decode_line(encode_line(entry), 1) == (entry, True)


def test_there_is_no_schema_version_zero(folder):
    path = manifest_file(folder, "a")
    line = json.loads(path.read_bytes().splitlines()[0])
    del line["digest"]
    line["schema_version"] = 0
    path.write_text(json.dumps(line) + "\n")
    with pytest.raises(InputError, match="no schema version 0"):
        Dataset.open(folder)
    assert not verify(folder).ok


POWER_CUTS = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@POWER_CUTS
@given(
    writer=st.sampled_from("ab"),
    kind=st.sampled_from(["truncate", "zeros to the end", "zeros from the start", "zeros inside"]),
    span=st.tuples(st.floats(0.0, 1.0), st.integers(1, 600)),
)
def test_no_row_is_lost_wherever_the_power_was_cut(folder, everything, writer, kind, span):
    path = manifest_file(folder, writer)
    before = {file: file.read_bytes() for file in folder.glob("manifest*")}
    data = bytearray(before[path])
    at, length = int(span[0] * len(data)), span[1]
    if kind == "truncate":
        del data[at:]
    elif kind == "zeros to the end":
        data[at:] = bytes(len(data) - at)
    elif kind == "zeros from the start":
        data[:at] = bytes(at)
    else:
        data[at : at + length] = bytes(len(data[at : at + length]))
    path.write_bytes(data)
    try:
        try:
            whole = sorted(Dataset.open(folder).keys) == everything
        except InputError:
            whole = False
        assert verify(folder).ok == whole
        repair(folder)
        assert sorted(Dataset.open(folder).keys) == everything
        assert verify(folder).ok
    finally:
        for file in folder.glob("manifest*"):
            file.unlink()
        shutil.rmtree(folder / "aside", ignore_errors=True)
        for file, content in before.items():
            file.write_bytes(content)


def test_recovery_reads_no_more_than_two_manifests_a_writer(
    quick_path, schema, make_row, monkeypatch
):
    """Were each journal to read every manifest, it would be a hundred and more a writer."""
    count = 30
    for number in range(count):
        with ShardWriter(quick_path, schema, f"rank{number}") as writer:
            writer.append(make_row(number))
        writer = ShardWriter(quick_path, schema, f"rank{number}")
        writer.append(make_row(count + number))
        writer._journal.close(remove=False)
    read = []
    monkeypatch.setattr(
        manifest, "read_file", lambda path, most: read.append(path) or read_file(path, most)
    )
    assert recover(quick_path).rows == count
    assert count <= len(read) <= 2 * count + 1
    assert len(Dataset.open(quick_path)) == 2 * count


def test_a_manifest_that_is_a_pipe_stops_no_other_writers_recovery(quick_path, schema, make_row):
    for number, name in enumerate("abc"):
        writer = ShardWriter(quick_path, schema, name)
        writer.append(make_row(number))
        writer._journal.close(remove=False)
    path = manifest_file(quick_path, "b")
    os.mkfifo(path)
    with pytest.raises(InputError, match="not a plain file"):
        recover(quick_path)
    assert len(Dataset.open(quick_path)) == 2
    with pytest.raises(PlatformError, match="not a plain file"):
        append_line(path, b"{}")
    path.unlink()
    assert recover(quick_path).rows == 1
    assert len(Dataset.open(quick_path)) == 3
