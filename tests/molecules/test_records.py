import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcml.errors import InputError
from hpcml.molecules.records import Defect, label, sound_molecule

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
