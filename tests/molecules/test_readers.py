from collections import Counter
from pathlib import Path

import pytest

from hpcml.errors import InputError
from hpcml.molecules import Molecule, perceive, read

QUICKSTART = Path(__file__).parents[2] / "jobs" / "quickstart.xyz"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.xyz: no such file"):
        read(tmp_path / "none.xyz")


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        read(tmp_path / "a.xyz")


def test_an_unknown_suffix(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown suffix '\.pdb', expected one of \.xyz, "):
        read(tmp_path / "a.pdb")


@pytest.mark.parametrize("suffix", ["xyz", "extxyz", "sdf", "smi", "csv"])
def test_an_empty_source(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.touch()
    with pytest.raises(InputError, match="is empty, expected molecules"):
        read(path)
    path.write_text("\n\n")
    with pytest.raises(InputError, match=r"holds no molecules|column named smiles"):
        list(read(path))


def test_suffixes_in_capitals(tmp_path: Path) -> None:
    path = tmp_path / "A.XYZ"
    path.write_text("1\n\nNe 0 0 0\n")
    assert len(list(read(path))) == 1


def test_the_quickstart_is_sound_small_and_what_its_names_say() -> None:
    molecules = list(read(QUICKSTART))
    assert len(molecules) == 80
    assert all(isinstance(m, Molecule) for m in molecules)
    sound = [m for m in molecules if isinstance(m, Molecule)]
    assert len({m.key for m in sound}) == len({m.name for m in sound}) == 80
    assert [m.name for m in sound] == sorted(m.name for m in sound)
    assert all((m.charge, m.multiplicity, m.electrons % 2) == (0, 1, 0) for m in sound)
    assert all(1 <= (m.numbers > 1).sum() <= 5 for m in sound)
    by_name = {m.name: m for m in sound}
    # GDB-9's first rows, as its own readme lists them.
    assert by_name["gdb_000001"].formula == "CH4"
    assert by_name["gdb_000005"].formula == "CHN"
    assert by_name["gdb_000023"].formula == "C4H2"
    for molecule in sound:
        bonded = Counter(atom.GetSymbol() for atom in perceive(molecule).GetAtoms())
        assert bonded == Counter(molecule.symbols)
