"""What a study's file may say, which cells it comes to, and as which jobs they go out."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from hpcml import config
from hpcml.cluster import Site
from hpcml.errors import SettingsError
from hpcml.study import study_run
from hpcml.study.cells import cells_of, part_of, settings_of
from hpcml.study.study_settings import Study

JOBS = Path(__file__).parents[2] / "jobs"
TEXT = """
name = "s"
dataset = "data"
targets = ["alpha_iso", { name = "zpve", dataset = "other", transfer = { far = "far" } }]
train_sizes = [10, 0, 40]
seeds = 3
share_weights = [0.0, 1.0]
share_sizes = [0]
transfer = { nine = "nine" }
[train]
epochs = 7
[networks.dtnn]
[networks.big]
model = "painn"
hyperparameters = { features = 16 }
seeds = 1
share_weights = [0.0]
train = { epochs = 3 }
[splits.random]
[splits.rare]
train_sizes = [0]
share_weights = [0.0]
train = { split = "scaffold" }
"""

Load = Callable[[str], Study]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def read(text: str) -> Study:
        (tmp_path / "s.toml").write_text(text)
        return config.load_study(tmp_path / "s.toml")

    return read


def test_the_cells_are_the_product_of_what_is_asked(load: Load, tmp_path: Path) -> None:
    study = load(TEXT)
    cells = cells_of(study)
    # dtnn: 3 sizes, shares at one of them, two controls, and one cell of the other split
    assert len([one for one in cells if one.network == "dtnn"]) == 2 * 3 * (3 + 1 + 2 + 1)
    assert len([one for one in cells if one.network == "big"]) == 2 * 1 * (3 + 2 + 1)
    assert len({one.name for one in cells}) == len(cells)
    assert [one.seed for one in cells] == sorted(one.seed for one in cells)
    assert cells[0].name == "dtnn-alpha_iso-random-all-seed1"
    big = settings_of(study, next(one for one in cells if one.network == "big"))
    assert (big.model, big.epochs, big.hyperparameters) == ("painn", 3, {"features": 16})
    zpve = study.target("zpve")
    assert study.dataset_of(zpve) == str(tmp_path / "other")
    assert study.transfer_of(zpve) == {"far": str(tmp_path / "far")}
    assert study.transfer_of(study.target("alpha_iso")) == {"nine": str(tmp_path / "nine")}


def test_a_split_may_be_of_one_target(load: Load) -> None:
    """Controls are made with the first split that the target has."""
    study = load(
        TEXT.replace("[splits.random]", '[splits.random]\ntargets = ["alpha_iso"]').replace(
            "[splits.rare]", '[splits.rare]\ntargets = ["zpve"]'
        )
    )
    cells = {(one.target, one.split, one.kind) for one in cells_of(study)}
    kinds = ("network", "untrained", "shuffled")
    pairs = (("alpha_iso", "random"), ("zpve", "rare"))
    assert cells == {(*pair, kind) for pair in pairs for kind in kinds}


def test_parts_share_the_cells_and_keep_a_network_s_together(load: Load) -> None:
    cells = cells_of(load(TEXT))
    parts = [part_of(cells, number, 3) for number in (1, 2, 3)]
    assert sorted(one.name for part in parts for one in part) == sorted(one.name for one in cells)
    pairs = [{(one.network, one.target) for one in part} for part in parts]
    assert sum(map(len, pairs)) == len(set.union(*pairs)) == 4


def test_what_was_saved_is_read_again(load: Load, tmp_path: Path) -> None:
    study = load(TEXT)
    config.save(study, tmp_path / "again.toml")
    again = config.load_study(tmp_path / "again.toml")
    assert msgspec.structs.replace(again, versions={}) == study


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("seeds = 3", "seeds = 0", "seeds: expected `int` >= 1"),
        ("epochs = 7", "epoch = 7", "training of dtnn on random"),
        ("epochs = 7", "seed = 7", "train: 'seed' is what the study goes through"),
        ("{ epochs = 3 }", "{ target = 3 }", "networks.big.train: 'target' does not belong here"),
        ('"alpha_iso",', '"alpha_iso", "alpha_iso",', "one stands twice in alpha_iso"),
        ("seeds = 3", 'attributions = ["gama"]', "attributions: no rule 'gama'; there are auto"),
        ("[networks.dtnn]", "[networks.-x]", "networks"),
        ("[splits.random]", '[splits.random]\ntargets = ["mu"]', "random.targets: no target 'mu'"),
        (
            "[splits.random]\n[splits.rare]",
            '[splits.rare]\ntargets = ["alpha_iso"]',
            "splits: none is for the target 'zpve'",
        ),
        ("transfer = { nine", "transfers = { nine", "unknown key 'transfers'"),
    ],
)
def test_a_wrong_file_is_one_line(load: Load, old: str, new: str, words: str) -> None:
    with pytest.raises(SettingsError) as error:
        load(TEXT.replace(old, new))
    assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["study.toml", "study_quick.toml"])
def test_the_shipped_studies_can_be_planned(name: str, tmp_path: Path) -> None:
    study = config.load_study(JOBS / name)
    assert config.is_study(JOBS / name) and not config.is_study(JOBS / "quickstart.toml")
    planned = study_run.plan(study, study_run.StudyFolder(tmp_path))
    assert planned.missing and len(planned.missing) + len(planned.refused) == len(planned.cells)
    assert all("no atomic terms" in why for why in planned.refused.values())


def test_on_a_cluster_the_parts_are_a_job_array_and_the_tables_come_after(
    load: Load, tmp_path: Path
) -> None:
    site = Site(kind="slurm", launcher="srun", ranks_per_node=4, walltime="1:00:00")
    study = msgspec.structs.replace(load(TEXT), site=site, parts=5)
    walk, tables = study_run.submit(study, tmp_path / "a run", dry_run=True)
    assert "#SBATCH --array=1-5\n" in walk and "--array" not in tables
    assert ' study "$campaign" --run "$run" --part "$SLURM_ARRAY_TASK_ID/5"\n' in walk
    assert ' study --tables-only "$campaign" --run "$run"\n' in tables
    for text in (walk, tables):
        subprocess.run(["bash", "-n"], input=text.encode(), check=True)
