"""The stages of a campaign: one record each, from which all else learns which stages there are.

The command line, ``run``, ``--dry-run``, ``submit`` and the sbatch scripts read ``STAGES`` and
know no stage by name (but that ``--faithfulness`` is an option of analyze).  A new stage is a new
record here and, if it has settings, their table in ``config.Campaign``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from hpcml import stage_summaries as summaries
from hpcml.check import Finding, check_explain, check_generate, check_train
from hpcml.cluster import Job, RunFolder, run_mpi
from hpcml.errors import InputError, ResourceError
from hpcml.files import write_whole
from hpcml.progress import progress, tell
from hpcml.sources import dataset_path, molecules

# The rooms are imported where a stage runs: --help reads the records and needs none of them.
if TYPE_CHECKING:
    from hpcml.config import Campaign
    from hpcml.relevance import ExplainSettings
    from hpcml.store import Dataset


class Outcome(Enum):
    """How a stage ended: all was done before, it did work, or it was stopped with work left."""

    NOTHING_TO_DO = 0
    WORKED = 1
    STOPPED = 2


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a stage.

    name      its word on the command line, in the dry run, of its job and its log
    help      one line for ``hpcml --help``
    run       does what is missing in the run's folder
    describe  lines that say what that would be and cost
    check     what stands in its way, looked for before any stage begins
    summary   one line when it has ended: how many, how good, where; empty: it says nothing
    settings  the table of the campaign without which there is nothing to do; empty: none needed
    ranks     of its MPI program: all that the site has, as its settings say, or one without MPI
    gpus      its ranks may use GPUs
    hours     that a job asks for at most; 0: the site's walltime
    partial   molecules that fail are named and the rest is done: the stages after it can go on
    anew      it is done anew each time, so that its time is that of its last run
    """

    name: str
    help: str
    run: Callable[[Campaign, RunFolder], Outcome]
    describe: Callable[[Campaign, RunFolder], list[str]]
    check: Callable[[Campaign, RunFolder], Iterable[Finding]] = lambda _campaign, _run_folder: ()
    summary: Callable[[Campaign, RunFolder], str] = lambda _campaign, _run_folder: ""
    settings: str = ""
    ranks: Literal["site", "settings", "one"] = "one"
    gpus: bool = False
    hours: float = 0.0
    partial: bool = False
    anew: bool = False

    def wanted(self, campaign: Campaign) -> bool:
        """Whether the campaign has what this stage needs to have anything to do."""
        return not self.settings or getattr(campaign, self.settings) is not None

    def job(self, campaign: Campaign | None = None, ranks: int = 1) -> Job:
        """What a batch script has to know; ``ranks`` where the campaign has none for it."""
        settings: Any = getattr(campaign, self.settings, None) if self.settings else None
        by_settings = getattr(settings, "ranks", ranks)
        return Job(
            stage=self.name,
            ranks={"site": None, "settings": by_settings, "one": 1}[self.ranks],
            gpus=self.gpus,
            hours=self.hours,
            partial=self.partial,
        )


# --- generate --------------------------------------------------------------------------------


def _describe_generate(campaign: Campaign, run_folder: RunFolder) -> list[str]:
    from hpcml.generation import survey

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
        f"{campaign.level.label}: {len(found.entries)} of {found.total} molecules to "
        f"compute ({found.done} done, {found.failed} failed, {found.doubled} doubled)",
        f"about {hours:.3g} core-hours, {found.seconds / ranks / 3600.0:.3g} hours on "
        f"{ranks} ranks of {site.threads} threads",
    ]


def _generate(campaign: Campaign, run_folder: RunFolder) -> Outcome:
    from hpcml.generation import failures, generate

    assert campaign.level is not None
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
    from hpcml.store import write_virtual

    try:
        write_virtual(dataset)
    except (ResourceError, InputError) as error:
        print(f"no dataset.h5: {error}", file=sys.stderr)


# --- train -----------------------------------------------------------------------------------


def _describe_train(campaign: Campaign, _run_folder: RunFolder) -> list[str]:
    settings = campaign.train
    assert settings is not None
    target = json.dumps(msgspec.to_builtins(settings.target))
    lines = [f"{settings.model} on {target}, {settings.epochs} epochs, {settings.ranks} ranks"]
    if settings.hold_out:
        lines.append(f"held out for test: all molecules with {settings.split} {settings.hold_out}")
    if settings.train_sizes:
        sizes = ", ".join(f"{size:,}" for size in settings.train_sizes)
        lines.append(f"and on {sizes} training molecules, in about as many steps each")
    if settings.members > 1:
        lines.append(f"{settings.members} members of an ensemble")
    if settings.baselines:
        lines.append(f"beside {', '.join(settings.baselines)}")
    return lines


def _train(campaign: Campaign, run_folder: RunFolder) -> Outcome:
    from hpcml.store import Dataset
    from hpcml.training.model_folder import ModelFolder
    from hpcml.training.settings_check import check

    assert campaign.train is not None
    check(campaign.train, Dataset.open(dataset_path(campaign, run_folder), verified=True).schema)
    curve = ModelFolder(run_folder.model).curve

    def so_far() -> tuple[int, str]:
        rows = curve.read_text().splitlines() if curve.exists() else []
        if len(rows) < 2:
            return 0, ""
        _, _, _, error, *_, unit = rows[-1].split(",")  # the first target's
        return len(rows) - 1, f"validation MAE {float(error):.4g} {unit}"

    return _run_program(
        "train",
        "hpcml.training.train_program",
        campaign,
        run_folder,
        settings=campaign.train,
        ranks=campaign.train.ranks,
        writes=run_folder.model,
        total=campaign.train.epochs,
        so_far=so_far,
    )


# --- explain ---------------------------------------------------------------------------------


def _describe_explain(campaign: Campaign, _run_folder: RunFolder) -> list[str]:
    assert campaign.explain is not None
    return [f"by the rule {campaign.explain.rule}, {campaign.explain.ranks} ranks"]


def _explain(campaign: Campaign, run_folder: RunFolder) -> Outcome:
    from hpcml.relevance.explain_settings import AUTO
    from hpcml.relevance.rule_choice import read_calibration, told
    from hpcml.store import Dataset
    from hpcml.training.model_folder import ModelFolder

    assert campaign.explain is not None
    dataset = Dataset.open(dataset_path(campaign, run_folder), verified=True)
    outcome = run_explain(
        "explain",
        campaign,
        run_folder,
        campaign.explain,
        dataset=dataset,
        destination=run_folder.relevance,
    )
    chosen = read_calibration(ModelFolder(run_folder.model))
    if campaign.explain.rule == AUTO and chosen is not None:
        tell(f"explain: {told(chosen)}")
    return outcome


# --- analyze, report -------------------------------------------------------------------------


def _analyze(campaign: Campaign, run_folder: RunFolder) -> Outcome:
    from hpcml.analysis import analyze
    from hpcml.store import Dataset

    analyze(
        Dataset.open(dataset_path(campaign, run_folder), verified=True),
        run_folder.relevance,
        run_folder.model,
        run_folder.analysis,
        campaign.analyze,
    )
    return Outcome.WORKED


def _report(campaign: Campaign, run_folder: RunFolder) -> Outcome:
    from hpcml.report import build, collect, told

    facts = collect(run_folder, dataset_path(campaign, run_folder))
    build(facts, run_folder.report_page)
    for line in told(facts):
        tell(f"report: {line}")
    print(run_folder.report_page)
    return Outcome.WORKED


STAGES: tuple[Stage, ...] = (
    Stage(
        name="generate",
        help="compute the molecules that are missing in the data set",
        settings="level",
        describe=_describe_generate,
        check=check_generate,
        run=_generate,
        summary=summaries.of_generate,
        ranks="site",
        partial=True,
    ),
    Stage(
        name="train",
        help="train the network on the data set",
        settings="train",
        describe=_describe_train,
        check=check_train,
        run=_train,
        summary=summaries.of_train,
        ranks="settings",
        gpus=True,
    ),
    Stage(
        name="explain",
        help="propagate the network's predictions back to the atoms",
        settings="explain",
        describe=_describe_explain,
        check=check_explain,
        run=_explain,
        summary=summaries.of_explain,
        ranks="settings",
        gpus=True,
    ),
    Stage(
        name="analyze",
        help="hold relevances against what physics assigns to each atom",
        settings="explain",
        describe=lambda _campaign, run_folder: [f"tables into {run_folder.analysis}"],
        run=_analyze,
        summary=summaries.of_analyze,
        hours=2.0,
        anew=True,
    ),
    Stage(
        name="report",
        help="write the report page",
        describe=lambda _campaign, run_folder: [str(run_folder.report_page)],
        run=_report,
        summary=summaries.of_report,
        hours=1.0,
        anew=True,
    ),
)
"""In the order in which they run."""


# --- MPI programs ----------------------------------------------------------------------------


def _run_program(
    stage: str,
    module: str,
    campaign: Campaign,
    run_folder: RunFolder,
    *,
    settings: msgspec.Struct,
    ranks: int,
    writes: Path,
    total: int,
    so_far: Callable[[], tuple[int, str]],
    arguments: tuple[str, ...] = (),
    dataset: Path | None = None,
) -> Outcome:
    """Start a stage's MPI program and show how far it is, by what it has written so far.

    dataset    that it reads, where it is not the campaign's
    """
    before = _newest(writes)
    settings_file = run_folder.work / f"{stage}.json"
    write_whole(settings_file, msgspec.json.encode(settings))
    words = ["--dataset", str(dataset or dataset_path(campaign, run_folder))]
    words += ["--model", str(run_folder.model), "--settings", str(settings_file), *arguments]
    with progress(stage, total, before=so_far()[0]) as advance:
        finished = run_mpi(
            ranks,
            module,
            words,
            campaign.site.here(os.environ),
            run_folder.logs / f"{stage}.log",
            watch=lambda: advance(*so_far()),
        )
        advance(*so_far())
    if not finished:
        return Outcome.STOPPED
    return Outcome.WORKED if _newest(writes) != before else Outcome.NOTHING_TO_DO


def run_explain(
    name: str,
    campaign: Campaign,
    run_folder: RunFolder,
    settings: ExplainSettings,
    *,
    dataset: Dataset,
    destination: Path,
) -> Outcome:
    """Explain a data set by the run's network, row for row into a folder of its own.

    name    in the progress, and of the log
    """
    from hpcml.store import Manifest

    return _run_program(
        name,
        "hpcml.relevance.explain_program",
        campaign,
        run_folder,
        settings=settings,
        ranks=settings.ranks,
        writes=destination,
        total=len(dataset),
        so_far=lambda: (sum(entry.rows for entry in Manifest(destination).entries.values()), ""),
        arguments=("--relevance", str(destination)),
        dataset=dataset.folder,
    )


def _newest(folder: Path) -> int:
    """When a folder's contents last changed, in nanoseconds; 0 if it is not there."""
    return max((path.stat().st_mtime_ns for path in folder.rglob("*")), default=0)
