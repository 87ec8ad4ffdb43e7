"""How commands are declared, and words of the command line become values."""

from __future__ import annotations

import argparse
from collections.abc import Callable

Command = Callable[[argparse.Namespace], int]
"""Runs with the parsed options; returns the exit code."""

Add = Callable[[str, Command, str], argparse.ArgumentParser]
"""Adds a command: its name, what runs, its help; returns its parser."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def some_of(*choices: str) -> Callable[[str], tuple[str, ...]]:
    """A converter of "a,b" that takes these words only."""

    def convert(text: str) -> tuple[str, ...]:
        words = _words(text)
        for word in words:
            if word not in choices:
                raise argparse.ArgumentTypeError(f"{word!r} is none of {', '.join(choices)}")
        return words

    return convert


def numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in _words(text))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of numbers such as 0.0428,0.0656"
        ) from None


def positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 1 or more")
    return number
