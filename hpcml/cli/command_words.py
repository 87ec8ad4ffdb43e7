"""How commands are declared, and words of the command line become values."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from hpcml.errors import HpcmlError, InputError
from hpcml.files import no_such_file


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A word behind ``hpcml``.

    help    one line for ``hpcml --help``
    words   adds its own words to its parser; called for the command that is given alone
    run     what it does; returns the exit code
    """

    name: str
    help: str
    words: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """``did you mean 'beta'? `` for a word near one of the choices; else empty."""
    near = difflib.get_close_matches(word.lower(), list(choices), 1)
    return f"did you mean {near[0]!r}? " if near else ""


class some_of:  # noqa: N801 - used as a function is
    """A converter of "a,b" that takes these words only, in any case."""

    def __init__(self, choices: Iterable[str]) -> None:
        self.choices = tuple(choices)

    def __call__(self, text: str) -> tuple[str, ...]:
        words = tuple(word.lower() for word in _words(text))
        for word in words:
            if word not in self.choices:
                hint = did_you_mean(word, self.choices)
                raise argparse.ArgumentTypeError(
                    f"{word!r} is unknown: {hint}there are {', '.join(self.choices)}"
                )
        if not words:
            raise argparse.ArgumentTypeError(f"name at least one of {', '.join(self.choices)}")
        return words


class one_of:  # noqa: N801
    """A converter of one of these words, in any case."""

    def __init__(self, choices: Iterable[str]) -> None:
        self._several = some_of(choices)
        self.choices = self._several.choices

    def __call__(self, text: str) -> str:
        word, *more = self._several(text)
        if more:
            raise argparse.ArgumentTypeError(f"{text!r}: give one word")
        return word


def numbers(text: str) -> tuple[float, ...]:
    """Numbers between commas."""
    try:
        return tuple(float(word) for word in _words(text))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of numbers such as 0.0428,0.0656"
        ) from None


def at_least(least: int) -> Callable[[str], int]:
    """A converter of whole numbers that are not smaller."""

    def convert(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
        if number < least:
            raise argparse.ArgumentTypeError(f"{number} is less than {least}")
        return number

    return convert


def inside(name: str) -> Callable[[str], Path]:
    """A converter of a path that takes a run's folder for its ``name`` ("dataset", "model")."""

    def convert(text: str) -> Path:
        path = Path(text)
        if not (path / "campaign.toml").is_file():
            return path
        return _dataset_of(path) if name == "dataset" else path / name

    return convert


def _dataset_of(run: Path) -> Path:
    """The data set of a run: its own, or the one that its campaign names."""
    from hpcml import config

    try:
        given = config.load(run / "campaign.toml").dataset
    except HpcmlError:  # a run whose settings cannot be read still has its folders
        given = None
    return Path(given) if given else run / "dataset"


def check_run(folder: Path) -> None:
    """InputError where a folder is no run's."""
    if not folder.is_dir():
        raise InputError(
            f"{no_such_file(folder, 'no such folder of a run')} (a run's is runs/NAME)"
        )
    if not (folder / "campaign.toml").is_file():
        runs = sorted(each.parent.name for each in folder.glob("*/campaign.toml"))
        raise InputError(
            f"{folder}: is no run's folder, which has a campaign.toml (runs/NAME after `hpcml run`)"
            + (f"; in it are {', '.join(runs[:5])}" if runs else "")
        )


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())
