"""The command line: words to settings, settings to the rooms, errors to one line.

Exit codes: 0 done; 1 something failed, and each failure is named; 2 wrong usage, settings or
input; 85 stopped in time with work left.
"""

from __future__ import annotations

import argparse
import io
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NoReturn, TextIO

import hpcml
from hpcml.cli.command_words import Command, did_you_mean
from hpcml.cluster.stop_signals import STOP_SIGNALS, drop_dead_streams, interruptible
from hpcml.errors import HpcmlError, InputWarning, PlatformWarning
from hpcml.exits import FAILED, WORK_LEFT, WRONG, exit_code
from hpcml.files import storage_error
from hpcml.progress import be_quiet

_MOST_WARNINGS = 10  # lines; a library of radicals has millions


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code.

    arguments   the words behind ``hpcml``; None: those of this process, which then ends next
    """
    warnings.showwarning = _WarningLines()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of molecules may be anything
    try:
        with interruptible():
            code = _guarded(sys.argv[1:] if arguments is None else list(arguments))
    except KeyboardInterrupt:  # a signal that came while another end was being told
        code = WORK_LEFT
    if arguments is None:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # what is left is the interpreter's end
    return code


def _guarded(arguments: list[str]) -> int:
    """The exit code of a command; whatever goes wrong is told in one line."""
    try:
        try:
            code = _run(arguments)
        except SystemExit as ended:  # argparse's: --help, --version, wrong usage
            code = ended.code if isinstance(ended.code, int) else WRONG
        sys.stdout.flush()  # here, where a full disk or a reader that has left can be told
    except (KeyboardInterrupt, BrokenPipeError) as stopped:
        drop_dead_streams()  # where the reader of our output (head, less) has left
        if not isinstance(stopped, BrokenPipeError) and "SIGPIPE" not in stopped.args:
            _say("stopped; the same command goes on from here")
        code = WORK_LEFT
    except Exception as error:
        code = _tell(error)
    return code


def _tell(error: Exception) -> int:
    """Say what has ended a command, and what to do; the exit code."""
    if isinstance(error, OSError):
        error = storage_error(error, f"cannot use {error.filename or 'a file or device'}")
    if isinstance(error, HpcmlError):
        _say(str(error))
        return exit_code(error)
    if isinstance(error, MemoryError):
        _say("not enough memory: give more, or ask for less")
        return FAILED
    with suppress(OSError):
        traceback.print_exception(error)
    _say(
        f"this is a bug of hpcml {hpcml.__version__}, not of your input: please report it with "
        "the lines above and the command"
    )
    return FAILED


def _say(words: str) -> None:
    """One line on stderr, wherever that leads."""
    with suppress(OSError):
        print("hpcml:", " ".join(words.split("\n")), file=sys.stderr, flush=True)


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
        if not issubclass(category, InputWarning | PlatformWarning):
            text = warnings.formatwarning(message, category, filename, lineno, line)
            print(text, end="", file=file or sys.stderr)
            return
        self.seen += 1
        if self.seen <= _MOST_WARNINGS:
            _say(str(message))
        elif self.seen == _MOST_WARNINGS + 1:
            _say("further molecules are read like these")


# --- the words -------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """A parser that answers wrong usage with one line, as everything here does."""

    def error(self, message: str) -> NoReturn:
        message = " ".join(message.split())
        self.exit(WRONG, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _run(arguments: list[str]) -> int:
    parser, command, words = _parser(arguments)
    if words is not None:
        _check_options(arguments, words)
    options, unknown = parser.parse_known_args(arguments)
    assert command is not None and words is not None
    if unknown:
        words.error(f"unknown word {unknown[0]!r}")
    be_quiet(options.quiet)
    return command.run(options)


def _check_options(arguments: list[str], words: argparse.ArgumentParser) -> None:
    """Wrong usage, with a suggestion, for an option that the command does not know."""
    known = re.findall(r"--[a-z][a-z-]*", words.format_help())
    for argument in arguments:
        if argument == "--":
            return
        option = argument.split("=")[0]
        if option.startswith("--") and not any(each.startswith(option) for each in known):
            words.error(f"unknown option {option!r}: {did_you_mean(option, known)}".rstrip(": "))


def _commands() -> list[Command]:
    from hpcml.cli import (
        bench_command,
        campaign_commands,
        completion_command,
        dataset_commands,
        doctor_command,
        init_command,
        molecule_commands,
        network_commands,
        show_command,
        study_command,
    )

    return [
        *init_command.commands(),
        *campaign_commands.commands(),
        *molecule_commands.commands(),
        *show_command.commands(),
        *dataset_commands.commands(),
        *network_commands.commands(),
        *study_command.commands(),
        *bench_command.commands(),
        *doctor_command.commands(),
        *completion_command.commands(),
    ]


def _parser(
    arguments: list[str],
) -> tuple[argparse.ArgumentParser, Command | None, argparse.ArgumentParser | None]:
    """The parser of all commands, and the command that is named, with its own parser.

    Only that one gets its words: to know them, rooms are imported.
    """
    commands = {command.name: command for command in _commands()}
    parser, subs = _bare_parser(commands.values())
    name = next((word for word in arguments if not word.startswith("-")), "")
    if name and name not in commands:
        parser.error(f"no command {name!r}: {did_you_mean(name, commands)}".rstrip(": "))
    if not name:
        return parser, None, None
    _add_words(commands[name], subs[name])
    return parser, commands[name], subs[name]


def _bare_parser(
    commands: Iterable[Command],
) -> tuple[_Parser, dict[str, _Parser]]:
    """The parser that knows the commands by name, and theirs, still without words."""
    parser = _Parser(
        prog="hpcml",
        description="Response properties of many molecules, and networks asked for their reasons.",
    )
    parser.add_argument("--version", action="version", version=f"hpcml {hpcml.__version__}")
    group = parser.add_subparsers(metavar="COMMAND", required=True)
    subs = {
        command.name: group.add_parser(
            command.name,
            help=command.help,
            description=command.help[0].upper() + command.help[1:] + ".",
        )
        for command in commands
    }
    return parser, subs


def _add_words(command: Command, parser: argparse.ArgumentParser) -> None:
    """A command's own words, and those that every command takes."""
    command.words(parser)
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="no progress and no summary; errors only"
    )


def whole_parser() -> argparse.ArgumentParser:
    """The parser with the words of every command: for completion and documentation."""
    parser, subs = _bare_parser(commands := _commands())
    for command in commands:
        _add_words(command, subs[command.name])
    return parser


if __name__ == "__main__":
    sys.exit(main())
