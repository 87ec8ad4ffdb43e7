"""``hpcml show``: what it tells of a data set is what numpy finds in it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from hpcml.cli.main import main
from hpcml.store import Dataset

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(ROOT / "jobs/study/small", tmp_path_factory.mktemp("show") / "small")


def test_a_data_set_in_a_table_and_for_programs(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Dataset.open(folder)
    alpha = data.scalar("alpha_iso")
    assert main(["show", str(folder)]) == 0
    shown = capsys.readouterr()
    rows = {line.split()[0]: line for line in shown.out.splitlines() if line.strip()}
    assert f"{len(data):,}" in rows["molecules"] and "HF/6-31+G(d)" in rows["level"]
    for value in (alpha.min(), np.median(alpha), alpha.max()):
        assert f"{value:.7g}" in rows["alpha_iso:0"]
    along = data.scalar("beta_parallel")
    known = int(np.isfinite(along).sum())
    assert 0 < known < len(data)
    assert f"{known:,} of {len(data):,}" in rows["beta_parallel:static"]
    assert shown.err == (
        f"show: {len(data):,} molecules in {folder}; one of them: hpcml show {folder} NAME\n"
    )
    assert "\x1b" not in shown.out

    assert main(["show", str(folder), "--json", "--quiet"]) == 0
    shown = capsys.readouterr()
    told = json.loads(shown.out)
    assert shown.err == "" and told["molecules"] == len(data)
    columns = {column["label"]: column for column in told["columns"]}
    share = data.column("share_alpha_iso")
    assert columns["share_alpha_iso"]["largest"] == share.max()
    assert columns["share_alpha_iso"]["of"] == len(share) == told["atoms"]
    assert told["elements"]["N"] == int((data.column("numbers") == 7).sum())


def test_a_molecule_by_any_of_its_names(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = Dataset.open(folder)
    names, smiles = data.texts("name"), data.texts("smiles")
    row = next(n for n, text in enumerate(smiles) if n > 50 and smiles.count(text) == 1)
    for wanted in (names[row], smiles[row], data.keys[row][:8], data.molecule_keys[row], str(row)):
        assert main(["show", str(folder), wanted, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["key"] == data.keys[row]
    assert told["values"]["energy"] == {"unit": "Eh", "value": data.column("energy")[row]}
    assert told["values"]["alpha_iso"]["value"] == [data.scalar("alpha_iso")[row]]
    assert told["geometry"] == data.molecule(row).positions.tolist()
    assert main(["show", str(folder), names[row]]) == 0
    shown = capsys.readouterr().out
    assert f"{data.column('energy')[row]:.11g}" in shown
    assert f"{data.value('share_alpha_iso', row)[2]:.6f}" in shown
    assert data.molecule(row).formula in shown


def test_a_name_that_nobody_has_is_answered_by_those_near(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", str(folder), "gdb_29l"]) == 2
    said = capsys.readouterr().err
    assert "'gdb_29l': did you mean gdb_29" in said and said.count("\n") == 1
    assert main(["show", str(folder / "none"), "x"]) == 2
    assert "no data set here" in capsys.readouterr().err
