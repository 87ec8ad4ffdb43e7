"""The command of a study: a grid of networks trained, explained, scored, and told of."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from hpcml.cli.command_words import Command
from hpcml.exits import DONE, WORK_LEFT


def commands() -> list[Command]:
    """The command of this file."""
    return [
        Command(
            name="study",
            help="a grid of networks: trained, explained, scored, in tables and figures",
            words=_words,
            run=_run,
        )
    ]


def _words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", type=Path, metavar="STUDY.toml")
    parser.add_argument(
        "--run", type=Path, metavar="DIR", help="the study's folder (runs/NAME unless given)"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the cells and their cost")
    parser.add_argument(
        "--tables-only", action="store_true", help="tables and figures of what is finished"
    )
    parser.add_argument(
        "--part", type=_part, default=(1, 1), metavar="I/N", help="the cells of one job of N alone"
    )


def _part(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is no part such as 2/8")
    return int(found[1]), int(found[2])


def _run(options: argparse.Namespace) -> int:
    from hpcml import config
    from hpcml.files import make_folder
    from hpcml.study import study_run

    study = config.load_study(options.study)
    folder = options.run or Path("runs") / study.name
    if options.dry_run:
        print("\n".join(study_run.describe(study, folder)))
        return DONE
    code = DONE
    if not options.tables_only:
        make_folder(folder)
        config.save(study, folder / "study.toml")
        code = study_run.run(study, folder, options.part)
    if code == WORK_LEFT or options.part[1] > 1:
        return code
    for path in study_run.tell(study, folder):
        print(path)
    return study_run.finish(study, folder)


def submit_study(options: argparse.Namespace) -> None:
    """Hand a study's cells to SLURM, as ``hpcml submit`` is told."""
    import msgspec

    from hpcml import config
    from hpcml.files import make_folder
    from hpcml.study import study_run

    study = config.load_study(options.campaign)
    study = msgspec.structs.replace(study, site=config.load_site(options.site))
    folder = options.run or Path("runs") / study.name
    if not options.dry_run:
        make_folder(folder)
        config.save(study, folder / "study.toml")
    print("\n".join(study_run.submit(study, folder, dry_run=options.dry_run)))
