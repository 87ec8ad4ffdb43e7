from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcml.errors import InputError
from hpcml.molecules import Defect, Molecule, molecule_from_smiles, read

Read = Callable[[str, str], list[Molecule | Defect]]


def test_smi(read_text: Read) -> None:
    text = "SMILES name\n# a comment\nO water\n\nC(\nCC\tethane, 2 carbons\nC(C)(C)(C)(C)C  five\n"
    water, unclosed, ethane, five = read_text("a.smi", text)
    assert isinstance(water, Molecule)
    assert (water.name, water.smiles, water.formula) == ("water", "O", "H2O")
    assert str(unclosed).endswith("a.smi, line 5 (a-5): SMILES 'C(' does not parse")
    assert isinstance(ethane, Molecule)
    assert (ethane.name, ethane.formula) == ("ethane, 2 carbons", "C2H6")
    assert isinstance(five, Defect)
    assert five.where == "line 7"
    assert "greater than permitted" in five.message


def test_csv(read_text: Read) -> None:
    text = '\ufeffID,"SMILES",x\n7,C#N,1\n\n8,,1\n"a ""b""",[OH-],\n9\n10,C.O,\n11,*C,\n'
    cyanide, none, hydroxide, short, two, wildcard = read_text("a.csv", text)
    assert isinstance(cyanide, Molecule)
    assert (cyanide.name, cyanide.formula) == ("7", "CHN")
    assert "line 4 (8): expected a SMILES, found none" in str(none)
    assert isinstance(hydroxide, Molecule)
    assert (hydroxide.name, hydroxide.charge) == ('a "b"', -1)
    assert "line 6 (9): expected a SMILES, found none" in str(short)
    assert "has 2 parts without a bond" in str(two)
    assert "wildcard" in str(wildcard)


def test_blank_lines_before_the_heading(read_text: Read) -> None:
    """Else the first column would be read as SMILES: here carbon monoxide's name is one."""
    water, broken = read_text("a.csv", "\nsep=;\n\nname;smiles\nCO;O\nCC;C(\n")
    assert isinstance(water, Molecule)
    assert (water.name, water.formula) == ("CO", "H2O")
    assert isinstance(broken, Defect)
    assert broken.where == "line 6"


def test_a_quoted_field_over_several_lines_keeps_the_count(read_text: Read) -> None:
    first, second = read_text("a.csv", 'smiles,name\nC,"a\nb"\nC(,c\n')
    assert isinstance(first, Molecule)
    assert first.name == "a b"
    assert isinstance(second, Defect)
    assert second.where == "line 4"


def test_a_table_without_smiles(read_text: Read) -> None:
    with pytest.raises(InputError, match=r"line 1: expected a column named smiles, found name, x"):
        read_text("a.csv", "name,x\nwater,1\n")


def test_a_field_without_end_is_a_defect(read_text: Read) -> None:
    (defect,) = read_text("a.csv", f'smiles\n"{"C" * 200_000}\n')
    assert isinstance(defect, Defect)
    assert "not a table row" in defect.message


@pytest.mark.parametrize("suffix", ["smi", "csv"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=st.text(st.sampled_from("CNO[]()+-#=123,.\"'\n\r\x00 *@/\\%"), max_size=30))
def test_any_text_gives_molecules_or_defects(tmp_path: Path, suffix: str, text: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_text("smiles\n" + text, encoding="utf-8")
    try:
        for record in read(path):
            assert isinstance(record, Molecule | Defect)
    except InputError as error:
        assert "no molecules" in str(error) or "column named smiles" in str(error)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "smiles;name\nCCO;x\n"),
        ("a.csv", "name\tsmiles\nx\tCCO\n"),
        ("a.tsv", "smiles\tname\nCCO\tx\n"),
        ("a.csv", "sep=;\nSMILES;Name\nCCO;x\n"),
        ("a.csv", '"Canonical_SMILES","compound_name"\n"CCO","x"\n'),
        ("a.csv", "mol_id,isomeric SMILES,canonical_smiles\nx,CCO,C\n"),
        ("a.csv", "id,ConnectivitySMILES\nx,CCO\n"),
        ("a.csv", "cid,mw,canonicalsmiles,isosmiles\nx,1,C,CCO\n"),
        ("a.csv", "id,smi\r\nx,CCO\r\n"),
        ("a.smi", "canonical_smiles name\nCCO x\n"),
        ("a.smi", "CCO |c:1| x\n"),
        ("a.smiles", "CCO\tx\n"),
    ],
)
def test_tables_as_programs_write_them(read_text: Read, name: str, text: str) -> None:
    (ethanol,) = read_text(name, text)
    assert isinstance(ethanol, Molecule)
    assert (ethanol.name, ethanol.formula) == ("x", "C2H6O")


def test_two_columns_of_smiles(read_text: Read) -> None:
    with pytest.raises(InputError, match="found smiles_a, smiles_b: name the one smiles"):
        read_text("a.csv", "smiles_a,smiles_b\nC,O\n")


def test_extensions_of_smiles(read_text: Read) -> None:
    """ChemAxon's: commas within them, radicals in them, quoted or not; what is wrong is left."""
    text = (
        "id,smiles,x\n1,C[C@@H]1CC[C@@H](O1)C(=O)N |&1:1,4,r|,7\n"
        '2,"C |^1:0|",7\n3,CO |rubbish|,7\n4,CO,7\n'
    )
    amide, methyl, methanol, plain = read_text("a.csv", text)
    assert all(isinstance(one, Molecule) for one in (amide, methyl, methanol, plain))
    assert (amide.name, amide.formula) == ("1", "C6H11NO2")
    assert (methyl.smiles, methyl.multiplicity) == ("[CH3]", 2)
    assert methanol == plain


@pytest.mark.parametrize("suffix", ["smi", "csv", "tsv"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_encodings(tmp_path: Path, suffix: str, encoding: str) -> None:
    path = tmp_path / f"a.{suffix}"
    text = "smiles\tname\nC\tmethän\n" if suffix != "csv" else "smiles,name\nC,methän\n"
    path.write_text(text, encoding=encoding)
    (methane,) = read(path)
    assert isinstance(methane, Molecule)
    assert methane.name == "methän"


def test_what_is_no_molecule_is_one_line_each(
    read_text: Read, capfd: pytest.CaptureFixture[str]
) -> None:
    text = "*C wildcard\nCC>>CO reaction\n[Na+].[Cl-] salt\n[] empty\n[H+] proton\n[Xx] xx\nxyz y\n"
    messages = [str(record) for record in read_text("a.smi", text)]
    words = ("wildcard", "a reaction", "2 parts", "parse", "0 electrons", "parse", "parse")
    for message, word in zip(messages, words, strict=True):
        assert word in message
        assert "\n" not in message
    assert capfd.readouterr() == ("", "")


def test_names_that_are_formulas_for_a_spreadsheet_stay_names(read_text: Read) -> None:
    (methane,) = read_text("a.csv", "smiles,name\nC,=cmd|' /C calc'!A0\n")
    assert isinstance(methane, Molecule)
    assert methane.name == "=cmd|' /C calc'!A0"


def test_a_smiles_that_is_no_text() -> None:
    with pytest.raises(InputError, match="does not parse"):
        molecule_from_smiles("C\udcff")
