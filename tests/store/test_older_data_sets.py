"""A data set that version 0.1.0 wrote is read, checked and continued by this version.

``data/written_by_0_1_0`` came from ``hpcml generate`` of release 0.1.0; the numbers below are what
that release's own reader showed.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest

from hpcml.response.level import Level, Request
from hpcml.store import Dataset, Row, ShardWriter, compact, result_key, verify

WRITTEN = Path(__file__).parent / "data" / "written_by_0_1_0"
LEVEL = Level(method="HF", basis="STO-3G")
REQUEST = Request(
    properties=("dipole", "alpha", "beta", "shares"),
    processes=("static", "shg"),
    frequencies=(0.0656,),
)
KEYS = [
    "232d1369be069c2fbafcc0d49e3b4ebf",
    "8add3b861b784ded17b632d2f1066459",
    "3fd21a8cab66040a7493ec9603d57607",
]
MOLECULE_KEYS = [
    "cb63b74e888c07e891ee636d4f4596b7",
    "6225b3c3cd8bec17f92730ae3148f99f",
    "b48ea01555b2a0236102b83c38912d94",
]


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(WRITTEN, tmp_path / "dataset")
    return tmp_path / "dataset"


def test_its_values_are_those_that_were_written():
    data = Dataset.open(WRITTEN)
    assert data.texts("name") == ["ammonia", "water", "hydrogen fluoride"]
    assert data.column("energy").tolist() == [
        -55.45419467293076,
        -74.96323359636261,
        -98.57087279920088,
    ]
    assert data.scalar("alpha_iso").tolist() == [
        3.902838428936857,
        2.461411920685499,
        1.048304782408754,
    ]
    assert data.scalar("beta_parallel", process="shg", frequency=0.0656).tolist() == [
        -3.849080890079166,
        -6.098575174066156,
        -3.8771501326278495,
    ]
    shares = np.add.reduceat(data.column("share_alpha_iso"), data.atom_offsets[:-1])
    assert shares == pytest.approx(data.scalar("alpha_iso"))
    assert data[1].molecule.positions[1].tolist() == [0.0, 0.755453, -0.471161]
    assert data[1].provenance["program_version"] == "1.3.2"
    assert verify(WRITTEN).ok


def test_a_result_asked_for_again_has_the_key_that_it_had():
    """Otherwise a campaign begun with 0.1.0 computes every molecule once more."""
    data = Dataset.open(WRITTEN)
    assert list(data.keys) == KEYS
    assert list(data.molecule_keys) == MOLECULE_KEYS
    assert [molecule.key for molecule in data.molecules] == MOLECULE_KEYS
    assert [result_key(molecule, LEVEL, REQUEST) for molecule in data.molecules] == KEYS


def test_it_grows_and_is_compacted(copy):
    before = Dataset.open(copy)
    with ShardWriter(copy, before.schema, "later") as writer:
        writer.append(Row("0" * 32, before.molecule(1), before[1].values, {"again": True}))
    for _ in range(2):
        after = Dataset.open(copy)
        assert sorted(after.keys) == sorted([*KEYS, "0" * 32])
        row = after[list(after.keys).index(KEYS[0])]
        for name, value in before[0].values.items():
            assert np.array_equal(row.values[name], value, equal_nan=True), name
        assert verify(copy).ok
        compact(copy)
