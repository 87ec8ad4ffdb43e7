"""The command line: words to settings, settings to the rooms, errors to one line.

Exit codes: 0 done; 1 something failed, and each failure is named; 2 wrong usage, settings or
input; 85 stopped in time with work left.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn, TextIO

import hpcml
from hpcml.cli import campaign_commands, dataset_commands, molecule_commands, network_commands
from hpcml.cli.command_words import Command
from hpcml.errors import HpcmlError, InputError, InputWarning, SettingsError
from hpcml.exits import DONE, FAILED, WORK_LEFT, WRONG

_MOST_WARNINGS = 10  # lines; a library of radicals has millions


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    warnings.showwarning = _WarningLines()
    parser = _parser()
    options = parser.parse_args(arguments)
    command: Command = options.command
    try:
        return command(options)
    except (SettingsError, InputError) as error:
        print(f"hpcml: {error}", file=sys.stderr)
        return WRONG
    except HpcmlError as error:
        print(f"hpcml: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("hpcml: stopped; the same command goes on from here", file=sys.stderr)
        return WORK_LEFT
    except BrokenPipeError:  # the reader of our output (head, less) has left: nothing to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


class _WarningLines:
    """Warnings of ours, one line each and not without end; those of others as Python has them."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(  # noqa: PLR0917 - the signature of warnings.showwarning
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if not issubclass(category, InputWarning):
            text = warnings.formatwarning(message, category, filename, lineno, line)
            print(text, end="", file=file or sys.stderr)
            return
        self.seen += 1
        if self.seen <= _MOST_WARNINGS:
            print(f"hpcml: {message}", file=sys.stderr)
        elif self.seen == _MOST_WARNINGS + 1:
            print("hpcml: further molecules are read like these", file=sys.stderr)


def _doctor(_options: argparse.Namespace) -> int:
    from hpcml.doctor import examine

    findings = examine()
    for finding in findings:
        print(f"{'ok     ' if finding.works else 'MISSING'}  {finding.what:<17} {finding.seen}")
        if not finding.works:
            print(f"         {'':<17} mend: {finding.mend}")
    return DONE if all(finding.works for finding in findings) else FAILED


class _Parser(argparse.ArgumentParser):
    """A parser that answers wrong usage with one line, as everything here does."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="hpcml",
        description="Response properties of many molecules, and networks asked for their reasons.",
    )
    parser.add_argument("--version", action="version", version=f"hpcml {hpcml.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, command: Command, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        sub.set_defaults(command=command)
        return sub

    for group in (campaign_commands, molecule_commands, dataset_commands, network_commands):
        group.add_commands(add)
    add("doctor", _doctor, "what is installed, and does it work")
    return parser


if __name__ == "__main__":
    sys.exit(main())
