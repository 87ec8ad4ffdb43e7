"""When the allocation that this process runs in will end."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

from hpcml.cluster.slurm import squeue
from hpcml.errors import SettingsError


def slurm_deadline(environment: Mapping[str, str]) -> float | None:
    """End of the SLURM job in epoch seconds; None outside a job or without a time limit.

    Newer SLURM tells it in SLURM_JOB_END_TIME; older ones are asked through squeue.
    """
    job = environment.get("SLURM_JOB_ID")
    if job is None:
        return None
    if end := environment.get("SLURM_JOB_END_TIME"):
        return float(end)
    try:
        return datetime.datetime.fromisoformat("".join(squeue([job], "%e"))).timestamp()
    except ValueError:
        return None  # "N/A" or no answer: the signal before the end still comes


def seconds(walltime: str) -> float:
    """Seconds of a SLURM time: "minutes", "hh:mm:ss", "days-hh", "days-hh:mm:ss" and so on."""
    days, dash, clock = walltime.rpartition("-")
    try:
        parts = [int(part) for part in clock.split(":")]
        if not 1 <= len(parts) <= 3 or min(parts) < 0:
            raise ValueError
        if dash:
            hours, minutes, rest = (*parts, 0, 0)[:3]
            return float(((int(days) * 24 + hours) * 60 + minutes) * 60 + rest)
    except ValueError:
        raise SettingsError(
            f"walltime = {walltime!r} is not a time; write hh:mm:ss or days-hh:mm:ss"
        ) from None
    if len(parts) == 3:
        return float((parts[0] * 60 + parts[1]) * 60 + parts[2])
    return float(parts[0] * 60 + (parts[1] if len(parts) == 2 else 0))
