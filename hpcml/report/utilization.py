"""How the ranks' time was used, from the timings that each task of generate kept."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpcml.generation.protocol.task import task_folders
from hpcml.report.facts import Utilization

MOST_RANKS = 64  # shown; of more an even sample
_BINS = 240

Intervals = NDArray[np.float64]
"""(n, 3): rank, first and last second of each calculation."""


def utilization(work: Path) -> Utilization | None:
    """The ranks' time in a run's work folder; None where no timings were kept.

    Tasks that ran one after another are laid end to end, without the time in between; ranks of
    tasks that ran side by side have rows of their own.
    """
    tasks = [_read(folder.timings) for folder in task_folders(work) if folder.timings.exists()]
    tasks = sorted((task for task in tasks if len(task)), key=lambda task: float(task[:, 1].min()))
    laid: dict[tuple[int, int], list[Intervals]] = {}
    end, length, lane, first = -np.inf, 0.0, 0, 0.0
    for task in tasks:
        begins, ends = float(task[:, 1].min()), float(task[:, 2].max())
        if begins >= end:
            first, lane, end = begins - length, 0, ends
        else:
            lane, end = lane + 1, max(end, ends)
        length = end - first
        for rank in np.unique(task[:, 0]).astype(int).tolist():
            mine = task[task[:, 0] == rank][:, 1:] - first
            laid.setdefault((lane, rank), []).append(mine)
    if not laid or length <= 0:
        return None
    edges = np.linspace(0.0, length, _BINS + 1)
    keys = sorted(laid)
    shown = np.unique(np.linspace(0, len(keys) - 1, MOST_RANKS).round().astype(int)).tolist()
    several = len({lane for lane, _ in keys}) > 1
    return Utilization(
        ranks=tuple(
            f"block {keys[k][0]}, rank {keys[k][1]}" if several else f"rank {keys[k][1]}"
            for k in shown
        ),
        edges=edges,
        busy=np.array([busy(np.concatenate(laid[keys[k]]), edges) for k in shown]),
        of=len(keys),
    )


def busy(intervals: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Part of each bin that lies within intervals, which do not overlap.

    Parameters
    ----------
    intervals : (n, 2) array
        Begin and end of each.
    edges : (T + 1,) array
        Ascending.

    Returns
    -------
    (T,) array
        Between 0 and 1.
    """
    ordered = intervals[np.argsort(intervals[:, 0])]
    spent = np.cumsum(ordered[:, 1] - ordered[:, 0])
    before = np.stack([np.r_[0.0, spent[:-1]], spent], axis=1)
    so_far = np.interp(edges, ordered.ravel(), before.ravel())
    part: NDArray[np.float64] = np.clip(np.diff(so_far) / np.diff(edges), 0.0, 1.0)
    return part


def _read(path: Path) -> Intervals:
    """Lines of a timings.csv; one that a kill cut short is left out."""
    rows = []
    with path.open(newline="", encoding="utf-8") as stream:
        for line in csv.DictReader(stream):
            if line["outcome"]:
                rows.append((float(line["rank"]), float(line["start"]), float(line["end"])))
    return np.array(rows).reshape(-1, 3)
