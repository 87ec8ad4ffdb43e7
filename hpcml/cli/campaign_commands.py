"""Commands of a campaign: its check, its stages, their jobs in SLURM, their state."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hpcml import stages
from hpcml.cli.command_words import Command, check_run
from hpcml.errors import InputError, SettingsError
from hpcml.exits import DONE, FAILED, WRONG
from hpcml.progress import tell

if TYPE_CHECKING:
    from hpcml.config import Campaign
    from hpcml.stages import Stage

_SECONDS_BETWEEN_TABLES = 2.0
_MOST_LINES = 3  # of findings on the screen before a stage; `hpcml check` gives all


def commands() -> list[Command]:
    """The commands of this file; those of the stages are read from their records."""
    every = "all stages of a campaign, each only as far as it is not done"
    made = [_stage_command("run", every, stages.STAGES)]
    made += [_stage_command(stage.name, stage.help, (stage,)) for stage in stages.STAGES]
    return [
        *made,
        Command(
            name="check",
            help="all that is wrong with a campaign, before anything is computed",
            words=_check_words,
            run=_check,
        ),
        Command(
            name="submit",
            help="the same through SLURM, stages chained by dependency",
            words=_submit_words,
            run=_submit,
        ),
        Command(
            name="status",
            help="what is done, running, failed and why, and the time left",
            words=_status_words,
            run=_status,
        ),
        Command(
            name="retry",
            help="let failed molecules of one cause be tried again",
            words=_retry_words,
            run=_retry,
        ),
    ]


def _campaign_words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("campaign", type=Path, metavar="CAMPAIGN.toml")
    parser.add_argument(
        "--run", type=Path, metavar="DIR", help="the run's folder (runs/NAME unless given)"
    )


# --- check -----------------------------------------------------------------------------------


def _check_words(parser: argparse.ArgumentParser) -> None:
    _campaign_words(parser)
    parser.add_argument("--json", action="store_true", help="for programs")


def _check(options: argparse.Namespace) -> int:
    from hpcml import config, pipeline

    campaign, faults = config.examine(options.campaign)
    code = WRONG if faults else DONE
    if campaign is not None:
        found = pipeline.check(campaign, options.run, stages.STAGES)
        faults += [f"{options.campaign}: {finding}" for finding in found]
        if any(finding.stops for finding in found):
            code = WRONG
        elif found and code == DONE:
            code = FAILED
    if options.json:
        print(json.dumps({"campaign": str(options.campaign), "code": code, "findings": faults}))
    else:
        print("\n".join(faults) or f"{options.campaign}: nothing is wrong")
    if code != WRONG:
        tell(f"check: {len(faults)} findings; next: hpcml run {options.campaign}")
    return code


def _checked(path: Path, run: Path | None, chosen: Sequence[Stage], site: Path | None) -> Campaign:
    """The campaign of a file; SettingsError where something stands in the way of these stages."""
    import msgspec

    from hpcml import config, pipeline

    campaign = config.load(path)
    if site is not None:
        campaign = msgspec.structs.replace(campaign, site=config.load_site(site))
    if len(chosen) == 1 and not chosen[0].wanted(campaign):
        raise SettingsError(
            f"{path}: has no [{chosen[0].settings}], so there is nothing to {chosen[0].name}"
        )
    lines = [str(found) for found in pipeline.check(campaign, run, chosen) if found.stops]
    if len(lines) > _MOST_LINES:
        more = len(lines) - _MOST_LINES + 1
        lines[_MOST_LINES - 1 :] = [f"and {more} more, see: hpcml check {path}"]
    for line in lines[:-1]:
        print(f"hpcml: {path}: {line}", file=sys.stderr)
    if lines:
        raise SettingsError(f"{path}: {lines[-1]}")
    return campaign


# --- the stages ------------------------------------------------------------------------------


def _stage_command(name: str, text: str, chosen: Sequence[Stage]) -> Command:
    return Command(
        name=name,
        help=text,
        words=partial(_stage_words, name),
        run=partial(_run_stages, chosen),
    )


def _stage_words(name: str, parser: argparse.ArgumentParser) -> None:
    _campaign_words(parser)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print what would be done, its cost, and the sbatch script",
    )
    parser.set_defaults(faithfulness=False, weights=False, representations=False)
    if name == "analyze":
        parser.add_argument(
            "--faithfulness",
            action="store_true",
            help="also check whether the explanations can be trusted, and compare rules",
        )
        parser.add_argument(
            "--weights",
            action="store_true",
            help="also hold each layer's singular values against chance and its first weights",
        )
        parser.add_argument(
            "--representations",
            action="store_true",
            help="also look into the network's vectors of atoms and molecules: what they carry",
        )


def _run_stages(chosen: Sequence[Stage], options: argparse.Namespace) -> int:
    from hpcml import pipeline

    campaign = _checked(options.campaign, options.run, chosen, None)
    if options.dry_run:
        print(pipeline.describe(campaign, options.run, chosen))
        return DONE
    code = pipeline.run(campaign, options.run, chosen)
    if options.faithfulness and code == DONE:
        verdicts = pipeline.trusted(campaign, options.run)
        print(
            "\n".join([*verdicts, "`hpcml report` puts these checks on the page", ""]), flush=True
        )
        _show_faithfulness(pipeline.faithfulness(campaign, options.run))
    if options.weights and code in (DONE, FAILED):  # molecules that failed change no weight
        lines, files = pipeline.weights(campaign, options.run)
        print("\n".join([*lines, *map(str, files)]))
    if options.representations and code in (DONE, FAILED):
        lines, files = pipeline.representations(campaign, options.run)
        print("\n".join([*lines, *map(str, files)]))
    return code


def _show_faithfulness(path: Path) -> None:
    """The table of rules in columns, to three digits, and how to read it."""
    import csv

    from hpcml.analysis.comparison import LEGEND

    def cell(text: str) -> str:
        try:
            return f"{float(text):.3g}"
        except ValueError:
            return text

    with path.open(newline="", encoding="utf-8") as file:
        rows = [[cell(text) for text in row] for row in csv.reader(file)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *others = (text.rjust(width) for text, width in zip(row, widths, strict=True))
        print("  ".join([first.strip().ljust(widths[0]), *others]))
    print(f"{LEGEND}\n{path}")


# --- submit, status, retry -------------------------------------------------------------------


def _submit_words(parser: argparse.ArgumentParser) -> None:
    _campaign_words(parser)
    parser.add_argument("--site", type=Path, required=True, metavar="SITE.toml")
    parser.add_argument("--dry-run", action="store_true", help="print the sbatch scripts only")


def _submit(options: argparse.Namespace) -> int:
    from hpcml import config, pipeline
    from hpcml.cli.study_command import submit_study

    if config.is_study(options.campaign):
        submit_study(options)
        return DONE
    campaign = _checked(options.campaign, options.run, stages.STAGES, options.site)
    pipeline.submit(campaign, options.run, stages=stages.STAGES, dry_run=options.dry_run)
    if not options.dry_run:
        run = pipeline.run_folder_of(campaign, options.run).path
        tell(f"submit: the jobs are in the queue; how they are: hpcml status {run}")
    return DONE


def _status_words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--watch", action="store_true", help="renew every few seconds")
    parser.add_argument("--json", action="store_true")


def _retry_words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--cause", required=True, help="as it stands in failures.jsonl")


def _status(options: argparse.Namespace) -> int:
    from rich.live import Live

    from hpcml.cluster import RunFolder
    from hpcml.generation import status

    check_run(options.run)
    run_folder = RunFolder(options.run)
    now = status(run_folder)
    if options.json:
        print(now.to_json())
        return DONE
    if not options.watch:
        print(now.table())
        return DONE
    with Live(now.table(), auto_refresh=False) as screen:
        while now.goes_on:
            time.sleep(_SECONDS_BETWEEN_TABLES)
            now = status(run_folder)
            screen.update(now.table(), refresh=True)
    return DONE


def _retry(options: argparse.Namespace) -> int:
    from hpcml.cluster import RunFolder
    from hpcml.generation import failures

    check_run(options.run)
    run_folder = RunFolder(options.run)
    with run_folder.lock():
        forgotten = failures.forget(run_folder.failures, [options.cause])
    if not forgotten:
        causes = failures.by_cause(failures.read(run_folder.failures).values())
        raise InputError(
            f"{run_folder.failures}: no failure of cause {options.cause!r}; "
            f"there are {causes or 'none at all'}"
        )
    print(f"{len(forgotten)} molecules to be tried again by `hpcml generate` or `hpcml run`")
    return DONE
