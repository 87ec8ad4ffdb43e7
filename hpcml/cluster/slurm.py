"""Questions to SLURM, whatever a user's shell has set for its commands."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

_SECONDS_FOR_AN_ANSWER = 60


def environment(*, for_new_job: bool = False) -> dict[str, str]:
    """This process's environment as SLURM's commands are to see it.

    for_new_job   without what describes the job that this process is in: a job submitted from
                  inside another must not inherit its shape

    Times are asked for in SLURM's own form, which SLURM_TIME_FORMAT of a user's shell changes.
    """
    variables = {
        name: value
        for name, value in os.environ.items()
        if not (for_new_job and name.startswith("SLURM_") and name != "SLURM_CONF")
    }
    return {**variables, "SLURM_TIME_FORMAT": "standard"}


def squeue(jobs: Sequence[str], form: str) -> list[str]:
    """One line a job in the queue; [] where none is there or SLURM does not answer."""
    if not jobs:
        return []
    try:
        answer = subprocess.run(
            ["squeue", "--noheader", f"--jobs={','.join(jobs)}", f"--format={form}"],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=_SECONDS_FOR_AN_ANSWER,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()]


def states(jobs: Sequence[str]) -> dict[str, str]:
    """State (PENDING, RUNNING, ...) by number of those jobs that are still in the queue.

    The elements of an array go by the array's own number; one that runs counts before those
    that wait.
    """
    found: dict[str, str] = {}
    for line in squeue(jobs, "%F %T"):
        number, _, state = line.partition(" ")
        if found.get(number) != "RUNNING":
            found[number] = state
    return found
