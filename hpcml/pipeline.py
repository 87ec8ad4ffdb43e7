"""A campaign walked: its stages in order, each only as far as it is not done."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import UNSET

from hpcml import config
from hpcml.analysis import trust
from hpcml.analysis.comparison import faithfulness as compare_rules
from hpcml.analysis.representation_tables import (
    analyze_representations,
    write_representations,
)
from hpcml.analysis.transfer import Explained, Transfer
from hpcml.analysis.transfer import transfer as judge_transfer
from hpcml.analysis.weight_tables import analyze_weights, write_weights
from hpcml.check import Finding, examine
from hpcml.cluster import RunFolder, scripts
from hpcml.cluster import submit as submit_jobs
from hpcml.cluster.stop_signals import interruptible
from hpcml.config import Campaign
from hpcml.errors import SettingsError
from hpcml.exits import DONE, FAILED, WORK_LEFT
from hpcml.files import lock_if_possible, write_whole
from hpcml.generation import failures
from hpcml.progress import tell
from hpcml.relevance import ExplainSettings, open_relevance
from hpcml.relevance.relevance_rows import RelevanceRows
from hpcml.response.engine import with_engine
from hpcml.response.level import Level
from hpcml.sources import dataset_path
from hpcml.stages import Outcome, Stage, run_explain
from hpcml.store import Dataset, Manifest, recover
from hpcml.store.unlisted import unlisted_shards


def run(campaign: Campaign, folder: Path | None, stages: Sequence[Stage]) -> int:
    """Walk through ``stages``; the exit code.

    Molecules that failed do not stop the rest: they are named at the end, and the code is 1.
    Each stage says in a line how it ended, the last one below the names.
    """
    told = ""
    run_folder = run_folder_of(campaign, folder)
    with interruptible(), run_folder.lock():
        campaign = _with_engine(campaign, run_folder)
        _settle(campaign, run_folder)
        for stage in stages:
            if not stage.wanted(campaign):
                continue
            if told:
                tell(told)
            began = time.monotonic()
            outcome = stage.run(campaign, run_folder)
            if outcome is Outcome.STOPPED:
                print(f"{stage.name}: stopped in time; the same command goes on", file=sys.stderr)
                return WORK_LEFT
            if outcome is Outcome.WORKED:
                _note_time(run_folder, stage, time.monotonic() - began)
            told = stage.summary(campaign, run_folder)
            told = f"{stage.name}: {told}" if told else ""
        code = _name_failures(run_folder)
        if told:
            tell(told)
        return code


def run_folder_of(campaign: Campaign, folder: Path | None) -> RunFolder:
    """The folder given, or ``runs/<name>``."""
    return RunFolder(folder or Path("runs") / campaign.name)


def check(campaign: Campaign, folder: Path | None, stages: Sequence[Stage]) -> list[Finding]:
    """What stands in the way of these stages, all at once; nothing is computed or written."""
    run_folder = run_folder_of(campaign, folder)
    campaign = _with_engine(campaign, run_folder)
    found = list(examine(campaign, run_folder))
    for stage in stages:
        if stage.wanted(campaign):
            found += stage.check(campaign, run_folder)
    return list(dict.fromkeys(found))


def _settle(campaign: Campaign, run_folder: RunFolder) -> None:
    """Write the settings down; SettingsError if the folder's results were made with others.

    A data set holds one level and one request: they are part of every result's key.  One without
    rows binds nothing; the failures in it were those of the other level.
    """
    if run_folder.campaign_toml.exists():
        before = config.load(run_folder.campaign_toml)
        for name in ("level", "properties", "dataset"):
            then, now = getattr(before, name), getattr(campaign, name)
            if _meant(then) == _meant(now):
                continue
            if _holds_anything(run_folder):
                raise SettingsError(
                    f"{run_folder.path}: was made with {name} = {_words(then)}, "
                    f"now {_words(now)}; give another folder by --run"
                )
            run_folder.failures.unlink(missing_ok=True)
    config.save(campaign, run_folder.campaign_toml)


def _with_engine(campaign: Campaign, run_folder: RunFolder) -> Campaign:
    """The campaign with its engine named: that of the results so far, else what is installed."""
    level = campaign.level
    if level is None or level.engine is not UNSET:
        return campaign
    if campaign.site.here(os.environ).kind == "slurm":
        return campaign  # from a login node, which need not have what the nodes have
    if run_folder.campaign_toml.exists():
        before = config.load(run_folder.campaign_toml).level
        same = before is not None and msgspec.structs.replace(before, engine=UNSET) == level
        if before and same and (before.engine is not UNSET or Manifest(run_folder.dataset).entries):
            return msgspec.structs.replace(campaign, level=before)
    return msgspec.structs.replace(campaign, level=with_engine(level))


def _meant(setting: object) -> object:
    """What is compared of a setting: a level without Psi4's name, which it has in any case."""
    return setting.meaning if isinstance(setting, Level) else setting


def _holds_anything(run_folder: RunFolder) -> bool:
    """Whether there are results, or ranks of a killed launcher that may still bring some."""
    with run_folder.ranks_lock.open("r+b") as lock:
        if not lock_if_possible(lock.fileno()):
            return True
    recover(run_folder.dataset)
    manifest = Manifest(run_folder.dataset)
    shards = [*manifest.entries, *unlisted_shards(run_folder.dataset, manifest)]
    return bool(shards) or run_folder.model.exists()


def _words(value: object) -> str:
    return json.dumps(msgspec.to_builtins(value))


def submit(
    campaign: Campaign, folder: Path | None, *, stages: Sequence[Stage], dry_run: bool
) -> None:
    """Hand the stages to SLURM, each after the one before it; with ``dry_run`` print the scripts.

    The jobs read the run's own campaign.toml.
    """
    run_folder = run_folder_of(campaign, folder)
    if dry_run:
        print("\n".join(_scripts(campaign, run_folder, stages)))
        return
    with run_folder.lock():
        _settle(campaign, run_folder)
    jobs = [stage.job(campaign) for stage in stages]
    for name, number in submit_jobs(
        run_folder, run_folder.campaign_toml, jobs, campaign.site
    ).items():
        print(f"{name}: job {number}")


def trusted(campaign: Campaign, folder: Path | None) -> list[str]:
    """Ask whether the run's explanations can be trusted; lines for the screen."""
    run_folder = run_folder_of(campaign, folder)
    with run_folder.lock():
        dataset = Dataset.open(dataset_path(campaign, run_folder), verified=True)
        checks = trust.trust_report(
            dataset,
            open_relevance(run_folder.relevance, dataset),
            run_folder.model,
            run_folder.analysis,
            campaign.explain or ExplainSettings(),
            tell=lambda word: tell(f"faithfulness: {word}"),
        )
        return [*trust.lines(checks), str(run_folder.analysis / trust.TABLE)]


def faithfulness(campaign: Campaign, folder: Path | None) -> Path:
    """Hold relevance rules against each other on the run's network; the table that it writes."""
    run_folder = run_folder_of(campaign, folder)
    with run_folder.lock():
        dataset = Dataset.open(dataset_path(campaign, run_folder), verified=True)
        return compare_rules(dataset, run_folder.model, run_folder.analysis)


def weights(campaign: Campaign, folder: Path | None) -> tuple[list[str], list[Path]]:
    """Hold the network's weights against chance; lines for the screen, and what it writes."""
    from hpcml.report.weight_figure import weight_figure

    run_folder = run_folder_of(campaign, folder)
    with run_folder.lock():
        found = analyze_weights(run_folder.model)
        files = list(write_weights(found, run_folder.analysis).values())
        picture = run_folder.analysis / "weights.svg"
        write_whole(picture, weight_figure(found.spectra).encode())
        return found.lines(), [*files, picture]


def transfer(folder: Path, datasets: Sequence[Path]) -> tuple[Transfer, dict[str, Path]] | None:
    """Explain other data sets by a run's network, as its own was, and judge it on them.

    folder      of the run, whose own data set is explained
    datasets    folders; each is called by its name, or its parent's where that is "dataset"

    What was found, and the tables that were written; None where it was stopped with work left.
    """
    run_folder = RunFolder(folder)
    campaign = config.load(run_folder.campaign_toml)
    with interruptible(), run_folder.lock():
        dataset = Dataset.open(dataset_path(campaign, run_folder), verified=True)
        own = Explained(dataset, open_relevance(run_folder.relevance, dataset))
        others = {}
        for name, path in _named(datasets).items():
            other, kept = Dataset.open(path, verified=True), run_folder.transfer / name
            if not _explained(campaign, run_folder, other, kept, own.rows):
                return None
            others[name] = Explained(other, open_relevance(kept, other))
        assert campaign.train is not None
        train = campaign.train
        found = judge_transfer(own, run_folder.model, others, train.leave_out, train.within)
        return found, found.write(run_folder.analysis)


def _named(datasets: Sequence[Path]) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for path in datasets:
        absolute = path.absolute()
        name = absolute.parent.name if absolute.name == "dataset" else absolute.name
        if named.setdefault(name, path) != path:
            raise SettingsError(f"{path}: {named[name]} is called {name!r} too: rename one")
    return named


def _explained(
    campaign: Campaign,
    run_folder: RunFolder,
    dataset: Dataset,
    destination: Path,
    own: RelevanceRows,
) -> bool:
    """Explain another data set as the run's own was; False where it was stopped."""
    settings = msgspec.structs.replace(
        campaign.explain or ExplainSettings(),
        rule=own.rule,
        target=own.target.label,
        pairs="none",
    )
    own.target.check(dataset.schema)
    outcome = run_explain(
        "transfer", campaign, run_folder, settings, dataset=dataset, destination=destination
    )
    return outcome is not Outcome.STOPPED


def representations(campaign: Campaign, folder: Path | None) -> tuple[list[str], list[Path]]:
    """Look into the network's vectors; lines for the screen, and what it writes."""
    run_folder = run_folder_of(campaign, folder)
    with run_folder.lock():
        dataset = Dataset.open(dataset_path(campaign, run_folder), verified=True)
        return look_inside(dataset, run_folder.model, run_folder.vectors, run_folder.analysis)


def look_inside(
    dataset: Dataset, model_folder: Path, vectors: Path, destination: Path
) -> tuple[list[str], list[Path]]:
    """Tables and pictures of a network's vectors of a data set; lines for the screen, and files.

    vectors        the folder that the vectors are written into
    destination    the folder of the tables and pictures
    """
    from hpcml.report.representation_figure import direction_figure, ends_drawing
    from hpcml.report.representation_section import carried

    found = analyze_representations(dataset, model_folder, vectors)
    files = list(write_representations(found, destination).values())
    pictures = {"representations": direction_figure(carried(destination))}
    for level in found.levels:
        pictures[f"representation_ends_{level.level}"] = ends_drawing(dataset, level)
    for name, text in pictures.items():
        files.append(destination / f"{name}.svg")
        write_whole(files[-1], text.encode())
    return found.lines(), files


def describe(campaign: Campaign, folder: Path | None, stages: Sequence[Stage]) -> str:
    """What the stages would do and cost, and the sbatch scripts of a cluster; nothing is done."""
    run_folder = run_folder_of(campaign, folder)
    campaign = _with_engine(campaign, run_folder)
    lines = [f"campaign {campaign.name} in {run_folder.path}, site: {campaign.site.kind}"]
    for stage in stages:
        if stage.wanted(campaign):
            first, *others = stage.describe(campaign, run_folder)
        else:
            first, others = f"nothing to do: the campaign has no [{stage.settings}]", []
        lines += [f"{stage.name:<9} {first}", *(f"{'':<9} {line}" for line in others)]
    if campaign.site.kind == "slurm":
        lines += [f"\n{text}" for text in _scripts(campaign, run_folder, stages)]
    return "\n".join(lines)


def _scripts(campaign: Campaign, run_folder: RunFolder, stages: Sequence[Stage]) -> list[str]:
    """The sbatch script of each stage, below a line with its file's name."""
    jobs = [stage.job(campaign) for stage in stages]
    texts = scripts(run_folder, run_folder.campaign_toml, jobs, campaign.site)
    return [f"# {name}.sbatch\n{text}" for name, text in texts.items()]


def _note_time(run_folder: RunFolder, stage: Stage, seconds: float) -> None:
    """Add to the wall time of a stage, which may have been worked on in several calls."""
    path = run_folder.logs / "timings.json"
    timings = json.loads(path.read_text()) if path.exists() else {}
    before = 0.0 if stage.anew else timings.get(stage.name, 0.0)
    timings[stage.name] = round(seconds + before, 3)
    write_whole(path, json.dumps(timings, indent=1).encode())


def _name_failures(run_folder: RunFolder) -> int:
    """Print each failure as one line; the exit code that they make."""
    named = list(failures.read(run_folder.failures).values())
    for failure in named:
        print(failure.line, file=sys.stderr)
    if bugs := sum(failure.cause == failures.BUG for failure in named):
        print(
            f"{bugs} of these are bugs of hpcml: please report them, with the traceback in "
            f"{run_folder.logs}/psi4-*.log",
            file=sys.stderr,
        )
    return FAILED if named else DONE
