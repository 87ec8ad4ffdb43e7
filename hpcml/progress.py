"""What people are told while a command works and when it has ended; a program reads stdout.

All of it goes to stderr: a bar on a terminal, plain lines in a log.  ``NO_COLOR`` takes the colours
off, ``--quiet`` (``be_quiet``) takes all of it; errors are told in any case.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

_LEAST_SECONDS, _MOST_SECONDS = 5.0, 60.0  # between the lines of a log
_PART_OF_THE_TIME = 0.05  # that has passed since the start, likewise
_SECONDS_OF_PACE = 60.0  # over which the rate is taken
_LEAST_OF_PACE = 0.1  # before which there is none

_state = {"quiet": False}


class Advance(Protocol):
    def __call__(self, done: int, note: str = "", left: float | None = None) -> None:
        """Tell that ``done`` of the total are finished; ``note`` is shown behind.

        left    seconds that the rest takes, where more is known than the rate so far
        """


def silent(done: int, note: str = "", left: float | None = None) -> None:
    """An ``Advance`` that shows nothing."""


def be_quiet(quiet: bool = True) -> None:
    """Show no progress and no summaries in this process; or show them again."""
    _state["quiet"] = quiet


def tell(words: str) -> None:
    """A line for people on stderr, such as a command's summary; nothing where they want none."""
    if not _state["quiet"]:
        with suppress(OSError):  # nobody reads it any more
            print(" ".join(words.split("\n")), file=sys.stderr, flush=True)


@contextmanager
def progress(description: str, total: int | None, *, before: int = 0) -> Iterator[Advance]:
    """Show how far a stage is: ``with progress("generate", 80) as advance: advance(3)``.

    total     None: it is not known
    before    done in earlier calls, which the rate leaves out

    On a terminal a live bar with rate and time left; elsewhere one line at the start, one every
    five seconds, of long work every minute, and one at the end, so that a batch log stays readable.
    """
    if _state["quiet"]:
        yield silent
    elif sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        with _bar(description, total, before) as advance:
            yield advance
    else:
        yield _Lines(description, total, before)


class _Pace:
    """How quickly something advances, from when it was at what count of late."""

    def __init__(self, before: int) -> None:
        self._seen = deque([(time.monotonic(), before)])

    def at(self, done: int) -> None:
        now = time.monotonic()
        if done != self._seen[-1][1]:
            self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[1][0] > _SECONDS_OF_PACE:
            self._seen.popleft()

    @property
    def rate(self) -> float:
        """Done in a second; 0 where nothing can be said yet."""
        (began, first), (last, done) = self._seen[0], self._seen[-1]
        known = done > first and last - began > _LEAST_OF_PACE
        return (done - first) / (last - began) if known else 0.0

    def words(self, total: int | None, left: float | None) -> str:
        """The rate and the time left: ``12/s, 0:01:40 left``."""
        last, done = self._seen[-1]
        rate = self.rate
        if left is None and total is not None and rate:
            left = max(0.0, (total - done) / rate - (time.monotonic() - last))
        told = [_rate_in_words(rate)] if rate else []
        if left is not None and (total is None or done < total):
            told.append(f"{clock(left)} left")
        return ", ".join(told)


def clock(seconds: float) -> str:
    """Hours, minutes and seconds: ``1:02:03``."""
    whole = max(0, round(seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _rate_in_words(rate: float) -> str:
    """In the longest unit in which it is at least one: ``2.5/min``."""
    for unit, seconds in (("s", 1.0), ("min", 60.0), ("h", 3600.0)):
        if rate * seconds >= 1.0 or unit == "h":
            break
    count = rate * seconds
    return f"{count:,.0f}/{unit}" if count >= 100.0 else f"{count:.2g}/{unit}"


@contextmanager
def _bar(description: str, total: int | None, before: int) -> Iterator[Advance]:
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[told]}", markup=False),
    )
    pace = _Pace(before)
    console = Console(stderr=True)  # it heeds NO_COLOR
    with Progress(*columns, console=console) as bars:
        task = bars.add_task(description, total=total, completed=before, told="")

        def advance(done: int, note: str = "", left: float | None = None) -> None:
            pace.at(done)
            told = "  ".join(words for words in (pace.words(total, left), note) if words)
            bars.update(task, completed=done, told=told)

        yield advance


class _Lines:
    """The same as plain lines."""

    def __init__(self, description: str, total: int | None, before: int) -> None:
        self._what = description
        self._total = total
        self._pace = _Pace(before)
        self._began = self._at = time.monotonic()
        self._shown = -1

    def __call__(self, done: int, note: str = "", left: float | None = None) -> None:
        self._pace.at(done)
        if done == self._shown:
            return
        now = time.monotonic()
        pause = min(_MOST_SECONDS, max(_LEAST_SECONDS, _PART_OF_THE_TIME * (now - self._began)))
        last = self._total is not None and done >= self._total
        if not (last or self._shown < 0 or now - self._at > pause):
            return
        self._at, self._shown = now, done
        of = "" if self._total is None else f"/{self._total}"
        told = [words for words in (note, self._pace.words(self._total, left)) if words]
        tell(f"{self._what}: {done}{of} {', '.join(told)}".rstrip())
