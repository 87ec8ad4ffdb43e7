import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rdkit import Chem

from hpcml.errors import InputError, InputWarning
from hpcml.molecules import Defect, Molecule, molecule_from_smiles, perceive, read

Read = Callable[[str, str], list[Molecule | Defect]]

FLAT_ETHANOL = """ethanol
     drawn          2D

  3  2  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 C   0  0
    1.3000    0.7500    0.0000 C   0  0
    2.6000    0.0000    0.0000 O   0  0
  1  2  1  0
  2  3  1  0
M  END
"""


def block(smiles: str, name: str, v3000: bool = False) -> str:
    mol = perceive(molecule_from_smiles(smiles))
    mol.SetProp("_Name", name)
    return str(Chem.MolToMolBlock(mol, forceV3000=v3000))


@pytest.mark.parametrize("v3000", [False, True])
@pytest.mark.parametrize("smiles", ["CC=O", "[NH3+]CC([O-])=O", "C[NH3+]", "[O]O", "c1ccccc1"])
def test_records_come_as_they_were(read_text: Read, smiles: str, v3000: bool) -> None:
    expected = molecule_from_smiles(smiles)
    (read_back,) = read_text("a.sdf", block(smiles, "x", v3000) + "$$$$\n")
    assert isinstance(read_back, Molecule)
    assert np.array_equal(read_back.numbers, expected.numbers)
    assert np.allclose(read_back.positions, expected.positions, atol=1e-4)
    assert (read_back.charge, read_back.multiplicity) == (expected.charge, expected.multiplicity)
    assert read_back.smiles == Chem.CanonSmiles(smiles)


def test_a_broken_record_costs_itself_alone(read_text: Read) -> None:
    good = block("O", "water")
    broken = good.replace("V2000", "V2001")
    five = FLAT_ETHANOL.replace("  1  2  1  0", "  1  2  5  0")
    bare = block("CC", "bare").replace(" H ", " C ")
    records = read_text("a.sdf", "$$$$\n".join([good, broken, five, bare, good.rstrip()]))
    first, unread, no_bond, hydrogens, last = records
    assert isinstance(first, Molecule)
    assert isinstance(last, Molecule)
    assert first == last
    lines = good.count("\n") + 1
    assert f"record 2, line {lines + 1} (water): expected a MOL block" in str(unread)
    assert isinstance(no_bond, Defect)
    assert "record 4" in str(hydrogens)
    assert "hydrogens have no coordinates" in str(hydrogens)


def test_a_flat_drawing_gets_a_geometry(read_text: Read) -> None:
    (ethanol,) = read_text("a.sdf", FLAT_ETHANOL)
    assert isinstance(ethanol, Molecule)
    assert (ethanol.name, ethanol.formula, ethanol.smiles) == ("ethanol", "C2H6O", "CCO")
    assert np.linalg.matrix_rank(ethanol.positions - ethanol.positions[0], tol=0.1) == 3


def test_a_valence_that_cannot_be(read_text: Read) -> None:
    (defect,) = read_text("a.sdf", FLAT_ETHANOL.replace("  1  2  1", "  2  3  3"))
    assert isinstance(defect, Defect)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(0, 400), st.text(st.sampled_from("0129 \nCHMENDV$-."), max_size=12))
def test_a_damaged_file_gives_molecules_or_defects(tmp_path: Path, at: int, damage: str) -> None:
    path = tmp_path / "a.sdf"
    path.write_text(FLAT_ETHANOL[:at] + damage + FLAT_ETHANOL[at + len(damage) :])
    try:
        for record in read(path):
            assert isinstance(record, Molecule | Defect)
    except InputError as error:
        assert "no molecules" in str(error)


HEAVY_WATER = """water
  test  3D

  3  2  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.1173 O   0  0
    0.0000    0.7572   -0.4692 D   0  0
    0.0000   -0.7572   -0.4692 H   0  0
  1  2  1  0
  1  3  1  0
M  END
"""


@pytest.mark.parametrize(
    ("symbol", "difference", "line"),
    [("D", 0, ""), ("H", 1, ""), ("H", 0, "M  ISO  1   2   2\n")],
)
def test_isotopes(read_text: Read, symbol: str, difference: int, line: str) -> None:
    """By the symbol, by the atom's mass difference, by a property line."""
    text = HEAVY_WATER.replace("D   0", f"{symbol}  {difference:2d}").replace(
        "M  END", f"{line}M  END"
    )
    (water,) = read_text("a.sdf", text)
    assert isinstance(water, Molecule)
    assert (water.formula, water.isotopes.tolist()) == ("H2O", [0, 2, 0])


WATER = HEAVY_WATER.replace("D   0", "H   0")


@pytest.mark.parametrize("name", ["a.sdf", "a.sd", "a.mol"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("M  END", "\nM  END"),
        ("  1  2  1  0", "\n\n  1  2  1  0"),
        ("0.7572", "0,7572"),
        ("M  END\n", "M  END\n> <x>\n1\n\n$$$$\n"),
        ("\n", "\r\n"),
    ],
)
def test_blocks_as_programs_write_them(read_text: Read, name: str, old: str, new: str) -> None:
    (water,) = read_text(name, WATER.replace(old, new))
    assert isinstance(water, Molecule)
    assert (water.name, water.formula) == ("water", "H2O")
    assert water.positions[1, 1] == 0.7572


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.sdf").write_text(WATER, encoding=encoding)
    (water,) = read(tmp_path / "a.sdf")
    assert isinstance(water, Molecule)
    assert (water.name, water.formula) == ("water", "H2O")


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        (" O   0", " Xx  0", "atom 1: 'Xx' is not an element symbol"),
        ("M  END", "", "no line M  END"),
        ("water\n", "", "the line of counts is line 3 of its record"),
        ("V2000", "V2001", "line 4 of the record"),
        ("  3  2", "  4  2", "not those that line 4 announces"),
    ],
)
def test_a_broken_block_is_one_line_with_its_cause(
    read_text: Read, capfd: pytest.CaptureFixture[str], old: str, new: str, cause: str
) -> None:
    (defect,) = read_text("a.sdf", WATER.replace(old, new, 1))
    assert isinstance(defect, Defect)
    assert cause in str(defect)
    assert "\n" not in str(defect)
    assert capfd.readouterr() == ("", "")


def test_an_odd_number_of_electrons_is_told_unless_said(read_text: Read) -> None:
    methyl = block("[CH3]", "methyl")
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputWarning)
        (said,) = read_text("a.sdf", methyl)
    assert isinstance(said, Molecule)
    unsaid = "".join(line for line in methyl.splitlines(keepends=True) if "RAD" not in line)
    with pytest.warns(InputWarning, match="9 electrons and no charge said"):
        read_text("b.sdf", unsaid)


def test_an_atom_of_a_metal_gets_no_hydrogen(read_text: Read) -> None:
    text = "na\n\n\n  1  0  0  0  0  0  0  0  0  0999 V2000\n"
    text += "    0.0000    0.0000    0.0000 Na  0  0\nM  END\n"
    with pytest.warns(InputWarning, match="11 electrons and no charge said"):
        (sodium,) = read_text("a.mol", text)
    assert isinstance(sodium, Molecule)
    assert (sodium.formula, sodium.multiplicity) == ("Na", 2)
