"""How a run stands, from its files alone: no daemon is asked, and no row is read.

What was done before the last plan stands in RUN/work/plan.json, what was done since in the
progress files of the tasks that came after it: a handful of small files, whatever the rows.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TypeVar

import msgspec

from hpcml.cluster import slurm
from hpcml.cluster.run_folder import RunFolder
from hpcml.cluster.submission import submitted_jobs
from hpcml.generation import failures
from hpcml.generation.plan.planning import PlanRecord
from hpcml.generation.protocol.task import Running, TaskProgress, seconds_left, task_folders
from hpcml.progress import clock
from hpcml.store import Manifest
from hpcml.store.shards import WARNED

_T = TypeVar("_T")

_SECONDS_WITHOUT_PROGRESS = 30.0  # after which a task that says "running" is taken for dead


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """One look at a run; times in seconds, NaN-free, None where nothing can be said yet.

    state              unplanned, running, queued (SLURM has jobs of it that wait), complete, or
                       stopped (work is left and nobody does it)
    total              different results asked for
    done, failed       in the data set; in failures.jsonl, by cause
    warned             of those done, as far as they were written by 0.2 or later, the rows with a
                       warning
    missing            neither
    running            what the ranks compute now
    rate               molecules an hour, of the programs that run now
    seconds_left       until the rest is done, at this rate of work
    core_efficiency    part of the ranks' time, since their first calculation, inside calculations
    node_utilization   host -> part of its ranks that compute now
    jobs               stage -> SLURM's number of the job that was submitted for it
    queue              stage -> that job's state, of those that are in the queue
    """

    run: str
    state: str
    total: int
    done: int
    failed: dict[str, int]
    warned: int
    missing: int
    running: list[Running]
    rate: float | None
    seconds_left: float | None
    core_efficiency: float | None
    node_utilization: dict[str, float]
    jobs: dict[str, str]
    queue: dict[str, str]

    @property
    def goes_on(self) -> bool:
        """Whether the next look may show something new without anyone's doing."""
        return self.state in ("running", "queued")

    def to_json(self) -> str:
        return msgspec.json.format(msgspec.json.encode(self)).decode()

    def table(self) -> str:
        """The status for the screen."""
        causes = ", ".join(f"{number} {cause}" for cause, number in self.failed.items())
        lines = [
            f"run         {self.run}",
            f"state       {self.state}",
            f"done        {self.done} of {self.total}",
            f"failed      {sum(self.failed.values())}{f' ({causes})' if causes else ''}",
            f"missing     {self.missing}",
        ]
        if self.warned:
            lines.append(
                f"warned      {self.warned} (the data set's column `warnings` says of what)"
            )
        if self.rate is not None:
            lines.append(f"rate        {self.rate:.0f} molecules an hour")
        if self.seconds_left is not None:
            lines.append(f"time left   {clock(self.seconds_left)}")
        if self.core_efficiency is not None:
            lines.append(
                f"efficiency  {100 * self.core_efficiency:.1f} % of the cores' time in Psi4"
            )
        for host, part in self.node_utilization.items():
            lines.append(f"node        {host}: {100 * part:.0f} % of its ranks compute")
        now = time.time()
        for one in self.running[:10]:
            lines.append(
                f"running     {one.name} on {one.host}, rank {one.rank}, {clock(now - one.since)}"
            )
        if len(self.running) > 10:
            lines.append(f"            and {len(self.running) - 10} more")
        for stage, number in self.jobs.items():
            state = self.queue.get(stage, "").lower()
            lines.append(f"job         {stage}: {number}{state and ', ' + state}")
        return "\n".join(lines)


def status(run_folder: RunFolder) -> Status:
    """Look at a run; costs the same for a thousand rows and for a million."""
    record = _read(run_folder.plan, PlanRecord) or PlanRecord()
    folders = task_folders(run_folder.work)
    since = folders[record.tasks :]
    states = [folder.read_progress() for folder in since]
    last = [folder.read_progress() for folder in folders[-1:]]
    now = time.time()
    live = [
        state
        for state in states
        if state.state == "running" and now - state.updated < _SECONDS_WITHOUT_PROGRESS
    ]
    filed = failures.read(run_folder.failures)
    for folder in since:
        filed.update(failures.read(folder.failures))
    done = record.done + sum(state.done for state in states)
    missing = max(0, record.total - done - len(filed))
    running = [one for state in live for one in state.running]
    jobs = submitted_jobs(run_folder)
    states_of_jobs = slurm.states(list(jobs.values()))
    queue = {stage: states_of_jobs[n] for stage, n in jobs.items() if n in states_of_jobs}
    if live or "RUNNING" in queue.values():
        word = "running"
    elif queue:
        word = "queued"
    elif not record.total:
        word = "unplanned"
    else:
        word = "stopped" if missing else "complete"
    return Status(
        run=str(run_folder.path),
        state=word,
        total=record.total,
        done=done,
        failed=failures.by_cause(filed.values()),
        warned=sum(int(entry.attributes.get(WARNED, 0)) for entry in Manifest(run_folder.dataset)),
        missing=missing,
        running=running,
        rate=_rate(live),
        seconds_left=seconds_left(live),
        core_efficiency=_efficiency(live or last),
        node_utilization=_utilization(live),
        jobs=jobs,
        queue=queue,
    )


def _read(path: Path, kind: type[_T]) -> _T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _rate(states: list[TaskProgress]) -> float | None:
    spans = [(s.done + s.failed, s.updated - s.first_start) for s in states if s.first_start]
    rates = [3600.0 * done / span for done, span in spans if span > 0.0 and done]
    return sum(rates) if rates else None


def _efficiency(states: list[TaskProgress]) -> float | None:
    inside = allotted = 0.0
    for s in states:
        if not s.first_start:
            continue
        end = s.updated if s.state == "running" else s.last_end
        inside += s.busy + s.under_way
        allotted += s.ranks * (end - s.first_start)
    return min(1.0, inside / allotted) if allotted > 0.0 else None


def _utilization(states: list[TaskProgress]) -> dict[str, float]:
    ranks: dict[str, int] = {}
    busy: dict[str, int] = {}
    for s in states:
        for host, count in s.hosts.items():
            ranks[host] = ranks.get(host, 0) + count
        for host, count in s.computing.items():
            busy[host] = busy.get(host, 0) + count
    return {host: busy.get(host, 0) / count for host, count in sorted(ranks.items())}
