from collections.abc import Callable
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hpcml.errors import InputError, InputWarning
from hpcml.molecules import Defect, Molecule, read, write_extended_xyz

Read = Callable[[str, str], list[Molecule | Defect]]

WATER = "3\nwater\nO 0 0 0.117\nH 0 0.757 -0.471\nH 0 -0.757 -0.471\n"
HYDROGEN = "2\nhydrogen\nH 0 0 0\nH 0 0 0.74\n"

# No deadline: one example on a loaded machine may take longer than the 0.2 s of the default.
same_tmp_path = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


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
        ("2\nx\nO 1 0 0 0\nH 2 0 0 1\n", 8, "found numbers of atoms between them: 'O 1 0 0 0'"),
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


@pytest.mark.parametrize("between", ["", "\n", "H 0 9 9\n"])
def test_a_frame_with_more_atoms_than_announced_is_none(read_text: Read, between: str) -> None:
    """Never the OH of a water: nobody knows which of the atoms are meant."""
    oxygen, *hydrogens = WATER.splitlines(keepends=True)[2:]
    surplus = "2\nwater\n" + oxygen + hydrogens[0] + between + hydrogens[1]
    defect, last = read_text("a.xyz", surplus + HYDROGEN)
    assert isinstance(defect, Defect)
    assert isinstance(last, Molecule)
    assert last.formula == "H2"
    assert defect.name == "water"
    assert "expected 2 atoms and the frame's end, found another" in defect.message


def test_a_frame_with_fewer_atoms_than_announced_is_none(read_text: Read) -> None:
    for end in ("", "\n", HYDROGEN):
        first, *others = read_text("a.xyz", WATER.replace("3\nwater", "4\nwater") + end)
        assert isinstance(first, Defect)
        assert "expected 4 atoms, found 3" in first.message
        assert [isinstance(other, Molecule) for other in others] == [True] * (end == HYDROGEN)


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
    path.write_text(f"{WATER}-\n{rubbish}\n{end}\n", encoding="utf-8")
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


def test_a_missing_comment_line(read_text: Read) -> None:
    bare = WATER.replace("water\n", "")
    one, two = read_text("a.xyz", bare + bare)
    assert isinstance(one, Molecule)
    assert one == two
    assert (one.formula, one.name) == ("H2O", "a-1")
    (defect,) = read_text("a.xyz", bare.replace("3\n", "2\n"))
    assert isinstance(defect, Defect)
    assert "expected a comment line and 2 atoms" in defect.message


QM9_METHANE = """5
gdb 1\t157.7118\t157.70997\t157.70699\t0.\t13.21\t-0.3877\t0.1171\t0.5048\t35.3641\t\
0.044749\t-40.47893\t-40.476062\t-40.475117\t-40.498597\t6.469\t
C\t-0.0126981359\t 1.0858041578\t 0.0080009958\t-0.535689
H\t 0.002150416\t-0.0060313176\t 1.9761204*^-3\t 0.133921
H\t 1.0117308433\t 1.4637511618\t 0.0002765748\t 0.133922
H\t-0.540815069\t 1.4475266138\t-0.8766437152\t 0.133923
H\t-0.5238136345\t 1.4379326443\t 0.9063972942\t 0.133923
1341.307\t1341.3284\t1341.365\t1562.6731\t1562.7453\t3038.3205\t3151.6034\t3151.6788\t3151.7078
C\tC\t
InChI=1S/CH4/h1H4\tInChI=1S/CH4/h1H4
"""


@pytest.mark.parametrize("times", [1, 3])
def test_a_file_of_qm9_itself(read_text: Read, times: int) -> None:
    found = read_text("dsgdb9nsd_000001.xyz", QM9_METHANE * times)
    assert len(found) == times
    for molecule in found:
        assert isinstance(molecule, Molecule)
        assert (molecule.name, molecule.smiles, molecule.formula) == ("gdb_1", "C", "CH4")
        assert molecule.positions[1, 2] == 1.9761204e-3


@pytest.mark.parametrize(
    ("comment", "name", "charge"),
    [("-1 1", "a-1", -1), ("hydroxide charge: -1", "hydroxide", -1), ("q=-1", "a-1", -1)],
)
def test_a_charge_in_the_comment(read_text: Read, comment: str, name: str, charge: int) -> None:
    (ion,) = read_text("a.xyz", f"2\n{comment}\nO 0 0 0\nH 0 0 0.96\n")
    assert isinstance(ion, Molecule)
    assert (ion.name, ion.charge, ion.multiplicity) == (name, charge, 1)


@pytest.mark.parametrize(
    ("comment", "atoms", "words"),
    [
        ("hydroxyl", "O 0 0 0\nH 0 0 0.96", "9 electrons and no charge said: read as neutral"),
        ("multiplicity=2", "O 0 0 0\nH 0 0 0.96", "9 electrons and no charge said"),
        ("superoxide anion", "O 0 0 0\nO 0 0 1.3", "no charge said, but 'anion'"),
        ("in bohr, q=0", "H 0 0 0\nH 0 0 1.4", "says 'bohr': coordinates are read in angstrom"),
        ("2 1", "O 0 0 0\nO 0 0 1.3", "charge 2 and multiplicity read from two bare numbers"),
        ("salt", "Na+ 0 0 0\nHe 0 0 3", r"\+1 read from the atoms' labels"),
    ],
)
def test_a_doubtful_charge_is_told(read_text: Read, comment: str, atoms: str, words: str) -> None:
    with pytest.warns(InputWarning, match=words) as told:
        (molecule,) = read_text("a.xyz", f"2\n{comment}\n{atoms}\n")
    assert isinstance(molecule, Molecule)
    assert len(told) == 1
    assert "a.xyz, line 2" in str(told[0].message)
    assert "\n" not in str(told[0].message)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("comment", "atoms"),
    [
        ("0 1 water", "O 0 0 0\nO 0 0 1.2"),
        ("charge=0", "O 0 0 0\nH 0 0 0.96"),
        ("ion pair", "Na+ 0 0 0\nCl- 0 0 2.36"),
        ("+1 2", "H 0 0 0\nH 0 0 1.06"),
    ],
)
def test_what_is_said_needs_no_warning(read_text: Read, comment: str, atoms: str) -> None:
    (molecule,) = read_text("a.xyz", f"2\n{comment}\n{atoms}\n")
    assert isinstance(molecule, Molecule)


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]
)
def test_encodings(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.xyz"
    path.write_text(WATER.replace("water", "wässer"), encoding=encoding)
    (water,) = read(path)
    assert isinstance(water, Molecule)
    assert (water.formula, water.name) == ("H2O", "wässer")


def test_the_charge_that_is_impossible_is_one_line(read_text: Read) -> None:
    for comment in ("-1 1", "charge=-1 multiplicity=1", "charge=-1 q=1", "charge: two"):
        (defect,) = read_text("a.xyz", f"{WATER}".replace("water", comment))
        assert isinstance(defect, Defect)
        assert "charge" in defect.message or "multiplicity" in defect.message


def test_masses_of_ase_tell_isotopes(tmp_path: Path) -> None:
    """A column that other programs write: mean masses or those of the isotopes."""
    atoms = ase.Atoms("ClHBr", [[0, 0, 0], [0, 0, 1.3], [0, 0, 9]])
    atoms.set_masses([atoms.get_masses()[0], 2.014, 79.904])
    ase.io.write(
        tmp_path / "a.extxyz", atoms, format="extxyz", columns=["symbols", "positions", "masses"]
    )
    (found,) = read(tmp_path / "a.extxyz")
    assert isinstance(found, Molecule)
    assert found.isotopes.tolist() == [0, 2, 0]
    text = (tmp_path / "a.extxyz").read_text()
    (tmp_path / "b.extxyz").write_text(text.replace("2.014", "9.014"))
    (defect,) = read(tmp_path / "b.extxyz")
    assert isinstance(defect, Defect)
    assert "no isotope of H has a mass of 9.014 u" in defect.message
