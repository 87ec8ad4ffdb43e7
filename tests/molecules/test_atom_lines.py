import pytest

from hpcml.errors import InputError
from hpcml.molecules.atom_lines import begins_like_an_atom, read_atom, read_species


@pytest.mark.parametrize(
    ("word", "number", "isotope"),
    [
        ("O", 8, 0),
        ("o1", 8, 0),
        ("H12a", 1, 0),
        ("C_alpha", 6, 0),
        ("Cα", 6, 0),
        ("C-CT--0.18", 6, 0),
        ("cl2", 17, 0),
        ("CL1", 17, 0),
        ("FE", 26, 0),
        ("Fe1", 26, 0),
        ("8", 8, 0),
        ('"O"', 8, 0),
        ("D", 1, 2),
        ("D1", 1, 2),
        ("t", 1, 3),
        ("2H", 1, 2),
        ("[13C]", 6, 13),
        ("H(iso=2)", 1, 2),
        ("C(Fragment=1,Iso=13)", 6, 13),
    ],
)
def test_labels(word: str, number: int, isotope: int) -> None:
    assert read_species(word)[:2] == (number, isotope)


@pytest.mark.parametrize(
    ("word", "charge"),
    [("Na+", 1), ("Cl-", -1), ("Fe2+", 2), ("NA+", 1), ("O2-", -2), ("Na", 0), ("H-1", 0)],
)
def test_charges_of_labels(word: str, charge: int) -> None:
    assert read_species(word).charge == charge


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("Xx", "not an element"),
        ("CT", "not an element"),
        ("Bq", "not an element"),
        ("O(ghost)", "not an element"),
        ("Gh(O)", "not an element"),
        ("*", "not an element"),
        ("0", "not an element"),
        ("119", "not an element"),
        ("9" * 5000, "not an element"),
        ("CA1", "may be C or Ca"),
        ("HG2", "may be H or Hg"),
        ("NE2", "may be N or Ne"),
    ],
)
def test_what_is_no_element_or_may_be_two(word: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_species(word)


@pytest.mark.parametrize(
    "line",
    [
        "O 0.0 0.25 -1.5",
        "O 0,0 0,25 -1,5",
        "O, 0.0, 0.25, -1.5",
        "O,0.0,0.25,-1.5",
        "O;0,0;0,25;-1,5",
        "O\t0\t.25\t-15.d-1",
        "O1 0 2.5*^-1 -1.5 0.33 extra",
    ],
)
def test_numbers(line: str) -> None:
    atom = read_atom(line)
    assert (atom.species.number, atom.position) == (8, (0.0, 0.25, -1.5))


@pytest.mark.parametrize("line", ["O 0 0", "O 0 0 x", "O 1,234.5 0 0", "O 1_0 0 0", "O", ""])
def test_lines_that_are_no_atoms(line: str) -> None:
    with pytest.raises(InputError, match="expected"):
        read_atom(line)


def test_a_line_that_begins_like_an_atom() -> None:
    assert begins_like_an_atom("H 0.0 cut off")
    assert not begins_like_an_atom("1 0 0 0")
    assert not begins_like_an_atom("water at 300 K")
    assert not begins_like_an_atom("H")


@pytest.mark.parametrize("flag", ["0", "-1"])
def test_gaussians_column_of_frozen_atoms_is_no_x(flag: str) -> None:
    with pytest.raises(InputError, match=r"frozen \(Gaussian\).*then x y z"):
        read_atom(f"O {flag} 0.0 0.1 0.2")
    charged = read_atom(f"O {flag}.0 0.0 0.1 -0.8")
    assert charged.position == (float(flag), 0.0, 0.1)
    assert read_atom(f"O {flag} 0 0 0.3").position == (float(flag), 0.0, 0.0)
