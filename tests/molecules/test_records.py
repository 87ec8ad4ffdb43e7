import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcml.errors import InputError, InputWarning
from hpcml.molecules.records import Defect, label, restated, sound_molecule, warn

PAIR = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


def test_a_defect_is_one_line() -> None:
    assert str(Defect("a.xyz", "line 3", "water", "no")) == "a.xyz, line 3 (water): no"
    assert str(Defect("a.xyz", "line 3", "", "no")) == "a.xyz, line 3: no"


@given(st.text())
def test_a_label_is_one_short_printable_line(text: str) -> None:
    shown = label(text)
    assert shown.isprintable()
    assert len(shown) <= 200
    assert label(shown) == shown


@pytest.mark.parametrize(
    ("numbers", "charge", "expected"),
    [([8, 1], 0, 2), ([8, 1], -1, 1), ([9, 1], 0, 1), ([1, 1], 1, 2)],
)
def test_lowest_multiplicity_is_taken(numbers: list[int], charge: int, expected: int) -> None:
    assert sound_molecule(np.array(numbers), PAIR, charge=charge).multiplicity == expected


@pytest.mark.parametrize(
    ("charge", "multiplicity", "message"),
    [
        (0, 1, "multiplicity 1 is not possible with 9 electrons"),
        (-1, 2, "multiplicity 2 is not possible with 10 electrons"),
        (0, 0, "not possible"),
        (0, 12, "not possible"),
        (9, None, "leaves 0 electrons"),
        (10**6, None, "not possible"),
    ],
)
def test_impossible_electrons(charge: int, multiplicity: int | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        sound_molecule(np.array([8, 1]), PAIR, charge=charge, multiplicity=multiplicity)


def test_coinciding_atoms_are_named_wherever_they_stand() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(10.0)] * 3), axis=-1).reshape(-1, 3)
    numbers = np.full(len(grid), 10)
    assert len(sound_molecule(numbers, grid)) == 1000
    grid[900] = grid[30] + 0.01
    with pytest.raises(InputError, match=r"atoms 31 and 901 are 0\.017 angstrom apart"):
        sound_molecule(numbers, grid)


def test_coordinates_out_of_this_world() -> None:
    with pytest.raises(InputError, match="beyond"):
        sound_molecule(np.array([9, 1]), PAIR * 1e9)


@pytest.mark.parametrize(
    ("charge", "multiplicity", "expected"),
    [(None, None, (0, 3)), (0, None, (0, 3)), (-1, None, (-1, 2)), (-2, None, (-2, 1)),
     (None, 1, (0, 1)), (-1, 4, (-1, 4))],
)  # fmt: skip
def test_another_charge_takes_the_lowest_multiplicity(
    charge: int | None, multiplicity: int | None, expected: tuple[int, int]
) -> None:
    oxygen = sound_molecule(np.array([8, 8]), PAIR, multiplicity=3, isotopes=[18, 0], name="x")
    found = restated(oxygen, charge, multiplicity)
    assert (found.charge, found.multiplicity) == expected
    assert (found.name, found.isotopes.tolist()) == ("x", [18, 0])
    with pytest.raises(InputError, match="not possible"):
        restated(oxygen, -1, 1)


def test_a_warning_comes_once() -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        for _ in range(2):
            warn("a.xyz", 2, "x", "odd")
    assert [str(one.message) for one in told] == ["a.xyz, line 2 (x): odd"]
    assert told[0].category is InputWarning
