"""The command that looks at what is installed."""

from __future__ import annotations

import argparse

from hpcml.cli.command_words import Command
from hpcml.exits import DONE, FAILED


def commands() -> list[Command]:
    """The commands of this file."""
    return [
        Command(
            name="doctor",
            help="what is installed, and does it work",
            words=lambda _parser: None,
            run=_doctor,
        )
    ]


def _doctor(_options: argparse.Namespace) -> int:
    from hpcml.doctor import examine

    findings = examine()
    for finding in findings:
        print(f"{'ok     ' if finding.works else 'MISSING'}  {finding.what:<17} {finding.seen}")
        if not finding.works:
            print(f"         {'':<17} mend: {finding.mend}")
    return DONE if all(finding.works for finding in findings) else FAILED
