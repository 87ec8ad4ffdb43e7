"""The command that prints what makes a shell complete hpcml's words.

The script is static: a key press starts no Python, which on a cluster's shared file system takes
seconds.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from hpcml.cli.command_words import Command, one_of, some_of
from hpcml.errors import PlatformError
from hpcml.exits import DONE
from hpcml.progress import tell

_SHELLS = ("bash", "zsh")
_WHERE = {
    "bash": "~/.local/share/bash-completion/completions/hpcml",
    "zsh": "~/.zfunc/_hpcml",
}
_FOLDERS = ("DATASET", "RUN", "DIR", "MODEL")
_FILES = ("MOLECULES", "CAMPAIGN.toml", "STUDY.toml", "SITE.toml", "FILE")


def commands() -> list[Command]:
    """The command of this file."""
    return [
        Command(
            name="completion",
            help="print what completes these words in a shell",
            words=_words,
            run=_completion,
        )
    ]


def _words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=_SHELLS)


def _completion(options: argparse.Namespace) -> int:
    from hpcml.cli.main import whole_parser

    print(script(whole_parser(), options.shell))
    tell(f"completion: save it as {_WHERE[options.shell]}, and open a new shell")
    return DONE


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The shell's script; PlatformError where shtab, which writes it, is missing."""
    try:
        import shtab
    except ImportError as error:
        raise PlatformError(f"completion needs shtab: pip install shtab ({error})") from error
    functions = []
    kind: dict[str, str | dict[str, str]] | dict[str, str]
    for action in _actions(parser):
        if isinstance(action.type, some_of):
            name = "_hpcml_" + re.sub(r"\W+", "_", f"{action.dest}_{'_'.join(action.type.choices)}")
            functions.append(_list_function(name, action.type.choices))
            kind = {"bash": name, "zsh": f"_values -s , word {' '.join(action.type.choices)}"}
        elif isinstance(action.type, one_of):
            action.choices, action.type = action.type.choices, None  # of this parser alone
            continue
        elif action.metavar in _FOLDERS:
            kind = shtab.DIRECTORY
        elif action.metavar in _FILES or action.type is Path:
            kind = shtab.FILE
        else:
            continue
        action.complete = kind  # type: ignore[attr-defined]
    preamble = "\n".join(dict.fromkeys(functions))
    return str(shtab.complete(parser, shell, preamble={"bash": preamble, "zsh": ""}[shell]))


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The arguments of a parser and of those of its commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
        elif action.nargs != 0:
            yield action


def _list_function(name: str, choices: tuple[str, ...]) -> str:
    """A function of bash that completes the last of several words between commas."""
    return (
        f"{name}() {{\n"
        '  local before=""\n'
        '  [[ "$1" == *,* ]] && before="${1%,*},"\n'
        f'  compgen -P "$before" -W "{" ".join(choices)}" -- "${{1##*,}}"\n'
        "}"
    )
