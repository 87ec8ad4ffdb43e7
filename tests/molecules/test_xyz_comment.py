import pytest

from hpcml.errors import InputError
from hpcml.molecules.xyz_comment import read_comment

OXYGEN = 16  # electrons of neutral O2


@pytest.mark.parametrize(
    ("text", "charge", "multiplicity", "name"),
    [
        ("-1 1", -1, 1, ""),
        ("0 1", 0, 1, ""),
        ("-1, 1", -1, 1, ""),
        ("(-1 1)", -1, 1, ""),
        ("1- 2", -1, 2, ""),
        ("-1", -1, None, ""),
        ("charge: -1", -1, None, ""),
        ("hydroxide charge: -1", -1, None, "hydroxide"),
        ("hydroxide, charge -1", -1, None, "hydroxide"),
        ("hydroxide (charge: -1)", -1, None, "hydroxide"),
        ("q=-1", -1, None, ""),
        ("q = -1.0", -1, None, ""),
        ("Total charge = -1", -1, None, "Total"),
        ("charge=-1 multiplicity=2", -1, 2, ""),
        ("charge=-1,mult=2", -1, 2, ""),
        ("Charge = -1; Mult = 2", -1, 2, ""),
        ("charge/mult: -1 2", -1, 2, ""),
        ("CHARGE AND MULTIPLICITY = -1 2", -1, 2, ""),
        ("charge -1 multiplicity 2", -1, 2, ""),
        ("charge: 2- spin multiplicity: doublet", -2, 2, ""),
        ('{"charge": -1, "multiplicity": 2}', -1, 2, ""),
        ("charge=\N{MINUS SIGN}1", -1, None, ""),
        ("formal_charge=-2", -2, None, ""),
        ("mol_charge=1", 1, None, ""),
        ("charge=1 uhf=1", 1, 2, ""),
        ("hydroxide|charge=-1|mult=2", -1, 2, "hydroxide"),
        ("# charge -1, spin 2", -1, 2, ""),
        ("name=peroxide q=-2 energy=-149.5", -2, None, "peroxide"),
        ("superoxide energy=-149.5 charge=-1", -1, None, "superoxide"),
        ("neutral, charge: neutral", 0, None, "neutral"),
        ("water", None, None, "water"),
        ("water at 300 K, frame 12", None, None, "water at 300 K, frame 12"),
        ("supercharge 12", None, None, "supercharge 12"),
        ("discharge: 3 A", None, None, "discharge: 3 A"),
        ("energy: -5.07 gnorm: 0.0003 xtb: 6.5.1", None, None,
         "energy: -5.07 gnorm: 0.0003 xtb: 6.5.1"),
        ('Properties=species:S:1:pos:R:3:charge:R:1 name="q: 5"', None, None, "q: 5"),
        ("1 500", None, None, "1 500"),
    ],
)  # fmt: skip
def test_statements(text: str, charge: int | None, multiplicity: int | None, name: str) -> None:
    comment = read_comment(text)
    electrons = OXYGEN - (charge or 0)
    assert (comment.charge, comment.multiplicity(electrons)) == (charge, multiplicity)
    assert comment.name == name


@pytest.mark.parametrize(
    ("spin", "electrons", "multiplicity"), [(0, 16, 1), (1, 16, 1), (2, 16, 3), (1, 17, 2)]
)
def test_spin_is_read_as_fits(spin: int, electrons: int, multiplicity: int) -> None:
    """2S + 1 or 2S: their parities differ, and that of 2S is the electrons'."""
    assert read_comment(f"spin={spin}").multiplicity(electrons) == multiplicity


@pytest.mark.parametrize(
    ("text", "guesses"),
    [
        ("0 1 water", (0, 1, "water")),
        ("-1,1 hydroxide", (-1, 1, "hydroxide")),
        ("hydroxide -1 1", (-1, 1, "hydroxide")),
        ("conformer 3 1", None),
        ("water 12", None),
    ],
)
def test_guesses(text: str, guesses: tuple[int, int, str] | None) -> None:
    assert read_comment(text).guesses == guesses
    assert read_comment(text).charge is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("charge=two", "charge: expected an integer, found 'two'"),
        ("charge: -0.5", "charge: expected an integer, found '-0.5'"),
        ("charge=-1 q=1", "charge is given as -1 and as 1"),
        ("multiplicity=high", "multiplicity: expected an integer"),
    ],
)
def test_wrong_statements(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_comment(text)


def test_two_multiplicities() -> None:
    with pytest.raises(InputError, match="given as 1 and as 3"):
        read_comment("multiplicity=1 mult=3").multiplicity(16)


@pytest.mark.parametrize(
    ("text", "doubted"),
    [
        ("units=bohr", True),
        ("length_unit=au charge=0", True),
        ("unit=Angstrom", False),
        ("energy_unit=au", False),
        ("water, bohr", True),
    ],
)
def test_other_units_of_length_are_doubted(text: str, doubted: bool) -> None:
    assert bool(read_comment(text).doubts) == doubted
