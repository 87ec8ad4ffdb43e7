"""A user's own labels, read from each kind of file and trained on as any other column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

import hpcml
from hpcml.cli.main import main
from hpcml.errors import InputError, SettingsError
from hpcml.store import OwnLabel, import_table, verify


def said(*texts: str) -> list[OwnLabel]:
    return list(map(OwnLabel.said, texts))


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("logS", OwnLabel("logS", "logS")),
        ("logS:log10(mol/L)", OwnLabel("logS", "logS", "log10(mol/L)")),
        ("s=measured log(S): mol/L:log", OwnLabel("s", "measured log(S): mol/L", "log")),
        ("s=a=b", OwnLabel("s", "a=b")),
    ],
)
def test_how_a_label_is_said(text, label):
    assert OwnLabel.said(text) == label


def test_a_table(tmp_path, capsys):
    table = tmp_path / "own.csv"
    table.write_text(
        "compound,structure,log S,active\n"
        "ethanol,CCO,0.5,yes\n"
        "methane,C,,no\n"
        "broken,C1CC,1,no\n"
        "wrong,CC,high,no\n"
        'water,O,"1,5",1\n'
        "again,CCO,0.5,yes\n"
        "measured twice,CCO,0.75,yes\n"
    )
    words = ["import", "table", str(table), "--to", str(tmp_path / "d"), "--smiles-column"]
    words += ["structure", "--target", "logS=log S:log10(mol/L)", "active"]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "line 4" in told
    assert "line 5 (own-5): log S: expected a number, found 'high'" in told
    assert "line 7 (own-7): repeats an earlier record" in told
    assert told.endswith("4 rows imported, 3 left out\n")
    data = hpcml.open(tmp_path / "d")
    assert [one.formula for one in data.molecules] == ["C2H6O", "CH4", "H2O", "C2H6O"]
    np.testing.assert_array_equal(data.scalar("logS"), [0.5, np.nan, 1.5, 0.75])
    np.testing.assert_array_equal(data.scalar("active"), [1, 0, 1, 1])
    assert (data.unit("logS"), data.unit("active")) == ("log10(mol/L)", "")
    assert data[0].provenance == {"source": "own.csv", "where": "line 2"}
    assert verify(tmp_path / "d").ok


def test_labels_of_atoms_in_a_table(tmp_path):
    """As many numbers as atoms, or as heavy atoms in the order of the SMILES."""
    table = tmp_path / "own.tsv"
    table.write_text(
        "smiles\ty\tparts\nCO\t3\t1 2\nC\t1\t[1, 0, 0, 0, 0]\nCC\t2\t\nCCC\t1\t1 2 3 4\n"
    )
    report = import_table(
        table, tmp_path / "d", targets=said("y:eV"), atom_targets=said("y=parts:eV")
    )
    assert [str(one) for one in report.defects] == [
        f"{table}, line 5 (own-5): parts: 4 numbers for 11 atoms, 3 of them heavy"
    ]
    data = hpcml.open(tmp_path / "d")
    nan = np.nan
    expected = [1, 2, nan, nan, nan, nan, 1, 0, 0, 0, 0, *[nan] * 8]
    np.testing.assert_array_equal(data.column("share_y"), expected)
    assert data.unit("share_y") == "eV"


def test_extended_xyz_as_ase_writes_it(tmp_path):
    ase = pytest.importorskip("ase")
    from ase.io import write

    frames = []
    for distance, energy in ((0.7, -1.1), (0.8, None)):
        one = ase.Atoms("H2", positions=[[0, 0, 0], [0, 0, distance]])
        if energy is not None:
            one.info["E_own"] = energy
        one.arrays["parts"] = np.array([0.25, -distance])
        frames.append(one)
    write(tmp_path / "own.xyz", frames, format="extxyz")
    import_table(
        tmp_path / "own.xyz",
        tmp_path / "d",
        targets=said("e=E_own:eV"),
        atom_targets=said("e=parts:eV"),
    )
    data = hpcml.open(tmp_path / "d")
    np.testing.assert_array_equal(data.scalar("e"), [-1.1, np.nan])
    np.testing.assert_array_equal(data.column("share_e"), [0.25, -0.7, 0.25, -0.8])


def test_sdf_as_rdkit_writes_it(tmp_path):
    with Chem.SDWriter(str(tmp_path / "own.sdf")) as writer:
        for smiles, value in (("CCO", "1.5"), ("CC", "n/a"), ("O", "-2e-3")):
            mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
            AllChem.EmbedMolecule(mol, randomSeed=1)
            mol.SetProp("_Name", smiles)
            mol.SetProp("my value", value)
            mol.SetProp("atom.dprop.part", " ".join(str(i) for i in range(mol.GetNumAtoms())))
            writer.write(mol)
    import_table(
        tmp_path / "own.sdf",
        tmp_path / "d",
        targets=said("value=my value"),
        atom_targets=said("value=atom.dprop.part"),
    )
    data = hpcml.open(tmp_path / "d")
    np.testing.assert_array_equal(data.scalar("value"), [1.5, np.nan, -0.002])
    assert data.texts("name") == ["CCO", "CC", "O"]
    np.testing.assert_array_equal(data.column("share_value"), [*range(9), *range(8), *range(3)])


@pytest.mark.parametrize(
    ("targets", "atoms", "error", "message"),
    [
        (["x"], [], InputError, "no record has 'x'; there are smiles, y"),
        (["alpha_iso=y:a0^3"], [], InputError, "column of hpcml's own"),
        (["log y"], [], InputError, "cannot name a column"),
        ([], [], SettingsError, "at least one target"),
        (["y", "y"], [], SettingsError, "named twice"),
        (["y"], ["z"], SettingsError, "shares of a target, and 'z' is none: write one of y"),
        (["share_y=y", "y"], ["y"], SettingsError, "named twice"),
    ],
)
def test_what_cannot_be_imported(tmp_path, targets, atoms, error, message):
    table = tmp_path / "own.csv"
    table.write_text("smiles,y\nC,1\n")
    with pytest.raises(error, match=message):
        import_table(table, tmp_path / "d", targets=said(*targets), atom_targets=said(*atoms))
    with pytest.raises(InputError, match="no data set here"):
        hpcml.open(tmp_path / "d")


def test_a_table_without_its_smiles(tmp_path):
    table = tmp_path / "own.csv"
    table.write_text("smiles,y\nC,1\n")
    with pytest.raises(InputError, match="no column 'SMI'; there are smiles, y"):
        import_table(table, tmp_path / "d", targets=said("y"), smiles_column="SMI")
    with pytest.raises(InputError, match="is no table"):
        import_table(tmp_path / "a.sdf", tmp_path / "d", targets=said("y"), smiles_column="SMI")
    table.write_text("smiles,y\nC(,1\nQ,2\n")
    with pytest.raises(InputError, match=r"no molecule with its labels.*the first: .*line 2"):
        import_table(table, tmp_path / "d", targets=said("y"))


def test_the_command_line_names_what_is_wrong(tmp_path: Path, capsys):
    table = tmp_path / "own.csv"
    table.write_text("smiles,y\nC,1\n")
    words = ["import", "qm9", str(table), "--to", str(tmp_path / "d"), "--target", "y"]
    assert main(words) == 2
    assert "targets are those of a table" in capsys.readouterr().err
