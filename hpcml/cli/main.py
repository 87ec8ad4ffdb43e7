"""The command line: words to settings, settings to the rooms, errors to one line.

Exit codes: 0 done; 1 something failed, and each failure is named; 2 wrong usage, settings or
input; 85 stopped in time with work left.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

import hpcml
from hpcml.cli import campaign_commands, dataset_commands, molecule_commands, network_commands
from hpcml.cli.command_words import Command
from hpcml.cluster.stopping import interrupted_by_signals
from hpcml.errors import HpcmlError, InputError, SettingsError
from hpcml.exits import DONE, FAILED, WORK_LEFT, WRONG


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    command: Command = options.command
    try:
        with interrupted_by_signals():
            return command(options)
    except (SettingsError, InputError) as error:
        print(f"hpcml: {error}", file=sys.stderr)
        return WRONG
    except HpcmlError as error:
        print(f"hpcml: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        with suppress(OSError):  # where the terminal itself is gone
            print("hpcml: stopped; the same command goes on from here", file=sys.stderr)
        _forget_lost_readers()
        return WORK_LEFT
    except BrokenPipeError:  # the reader of our output (head, less) has left: nothing to say
        _forget_lost_readers()
        return WORK_LEFT


def _forget_lost_readers() -> None:
    """Let what is left in a stream's buffer go nowhere if nobody reads the stream any more."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


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
