"""A campaign: plan what is missing, run it on the site's blocks, again until it is done."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from hpcml.cluster.launch import last_line
from hpcml.cluster.processes import process_start
from hpcml.cluster.run_folder import RunFolder
from hpcml.cluster.site import Site
from hpcml.errors import HpcmlError, PlatformError, ResourceError, SettingsError
from hpcml.files import lock, write_whole
from hpcml.generation import failures
from hpcml.generation.blocks import Blocks, OneBlock, ProgramRun
from hpcml.generation.campaign_stop import CampaignStop
from hpcml.generation.plan.planning import (
    SCRATCH,
    Plan,
    Planner,
    PlanRecord,
    done_keys,
    planner,
)
from hpcml.generation.plan.sharing import deal, share_out
from hpcml.generation.protocol.task import (
    Orders,
    Task,
    TaskFolder,
    TaskProgress,
    seconds_left,
    task_folders,
)
from hpcml.generation.psi4_process.keeper import sweep
from hpcml.molecules import Defect, Molecule
from hpcml.progress import Advance, progress
from hpcml.response import Level, Request
from hpcml.store import recover, repair
from hpcml.store.rows import unpack_keys

_SECONDS_BETWEEN_LOOKS = 0.2
_SECONDS_BETWEEN_HEARTBEATS = 5.0
_SECONDS_FOR_ORPHANS = 60.0
_STARTS_WITHOUT_PROGRESS = 3
_DEATHS = 3  # MPI programs that may die while a molecule is in flight before it is to blame


@dataclass(frozen=True)
class GenerateReport:
    """How a campaign stands when ``generate`` returns.

    total      different results asked for, records that are no molecules included
    done       rows in the data set, of those asked for
    computed   of these, by this call
    failed     failed by cause, all calls together
    left       neither done nor failed: the time was over, or a stop was asked for
    doubled    records that asked for the same result as an earlier one
    seconds    wall time of this call
    busy       seconds inside calculations in this call, summed over ranks
    """

    total: int
    done: int
    computed: int
    failed: dict[str, int]
    left: int
    doubled: int
    seconds: float
    busy: float

    @property
    def stopped(self) -> bool:
        """Whether work is left: exit code 85."""
        return self.left > 0


def generate(
    run_folder: RunFolder,
    molecules: Iterable[Molecule | Defect],
    level: Level,
    request: Request,
    site: Site,
    *,
    calculator: str = "psi4",
) -> GenerateReport:
    """Compute what is missing in the run's data set; the same call again goes on where it ended.

    A molecule that fails, and a record that is no molecule, become a line in failures.jsonl and
    never an exception.  Stop signals end the campaign in order, with work left.

    Raises PlatformError if another process works in the folder, or if MPI programs end again and
    again without a result; ResourceError if a walltime went by in which no molecule ended;
    SettingsError, ResourceError and PlatformError from calculations that would fail for every
    molecule alike.
    """
    began = time.monotonic()
    site = site.here(os.environ)
    with run_folder.lock():
        stop = CampaignStop(run_folder, site)
        generation = _Generation(
            run_folder=run_folder,
            level=level,
            request=request,
            site=site,
            calculator=calculator,
            stop=stop,
        )
        generation.clear()
        before = generation.plan(molecules)
        if before.entries:
            known = before.total - len(before.entries)
            with progress("generate", before.total, before=known) as advance, stop:
                advance(known)
                after = generation.run(before, advance)
        else:
            after = before
        if stop.walltime_is_over and after.entries and len(after.entries) == len(before.entries):
            raise _nothing_done(after, site)
        return GenerateReport(
            total=after.total,
            done=after.done,
            computed=after.done - before.done,
            failed=failures.by_cause(failures.read(run_folder.failures).values()),
            left=len(after.entries),
            doubled=after.doubled,
            seconds=time.monotonic() - began,
            busy=generation.busy,
        )


class _Generation:
    """One call of ``generate``."""

    def __init__(
        self,
        *,
        run_folder: RunFolder,
        level: Level,
        request: Request,
        site: Site,
        calculator: str,
        stop: CampaignStop,
    ) -> None:
        self.run_folder = run_folder
        self.level = level
        self.request = request
        self.site = site
        self.calculator = calculator
        self.stop = stop
        self.suspects: dict[str, int] = {}  # key -> MPI programs that died while it was in flight
        self.cut_off = _read_counts(run_folder.cut_off)  # key -> walltimes that cut it off
        self.busy = 0.0

    def clear(self) -> None:
        """Wait until ranks of an earlier, killed launcher have ended; bring home what they left."""
        self.wait_for_ranks()
        for left in self.run_folder.work.glob(f"{SCRATCH}*/"):
            shutil.rmtree(left, ignore_errors=True)
        repair(self.run_folder.dataset)  # or rows whose manifest line was lost are computed again
        self.collect()

    def wait_for_ranks(self) -> None:
        """Wait until every rank has ended: one outlives its mpiexec while it commits its rows."""
        with self.run_folder.ranks_lock.open("r+b") as file:
            _wait_for(file.fileno(), self.run_folder)
        sweep(Path(self.site.scratch_folder))  # what keepers of this host left that were killed

    def collect(self) -> None:
        """Bring rows and failures of ended MPI programs into the run's own files."""
        recover(self.run_folder.dataset)
        known = failures.read(self.run_folder.failures)
        count = len(known)
        folders = task_folders(self.run_folder.work)
        for folder in folders:
            known.update(failures.read(folder.failures))
        if len(known) != count:
            failures.write(self.run_folder.failures, known.values())
        for folder in folders:  # what is kept is small: progress and timings
            folder.failures.unlink(missing_ok=True)
            folder.queue.unlink(missing_ok=True)

    def plan(self, molecules: Iterable[Molecule | Defect]) -> Plan:
        """What is missing of these."""
        found = self._planner().plan(molecules, self.run_folder.work)
        known = failures.read(self.run_folder.failures)
        new = [defect for defect in found.defects if defect.key not in known]
        if new:
            failures.write(self.run_folder.failures, [*known.values(), *new])
        self._record(found)
        return found

    def plan_again(self, before: Plan) -> Plan:
        """What is missing still of what was missing then."""
        found = self._planner().plan_again(before, self.run_folder.work)
        self._record(found)
        return found

    def _planner(self) -> Planner:
        return planner(
            self.run_folder,
            level=self.level,
            request=self.request,
            hang_seconds=self.site.hang_seconds,
            suspects=self.suspects,
        )

    def _record(self, found: Plan) -> None:
        record = PlanRecord(
            total=found.total,
            done=found.done,
            failed=found.failed,
            missing=len(found.entries),
            seconds=found.seconds,
            tasks=len(task_folders(self.run_folder.work)),
            at=time.time(),
        )
        write_whole(self.run_folder.plan, msgspec.json.encode(record))

    def run(self, current: Plan, advance: Advance) -> Plan:
        """Start MPI programs until nothing is missing, a stop is asked for, or nothing helps.

        What is missing then.
        """
        idle_starts = 0
        with self._blocks() as blocks:
            while current.entries and not self.stop.asked():
                started = {}
                for task, place in self._write_tasks(current):
                    started[task] = blocks.start(task, self.calculator, place)
                self._watch(blocks, started, current, advance)
                self.wait_for_ranks()
                self.collect()
                self._account(started, current)
                left = len(current.entries)
                current = self.plan_again(current)
                idle_starts = 0 if len(current.entries) < left else idle_starts + 1
                reason = _reason(started)
                # A full disk stays full; for anything else it is worth to try again.
                if isinstance(reason, ResourceError) or idle_starts >= _STARTS_WITHOUT_PROGRESS:
                    if self.stop.asked():
                        break
                    raise reason or PlatformError("MPI programs end without doing anything")
        return current

    def _blocks(self) -> Blocks:
        if self.site.kind != "slurm":
            return OneBlock()
        from hpcml.generation.pilot_jobs import PilotJobs  # Parsl takes a second to import

        return PilotJobs(self.site, self.run_folder)

    def _write_tasks(self, current: Plan) -> list[tuple[TaskFolder, Site]]:
        """A task for each program that shares in the plan, and the site as it sees it."""
        number = len(task_folders(self.run_folder.work))
        shares = share_out(current.entries, self.site)
        folders = []
        for index in range(len(shares)):
            # The random part keeps writers of runs apart whose data sets are merged one day.
            identity = f"task{number + index:06d}-{secrets.token_hex(4)}"
            folders.append(TaskFolder(self.run_folder.work / identity))
            folders[-1].create()
        deal(current.entries, shares, self.site, [folder.queue for folder in folders])
        for folder, share in zip(folders, shares, strict=True):
            self._write_task(folder, share.site, current.fitted)
        return [(folder, share.site) for folder, share in zip(folders, shares, strict=True)]

    def _write_task(self, folder: TaskFolder, site: Site, fitted: bool) -> None:
        deadline = None
        if site.kind == "local" and site.walltime:
            deadline = self.stop.began + site.seconds
        task = Task(
            identity=folder.path.name,
            orders=Orders(level=self.level, request=self.request, site=site),
            run=str(self.run_folder.path),
            deadline=deadline,
            launcher=(socket.gethostname(), os.getpid(), process_start(os.getpid())),
            fitted=fitted,
        )
        folder.write_task(task)

    def _watch(
        self,
        blocks: Blocks,
        started: dict[TaskFolder, ProgramRun],
        current: Plan,
        advance: Advance,
    ) -> None:
        """Show progress until every task has ended."""
        ended_before = current.total - len(current.entries)
        last_heartbeat = 0.0
        while True:
            over = all(run.ended() for run in started.values())
            if time.monotonic() - last_heartbeat > _SECONDS_BETWEEN_HEARTBEATS:
                self.run_folder.heartbeat.touch(mode=0o600)
                last_heartbeat = time.monotonic()
            if self.stop.overdue():
                blocks.end()
            states = [task.read_progress() for task in started]
            done = sum(state.done for state in states)
            failed = sum(state.failed for state in states)
            advance(ended_before + done + failed, _note(states), seconds_left(states))
            if over:
                return
            time.sleep(_SECONDS_BETWEEN_LOOKS)

    def _account(self, started: dict[TaskFolder, ProgramRun], current: Plan) -> None:
        """Learn from how a plan's tasks ended; raises what would befall every molecule alike."""
        for task, run in started.items():
            state = task.read_progress()
            self.busy += state.busy
            for key in state.cut_off:
                self.cut_off[key] = self.cut_off.get(key, 0) + 1
            # The time of this machine, or of the allocation that this process runs in, is over;
            # a pilot job's end is not the campaign's: another pilot goes on.
            in_order = state.state == "stopped" and not run.error() and not self.stop.asked()
            if in_order and self.site.kind != "slurm":
                self.stop.walltime_is_over = True
            if state.fatal:
                cause, _, message = state.fatal.partition(": ")
                raise {"settings": SettingsError, "environment": PlatformError}[cause](message)
            if run.error() and not self.stop.asked():
                for key in task.in_flight():
                    self.suspects[key] = self.suspects.get(key, 0) + 1
        deadly = {key: n for key, n in self.suspects.items() if n >= _DEATHS}
        self._give_up(deadly, current, "crash", "the rank that computed it was killed, {} times")
        endless = {key: n for key, n in self.cut_off.items() if n >= self.site.tries}
        self._give_up(endless, current, "hang", "the walltime was over before it ended, {} times")
        for key in (*deadly, *endless):
            self.suspects.pop(key, None)
            self.cut_off.pop(key, None)
        if self.cut_off or self.run_folder.cut_off.exists():
            write_whole(self.run_folder.cut_off, msgspec.json.encode(self.cut_off))

    def _give_up(self, times: dict[str, int], current: Plan, cause: str, message: str) -> None:
        """File molecules that ended an MPI program, or a walltime, once too often."""
        if not times:
            return
        known = failures.read(self.run_folder.failures)
        chunks = done_keys(self.run_folder.dataset)
        done = {key for keys in chunks for key in unpack_keys(keys).tolist() if key in times}
        names = {e.key: e.name or e.formula for e in current.entries if e.key in times}
        for key, number in times.items():
            if key not in done and key not in known:
                known[key] = failures.Failure(
                    key=key,
                    name=names.get(key, ""),
                    cause=cause,
                    message=message.format(number),
                    tries=number,
                )
        failures.write(self.run_folder.failures, known.values())


def _read_counts(path: Path) -> dict[str, int]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, int])
    except FileNotFoundError:
        return {}


def _nothing_done(plan: Plan, site: Site) -> ResourceError:
    """Why the same start again would do as little, in figures."""
    shortest = plan.entries.shortest()
    basis = "what was computed so far" if plan.fitted else "a guess, as too little was computed"
    return ResourceError(
        f"no molecule ended within the walltime {site.walltime or 'of this job'} (margin = "
        f"{site.margin:g} s): {shortest.name or shortest.formula}, the shortest of "
        f"{len(plan.entries)}, is expected to take {shortest.expected:.3g} s on one rank "
        f"({basis}); give a longer walltime, more threads, or large_ranks"
    )


def _note(states: list[TaskProgress]) -> str:
    names = [running.name for state in states for running in state.running]
    return f"computing {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}" if names else ""


def _reason(started: dict[TaskFolder, ProgramRun]) -> HpcmlError | None:
    """Why an MPI program failed: what it printed, or how it ended; None if none has."""
    for task, run in started.items():
        error = run.error()
        if not error:
            continue
        words = last_line(task.output) or error
        _, resource, message = words.partition("ResourceError: ")
        if resource:
            return ResourceError(message)
        return PlatformError(f"MPI programs end without a result: {words} (see {task.output})")
    return None


def _wait_for(descriptor: int, run_folder: RunFolder) -> None:
    """Take and release the ranks' lock; PlatformError if ranks live on for a minute."""
    end = time.monotonic() + _SECONDS_FOR_ORPHANS
    while True:
        if not lock(descriptor, run_folder.ranks_lock):
            if time.monotonic() > end:
                raise PlatformError(
                    f"ranks of an earlier start still compute in {run_folder.path}: end their job "
                    f"(scancel, or kill their mpiexec), then start again"
                )
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            return
