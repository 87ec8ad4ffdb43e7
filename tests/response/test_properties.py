"""The JSON of `hpcml compute`, there and back, and the table on the screen."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from hpcml.errors import InputError
from hpcml.response.properties import Hyperpolarizability, Polarizability, ResponseProperties
from hpcml.response.property_table import property_table


@pytest.fixture
def water() -> ResponseProperties:
    beta = np.zeros((3, 3, 3))
    beta[2, 2, 2], beta[0, 0, 2] = -9.0, -3.0
    return ResponseProperties(
        energy=-76.0,
        dipole=np.array([0.0, 0.0, 0.75]),
        polarizability=[
            Polarizability(0.0, np.diag([8.0, 7.0, 9.0])),
            Polarizability(0.0428, np.diag([8.1, 7.1, 9.1])),
        ],
        hyperpolarizability=[Hyperpolarizability("shg", (-0.0856, 0.0428, 0.0428), beta)],
        zpve=0.0212,
        vibrational_frequencies=np.array([1630.0, 3830.0, 3940.0]),
        shares={"alpha_iso": np.array([5.0, 1.5, 1.5])},
        provenance={"method": "HF", "warnings": ["gradient 2.0e-03 Eh/bohr is not small"]},
    )


def test_json_has_the_documented_keys(water: ResponseProperties) -> None:
    document = json.loads(json.dumps(water.to_json(), allow_nan=False))
    assert list(document) == [
        "energy", "dipole", "polarizability", "hyperpolarizability", "zpve", "frequencies",
        "provenance", "shares",
    ]  # fmt: skip
    assert document["polarizability"][0] == {
        "frequency": 0.0,
        "tensor": [[8.0, 0.0, 0.0], [0.0, 7.0, 0.0], [0.0, 0.0, 9.0]],
        "isotropic": 8.0,
        "anisotropy": pytest.approx(math.sqrt(3.0)),
    }
    beta = document["hyperpolarizability"][0]
    assert list(beta) == [
        *("process", "frequencies", "tensor", "parallel", "vector"),
        *("hrs", "depolarization_ratio"),
    ]
    assert beta["process"] == "shg"
    assert beta["frequencies"] == [-0.0856, 0.0428, 0.0428]
    assert beta["parallel"] == pytest.approx(3.0 / 5.0 * beta["vector"][2])
    assert "shares" not in ResponseProperties(-1.0, np.zeros(3)).to_json()


def test_undefined_and_unasked_are_null(water: ResponseProperties) -> None:
    neutral = ResponseProperties(
        -76.0, np.zeros(3), hyperpolarizability=water.hyperpolarizability
    ).to_json()
    assert neutral["hyperpolarizability"][0]["parallel"] is None
    assert neutral["zpve"] is None
    assert neutral["frequencies"] is None
    json.dumps(neutral, allow_nan=False)


def test_there_and_back(water: ResponseProperties) -> None:
    back = ResponseProperties.from_json(json.loads(json.dumps(water.to_json())))
    assert back.to_json() == water.to_json()
    np.testing.assert_array_equal(
        back.hyperpolarizability[0].tensor, water.hyperpolarizability[0].tensor
    )
    bare = ResponseProperties(-1.0, np.zeros(3))
    assert ResponseProperties.from_json(bare.to_json()).to_json() == bare.to_json()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("dipole", [1.0, 2.0], r"\(2,\) where \(3,\)"),
        ("energy", "low", "could not convert"),
        ("polarizability", [{"frequency": 0.0, "tensor": [1.0]}], r"\(1,\) where \(3, 3\)"),
        ("hyperpolarizability", [{"process": "shg"}], "'frequencies' is missing"),
        ("frequencies", [[1.0]], r"\(1, 1\) where \(n,\)"),
    ],
)
def test_a_damaged_document_is_named(
    water: ResponseProperties, key: str, value: object, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        ResponseProperties.from_json(water.to_json() | {key: value})


def test_table_shows_what_was_computed(water: ResponseProperties) -> None:
    text = property_table(water, ["O", "H", "H"])
    for piece in (
        "-76.0000000000 Eh", "isotropic 8.000000 a0^3", "1064.6 nm",
        "beta(-0.085600; 0.042800, 0.042800)",
        "parallel", "1630.00", "13.3032 kcal/mol", "warning: gradient", "   2 H",
    ):  # fmt: skip
        assert piece in text
    assert max(map(len, text.splitlines())) <= 100
    apolar = ResponseProperties(0.0, np.zeros(3), hyperpolarizability=water.hyperpolarizability)
    assert "the molecule has no dipole" in property_table(apolar, [])
