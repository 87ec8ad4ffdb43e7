"""Columns follow from the request, keys from what a result is, rows from a result."""

import math
from pathlib import Path

import numpy as np
import pytest

from hpcml.errors import InputError, SettingsError
from hpcml.molecules import Molecule
from hpcml.response.level import Level, Request
from hpcml.response.properties import Hyperpolarizability, Polarizability, ResponseProperties
from hpcml.store import CATALOGUE, Row, Schema, result_key
from hpcml.store.schema import as_markdown

WATER = Molecule([8, 1, 1], [[0, 0, 0.1], [0, 0.8, -0.5], [0, -0.8, -0.5]], name="water")


def test_axes_are_those_of_the_request():
    request = Request(
        properties=("beta", "alpha"),
        processes=("static", "shg", "or"),
        frequencies=(0.07, 0.04),
        pairs=((0.04, 0.07),),
    )
    schema = Schema.for_request(request)
    assert schema.frequencies == (0.0, 0.04, 0.07)
    assert schema.shape("polarizability") == (3, 3, 3)
    assert schema.shape("hyperpolarizability") == (6, 3, 3, 3)
    assert schema.process_index("static", 0.0) == 0
    assert schema.process_index("or", 0.07) == 4
    assert schema.process_index("pair", (0.04, 0.07)) == 5
    assert "zpve" not in schema.columns
    assert "share_alpha_iso" not in schema.columns
    assert Schema.from_json(schema.to_json()) == schema


def test_shares_come_with_their_property():
    schema = Schema.for_request(Request(properties=("zpve", "shares")))
    assert "share_zpve" in schema.columns
    assert "share_alpha_iso" not in schema.columns
    divided = Schema.for_request(Request(properties=("alpha", "zpve", "shares_loewdin")))
    assert {name for name in divided.columns if name.startswith("share_")} == {
        "share_alpha_iso_loewdin"
    }


def test_unknown_columns_are_refused():
    with pytest.raises(InputError, match="no such column 'colour'"):
        Schema(columns=("colour",))
    with pytest.raises(InputError, match="not a schema"):
        Schema.from_json('{"columns": 3}')


def test_the_key_is_what_the_result_is():
    level = Level(method="HF", basis="STO-3G")
    request = Request(properties=("alpha", "beta"), processes=("static", "shg"), frequencies=(0.1,))
    key = result_key(WATER, level, request)
    assert len(key) == 32
    assert set(key) <= set("0123456789abcdef")
    turned = Request(properties=("beta", "alpha"), processes=("shg", "static"), frequencies=(0.1,))
    assert result_key(WATER, level, turned) == key
    renamed = Molecule(WATER.numbers, WATER.positions, name="other")
    assert result_key(renamed, level, request) == key
    others = {
        result_key(WATER, Level(method="HF", basis="6-31G"), request),
        result_key(WATER, Level(method="HF", basis="STO-3G", exact=True), request),
        result_key(WATER, level, Request(properties=("alpha",))),
        result_key(Molecule(WATER.numbers, WATER.positions, 1, 2), level, request),
        key,
    }
    assert len(others) == 5


def test_a_result_becomes_a_row():
    request = Request(
        properties=("dipole", "alpha", "beta", "zpve", "shares"),
        processes=("static", "shg"),
        frequencies=(0.05,),
    )
    schema = Schema.for_request(request)
    rng = np.random.default_rng(7)
    alpha = [rng.normal(size=(3, 3)) for _ in range(2)]
    beta = [rng.normal(size=(3, 3, 3)) for _ in range(2)]
    result = ResponseProperties(
        energy=-76.0,
        dipole=np.array([0.0, 0.0, 0.7]),
        # deliberately not in the schema's order
        polarizability=[Polarizability(0.05, alpha[1]), Polarizability(0.0, alpha[0])],
        hyperpolarizability=[
            Hyperpolarizability("shg", (-0.1, 0.05, 0.05), beta[1]),
            Hyperpolarizability("static", (0.0, 0.0, 0.0), beta[0]),
        ],
        zpve=0.02,
        vibrational_frequencies=np.array([1600.0, 3600.0, 3700.0]),
        shares={"zpve": np.array([0.01, 0.005, 0.005])},
        provenance={"method": "HF"},
    )
    row = Row.from_result(result_key(WATER, Level(method="HF", basis="x"), request), WATER, result,
                          schema)  # fmt: skip
    assert np.array_equal(row.values["polarizability"], alpha)
    assert np.array_equal(row.values["hyperpolarizability"], beta)
    assert row.values["alpha_iso"] == pytest.approx([np.trace(a) / 3 for a in alpha])
    # dipole along +z: beta_parallel = 1/5 sum_i (beta_iiz + beta_izi + beta_zii)
    by_hand = [
        sum(b[i, i, 2] + b[i, 2, i] + b[2, i, i] for i in range(3)) / 5 for b in beta
    ]  # fmt: skip
    assert row.values["beta_parallel"] == pytest.approx(by_hand)
    assert list(row.values["share_zpve"]) == [0.01, 0.005, 0.005]
    assert row.values["share_alpha_iso"].shape == (3,)
    assert all(math.isnan(share) for share in row.values["share_alpha_iso"])
    assert row.provenance == {"method": "HF"}


def test_a_result_the_schema_has_no_place_for_is_refused():
    schema = Schema.for_request(Request(properties=("alpha",)))
    result = ResponseProperties(0.0, np.zeros(3), [Polarizability(0.1, np.eye(3))])
    with pytest.raises(InputError, match=r"no frequency 0\.1"):
        Row.from_result("0" * 32, WATER, result, schema)


def test_every_column_is_documented_once():
    table = as_markdown().split("## The folder")[0]
    lines = [line for line in table.splitlines() if line.startswith("| `")]
    assert len(lines) == len(CATALOGUE)
    assert {line.count("|") - line.count("\\|") for line in lines} == {6}
    for column in CATALOGUE.values():
        assert column.description
    page = Path(__file__).parents[2] / "docs" / "schema.md"
    assert page.read_text() == as_markdown(), "run: python -m hpcml.store > docs/schema.md"


def test_a_basis_set_from_a_file_is_known_by_its_contents(tmp_path):
    """The same file elsewhere gives the same key; other contents another."""
    molecule = Molecule(numbers=np.array([1, 1]), positions=np.array([[0, 0, 0], [0, 0, 0.74]]))
    keys = []
    for place, text in (("one", "a"), ("two", "a"), ("three", "b")):
        (tmp_path / place).mkdir()
        path = tmp_path / place / "own.gbs"
        path.write_text(text)
        keys.append(result_key(molecule, Level(method="HF", basis=str(path)), Request()))
    assert keys[0] == keys[1] != keys[2]
    with pytest.raises(SettingsError, match="nowhere"):
        result_key(molecule, Level(method="HF", basis="nowhere/own.gbs"), Request())
