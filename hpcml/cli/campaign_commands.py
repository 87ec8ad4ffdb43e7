"""Commands of a campaign: its stages, their jobs in SLURM, their state."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from hpcml import stages
from hpcml.cli.command_words import Add
from hpcml.errors import InputError
from hpcml.exits import DONE

_SECONDS_BETWEEN_LOOKS = 2.0


def add_commands(add: Add) -> None:
    every = "all stages of a campaign, each only as far as it is not done"
    commands = [("run", every, stages.STAGES)]
    commands += [(stage.name, stage.help, (stage,)) for stage in stages.STAGES]
    for name, text, chosen in commands:
        sub = add(name, _stages, text)
        sub.add_argument("campaign", type=Path, metavar="CAMPAIGN.toml")
        sub.add_argument(
            "--run", type=Path, metavar="DIR", help="the run's folder (runs/NAME unless given)"
        )
        sub.add_argument(
            "--dry-run",
            action="store_true",
            help="print what would be done, its cost, and the sbatch script",
        )
        sub.set_defaults(stages=chosen, faithfulness=False)
        if name == "analyze":
            sub.add_argument(
                "--faithfulness",
                action="store_true",
                help="also hold the rules against atom flipping, randomization, symmetry and noise",
            )

    sub = add("submit", _submit, "the same through SLURM, stages chained by dependency")
    sub.add_argument("campaign", type=Path, metavar="CAMPAIGN.toml")
    sub.add_argument("--site", type=Path, required=True, metavar="SITE.toml")
    sub.add_argument("--run", type=Path, metavar="DIR")
    sub.add_argument("--dry-run", action="store_true", help="print the sbatch scripts only")

    sub = add("status", _status, "what is done, running, failed and why, and the time left")
    sub.add_argument("run", type=Path, metavar="RUN")
    sub.add_argument("--watch", action="store_true", help="renew every few seconds")
    sub.add_argument("--json", action="store_true")

    sub = add("retry", _retry, "let failed molecules of one cause be tried again")
    sub.add_argument("run", type=Path, metavar="RUN")
    sub.add_argument("--cause", required=True, help="as it stands in failures.jsonl")


def _stages(options: argparse.Namespace) -> int:
    from hpcml import config, pipeline

    campaign = config.load(options.campaign)
    if options.dry_run:
        print(pipeline.describe(campaign, options.run, options.stages))
        return DONE
    code = pipeline.run(campaign, options.run, options.stages)
    if options.faithfulness and code == DONE:
        _show_faithfulness(pipeline.faithfulness(campaign, options.run))
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


def _submit(options: argparse.Namespace) -> int:
    from hpcml import config, pipeline

    pipeline.submit(
        config.load(options.campaign),
        options.run,
        config.load_site(options.site),
        stages=stages.STAGES,
        dry_run=options.dry_run,
    )
    return DONE


def _status(options: argparse.Namespace) -> int:
    from rich.live import Live

    from hpcml.cluster import RunFolder
    from hpcml.generation import status

    if not options.run.is_dir():
        raise InputError(f"{options.run}: no such folder of a run")
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
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            now = status(run_folder)
            screen.update(now.table(), refresh=True)
    return DONE


def _retry(options: argparse.Namespace) -> int:
    from hpcml.cluster import RunFolder
    from hpcml.generation import failures

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
