"""QM9 as a data set: values, units, invariants, and nothing half-imported."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from hpcml.errors import InputError
from hpcml.store import Dataset, import_qm9, imports, verify

DATA = Path(__file__).parents[1] / "molecules" / "data" / "qm9"


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setattr(imports, "_ROWS_PER_SHARD", 3)
    report = import_qm9(DATA / "qm9_part1.csv", tmp_path / "qm9")
    assert report.rows == 8
    assert not report.defects
    return Dataset.open(tmp_path / "qm9")


def test_values_and_units(data):
    assert [shard.rows for shard in data.shards] == [3, 3, 2]
    assert verify(data.folder).ok
    water = data[1]
    assert water.molecule.name == "gdb_3"
    # As printed by Gaussian 09 (qm9_part1.csv): 6.31 a0^3, 1.8511 D, -76.404702 - 0.021375... Eh
    assert data.scalar("alpha_iso")[1] == pytest.approx((4.492 + 8.049 + 6.398) / 3)
    assert data.scalar("dipole_norm")[1] * 2.541746 == pytest.approx(1.8511, abs=1e-5)
    assert water.values["energy"] == pytest.approx(-76.404702 - 0.021375)
    assert water.values["polarizability_principal"].tolist() == [4.492, 6.398, 8.049]
    spread = [(4.492 - 6.398) ** 2, (6.398 - 8.049) ** 2, (8.049 - 4.492) ** 2]
    assert water.values["alpha_anisotropy"][0] == pytest.approx(np.sqrt(sum(spread) / 2))
    assert water.provenance["basis"] == "6-31G(2df,p)"
    assert "polarizability" not in data.columns  # its frame is not that of the positions
    cuts = data.offsets("vibrational_frequencies")
    assert np.diff(cuts)[:4].tolist() == [9, 3, 7, 24]


def test_importing_twice_is_the_same(data, tmp_path):
    import_qm9(DATA, tmp_path / "again")
    again = Dataset.open(tmp_path / "again")
    assert again.fingerprint == data.fingerprint
    assert list(again.keys) == list(data.keys)


def test_a_record_that_comes_twice_is_named(tmp_path):
    for name in ("qm9_part1.csv", "qm9_part2.csv", "qm9_part3.csv", "qm9_polarizability.csv"):
        shutil.copy(DATA / name, tmp_path)
    lines = (tmp_path / "qm9_part1.csv").read_text().splitlines()
    (tmp_path / "qm9_part1.csv").write_text("\n".join([*lines, lines[2]]) + "\n")
    report = import_qm9(tmp_path, tmp_path / "out")
    assert report.rows == len(Dataset.open(tmp_path / "out")) == 8
    assert "gdb_3" in str(report)
    assert "8 rows imported, 1 left out" in str(report)


def test_an_import_that_fails_shows_nothing(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no molecule of QM9"):
        (tmp_path / "empty").mkdir()
        for name in ("qm9_part1.csv", "qm9_part2.csv", "qm9_part3.csv", "qm9_polarizability.csv"):
            (tmp_path / "empty" / name).write_text("XYZ_file\n")
        import_qm9(tmp_path / "empty", tmp_path / "a")

    def interrupted(path, records):
        raise KeyboardInterrupt

    monkeypatch.setattr(imports, "write_manifest", interrupted)
    with pytest.raises(KeyboardInterrupt):
        import_qm9(DATA, tmp_path / "a")
    with pytest.raises(InputError, match="no data set here"):
        Dataset.open(tmp_path / "a")
    monkeypatch.undo()
    import_qm9(DATA, tmp_path / "a")
    assert len(Dataset.open(tmp_path / "a")) == 8
    with pytest.raises(InputError, match="holds a data set already"):
        import_qm9(DATA, tmp_path / "a")
