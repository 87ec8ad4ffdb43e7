"""QM9's three published forms agree with each other and with what is known of the molecules."""

import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from hpcml.errors import InputError
from hpcml.molecules import Defect
from hpcml.molecules.qm9 import read_qm9, settled_frequencies

DATA = Path(__file__).parent / "data" / "qm9"
NUMBERS = [1, 3, 4, 29, 212, 271, 6620, 129158]
pytestmark = pytest.mark.filterwarnings("ignore:.*where the published file names")
TITLE = "\n".join(f"title line {n}" for n in range(9))


@pytest.fixture
def qm9pack():
    return {record.number: record for record in read_qm9(DATA / "qm9_part1.csv")}


@pytest.fixture
def wheel(tmp_path):
    path = tmp_path / "qm9pack-1.0.3-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file in DATA.glob("qm9_*.csv"):
            archive.write(file, f"qm9pack/data/{file.name}")
    return path


@pytest.fixture
def published(tmp_path):
    """The tar with uncharacterized.txt beside it, which names molecule 212."""
    path = tmp_path / "dsgdb9nsd.xyz.tar.bz2"
    with tarfile.open(path, "w:bz2") as archive:
        for file in sorted(DATA.glob("*.xyz")):
            archive.add(file, file.name)
    list_of_bad = f"{TITLE}\n      212    CN1C=CC=C1   CN1C=CC=C1   0.1\n--------\n"
    (tmp_path / "uncharacterized.txt").write_text(list_of_bad)
    return path


@pytest.fixture
def sdf(tmp_path):
    for name in ("gdb9.sdf", "gdb9.sdf.csv"):
        shutil.copy(DATA / name, tmp_path)
    (tmp_path / "uncharacterized.txt").write_text(f"{TITLE}\n 212  x\n----\n")
    return tmp_path / "gdb9.sdf"


def test_the_wheel_and_its_folder_are_the_same(wheel, qm9pack):
    records = list(read_qm9(wheel))
    assert [record.number for record in records] == NUMBERS == list(qm9pack)
    for record in records:
        assert record.molecule == qm9pack[record.number].molecule
        assert record.scalars == qm9pack[record.number].scalars


def test_what_is_known_of_the_molecules(qm9pack):
    water = qm9pack[3]
    assert water.molecule.formula == "H2O"
    assert water.scalars["mu"] == 1.8511
    distance = np.linalg.norm(water.molecule.positions[1] - water.molecule.positions[0])
    assert distance == pytest.approx(0.962, abs=0.001)  # B3LYP/6-31G(2df,p)
    assert np.trace(water.polarizability) / 3 == pytest.approx(6.31, abs=0.005)
    assert len(qm9pack[4].frequencies) == 7  # linear: 3 * 4 - 5
    assert qm9pack[271].molecule.charge == 0
    assert "[NH3+]" in qm9pack[271].molecule.smiles
    assert qm9pack[212].molecule.positions[0, 0] == 2.1997e-6
    for record in qm9pack.values():
        assert record.mulliken.sum() == pytest.approx(0.0, abs=1e-4)
        assert record.scalars["gap"] == pytest.approx(
            record.scalars["lumo"] - record.scalars["homo"], abs=2e-4
        )


def test_frequencies_listed_twice_are_kept_once(qm9pack):
    hartree_per_wavenumber = 1 / 219474.6313632
    for number, record in qm9pack.items():
        positive = record.frequencies[record.frequencies > 0]
        zpve = 0.5 * positive.sum() * hartree_per_wavenumber
        assert zpve == pytest.approx(record.scalars["zpve"], abs=1e-6)
        assert any("twice" in w for w in record.warnings) == (number in (29, 6620))
        assert any("imaginary" in w for w in record.warnings) == (number in (6620, 129158))


def test_the_tar_agrees_with_qm9pack(published, qm9pack):
    records = list(read_qm9(published))
    assert [record.number for record in records] == [n for n in NUMBERS if n != 212]
    for record in records:
        twin = qm9pack[record.number]
        assert record.molecule == twin.molecule
        assert record.molecule.smiles == twin.molecule.smiles
        assert record.scalars == twin.scalars
        assert np.array_equal(record.frequencies, twin.frequencies)
        assert np.array_equal(record.mulliken, twin.mulliken)
        assert record.inchi == twin.inchi


def test_mathematica_exponents_are_read(published, qm9pack):
    (published.parent / "uncharacterized.txt").write_text(f"{TITLE}\n 1  x\n----\n")
    records = {record.number: record for record in read_qm9(published)}
    assert records[212].molecule == qm9pack[212].molecule


def test_the_sdf_agrees_with_qm9pack(sdf, qm9pack):
    records = list(read_qm9(sdf))
    assert [record.number for record in records] == [n for n in NUMBERS if n != 212]
    for record in records:
        twin = qm9pack[record.number].molecule
        assert np.array_equal(record.molecule.numbers, twin.numbers)
        assert np.abs(record.molecule.positions - twin.positions).max() <= 5e-5
        assert record.scalars == qm9pack[record.number].scalars
        assert record.molecule.smiles


def test_a_folder_with_any_form_will_do(wheel, published, sdf):
    shutil.rmtree(wheel.parent / "x", ignore_errors=True)
    folder = wheel.parent / "x"
    folder.mkdir()
    for file in DATA.glob("*.xyz"):
        shutil.copy(file, folder)
    with pytest.raises(InputError, match=r"uncharacterized\.txt is missing"):
        list(read_qm9(folder))
    shutil.copy(published.parent / "uncharacterized.txt", folder)
    assert len(list(read_qm9(folder))) == 7
    assert len(list(read_qm9(DATA))) == 8  # qm9pack's CSV files come first
    sdf.with_name("gdb9.sdf.csv").unlink()
    with pytest.raises(InputError, match=r"gdb9\.sdf\.csv is missing"):
        list(read_qm9(sdf))


def test_damaged_records_are_defects(tmp_path):
    for name in ("qm9_part1.csv", "qm9_part2.csv", "qm9_part3.csv", "qm9_polarizability.csv"):
        shutil.copy(DATA / name, tmp_path)
    path = tmp_path / "qm9_part1.csv"
    lines = path.read_text().splitlines()
    lines[1] = lines[1].replace("1.0858041578", "1.08x")
    lines[2] = lines[2].replace(",6.31,", ",7.31,")
    lines[3] = lines[3][:30]
    path.write_text("\n".join(lines) + "\n")
    records = list(read_qm9(tmp_path))
    defects = [record for record in records if isinstance(record, Defect)]
    assert [defect.name[-10:-4] for defect in defects] == ["000001", "000003", "000004"]
    assert "6.313" in str(defects[1])
    assert len(records) == 8


REAL = [str(number) for number in (21, *range(1000, 4053))]  # 3,054 numbers


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        (f"{TITLE}\n  212  x\n  271 y\n", {212, 271}),  # without its last line
        (f"{TITLE}\n  212  x\n  271 y", {212, 271}),  # cut within it
        ("212\n271\n", {212, 271}),  # a plain list
        ("\ufeff212\r\n271\r\n", {212, 271}),
        ("title\n-----\n  212  x\n  271\n-----\n\n", {212, 271}),
        ("\n".join([*REAL[:-2], "212", "271"]), {212, 271}),
    ],
)
def test_every_molecule_that_the_list_refuses_is_left_out(published, text, refused):
    path = published.parent / "uncharacterized.txt"
    path.write_text(text, encoding="utf-8")
    told = []
    records = list(read_qm9(published, told.append))
    assert [r.number for r in records] == [n for n in NUMBERS if n not in refused]
    assert bool(told) == (len(text.split()) < 3000)
    if told:
        assert "names 2 molecules where the published file names 3,054" in told[0]


@pytest.mark.parametrize("text", ["", "\n\n", TITLE, f"{TITLE}\n-----\n"])
def test_a_list_that_refuses_nobody_is_no_list(published, text):
    (published.parent / "uncharacterized.txt").write_text(text)
    with pytest.raises(InputError, match="names no molecule"):
        list(read_qm9(published))


@pytest.mark.parametrize("line", ["CN1C=CC=C1", "0", "133886 x", "1e3"])
def test_a_line_that_names_no_molecule_is_named(published, line):
    (published.parent / "uncharacterized.txt").write_text(f"{TITLE}\n 212 x\n{line}\n 271 y\n---\n")
    with pytest.raises(InputError, match="line 11"):
        list(read_qm9(published))


@pytest.mark.parametrize("word", ["nan", "-1e999", "inf", "-nan"])
@pytest.mark.parametrize("place", ["6.31", "-76.404702", "-0.589706"])
def test_what_is_no_number_is_left_out(tmp_path, word, place):
    """alpha, U0 and the charges of water."""
    for file in DATA.glob("*.xyz"):
        shutil.copy(file, tmp_path)
    path = tmp_path / "dsgdb9nsd_000003.xyz"
    assert place in path.read_text()
    path.write_text(path.read_text().replace(place, word, 1))
    (tmp_path / "uncharacterized.txt").write_text("212\n")
    records = list(read_qm9(tmp_path, print))
    assert [r.name[-10:-4] for r in records if isinstance(r, Defect)] == ["000003"]
    assert "is not a number" in str(next(r for r in records if isinstance(r, Defect)))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"\x1f\x8b no gzip"])
def test_no_qm9_at_all(tmp_path, content):
    for name in ("a.whl", "b.xyz.tar.bz2", "c.txt"):
        (tmp_path / "uncharacterized.txt").write_text(f"{TITLE}\n 1 x\n----\n")
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError):
            list(read_qm9(tmp_path / name))
    with pytest.raises(InputError, match="no such file"):
        read_qm9(tmp_path / "missing")


def test_a_wrong_number_of_modes_is_refused():
    with pytest.raises(InputError, match="3 atoms cannot have 5 vibrations"):
        settled_frequencies(np.ones(5), 3, 0.0)
