"""A stage is one record: what it says is found wherever stages are spoken of."""

from pathlib import Path

import pytest

from hpcml import config, script_templates, stages
from hpcml.cli.main import main
from hpcml.stages import Outcome, Stage

CAMPAIGN = """
name = "c"
dataset = "dataset"
[site]
kind = "slurm"
launcher = "srun"
ranks_per_node = 2
walltime = "12:00:00"
[train]
model = "weave"
target = "alpha_iso"
ranks = 6
"""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two more stages, each added by its record alone; what they were called for."""
    called: list[str] = []

    def done(name: str) -> Outcome:
        called.append(name)
        return Outcome.WORKED

    count = Stage(
        name="count",
        help="count the rows that there are",
        describe=lambda _campaign, run_folder: [f"rows of {run_folder.dataset}"],
        run=lambda _campaign, _run_folder: done("count"),
        hours=0.5,
        anew=True,
    )
    tune = Stage(
        name="tune",
        help="tune the network",
        settings="train",
        ranks="settings",
        gpus=True,
        describe=lambda _campaign, _run_folder: ["by trying", "again and again"],
        run=lambda _campaign, _run_folder: done("tune"),
    )
    monkeypatch.setattr(stages, "STAGES", (tune, count))
    return called


def test_a_stage_added_in_one_place_is_found_everywhere(
    calls: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.toml"
    path.write_text(CAMPAIGN)
    (tmp_path / "site.toml").write_text(CAMPAIGN.split("[site]")[1].split("[train]", maxsplit=1)[0])
    run = ["--run", str(tmp_path / "run")]

    assert main(["--help"]) == 0
    assert "count the rows that there are" in capsys.readouterr().out

    assert main(["run", str(path), *run, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert f"\ncount     rows of {tmp_path / 'run' / 'dataset'}\n" in said
    assert "\ntune      by trying\n          again and again\n" in said
    assert "--time=0:30:00" in said and "--nodes=3" in said  # six ranks, two a node

    assert main(["run", str(path), *run]) == 0
    assert calls == ["tune", "count"]
    assert main(["count", str(path), *run]) == 0
    assert calls == ["tune", "count", "count"]
    assert set((tmp_path / "run/logs/timings.json").read_text().split('"')) >= {"tune", "count"}

    words = ["submit", str(path), "--site", str(tmp_path / "site.toml"), *run, "--dry-run"]
    capsys.readouterr()
    assert main(words) == 0
    assert "# tune.sbatch\n#!/bin/bash" in (said := capsys.readouterr().out)
    assert "stage" in said and ' count "$campaign" --run "$run"' in said

    templates = script_templates.templates()
    assert set(templates) == {"tune.sbatch", "pipeline.sbatch"}
    assert "hpcml count" in templates["pipeline.sbatch"]


def test_a_stage_without_its_settings_has_nothing_to_do(
    calls: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.toml"
    path.write_text(CAMPAIGN.split("[site]", maxsplit=1)[0])
    assert main(["run", str(path), "--run", str(tmp_path / "run"), "--dry-run"]) == 0
    assert "tune      nothing to do: the campaign has no [train]" in capsys.readouterr().out
    assert main(["run", str(path), "--run", str(tmp_path / "run")]) == 0
    assert calls == ["count"]


def test_jobs_know_what_their_stage_is() -> None:
    jobs = {stage.name: stage.job(ranks=4) for stage in stages.STAGES}
    assert jobs["generate"].ranks is None and jobs["generate"].partial
    assert [jobs[name].ranks for name in ("train", "explain", "analyze", "report")] == [4, 4, 1, 1]
    assert {name for name, job in jobs.items() if job.gpus} == {"train", "explain"}
    assert all(
        stage.settings in ("", *config.Campaign.__struct_fields__) for stage in stages.STAGES
    )
