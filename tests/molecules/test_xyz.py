from collections.abc import Callable
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hpcml.errors import InputError
from hpcml.molecules import Defect, Molecule, read, write_extended_xyz

Read = Callable[[str, str], list[Molecule | Defect]]

WATER = "3\nwater\nO 0 0 0.117\nH 0 0.757 -0.471\nH 0 -0.757 -0.471\n"
HYDROGEN = "2\nhydrogen\nH 0 0 0\nH 0 0 0.74\n"

same_tmp_path = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def spread(n: int, seed: int) -> np.ndarray:
    """Positions no two of which come close."""
    jitter = np.random.default_rng(seed).uniform(-0.3, 0.3, (n, 3))
    return np.stack([np.arange(n) * 1.5, np.zeros(n), np.zeros(n)], axis=1) + jitter


@st.composite
def molecules(draw: st.DrawFn) -> Molecule:
    n = draw(st.integers(1, 8))
    numbers = draw(arrays(np.int64, n, elements=st.integers(1, 118)))
    charge = draw(st.integers(-3, 0))
    electrons = int(numbers.sum()) - charge
    text = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=20)
    return Molecule(
        numbers,
        spread(n, draw(st.integers(0, 2**32 - 1))),
        charge=charge,
        multiplicity=1 + electrons % 2 + (2 if electrons > 2 and draw(st.booleans()) else 0),
        name=draw(text) or "x",
        smiles=draw(text),
        isotopes=np.where((numbers == 1) & draw(st.booleans()), 2, 0),
    )


@same_tmp_path
@given(st.lists(molecules(), min_size=1, max_size=4))
def test_what_is_written_is_read_again(tmp_path: Path, written: list[Molecule]) -> None:
    path = tmp_path / "a.xyz"
    write_extended_xyz(path, written)
    again = list(read(path))
    assert again == written
    for before, after in zip(written, again, strict=True):
        assert (before.name, before.smiles) == (after.name, after.smiles)
        assert np.array_equal(before.positions, after.positions)
        assert np.array_equal(before.isotopes, after.isotopes)


def test_a_long_smiles_is_not_cut(tmp_path: Path) -> None:
    chain = Molecule(np.array([10]), np.zeros((1, 3)), name="n" * 500, smiles="C" * 500)
    write_extended_xyz(tmp_path / "a.xyz", [chain])
    (again,) = read(tmp_path / "a.xyz")
    assert isinstance(again, Molecule)
    assert again.smiles == "C" * 500
    assert again.name == "n" * 200


def test_ase_reads_what_is_written(tmp_path: Path, qm9_sample: list[Molecule]) -> None:
    path = tmp_path / "a.extxyz"
    write_extended_xyz(path, qm9_sample, source='said "so"')
    for atoms, molecule in zip(ase.io.read(path, ":"), qm9_sample, strict=True):
        assert np.array_equal(atoms.numbers, molecule.numbers)
        assert np.array_equal(atoms.positions, molecule.positions)
        assert atoms.info["name"] == molecule.name
        assert atoms.info["smiles"] == molecule.smiles
        assert atoms.info["source"] == 'said "so"'


def test_what_ase_writes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.extxyz"
    atoms = ase.Atoms("CO", [[0, 0, 0], [0, 0, 1.128]], info={"name": "carbon monoxide"})
    atoms.set_array("forces", np.ones((2, 3)))
    atoms.info["charge"] = 1
    ase.io.write(path, [atoms, atoms], format="extxyz")
    one, two = read(path)
    assert isinstance(one, Molecule)
    assert one == two
    assert (one.name, one.charge, one.multiplicity) == ("carbon monoxide", 1, 2)
    assert np.array_equal(one.positions, atoms.positions)


def test_plain_frames_with_blank_lines_between(read_text: Read) -> None:
    water, hydrogen = read_text("a.xyz", f"\n{WATER}\n\n{HYDROGEN}\n\n")
    assert isinstance(water, Molecule)
    assert isinstance(hydrogen, Molecule)
    assert (water.name, water.formula, hydrogen.name) == ("water", "H2O", "hydrogen")


def test_a_frame_without_a_comment_is_named_by_the_file(read_text: Read) -> None:
    (atom,) = read_text("neon.xyz", "1\n\nNe 0 0 0\n")
    assert isinstance(atom, Molecule)
    assert atom.name == "neon-1"


def test_columns_are_those_of_properties(read_text: Read) -> None:
    comment = "name='a b' Properties=\"mass:R:1:pos:R:3:Z:I:1\" multiplicity=2 charge=+1.0"
    (ion,) = read_text("a.xyz", f"2\n{comment}\n1.0 0 0 0 1\n1.0 0 0 1.06 1\n")
    assert isinstance(ion, Molecule)
    assert (ion.name, ion.formula, ion.charge, ion.multiplicity) == ("a b", "H2", 1, 2)
    assert ion.positions[1, 2] == 1.06


def test_numbers_of_fortran_and_mathematica_and_atomic_numbers(read_text: Read) -> None:
    (hydrogen,) = read_text("a.xyz", "2\n\n1 0.0D+00 0 1.0*^-6\nh 0 0 7.4d-1\n")
    assert isinstance(hydrogen, Molecule)
    assert hydrogen.positions[:, 2].tolist() == [1e-6, 0.74]
    assert hydrogen.formula == "H2"


def test_windows_line_ends(read_text: Read) -> None:
    (water,) = read_text("a.xyz", WATER.replace("\n", "\r\n"))
    assert isinstance(water, Molecule)
    assert water.name == "water"


@pytest.mark.parametrize(
    ("frame", "line", "message"),
    [
        ("three\nx\nO 0 0 0\n", 6, "expected the number of atoms, found 'three'"),
        ("0\nx\n", 6, "expected at least one atom, found 0"),
        ("-1\nx\nO 0 0 0\n", 6, "expected the number of atoms"),
        ("2\nx\nO 0 0 0\n", 9, "expected 2 atoms, found 1 before the frame's end"),
        ("99999999999999\nx\nO 0 0 0\n", 6, "expected the number of atoms"),
        ("2\nx\nO 0 0 0\nH 0 0\n", 9, "expected an element and x y z, found 'H 0 0'"),
        ("2\nx\nO 0 0 0\nH 0 0 z\n", 9, "expected three coordinates in angstrom"),
        ("2\nx\nO 0 0 0\nH 0 0 1_0\n", 9, "expected three coordinates in angstrom"),
        ("2\nx\nO 0 0 0\nQq 0 0 1\n", 9, "'Qq' is not an element symbol"),
        ("1\nx\n0 0 0 0\n", 8, "'0' is not an element"),
        ("1\nx\nNe 0 0 nan\n", 6, "not a finite number"),
        ("2\nx\nO 0 0 0\nO 0 0 0.01\n", 6, "atoms 1 and 2 are 0.010 angstrom apart"),
        ("1\ncharge=two\nNe 0 0 0\n", 7, "charge: expected an integer, found 'two'"),
        ("1\nmultiplicity=2\nNe 0 0 0\n", 6, "multiplicity 2 is not possible with 10 electrons"),
        ("1\nProperties=pos:R:3\n0 0 0\n", 7, "expected species:S:1 and pos:R:3"),
        ("1\nProperties=species:S:x:pos:R:3\nNe 0 0 0\n", 7, "expected name:kind:count"),
        ('1\nLattice="9 0 0 0 9 0 0 0 9"\nNe 0 0 0\n', 7, "found a periodic cell"),
        ('1\npbc="F F T"\nNe 0 0 0\n', 7, "found a periodic cell"),
    ],
)
def test_a_broken_frame_costs_itself_alone(
    read_text: Read, frame: str, line: int, message: str
) -> None:
    before, defect, after = read_text("a.xyz", f"{WATER}{frame}{HYDROGEN}")
    assert isinstance(before, Molecule)
    assert isinstance(defect, Defect)
    assert isinstance(after, Molecule)
    assert (before.formula, after.formula) == ("H2O", "H2")
    assert defect.where == f"line {line}"
    assert message in defect.message
    assert "a.xyz" in defect.source
    assert "\n" not in str(defect)


def test_a_frame_with_one_atom_too_many(read_text: Read) -> None:
    surplus = WATER.replace("3\nwater", "2\nwater")
    first, defect, last = read_text("a.xyz", surplus + HYDROGEN)
    assert isinstance(first, Molecule)
    assert isinstance(defect, Defect)
    assert isinstance(last, Molecule)
    assert defect.where == "line 5"
    assert "expected the number of atoms, found 'H 0 -0.757 -0.471'" in defect.message


def test_a_stray_number_within_a_broken_frame_begins_no_frame(read_text: Read) -> None:
    defect, last = read_text("a.xyz", "3\nx\nO 0 0\n3\nH 0 0 1\n" + HYDROGEN)
    assert isinstance(defect, Defect)
    assert isinstance(last, Molecule)


def test_mended_lattice_is_no_cell(read_text: Read) -> None:
    (neon,) = read_text("a.xyz", '1\nLattice="9 0 0 0 9 0 0 0 9" pbc="F F F"\nNe 0 0 0\n')
    assert isinstance(neon, Molecule)


def test_names_are_cleaned_of_control_characters(read_text: Read) -> None:
    (neon,) = read_text("a.xyz", "1\n\x1b[31mred\x07\u202e\tname\nNe 0 0 0\n")
    assert isinstance(neon, Molecule)
    assert neon.name == "[31mred name"


@same_tmp_path
@given(st.binary(min_size=1, max_size=400))
def test_any_bytes_give_molecules_or_defects(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.xyz"
    path.write_bytes(data)
    try:
        for record in read(path):
            assert "\n" not in str(record)
    except InputError as error:
        assert "no molecules" in str(error)


pieces = st.sampled_from(
    [*"0123 \n", "1\n", "2\n", "\n", "H 0 0 0\n", "O 0 0 1.0\n", "name=x ", 'Properties="', '"',
     "species:S:1:", "pos:R:3 ", "charge=1 ", "nan ", "1e999 ", "\\", "'", "{", "=", "\x00"]
)  # fmt: skip


@same_tmp_path
@given(st.lists(pieces, max_size=60).map("".join), st.lists(pieces, max_size=8).map("".join))
def test_sound_frames_around_rubbish_are_read(tmp_path: Path, rubbish: str, end: str) -> None:
    path = tmp_path / "a.xyz"
    path.write_text(f"{WATER}{rubbish}\n{end}\n", encoding="utf-8")
    records = list(read(path))
    assert isinstance(records[0], Molecule)
    assert records[0].formula == "H2O"
    assert all("\n" not in str(record) for record in records)


@pytest.mark.parametrize(("symbols", "isotopes"), [("DD", [2, 2]), ("Td", [3, 2]), ("hD", [0, 2])])
def test_deuterium_and_tritium(read_text: Read, symbols: str, isotopes: list[int]) -> None:
    first, second = symbols
    (hydrogen,) = read_text("a.xyz", f"2\n\n{first} 0 0 0\n{second} 0 0 0.74\n")
    assert isinstance(hydrogen, Molecule)
    assert (hydrogen.formula, hydrogen.isotopes.tolist()) == ("H2", isotopes)


def test_ase_reads_isotopes(tmp_path: Path) -> None:
    heavy = Molecule([1, 1], [[0, 0, 0], [0, 0, 0.74]], isotopes=[2, 0])
    write_extended_xyz(tmp_path / "a.extxyz", [heavy])
    assert ase.io.read(tmp_path / "a.extxyz").arrays["isotopes"].tolist() == [2, 0]
