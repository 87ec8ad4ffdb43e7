"""Every property that was computed stands in the table, with what lies far from the rest."""

import numpy as np
import pytest

from hpcml.molecules import Molecule
from hpcml.report.computed_properties import outliers, properties, property_table
from hpcml.report.words import property_words
from hpcml.response.level import Request
from hpcml.store import Dataset, Row, Schema, ShardWriter

REQUEST = Request(
    properties=("dipole", "alpha", "beta"), processes=("static", "shg"), frequencies=(0.05,)
)


@pytest.fixture
def data(tmp_path, molecules: list[Molecule]) -> Dataset:
    """Molecules 0 to 4: alpha_iso (row, 10 row), beta_parallel (2 row, 3 row), dipole (0, 3, 4)."""
    schema = Schema.for_request(REQUEST)
    with ShardWriter(tmp_path, schema, "rank0", rows_per_shard=9) as writer:
        for row, molecule in enumerate(molecules):
            values = {
                "alpha_iso": np.array([1.0, 10.0]) * row,
                "beta_parallel": np.array([2.0, 3.0]) * row,
                "dipole": np.array([0.0, 3.0, 4.0]),
            }
            writer.append(Row(f"{row:032x}", molecule, values, {}))
    return Dataset.open(tmp_path)


def test_each_point_of_each_property_is_there(data: Dataset) -> None:
    found = {one.quantity: one for one in properties(data)}
    assert found["dipole moment"].values.tolist() == [5.0] * 5
    assert found["isotropic polarizability"].values.tolist() == [0, 1, 2, 3, 4]
    assert found["isotropic polarizability (0.05 Eh)"].values.tolist() == [0, 10, 20, 30, 40]
    assert found["hyperpolarizability β∥"].values.tolist() == [0, 2, 4, 6, 8]
    assert found["hyperpolarizability β∥ (SHG, 0.05, 0.05 Eh)"].values.tolist() == [0, 3, 6, 9, 12]
    assert found["isotropic polarizability"].unit == "a₀³"
    assert not any("polarizability:" in name for name in found)  # components of tensors
    rows = {row[0]: row for row in property_table(tuple(found.values()), {}).rows}
    assert rows["isotropic polarizability"][2:8] == ("5", "2.000", "1.414", "0", "2.000", "4.000")


def test_outliers_are_what_lies_far_out() -> None:
    values = np.r_[np.linspace(9, 11, 41), 30.0, -5.0, np.nan]
    assert outliers(values).tolist() == [41, 42]
    assert outliers(np.r_[np.zeros(9), 5.0]).tolist() == []  # most are the same: no measure
    assert outliers(np.full(3, np.nan)).tolist() == []


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("energy", "total energy"),
        ("alpha_iso:0", "isotropic polarizability"),
        ("alpha_iso:0.0656", "isotropic polarizability (0.0656 Eh)"),
        ("beta_hrs:shg,0.07,0.07", "hyperpolarizability β(HRS) (SHG, 0.07, 0.07 Eh)"),
        ("my_own_label", "my own label"),
    ],
)
def test_words_of_a_column(label: str, words: str) -> None:
    assert property_words(label) == words
