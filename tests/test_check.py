"""What is wrong with a campaign is told before anything is computed, all of it at once."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from hpcml import check, config, pipeline
from hpcml.cli.main import main
from hpcml.generation import failures
from hpcml.response.engine import Faults
from hpcml.response.level import Level
from hpcml.response.psi4 import psi4_errors, session
from hpcml.stages import STAGES

WATER = "3\nwater\nO 0 0 0.117790\nH 0 0.755453 -0.471161\nH 0 -0.755453 -0.471161\n"
GOLD = "1\ngold\nAu 0 0 0\n"

GOOD = """
name = "c"
[molecules]
source = "some.xyz"
[level]
method = "HF"
basis = "STO-3G"
[train]
model = "dtnn"
target = "alpha_iso"
[explain]
rule = "epsilon"
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some.xyz").write_text(WATER)
    return tmp_path


@pytest.fixture
def all_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine knows every level, without being asked."""
    monkeypatch.setattr(
        "hpcml.response.level_faults.level_faults", lambda _level, _elements: Faults()
    )


def told(text: str, capsys: pytest.CaptureFixture[str], *, code: int = 2) -> str:
    Path("c.toml").write_text(text)
    assert main(["check", "c.toml", "--quiet"]) == code
    said = capsys.readouterr()
    assert said.err == ""
    return said.out


def test_everything_wrong_is_told_at_once_with_file_and_key(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Against Psi4 itself: its functionals' and basis sets' names."""
    text = GOOD.replace('"HF"', '"B3LYPP"').replace("STO-3G", "STO-3GG")
    text = text.replace('"dtnn"', '"dtn"\nhyperparameters = {passes = 0}\nbaselines = ["meen"]')
    text = text.replace('"alpha_iso"', '"alpha_isotropic"').replace('"epsilon"', '"epsilom"')
    lines = told(text, capsys).splitlines()
    keys = [line.split(": ")[1] for line in lines]
    assert {line.split(": ")[0] for line in lines} == {"c.toml"}
    assert keys == [
        "explain",
        *("level.method", "level.basis"),
        *("train.model", "train.baselines", "train.target"),
    ]
    assert "near: b3lyp" in lines[1] and "did you mean STO-3G" in lines[2]
    assert sorted(path.name for path in place.iterdir()) == ["c.toml", "some.xyz"]


@pytest.mark.parametrize("words", [["run"], ["generate"], ["run", "--dry-run"]])
def test_no_stage_begins_before_all_is_right(
    words: list[str], place: Path, capsys: pytest.CaptureFixture[str], all_is_known: None
) -> None:
    (place / "c.toml").write_text(
        GOOD.replace("alpha_iso", "alpha").replace("some.xyz", "none.xyz")
    )
    assert main([*words, "c.toml"]) == 2
    said = capsys.readouterr().err
    assert "none.xyz" in said and said.count("\n") <= 3
    assert ("train.target" in said) == ("run" in words)
    assert not (place / "runs").exists()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (('"alpha_iso"', '{name = "alpha_iso", frequency = 0.05}'), "train.target: "),
        (('"alpha_iso"', '"share_zpve"'), "train.target: "),
        (('"dtnn"', '"dtnn"\ntrain_sizes = [100]\ntrain = 80'), "train.train_sizes: "),
        (
            ('"dtnn"', '"dtnn"\ntrain_sizes = [100]'),
            "train.train_sizes: 100 is not less than the 1 ",
        ),
        (('"dtnn"', '"dtnn"\nhyperparameters = {pases = 3}'), "train.model: "),
        (('"epsilon"', '"epsilon"\ntarget = "zpve"'), "explain.target: "),
        (("some.xyz", "some.docx"), "molecules.source: "),
        (("[train]", '[site]\nscratch = "/none/such"\n[train]'), "site.scratch: "),
    ],
)
def test_each_mistake_has_its_key(
    change: tuple[str, str],
    expected: str,
    place: Path,
    capsys: pytest.CaptureFixture[str],
    all_is_known: None,
) -> None:
    lines = told(GOOD.replace(*change), capsys).splitlines()
    assert len(lines) == 1 and lines[0].startswith(f"c.toml: {expected}")


def test_a_good_campaign_has_nothing_wrong(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Against Psi4 itself."""
    assert told(GOOD, capsys, code=0) == "c.toml: nothing is wrong\n"


def test_molecules_that_the_basis_does_not_cover_are_told_and_stop_only_where_none_is_left(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "hpcml.response.level_faults.level_faults",
        lambda _level, _elements: Faults(uncovered=("Au",)),
    )
    (place / "some.xyz").write_text(WATER + GOLD)
    said = told(GOOD, capsys, code=1)
    assert "no functions for Au: 1 of 2 molecules" in said
    (place / "some.xyz").write_text(GOLD)
    assert "no functions for Au: 1 of 1 molecules" in told(GOOD, capsys)


def test_broken_records_among_sound_ones_are_told(
    place: Path, capsys: pytest.CaptureFixture[str], all_is_known: None
) -> None:
    (place / "some.xyz").write_text(GOLD.replace("Au", "Qq") + WATER)
    said = told(GOOD, capsys, code=1)
    assert "molecules.source: 1 of 2 records hold no molecule" in said and "'Qq'" in said


def test_a_program_that_the_method_needs_is_missed(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against Psi4's own names of functionals, on a path without dftd3."""
    psi4 = session.load_psi4()
    monkeypatch.setattr("shutil.which", lambda _name: None)
    monkeypatch.setattr(psi4_errors, "find_spec", lambda _name: None)
    said = {
        name: bool(psi4_errors.missing_program(psi4, Level(method=name, basis="STO-3G")))
        for name in ("HF", "HF3c", "HF-3c", "B3LYP", "B3LYP-D3BJ", "wB97X-D")
    }
    assert said == {
        **{"HF": False, "B3LYP": False, "wB97X-D": False},  # the last has Psi4's own correction
        **{"HF3c": True, "HF-3c": True, "B3LYP-D3BJ": True},
    }
    monkeypatch.setattr(
        "hpcml.response.level_faults.level_faults",
        lambda _level, _elements: Faults(program="no dftd3"),
    )
    assert "level.method: no dftd3" in told(GOOD, capsys)


def test_more_memory_than_the_machine_has_is_told(
    place: Path, capsys: pytest.CaptureFixture[str], all_is_known: None
) -> None:
    site = "[site]\nranks_per_node = 2\nmemory_mb = 90000000\n[train]"
    assert "site.memory_mb: 2 x 90000000 MB are more" in told(
        GOOD.replace("[train]", site), capsys, code=1
    )


def test_a_full_disk_is_told(
    place: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    all_is_known: None,
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(free=1000))
    assert told(GOOD, capsys).count("c.toml: --run: ") == 2  # for settings, and for the rows


def test_a_stage_whose_table_is_missing_is_wrong_input(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "c.toml").write_text(GOOD.split("[train]", maxsplit=1)[0])
    assert main(["train", "c.toml"]) == 2
    assert "has no [train]" in capsys.readouterr().err


def test_an_empty_data_set_binds_nothing(place: Path) -> None:
    """A level with a typo that nothing was computed with is mended in the same folder."""
    run_folder = pipeline.run_folder_of(config.load(_write(place, GOOD)), None)
    stage = next(stage for stage in STAGES if stage.name == "report")
    nothing = stage.__class__(
        name="nothing",
        help="",
        describe=lambda _campaign, _run: [],
        run=lambda _campaign, _run: pipeline.Outcome.NOTHING_TO_DO,
    )
    assert pipeline.run(config.load(_write(place, GOOD)), None, [nothing]) == 0
    old = failures.Failure(key="k", name="water", cause="input", message="typo", tries=1)
    failures.write(run_folder.failures, [old])
    mended = config.load(_write(place, GOOD.replace("STO-3G", "3-21G")))
    assert pipeline.run(mended, None, [nothing]) == 0
    assert config.load(run_folder.campaign_toml).level == mended.level


def _write(place: Path, text: str) -> Path:
    (place / "c.toml").write_text(text)
    return place / "c.toml"


def test_findings_name_the_largest_molecule(place: Path, all_is_known: None) -> None:
    campaign = config.load(
        _write(place, GOOD.replace("[train]", "[site]\nmemory_mb = 500\n[train]"))
    )
    (place / "some.xyz").write_text(
        "400\nchain\n" + "".join(f"C 0 0 {1.5 * i}\n" for i in range(400)) + WATER
    )
    found = [
        str(one) for one in check.check_generate(campaign, pipeline.run_folder_of(campaign, None))
    ]
    # 5 functions an atom: 40 matrices of 2000 x 2000 doubles, a third more, and 300 MB of code
    assert len(found) == 1
    assert "2000 basis functions), which takes at least 2100 MB" in found[0]
