"""What a run's own records say of its machine: the figures that a simulation starts from."""

from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from hpcml.bench.campaign_simulation import Machine
from hpcml.cluster import RunFolder
from hpcml.errors import InputError
from hpcml.generation.protocol.task import TaskFolder, TaskProgress, task_folders

_LEAST = 10  # calculations from which anything is measured


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What a run was like.

    ranks       of its largest program
    molecules   whose calculations ended well, in that program
    seconds     from the first start of a calculation to the last end
    efficiency  part of the ranks' time in it that was inside calculations
    costs       seconds of each calculation, (n,) array
    gap, gap_scatter   as in ``Machine``: the median, and the rms deviation of the logarithm
    start       seconds from the task's start to its first calculation
    """

    ranks: int
    molecules: int
    seconds: float
    efficiency: float
    costs: NDArray[np.float64]
    gap: float
    gap_scatter: float
    start: float

    def machine(self, base: Machine) -> Machine:
        """``base`` with the gaps and the start of this run."""
        return msgspec.structs.replace(
            base, gap=self.gap, gap_scatter=self.gap_scatter, commit=0.0, start=self.start
        )


def measured(run_folder: RunFolder) -> Measured:
    """Read the records of a run.

    Raises InputError where it has computed too little to be measured.
    """
    found = [(folder.read_progress(), folder) for folder in task_folders(run_folder.work)]
    found = [pair for pair in found if pair[1].timings.exists()]
    if not found:
        raise InputError(f"{run_folder.path}: has computed nothing; `hpcml generate` first")
    progress, folder = max(found, key=lambda pair: pair[0].done)
    return _of_task(progress, folder, run_folder.path)


def _of_task(progress: TaskProgress, folder: TaskFolder, run: Path) -> Measured:
    spans: dict[str, list[tuple[float, float]]] = {}
    costs = []
    with folder.timings.open(newline="", encoding="utf-8") as stream:
        for line in csv.DictReader(stream):
            if line["outcome"]:
                spans.setdefault(line["rank"], []).append(
                    (float(line["start"]), float(line["end"]))
                )
            if line["outcome"] == "done":
                costs.append(float(line["busy"]))
    if len(costs) < _LEAST:
        raise InputError(f"{run}: {len(costs)} calculations are too few, {_LEAST} at least")
    gaps = [max(1e-6, b[0] - a[1]) for one in spans.values() for a, b in pairwise(sorted(one))]
    logs = np.log(gaps) if gaps else np.zeros(1)
    first = min(start for one in spans.values() for start, _ in one)
    last = max(end for one in spans.values() for _, end in one)
    return Measured(
        ranks=progress.ranks,
        molecules=len(costs),
        seconds=last - first,
        efficiency=sum(costs) / (progress.ranks * (last - first)),
        costs=np.array(costs),
        gap=float(np.mean(gaps)) if gaps else 0.0,
        gap_scatter=float(logs.std()),
        start=max(0.0, first - progress.started),
    )
