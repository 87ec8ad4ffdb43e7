"""The corridor walked: the stages of a campaign in order, each only as far as it is not done."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from itertools import islice
from pathlib import Path

import msgspec

from hpcml import config
from hpcml.analysis import analyze
from hpcml.analysis.comparison import faithfulness as compare_rules
from hpcml.cluster import RunFolder, Site, run_mpi, scripts
from hpcml.cluster import submit as submit_jobs
from hpcml.config import Campaign
from hpcml.errors import InputError, ResourceError, SettingsError
from hpcml.exits import DONE, FAILED, WORK_LEFT
from hpcml.files import write_whole
from hpcml.generation import failures, generate, survey
from hpcml.molecules import Defect, Molecule, read
from hpcml.progress import progress
from hpcml.report import build, collect
from hpcml.store import Dataset, Manifest, write_virtual
from hpcml.training import TrainSettings
from hpcml.training.model_folder import ModelFolder

STAGES = ("generate", "train", "explain", "analyze", "report")


class Outcome(Enum):
    """How a stage ended: all was done before, it did work, or it was stopped with work left."""

    NOTHING_TO_DO = 0
    WORKED = 1
    STOPPED = 2


def run(campaign: Campaign, folder: Path | None, stages: Sequence[str] = STAGES) -> int:
    """Walk through ``stages``; the exit code.

    Molecules that failed do not stop the rest: they are named at the end, and the code is 1.
    """
    run_folder = run_folder_of(campaign, folder)
    with run_folder.lock():
        _settle(campaign, run_folder)
        for stage in stages:
            began = time.monotonic()
            outcome = _STAGES[stage](campaign, run_folder)
            if outcome is Outcome.STOPPED:
                print(f"{stage}: stopped in time; the same command goes on", file=sys.stderr)
                return WORK_LEFT
            if outcome is Outcome.WORKED:
                _note_time(run_folder, stage, time.monotonic() - began)
        if "report" in stages:
            print(run_folder.report_page)
        return _name_failures(run_folder)


def run_folder_of(campaign: Campaign, folder: Path | None) -> RunFolder:
    """The folder given, or ``runs/<name>``."""
    return RunFolder(folder or Path("runs") / campaign.name)


def molecules(campaign: Campaign) -> list[Molecule | Defect]:
    """The records of the campaign's source, as many as its limit allows.

    The source is a file of molecules, or the folder of a data set, whose molecules are taken.
    """
    if campaign.molecules is None:
        raise SettingsError(f"campaign {campaign.name}: has a data set and no [molecules]")
    source = Path(campaign.molecules.source)
    records: Iterable[Molecule | Defect]
    records = Dataset.open(source).molecules if source.is_dir() else read(source)
    return list(islice(records, campaign.molecules.limit or None))


def dataset_path(campaign: Campaign, run_folder: RunFolder) -> Path:
    """The data set that later stages read: the run's own, or the one that was given."""
    return Path(campaign.dataset) if campaign.dataset else run_folder.dataset


def _settle(campaign: Campaign, run_folder: RunFolder) -> None:
    """Write the settings down; SettingsError if the folder's results were made with others.

    A data set holds one level and one request: they are part of every result's key.
    """
    if run_folder.campaign_toml.exists():
        before = config.load(run_folder.campaign_toml)
        for name in ("level", "properties", "dataset"):
            then, now = getattr(before, name), getattr(campaign, name)
            if then != now:
                raise SettingsError(
                    f"{run_folder.path}: was made with {name} = {_words(then)}, "
                    f"now {_words(now)}; give another folder by --run"
                )
    config.save(campaign, run_folder.campaign_toml)


def _words(value: object) -> str:
    return json.dumps(msgspec.to_builtins(value))


def submit(
    campaign: Campaign, folder: Path | None, site: Site, *, stages: Sequence[str], dry_run: bool
) -> None:
    """Hand the stages to SLURM, each after the one before it; with ``dry_run`` print the scripts.

    The jobs read the run's own campaign.toml, in which the site stands as given here.
    """
    run_folder = run_folder_of(campaign, folder)
    campaign = msgspec.structs.replace(campaign, site=site)
    ranks = _ranks(campaign)
    if dry_run:
        texts = scripts(run_folder, run_folder.campaign_toml, stages, site, ranks)
        print("\n".join(f"# {stage}.sbatch\n{text}" for stage, text in texts.items()))
        return
    with run_folder.lock():
        _settle(campaign, run_folder)
    for stage, job in submit_jobs(
        run_folder, run_folder.campaign_toml, stages, site, ranks
    ).items():
        print(f"{stage}: job {job}")


def faithfulness(campaign: Campaign, folder: Path | None) -> Path:
    """Hold relevance rules against each other on the run's network; the table that it writes."""
    run_folder = run_folder_of(campaign, folder)
    with run_folder.lock():
        dataset = Dataset.open(dataset_path(campaign, run_folder))
        return compare_rules(dataset, run_folder.model, run_folder.analysis)


def describe(campaign: Campaign, folder: Path | None, stages: Sequence[str]) -> str:
    """What the stages would do and cost, and the sbatch scripts of a cluster; nothing is done."""
    run_folder = run_folder_of(campaign, folder)
    lines = [f"campaign {campaign.name} in {run_folder.path}, site: {campaign.site.kind}"]
    if "generate" in stages and campaign.level is not None:
        lines += _describe_generate(campaign, run_folder)
    if "train" in stages and campaign.train is not None:
        lines += _describe_train(campaign.train)
    if "explain" in stages and campaign.explain is not None:
        lines.append(
            f"explain   by the rule {campaign.explain.rule}, {campaign.explain.ranks} ranks"
        )
    if "analyze" in stages:
        lines.append(f"analyze   tables into {run_folder.analysis}")
    if "report" in stages:
        lines.append(f"report    {run_folder.report_page}")
    if campaign.site.kind == "slurm":
        texts = scripts(
            run_folder, run_folder.campaign_toml, stages, campaign.site, _ranks(campaign)
        )
        lines += [f"\n# {stage}.sbatch\n{text}" for stage, text in texts.items()]
    return "\n".join(lines)


def _describe_generate(campaign: Campaign, run_folder: RunFolder) -> list[str]:
    assert campaign.level is not None
    found = survey(
        run_folder,
        molecules(campaign),
        level=campaign.level,
        request=campaign.properties,
        hang_seconds=campaign.site.hang_seconds,
    )
    site = campaign.site
    ranks = site.ranks * site.blocks
    hours = found.seconds * site.threads / 3600.0
    return [
        f"generate  {campaign.level.label}: {len(found.entries)} of {found.total} molecules to "
        f"compute ({found.done} done, {found.failed} failed, {found.doubled} doubled)",
        f"          about {hours:.3g} core-hours, {found.seconds / ranks / 3600.0:.3g} hours on "
        f"{ranks} ranks of {site.threads} threads",
    ]


def _describe_train(settings: TrainSettings) -> list[str]:
    lines = [
        f"train     {settings.model} on {_words(settings.target)}, {settings.epochs} epochs, "
        f"{settings.ranks} ranks"
    ]
    if settings.train_sizes:
        sizes = ", ".join(f"{size:,}" for size in settings.train_sizes)
        lines.append(f"          and on {sizes} training molecules, in about as many steps each")
    if settings.members > 1:
        lines.append(f"          {settings.members} members of an ensemble")
    if settings.baselines:
        lines.append(f"          beside {', '.join(settings.baselines)}")
    return lines


def _ranks(campaign: Campaign) -> dict[str, int]:
    """Ranks of the stages that have their own."""
    settings = {"train": campaign.train, "explain": campaign.explain}
    return {stage: each.ranks for stage, each in settings.items() if each is not None}


# --- the stages ----------------------------------------------------------------------------------


def _generate(campaign: Campaign, run_folder: RunFolder) -> Outcome:
    if campaign.level is None:
        return Outcome.NOTHING_TO_DO
    report = generate(
        run_folder, molecules(campaign), campaign.level, campaign.properties, campaign.site
    )
    if report.stopped:
        return Outcome.STOPPED
    if report.done == 0:
        named = failures.read(run_folder.failures).values()
        raise InputError(
            f"none of {report.total} molecules could be computed; the first: "
            f"{next((failure.message for failure in named), 'no reason known')} "
            f"(all in {run_folder.failures})"
        )
    if report.computed:
        _renew_view(run_folder.dataset)
    return Outcome.WORKED if report.computed else Outcome.NOTHING_TO_DO


def _renew_view(dataset: Path) -> None:
    """Renew dataset.h5, a convenience: where it cannot be had safely, that is said and no more."""
    try:
        write_virtual(dataset)
    except (ResourceError, InputError) as error:
        print(f"no dataset.h5: {error}", file=sys.stderr)


def _train(campaign: Campaign, run_folder: RunFolder) -> Outcome:
    if campaign.train is None:
        return Outcome.NOTHING_TO_DO
    curve = ModelFolder(run_folder.model).curve

    def so_far() -> tuple[int, str]:
        rows = curve.read_text().splitlines() if curve.exists() else []
        if len(rows) < 2:
            return 0, ""
        *_, error, unit = rows[-1].split(",")
        return len(rows) - 1, f"validation MAE {float(error):.4g} {unit}"

    return _run_program(
        "train",
        campaign,
        run_folder,
        settings=campaign.train,
        ranks=campaign.train.ranks,
        writes=run_folder.model,
        total=campaign.train.epochs,
        so_far=so_far,
    )


def _explain(campaign: Campaign, run_folder: RunFolder) -> Outcome:
    if campaign.explain is None:
        return Outcome.NOTHING_TO_DO

    def so_far() -> tuple[int, str]:
        return sum(entry.rows for entry in Manifest(run_folder.relevance).entries.values()), ""

    return _run_program(
        "explain",
        campaign,
        run_folder,
        settings=campaign.explain,
        ranks=campaign.explain.ranks,
        writes=run_folder.relevance,
        total=len(Dataset.open(dataset_path(campaign, run_folder))),
        so_far=so_far,
    )


def _analyze(campaign: Campaign, run_folder: RunFolder) -> Outcome:
    if campaign.explain is None:
        return Outcome.NOTHING_TO_DO
    analyze(
        Dataset.open(dataset_path(campaign, run_folder)),
        run_folder.relevance,
        run_folder.model,
        run_folder.analysis,
    )
    return Outcome.WORKED


def _report(campaign: Campaign, run_folder: RunFolder) -> Outcome:
    facts = collect(run_folder, dataset_path(campaign, run_folder))
    build(facts, run_folder.report_page)
    return Outcome.WORKED


_STAGES: dict[str, Callable[[Campaign, RunFolder], Outcome]] = {
    "generate": _generate,
    "train": _train,
    "explain": _explain,
    "analyze": _analyze,
    "report": _report,
}

_PROGRAMS = {"train": "hpcml.training.train_program", "explain": "hpcml.relevance.explain_program"}


def _run_program(
    stage: str,
    campaign: Campaign,
    run_folder: RunFolder,
    *,
    settings: msgspec.Struct,
    ranks: int,
    writes: Path,
    total: int,
    so_far: Callable[[], tuple[int, str]],
) -> Outcome:
    """Start a stage's MPI program and show how far it is, by what it has written so far."""
    before = _newest(writes)
    orders = run_folder.work / f"{stage}.json"
    write_whole(orders, msgspec.json.encode(settings))
    arguments = ["--dataset", str(dataset_path(campaign, run_folder))]
    arguments += ["--model", str(run_folder.model), "--settings", str(orders)]
    if stage == "explain":
        arguments += ["--relevance", str(run_folder.relevance)]
    with progress(stage, total) as advance:
        finished = run_mpi(
            ranks,
            _PROGRAMS[stage],
            arguments,
            campaign.site.here(os.environ),
            run_folder.logs / f"{stage}.log",
            watch=lambda: advance(*so_far()),
        )
        advance(*so_far())
    if not finished:
        return Outcome.STOPPED
    return Outcome.WORKED if _newest(writes) != before else Outcome.NOTHING_TO_DO


def _newest(folder: Path) -> int:
    """When a folder's contents last changed, in nanoseconds; 0 if it is not there."""
    return max((path.stat().st_mtime_ns for path in folder.rglob("*")), default=0)


def _note_time(run_folder: RunFolder, stage: str, seconds: float) -> None:
    """Add to the wall time of a stage, which may have been worked on in several calls."""
    path = run_folder.logs / "timings.json"
    timings = json.loads(path.read_text()) if path.exists() else {}
    again = stage in ("analyze", "report")  # done anew each time
    timings[stage] = round(seconds + (0.0 if again else timings.get(stage, 0.0)), 3)
    write_whole(path, json.dumps(timings, indent=1).encode())


def _name_failures(run_folder: RunFolder) -> int:
    """Print each failure as one line; the exit code that they make."""
    named = list(failures.read(run_folder.failures).values())
    for failure in named:
        print(f"failed ({failure.cause}): {failure.message}", file=sys.stderr)
    return FAILED if named else DONE
