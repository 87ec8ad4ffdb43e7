import numpy as np
import pytest
from ase.data import chemical_symbols
from hypothesis import given
from hypothesis import strategies as st

from hpcml.errors import InputError
from hpcml.molecules import Molecule, atomic_number, molecule_keys, symbol

WATER = np.array([[0.0, 0.0, 0.117], [0.0, 0.757, -0.471], [0.0, -0.757, -0.471]])


def water(positions: np.ndarray = WATER, **more: object) -> Molecule:
    return Molecule(np.array([8, 1, 1]), positions, **more)


def test_symbols_agree_with_ase() -> None:
    for number in range(1, 119):
        assert symbol(number) == chemical_symbols[number]
        assert atomic_number(chemical_symbols[number].lower()) == number


@pytest.mark.parametrize("element", ["", "*", "Xx", "1", "R", "H2"])
def test_no_element(element: str) -> None:
    with pytest.raises(InputError, match="not an element"):
        atomic_number(element)


def test_key_depends_on_what_is_computed_and_on_nothing_else() -> None:
    key = water().key
    assert len(key) == 32
    assert int(key, 16) >= 0
    assert water(name="water", smiles="O").key == key
    assert water(WATER + 1e-9).key == key
    others = [
        water(WATER + np.array([0, 0, 2e-6])),
        water(charge=1, multiplicity=2),
        water(multiplicity=3),
        Molecule(np.array([8, 1, 9]), WATER),
        Molecule(np.array([1, 8, 1]), WATER[[1, 0, 2]]),
    ]
    assert len({key, *(other.key for other in others)}) == 1 + len(others)


def test_equality_is_that_of_keys() -> None:
    assert water(name="a") == water(name="b")
    assert len({water(name="a"), water(name="b"), water(charge=2)}) == 2
    assert water() != "water"


@given(st.floats(-1e3, 1e3), st.integers(0, 2), st.integers(0, 2))
def test_key_survives_text(value: float, atom: int, axis: int) -> None:
    positions = WATER.copy()
    positions[atom, axis] = value
    written = np.array([[float(repr(float(x))) for x in row] for row in positions])
    assert water(positions).key == water(written).key


def test_is_immutable_and_holds_its_own_copy() -> None:
    mine = WATER.copy()
    molecule = water(mine)
    mine[0, 0] = 99.0
    assert molecule.positions[0, 0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        molecule.positions[0, 0] = 1.0


def test_formula_in_hill_order_and_electrons() -> None:
    numbers = np.array([17, 1, 6, 1, 1, 35, 6])
    positions = np.arange(21.0).reshape(7, 3)
    assert Molecule(numbers, positions).formula == "C2H3BrCl"
    assert water().formula == "H2O"
    assert water().electrons == 10
    assert water(charge=-1, multiplicity=2).electrons == 11
    assert len(water()) == 3


@pytest.mark.parametrize(
    ("numbers", "positions", "message"),
    [
        ([], np.zeros((0, 3)), "no atoms"),
        ([1, 1], np.zeros((1, 3)), "shape"),
        ([1], [[0.0, 0.0, np.nan]], "finite"),
        ([1], [[0.0, np.inf, 0.0]], "finite"),
        ([0], [[0.0, 0.0, 0.0]], "between 1 and 118"),
        ([119], [[0.0, 0.0, 0.0]], "between 1 and 118"),
    ],
)
def test_refuses(numbers: list[int], positions: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Molecule(np.array(numbers), np.array(positions))


def test_keys_of_ordinary_molecules_are_those_of_0_1_0() -> None:
    assert water().key == "bb42b4260a52df586cdcc6caacb581e9"
    assert water(charge=1, multiplicity=2, name="x").key == "a7d8552040b9f26eccb72dd83d86de93"
    assert water(isotopes=[0, 0, 0]).key == water().key
    assert water(isotopes=[16, 1, 1]).key == water().key  # the most abundant ones, by name


def test_isotopes_are_part_of_the_key_and_of_the_masses() -> None:
    heavy, half = water(isotopes=[0, 2, 2]), water(isotopes=[0, 2, 0])
    assert len({water().key, heavy.key, half.key, water(isotopes=[18, 0, 0]).key}) == 4
    # AME2020: O-16 15.99491462, H-1 1.00782503, H-2 2.01410178, H-3 3.01604928 u
    assert np.allclose(water().masses, [15.99491462, 1.00782503, 1.00782503], atol=1e-7)
    assert np.allclose(heavy.masses, [15.99491462, 2.01410178, 2.01410178], atol=1e-7)
    assert np.allclose(water(isotopes=[0, 3, 1]).masses[1], 3.01604928, atol=1e-7)
    assert not heavy.isotopes.flags.writeable


def test_keys_of_many_are_those_of_each() -> None:
    some = [water(), water(isotopes=[0, 2, 0]), Molecule([10], [[0.1, 0.2, 0.3]], 1, 2)]
    columns = {
        name: np.concatenate([getattr(one, name) for one in some])
        for name in ("numbers", "positions", "isotopes")
    }
    columns["atom_offsets"] = np.array([0, 3, 6, 7])
    columns["charge"] = np.array([0, 0, 1])
    columns["multiplicity"] = np.array([1, 1, 2])
    keys = molecule_keys(columns)
    assert [row.tobytes().hex() for row in keys] == [one.key for one in some]


@pytest.mark.parametrize(
    ("isotopes", "message"),
    [
        ([0, 2], "3 atoms and 2 isotopes"),
        ([0, 9, 0], "atom 2: H has no known isotope of mass number 9"),
        ([0, 0, -1], "no known isotope"),
        ([0, 10**6, 0], "no known isotope"),
    ],
)
def test_refuses_isotopes(isotopes: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        water(isotopes=isotopes)


def test_a_lone_surrogate_is_no_name() -> None:
    with pytest.raises(InputError, match="not Unicode text"):
        water(name="caf\udce9")
    with pytest.raises(InputError, match="not Unicode text"):
        water(smiles="\ud800O")
    assert water(name="=cmd|' /C calc'!A0").name == "=cmd|' /C calc'!A0"


def test_an_unknown_symbol_writes_nothing_to_the_terminal(capfd: pytest.CaptureFixture) -> None:
    with pytest.raises(InputError):
        atomic_number("Xx")
    assert capfd.readouterr() == ("", "")
