"""The commands as a person types them: what they print, and what they say to bad input."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hpcml import config

ROOT = Path(__file__).resolve().parents[2]

WATER = """3
name=water
O 0.000000 0.000000 0.117790
H 0.000000 0.755453 -0.471161
H 0.000000 -0.755453 -0.471161
"""


def hpcml(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hpcml", *map(str, words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def water(tmp_path: Path) -> Path:
    path = tmp_path / "water.xyz"
    path.write_text(WATER)
    return path


def _campaign(folder: Path, source: str, basis: str = "STO-3G") -> Path:
    path = folder / "campaign.toml"
    path.write_text(
        f'name = "c"\n[molecules]\nsource = "{source}"\n'
        f'[level]\nmethod = "HF"\nbasis = "{basis}"\n'
        "[properties]\nproperties = ['dipole']\n"
    )
    return path


def test_compute_writes_the_promised_document(water: Path, tmp_path: Path) -> None:
    words = ["compute", water, "--method", "HF", "--basis", "STO-3G", "--exact"]
    words += ["--property", "dipole,alpha,beta,zpve,shares"]
    words += ["--process", "static,shg", "--frequency", "0.05", "--json", "out.json"]
    ended = hpcml(*words, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "polarizability" in ended.stdout.lower()
    answer = json.loads((tmp_path / "out.json").read_text())
    assert set(answer) >= {
        *("energy", "dipole", "polarizability", "hyperpolarizability"),
        *("zpve", "frequencies", "provenance"),
    }
    assert (answer["name"], answer["symbols"]) == ("water", ["O", "H", "H"])
    assert (answer["charge"], answer["multiplicity"]) == (0, 1)
    assert answer["geometry"][1] == [0.0, 0.755453, -0.471161]
    assert answer["units"]["geometry"] == "angstrom"
    assert answer["units"]["polarizability"] == "e^2 a0^2 Eh^-1"
    assert [a["frequency"] for a in answer["polarizability"]] == [0.0, 0.05]
    assert [(b["process"], b["frequencies"]) for b in answer["hyperpolarizability"]] == [
        ("static", [0.0, 0.0, 0.0]),
        ("shg", [-0.1, 0.05, 0.05]),
    ]
    assert len(answer["frequencies"]) == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.json", "water.xyz"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--basis", "no-such-basis"], "no-such-basis"),
        (["--method", "no-such-functional"], "no-such-functional"),
        (["--multiplicity", "2"], "multiplicity"),
        (["--frequency=-0.1"], "frequency"),
        (["--property", "colour"], "colour"),
        (["--process", "thg"], "thg"),
        (["--threads", "0"], "threads"),
        (["--memory", "0"], "memory"),
        (["--wavelength=-1"], "wavelength"),
        (["--solvent", "water"], "no continuum solvation"),
        (["--property", "gamma"], "ask for beta too"),
        (["--json", "nowhere/out.json"], "nowhere"),
    ],
)
def test_compute_answers_wrong_settings_with_one_line(
    water: Path, tmp_path: Path, words: list[str], expected: str
) -> None:
    ended = hpcml("compute", water, "--method", "HF", "--basis", "STO-3G", *words, cwd=tmp_path)
    assert ended.returncode == 2
    assert expected in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("empty.xyz", "", "empty.xyz"),
        ("missing.xyz", None, "missing.xyz"),
        ("words.docx", "hello", "docx"),
    ],
)
def test_a_source_without_molecules_is_wrong_input(
    tmp_path: Path, name: str, text: str | None, expected: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    ended = hpcml("generate", _campaign(tmp_path, name), cwd=tmp_path)
    assert ended.returncode == 2
    assert expected in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_a_bad_record_is_one_failure_and_the_rest_goes_on(tmp_path: Path) -> None:
    gold = "1\nname=gold\nAu 0 0 0\n"  # no such element in STO-3G's Psi4 file: see below
    broken = "3\nname=broken\nO 0 0 0\nH 0 nonsense 0\nH 0 0 1\n"
    (tmp_path / "some.xyz").write_text(WATER + broken + gold)
    ended = hpcml("generate", _campaign(tmp_path, "some.xyz", "6-31G"), cwd=tmp_path)
    assert ended.returncode == 1
    lines = [line for line in ended.stderr.splitlines() if line.startswith("failed")]
    assert len(lines) == 2
    rows = [json.loads(x) for x in (tmp_path / "runs/c/failures.jsonl").read_text().splitlines()]
    assert {row["name"]: row["cause"] for row in rows} == {"broken": "input", "gold": "input"}
    by_name = {row["name"]: row["message"] for row in rows}
    assert "some.xyz" in by_name["broken"] and "line 9" in by_name["broken"]
    assert "Au" in by_name["gold"] and "6-31G" in by_name["gold"]
    verified = hpcml("verify", tmp_path / "runs/c/dataset", cwd=tmp_path)
    assert verified.returncode == 0 and "1 row" in verified.stdout


def test_a_smiles_that_does_not_parse_is_one_failure(tmp_path: Path) -> None:
    (tmp_path / "some.smi").write_text("O water\nC(( nonsense\n")
    ended = hpcml("generate", _campaign(tmp_path, "some.smi"), cwd=tmp_path)
    assert ended.returncode == 1
    (row,) = (tmp_path / "runs/c/failures.jsonl").read_text().splitlines()
    assert json.loads(row)["cause"] == "input" and "line 2" in json.loads(row)["message"]


def test_unknown_words_are_usage_errors(tmp_path: Path) -> None:
    assert hpcml("no-such-command", cwd=tmp_path).returncode == 2
    assert hpcml("run", cwd=tmp_path).returncode == 2


def test_doctor_finds_everything_here(tmp_path: Path) -> None:
    ended = hpcml("doctor", cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout
    for what in ("Psi4", "BLAS", "PySCF", "MPI", "Horovod", "Parsl", "SLURM"):
        assert what in ended.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the jobs and sites that come along, and a little of QM9 beside them."""
    folder = tmp_path_factory.mktemp("place")
    for name in ("jobs", "slurm"):
        shutil.copytree(ROOT / name, folder / name)
    made = hpcml("import", "qm9", ROOT / "tests/molecules/data/qm9", "--to", "qm9", cwd=folder)
    assert made.returncode == 0, made.stderr
    return folder


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "jobs").glob("*.toml")))
def test_every_job_that_comes_along_says_what_it_would_do(name: str, place: Path) -> None:
    study = config.is_study(ROOT / "jobs" / name)
    ended = hpcml(
        "study" if study else "run", f"jobs/{name}", "--run", "run", "--dry-run", cwd=place
    )
    assert ended.returncode == 0, ended.stderr
    if study:
        assert re.search(r"\d+ cells, 0 done", ended.stdout)
        return
    planned = {line.split()[0] for line in ended.stdout.splitlines() if line[:1].isalpha()}
    assert {"campaign", "analyze", "report"} <= planned
    assert not (place / "run").exists()


def test_a_warning_of_the_readers_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "oh.xyz").write_text("2\nhydroxyl\nO 0 0 0\nH 0 0 0.96\n")
    words = ["compute", "oh.xyz", "--method", "HF", "--basis", "no-such-basis"]
    ended = hpcml(*words, cwd=tmp_path)
    first, *_ = ended.stderr.splitlines()
    assert "oh.xyz, line 2 (hydroxyl): 9 electrons and no charge said" in first
    ended = hpcml(*words, "--charge", "-1", cwd=tmp_path)
    assert "electrons" not in ended.stderr
    assert "no-such-basis" in ended.stderr


def test_compute_of_atoms_by_smiles_and_of_several_in_a_file(tmp_path: Path) -> None:
    """He, H and Ne in a minimal basis: where nothing can be excited, alpha and beta are zero."""
    words = ["--method", "HF", "--basis", "STO-3G", "--json", "out.json"]
    (tmp_path / "atoms.smi").write_text("[He] he\n[H] h\n[Ne] ne\nCC>>C none\n")
    ended = hpcml("compute", "atoms.smi", *words, "--quiet", cwd=tmp_path)
    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
    assert "line 4 (none)" in ended.stderr
    assert [row.split()[0] for row in ended.stdout.splitlines()[2:]] == ["he", "h", "ne"]
    answers = json.loads((tmp_path / "out.json").read_text())
    assert [answer["name"] for answer in answers] == ["he", "h", "ne"]
    for answer in answers:
        assert answer["polarizability"][0]["isotropic"] == 0.0
    # Szabo and Ostlund, "Modern Quantum Chemistry", table 3.5's basis: -0.46658185 hartree.
    assert answers[1]["energy"] == pytest.approx(-0.466582, abs=1e-5)
    ended = hpcml("compute", "[He]", *words, "--wavelength", "694.3", "--tight", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    answer = json.loads((tmp_path / "out.json").read_text())
    assert answer["name"] == "[He]"
    assert [alpha["frequency"] for alpha in answer["polarizability"]] == [
        0.0,
        pytest.approx(0.065625, abs=1e-6),
    ]
    helium = "he\n\n\n  1  0  0  0  0  0  0  0  0  0999 V2000\n"
    helium += f"{0:10.4f}{0:10.4f}{0:10.4f} He  0  0\nM  END\n$$$$\n"
    (tmp_path / "he.sdf").write_text(helium)
    several = ["he.sdf", "[Ne]", "--method", "HF", "--basis", "STO-3G"]
    ended = hpcml("compute", *several, "--json", "-", "--units", "esu", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [line["name"] for line in lines] == ["he", "[Ne]"]
    assert lines[0]["units"]["polarizability"] == "cm^3"
    ended = hpcml("compute", *several, "--json", "some.jsonl", "--tensors", cwd=tmp_path)
    assert [line for line in ended.stdout.splitlines() if line[:2] == "=="] == ["== he", "== [Ne]"]
    written = [json.loads(line) for line in (tmp_path / "some.jsonl").read_text().splitlines()]
    # two processes: the last digit is not the same each time
    assert [one["energy"] for one in written] == [
        pytest.approx(one["energy"], rel=1e-12) for one in lines
    ]
    assert hpcml("compute", "no-such.xyz", *words, cwd=tmp_path).returncode == 2
    assert hpcml("compute", "nonsense", *words, cwd=tmp_path).returncode == 2


def test_a_library_of_radicals_is_warned_of_in_a_few_lines(tmp_path: Path) -> None:
    frames = "".join(f"2\nhydroxyl {i}\nO 0 0 0\nH 0 0 0.9{i:02d}\n" for i in range(30))
    (tmp_path / "many.xyz").write_text(frames)
    words = ["--method", "HF", "--basis", "no-such-basis"]
    ended = hpcml("compute", "many.xyz", *words, cwd=tmp_path)
    lines = ended.stderr.splitlines()
    assert len(lines) == 12
    assert "many.xyz, line 38 (hydroxyl 9)" in lines[9]
    assert "further molecules" in lines[10]
    assert "no-such-basis" in lines[11]
