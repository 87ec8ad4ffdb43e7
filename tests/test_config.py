"""The campaign file: what it accepts, and the one line it answers to everything else."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcml import config
from hpcml.errors import SettingsError

ROOT = Path(__file__).resolve().parents[1]

GOOD = """
name = "water"
[molecules]
source = "water.xyz"
[level]
method = "HF"
basis = "STO-3G"
[train]
epochs = 3
[explain]
rule = "epsilon"
"""


def _write(folder: Path, text: str) -> Path:
    path = folder / "campaign.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted((ROOT / "jobs").glob("*.toml")), ids=lambda p: p.name)
def test_every_job_that_is_shipped_loads(path: Path) -> None:
    if config.is_study(path):
        study = config.load_study(path)
        assert study.name and study.networks
        return
    campaign = config.load(path)
    assert campaign.name
    if campaign.molecules and not campaign.molecules.source.startswith("/data"):
        assert Path(campaign.molecules.source).is_absolute()


def test_paths_are_taken_from_the_file_s_own_folder(tmp_path: Path) -> None:
    campaign = config.load(_write(tmp_path, GOOD))
    assert campaign.molecules is not None
    assert campaign.molecules.source == str(tmp_path / "water.xyz")


def test_what_is_saved_is_loaded_again_the_same(tmp_path: Path) -> None:
    campaign = config.load(_write(tmp_path, GOOD))
    saved = tmp_path / "elsewhere.toml"
    config.save(campaign, saved)
    again = config.load(saved)
    assert again.versions["hpcml"] == config.versions()["hpcml"]
    for name in ("name", "molecules", "level", "properties", "site", "train", "explain"):
        assert getattr(again, name) == getattr(campaign, name)


def test_a_site_may_be_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text("kind = 'local'\nranks_per_node = 7\n")
    campaign = config.load(_write(tmp_path, 'site = "site.toml"\n' + GOOD))
    assert campaign.site.ranks == 7


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("epochs", "epoch"), r"unknown key 'epoch' in \[train\]: did you mean 'epochs'\?"),
        (('method = "HF"', 'method = "HF"\nsolvent = "water"'), "no continuum solvation"),
        (("[molecules]", "[molecule]"), r"unknown key 'molecule' in the top level"),
        (("epochs = 3", 'epochs = "3"'), r"train\.epochs: expected `int`, got `str`"),
        (("epochs = 3", "epochs = 0"), r"train\.epochs: expected `int` >= 1"),
        (('method = "HF"', ""), r"\[level\] needs the key 'method'"),
        (('rule = "epsilon"', 'rule = "magic"'), r"explain: no rule 'magic'; there are auto, eps"),
        (('name = "water"', 'name = "../../etc"'), r"name: expected `str` matching regex"),
        (('name = "water"', "name = water"), r"not valid TOML: .*line 2"),
        (('basis = "STO-3G"', 'basis = ""'), r"level: basis is empty"),
        (("[train]\nepochs = 3", ""), r"\[explain\] needs a \[train\]"),
    ],
)
def test_each_mistake_gets_one_line_with_file_and_key(
    tmp_path: Path, change: tuple[str, str], expected: str
) -> None:
    path = _write(tmp_path, GOOD.replace(*change))
    with pytest.raises(SettingsError, match=expected) as caught:
        config.load(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such file"):
        config.load(tmp_path / "nothing.toml")


@given(st.text(max_size=200))
def test_no_text_gets_anything_but_settings_or_one_line(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.toml"
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        with pytest.raises(SettingsError):
            config.load(path)
