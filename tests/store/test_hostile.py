"""Files made to harm: refused, nothing executed, no more memory than the file has bytes."""

import hashlib
import json
import os
import pickle
import tracemalloc
from pathlib import Path

import h5py
import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcml.errors import HpcmlError, InputError
from hpcml.store import Dataset, Manifest, ShardWriter, journal, recover, verify
from hpcml.store.lines import manifest_file

MEMORY = 64 << 20


@pytest.fixture
def folder(tmp_path, schema, make_row):
    with ShardWriter(tmp_path, schema, "a") as writer:
        for number in range(6):
            writer.append(make_row(number))
    return tmp_path


@pytest.fixture
def path(folder):
    """The file of the only shard."""
    return next((folder / "shards").iterdir())


@pytest.fixture
def rewrite(folder):
    """rewrite(change): let change(line) alter the shard's manifest line, a dict."""

    def apply(change):
        path = manifest_file(folder, "a")
        line = json.loads(path.read_bytes())
        line.pop("digest", None)  # who forges a line can leave it out, as version 0.1.0 did
        change(line)
        path.write_text(json.dumps(line) + "\n")

    return apply


@pytest.fixture
def forge(path, rewrite):
    """forge(data): let the shard's file be ``data`` and the manifest agree with it."""

    def apply(data: bytes):
        path.write_bytes(data)
        checksum = f"sha256:{hashlib.sha256(data).hexdigest()}"
        rewrite(lambda line: line.update(bytes=len(data), checksum=checksum))

    return apply


def read_everything(folder):
    data = Dataset.open(folder)
    for name in data.columns:
        data.column(name)
    return [data[number] for number in range(len(data))]


HUGE = 1 << 62


@pytest.mark.parametrize(
    "extent",
    [
        ["<f8", [HUGE], 0],
        ["<f8", [0, HUGE, HUGE], 0],
        ["<f8", [6], HUGE],
        ["<f8", [6], -8],
        ["<f8", [-6], 0],
        ["<f8", [1 << 40, 1 << 40], 0],
        ["|O", [6], 0],
        ["O8", [6], 0],
        ["<U999999999", [6], 0],
        ["f8,O", [6], 0],
        ["<f8", [], 0],
        ["<f8", [1] * 99, 0],
        ["<f8", [10**400], 0],
        ["<f8", "6", 0],
        [6, [6], 0],
        None,
    ],
)
def test_impossible_extents(folder, rewrite, extent):
    rewrite(lambda line: line["columns"].update(energy=extent))
    tracemalloc.start()
    with pytest.raises(InputError):
        read_everything(folder)
    assert not verify(folder).ok
    assert tracemalloc.get_traced_memory()[1] < MEMORY
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "../../etc/passwd"),
        ("name", "/etc/passwd"),
        ("name", "a\0b"),
        ("name", ""),
        ("rows", -1),
        ("rows", HUGE),
        ("rows", 5),
        ("bytes", HUGE),
        ("bytes", -1),
        ("checksum", "md5:0"),
        ("checksum", "sha256:" + "0" * 63 + "\n"),
        ("attributes", {"schema": '{"columns": ["colour"]}'}),
        ("attributes", {"schema": '{"columns": ["energy"], "frequencies": ["x"]}'}),
    ],
)
def test_impossible_lines(folder, rewrite, field, value):
    rewrite(lambda line: line.update({field: value}))
    with pytest.raises(InputError):
        read_everything(folder)
    assert not verify(folder).ok


def test_a_line_without_a_schema_is_no_data_set(folder, rewrite):
    rewrite(lambda line: line.update(attributes={}))
    with pytest.raises(InputError, match="not a schema"):
        Dataset.open(folder)


def test_a_shard_that_is_no_plain_file(folder, path):
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match="not a plain file"):
        Dataset.open(folder)
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match="not a plain file"):
        Dataset.open(folder)


def test_a_sparse_file_of_terabytes(folder, path, rewrite):
    with path.open("r+b") as file:
        file.truncate(1 << 42)
    rewrite(lambda line: line.update(bytes=1 << 42))
    with pytest.raises(InputError, match="more than a shard may have"):
        Dataset.open(folder)


def tree_with(kind: str, path: Path, secret: Path) -> None:
    """Add something to the HDF5 file that points elsewhere or needs an object."""
    with h5py.File(path, "r+") as file:
        if kind == "external link":
            file["extra"] = h5py.ExternalLink(str(secret), "/x")
        elif kind == "soft link":
            file["extra"] = h5py.SoftLink("/energy")
        elif kind == "external storage":
            file.create_dataset("extra", (4,), "u1", external=[(str(secret), 0, 4)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout((4,), "f8")
            layout[:] = h5py.VirtualSource(str(secret), "x", (4,))
            file.create_virtual_dataset("extra", layout)
        elif kind == "chunked":
            file.create_dataset("extra", data=np.zeros(1 << 20), chunks=(1 << 20,), compression=9)
        elif kind == "group":
            file.create_group("extra")
        elif kind == "text":
            file["extra"] = "text of any length"
        elif kind == "reference":
            file.create_dataset("extra", data=file["energy"].ref, dtype=h5py.ref_dtype)
        elif kind == "pickle":
            file["extra"] = np.void(pickle.dumps(print))


@pytest.mark.parametrize(
    "kind",
    ["external link", "soft link", "external storage", "virtual", "chunked", "group", "text",
     "reference", "pickle"],
)  # fmt: skip
def test_hdf5_that_points_elsewhere(folder, path, rewrite, forge, kind):
    secret = folder / "secret"
    secret.write_bytes(b"root")
    tree_with(kind, path, secret)
    forge(path.read_bytes())
    for change in (lambda line: None, lambda line: line["columns"].update(extra=["|u1", [4], 0])):
        rewrite(change)
        report = verify(folder)
        assert report.bad == [path.stem]
        # Reading goes by the manifest's offsets and never follows what the file says.
        assert len(read_everything(folder)) == 6


def test_offsets_that_lead_nowhere(folder, path, forge):
    place = only_entry(folder).columns["atom_offsets"].offset
    good = path.read_bytes()
    for value in (HUGE, -1, 10**6):
        data = bytearray(good)
        data[place + 16 : place + 24] = value.to_bytes(8, "little", signed=True)
        forge(bytes(data))
        with pytest.raises(InputError, match="does not cut"):
            read_everything(folder)
        assert not verify(folder).ok


def test_provenance_is_data_and_nothing_else(folder, path, forge):
    """Nesting without end in a text column is an error, not a crash."""
    extent = only_entry(folder).columns["provenance"]
    data = bytearray(path.read_bytes())
    data[extent.offset : extent.offset + extent.bytes] = b"[" * extent.bytes
    forge(bytes(data))
    with pytest.raises(InputError, match="provenance of row 0"):
        Dataset.open(folder)[0]


def only_entry(folder):
    return next(iter(Manifest(folder)))


FUZZ = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def damaged(data: bytes, cuts: list[tuple[int, bytes]]) -> bytes:
    """``data`` with a few runs of bytes overwritten, or cut off where a run is empty."""
    changed = bytearray(data)
    for place, run in cuts:
        at = place % max(len(changed), 1)
        if run:
            changed[at : at + len(run)] = run
        else:
            del changed[at:]
    return bytes(changed)


CUTS = st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(max_size=12)), min_size=1, max_size=4)


@FUZZ
@given(cuts=CUTS)
def test_fuzzed_manifests(folder, cuts):
    path = manifest_file(folder, "a")
    good = path.read_bytes()
    path.write_bytes(damaged(good, cuts))
    try:
        read_everything(folder)
        verify(folder)
    except InputError:
        pass
    finally:
        path.write_bytes(good)


@FUZZ
@given(cuts=CUTS)
def test_fuzzed_shards_with_a_matching_checksum(folder, path, forge, cuts):
    good = path.read_bytes()
    line = manifest_file(folder, "a").read_bytes()
    try:
        forge(damaged(good, cuts))
        read_everything(folder)
    except InputError:
        pass
    finally:
        path.write_bytes(good)
        manifest_file(folder, "a").write_bytes(line)


@FUZZ
@given(cuts=CUTS)
def test_fuzzed_journals(tmp_path, schema, make_row, cuts):
    writer = ShardWriter(tmp_path / "d", schema, "z")
    for number in range(3):
        writer.append(make_row(number))
    writer._journal.close(remove=False)
    path = tmp_path / "d" / "journal" / "z.journal"
    data = path.read_bytes()
    path.write_bytes(damaged(data[: data.rindex(b"h\xc3\xa4r") + 40], cuts))
    try:
        assert recover(tmp_path / "d").rows <= 3
    except HpcmlError:
        pass
    finally:
        path.unlink(missing_ok=True)


@FUZZ
@given(payload=st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=40)
    | st.text(max_size=20) | st.floats(),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=20,
))  # fmt: skip
def test_journals_of_well_formed_nonsense(tmp_path, payload):
    """Records whose digests are right and whose content is anything."""
    path = tmp_path / "journal" / "n.journal"
    path.parent.mkdir(exist_ok=True)
    begin = {"shard": "n-0", "schema": {"columns": ["energy"]}}
    frames = [journal._frame(0, 7, msgspec.msgpack.encode(begin)),
              journal._frame(1, 7, msgspec.msgpack.encode(payload))]  # fmt: skip
    path.write_bytes(b"".join(frames))
    with pytest.raises(InputError):
        recover(tmp_path)
    path.write_bytes(journal._frame(0, 7, msgspec.msgpack.encode(payload)))
    with pytest.raises(InputError):
        recover(tmp_path)
