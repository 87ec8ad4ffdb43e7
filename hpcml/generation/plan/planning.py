"""What is missing: molecules asked for, less those done and those that failed."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from hpcml.cluster.run_folder import RunFolder
from hpcml.generation import failures
from hpcml.generation.failures import Failure
from hpcml.generation.plan.cost import CostModel, fit, read_timings, size
from hpcml.generation.protocol.task import QueueEntry, task_folders
from hpcml.generation.protocol.wire import pack_molecule
from hpcml.molecules import Defect, Molecule
from hpcml.response import Level, Request
from hpcml.store import Manifest, result_key
from hpcml.store.rows import unpack_keys
from hpcml.store.shards import Shard


@dataclass
class Plan:
    """What a start of a campaign has to do.

    total     different results asked for, defective records included
    done      of these in the data set
    failed    of these failed before (they are tried again only after ``hpcml retry``)
    entries   to be computed, longest expected first
    defects   records that are no molecules
    doubled   records that ask for a result that an earlier one asks for
    fitted    what is expected of the entries comes from calculations; else it is a guess
    """

    total: int = 0
    done: int = 0
    failed: int = 0
    entries: list[QueueEntry] = field(default_factory=list)
    defects: list[Failure] = field(default_factory=list)
    doubled: int = 0
    fitted: bool = False

    @property
    def seconds(self) -> float:
        """Seconds of calculation expected, on one rank."""
        return sum(entry.expected for entry in self.entries)


class PlanRecord(msgspec.Struct, kw_only=True):
    """A plan's numbers as they are kept in RUN/work/plan.json.

    tasks   that had been written by then: what they did is in ``done``
    at      epoch seconds
    """

    total: int = 0
    done: int = 0
    failed: int = 0
    missing: int = 0
    seconds: float = 0.0
    tasks: int = 0
    at: float = 0.0


def plan(
    molecules: Iterable[Molecule | Defect],
    level: Level,
    request: Request,
    *,
    done: Collection[str],
    failed: Collection[str],
    cost: CostModel,
    hang_seconds: float,
    suspects: Collection[str] = (),
) -> Plan:
    """Go through the molecules once and sort out what each needs."""
    result = Plan(fitted=cost.fitted)
    seen: set[str] = set()
    for molecule in molecules:
        if isinstance(molecule, Defect):
            result.defects.append(_as_failure(molecule))
            continue
        key = result_key(molecule, level, request)
        if key in seen:
            result.doubled += 1
            continue
        seen.add(key)
        if key in done:
            result.done += 1
        elif key in failed:
            result.failed += 1
        else:
            functions = size(molecule, level.basis)
            result.entries.append(
                QueueEntry(
                    key,
                    molecule.name,
                    molecule.formula,
                    pack_molecule(molecule),
                    cost.expected(functions),
                    cost.limit(functions, hang_seconds),
                    key in suspects,
                    functions,
                )
            )
    result.total = len(seen) + len(result.defects)
    result.failed += len(result.defects)
    result.entries.sort(key=lambda entry: entry.expected, reverse=True)
    return result


def survey(
    run_folder: RunFolder,
    molecules: Iterable[Molecule | Defect],
    *,
    level: Level,
    request: Request,
    hang_seconds: float,
    suspects: Collection[str] = (),
) -> Plan:
    """The plan of a run as it stands, with costs fitted to what it has computed so far."""
    timings = (folder.timings for folder in task_folders(run_folder.work))
    sizes, seconds = read_timings(path for path in timings if path.exists())
    return plan(
        molecules,
        level,
        request,
        done=done_keys(run_folder.dataset),
        failed=failures.read(run_folder.failures).keys(),
        cost=fit(level, request, sizes, seconds),
        hang_seconds=hang_seconds,
        suspects=suspects,
    )


def _as_failure(defect: Defect) -> Failure:
    where = f"{defect.source}: {defect.where}"
    return Failure(key=where, name=defect.name, cause="input", message=str(defect), tries=0)


def done_keys(dataset: Path) -> set[str]:
    """Keys of the rows in a data set; empty if there is none yet."""
    keys: set[str] = set()
    for entry in Manifest(dataset).entries.values():
        keys.update(unpack_keys(Shard(dataset, entry).column("key")).tolist())
    return keys
