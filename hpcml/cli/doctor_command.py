"""The command that looks at what is installed."""

from __future__ import annotations

import argparse
import dataclasses
import json

from hpcml.cli.command_words import Command
from hpcml.exits import DONE, FAILED
from hpcml.progress import tell


def commands() -> list[Command]:
    """The commands of this file."""
    return [
        Command(
            name="doctor",
            help="what is installed, and does it work",
            words=_words,
            run=_doctor,
        )
    ]


def _words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def _doctor(options: argparse.Namespace) -> int:
    from hpcml.doctor import examine

    findings = examine()
    if options.json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=1))
    for finding in [] if options.json else findings:
        print(f"{'ok     ' if finding.works else 'MISSING'}  {finding.what:<17} {finding.seen}")
        if not finding.works:
            print(f"         {'':<17} mend: {finding.mend}")
    working = sum(finding.works for finding in findings)
    tell(f"doctor: {working} of {len(findings)} work")
    return DONE if working == len(findings) else FAILED
