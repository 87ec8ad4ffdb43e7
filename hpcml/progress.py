"""Progress for people: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_SECONDS_BETWEEN_LINES = 5.0


class Advance(Protocol):
    def __call__(self, done: int, note: str = "") -> None:
        """Tell that ``done`` of the total are finished; ``note`` is shown behind."""


@contextmanager
def progress(description: str, total: int | None) -> Iterator[Advance]:
    """Show how far a stage is: ``with progress("generate", 80) as advance: advance(3)``.

    On a terminal a live bar; elsewhere one line at the start, at most one every five seconds,
    and one at the end, so that a batch log stays readable.  No total: it is not known.
    """
    if sys.stderr.isatty():
        columns = (
            TextColumn("{task.description:<10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=Console(stderr=True)) as bars:
            task = bars.add_task(description, total=total, note="")
            yield lambda done, note="": bars.update(task, completed=done, note=note)
        return

    state = {"at": time.monotonic(), "shown": -1}

    of = "" if total is None else f"/{total}"

    def say(done: int, note: str = "") -> None:
        if done == state["shown"]:
            return
        now = time.monotonic()
        last = total is not None and done >= total
        if last or state["shown"] < 0 or now - state["at"] > _SECONDS_BETWEEN_LINES:
            state.update(at=now, shown=done)
            with suppress(OSError):  # nobody reads it any more: the work goes on, or is told so
                print(f"{description}: {done}{of} {note}".rstrip(), file=sys.stderr, flush=True)

    yield say
