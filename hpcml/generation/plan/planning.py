"""What is missing: molecules asked for, less those done and those that failed.

Nothing here holds the molecules: they are met one by one, sorted out on the disk where they are
many (``sorting_out``), and lie in a file in the end, longest expected first (``queue_file``).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from weakref import finalize

import msgspec
import numpy as np
from numpy.typing import NDArray

from hpcml.cluster.run_folder import RunFolder
from hpcml.generation import failures
from hpcml.generation.failures import Failure
from hpcml.generation.plan.cost import CostModel, fit, read_timings, size
from hpcml.generation.plan.sorting_out import SortingOut
from hpcml.generation.protocol import wire
from hpcml.generation.protocol.queue_file import CostClass, QueueEntry, QueueFile, QueueWriter
from hpcml.generation.protocol.task import task_folders
from hpcml.molecules import Defect, Molecule
from hpcml.response import Level, Request
from hpcml.store import Manifest, result_keys
from hpcml.store.shards import Shard

SCRATCH = "plan-"
"""How the folders in RUN/work begin in which plans lie; a start removes what a kill has left."""

_MOST_COMPOSITIONS = 10_000  # remembered at a time

KeyChunks = Callable[[], Iterable[NDArray[np.uint8]]]
"""Gives the keys of a data set's rows, (n, 16) uint8 arrays, chunk by chunk."""


@dataclass
class Plan:
    """What a start of a campaign has to do.

    entries   to be computed, longest expected first; they lie on the disk as long as this lives
    total     different results asked for, defective records included
    done      of these in the data set
    failed    of these failed before (they are tried again only after ``hpcml retry``)
    defects   records that are no molecules
    doubled   records that ask for a result that an earlier one asks for
    fitted    what is expected of the entries comes from calculations; else it is a guess
    """

    entries: QueueFile
    total: int = 0
    done: int = 0
    failed: int = 0
    defects: list[Failure] = field(default_factory=list)
    doubled: int = 0
    fitted: bool = False

    @property
    def seconds(self) -> float:
        """Seconds of calculation expected, on one rank."""
        return self.entries.seconds


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


class Planner:
    """Plans at one level, with costs as they are known now.

    done, failed   keys that are in the data set, and those that are not to be tried again
    suspects       keys of molecules that were in flight when an MPI program died
    """

    def __init__(
        self,
        level: Level,
        request: Request,
        *,
        cost: CostModel,
        hang_seconds: float,
        done: KeyChunks = tuple,
        failed: Collection[str] = (),
        suspects: Collection[str] = (),
    ) -> None:
        self._level = level
        self._key = result_keys(level, request)
        self._cost = cost
        self._hang_seconds = hang_seconds
        self._done = done
        # a record that is no molecule is filed under where it stands: it has no key
        self._failed = {bytes.fromhex(key) for key in failed if _is_key(key)}
        self._suspects = frozenset(suspects)

    def plan(self, molecules: Iterable[Molecule | Defect], folder: Path | None = None) -> Plan:
        """Go through the molecules once and sort out what each needs.

        folder   where the plan is to lie; None: where temporary files do
        """
        defects: list[Failure] = []
        composition: dict[bytes, tuple[str, float]] = {}  # formula and basis functions

        def asked(sorting: SortingOut) -> None:
            for molecule in molecules:
                if isinstance(molecule, Defect):
                    defects.append(_as_failure(molecule))
                    continue
                key = self._key(molecule)
                atoms = molecule.numbers.tobytes()
                if atoms not in composition:
                    if len(composition) > _MOST_COMPOSITIONS:
                        composition.clear()
                    composition[atoms] = molecule.formula, size(molecule, self._level.basis)
                formula, functions = composition[atoms]
                packed = wire.pack_molecule(molecule)
                self._add(sorting, (key, molecule.name, formula, packed), functions)

        found = self._sorted_out(asked, folder)
        found.defects = defects
        found.total += len(defects)
        found.failed += len(defects)
        return found

    def plan_again(self, before: Plan, folder: Path | None = None) -> Plan:
        """The plan of what an earlier plan left to be done, as it stands now."""

        def asked(sorting: SortingOut) -> None:
            for entry in before.entries:
                words = entry.key, entry.name, entry.formula, entry.molecule
                self._add(sorting, words, entry.size)

        found = self._sorted_out(asked, folder)
        found.total, found.doubled, found.defects = before.total, before.doubled, before.defects
        found.done += before.done
        found.failed += before.failed
        return found

    def _add(
        self, sorting: SortingOut, words: tuple[str, str, str, bytes], functions: float
    ) -> None:
        key, name, formula, packed = words
        expected = self._cost.expected(functions)
        limit = self._cost.limit(functions, self._hang_seconds)
        suspect = key in self._suspects
        entry = QueueEntry(key, name, formula, packed, expected, limit, suspect, functions)
        sorting.add(bytes.fromhex(key), CostClass.of(entry), wire.encode(entry))

    def _sorted_out(self, asked: Callable[[SortingOut], None], folder: Path | None) -> Plan:
        place = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=folder))
        try:
            sorting = SortingOut(place)
            asked(sorting)
            writer = QueueWriter(place / "queue")
            sorting.write(writer, done=self._done, failed=self._failed)
            writer.close()
            found = Plan(QueueFile(writer.path), fitted=self._cost.fitted)
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
        finalize(found, shutil.rmtree, place, ignore_errors=True)
        found.total, found.doubled = sorting.total, sorting.doubled
        found.done, found.failed = sorting.done, sorting.failed
        return found


def planner(
    run_folder: RunFolder,
    *,
    level: Level,
    request: Request,
    hang_seconds: float,
    suspects: Collection[str] = (),
) -> Planner:
    """Plans a run as it stands, with costs fitted to what it has computed so far."""
    timings = (folder.timings for folder in task_folders(run_folder.work))
    sizes, seconds = read_timings(path for path in timings if path.exists())
    return Planner(
        level,
        request,
        cost=fit(level, request, sizes, seconds),
        hang_seconds=hang_seconds,
        done=lambda: done_keys(run_folder.dataset),
        failed=failures.read(run_folder.failures).keys(),
        suspects=suspects,
    )


def survey(
    run_folder: RunFolder,
    molecules: Iterable[Molecule | Defect],
    *,
    level: Level,
    request: Request,
    hang_seconds: float,
) -> Plan:
    """The plan of a run as it stands."""
    made = planner(run_folder, level=level, request=request, hang_seconds=hang_seconds)
    return made.plan(molecules)


def _as_failure(defect: Defect) -> Failure:
    where = f"{defect.source}: {defect.where}"
    return Failure(key=where, name=defect.name, cause="input", message=str(defect), tries=0)


def _is_key(text: str) -> bool:
    return len(text) == 32 and set(text) <= set("0123456789abcdef")


def done_keys(dataset: Path) -> Iterator[NDArray[np.uint8]]:
    """Keys of the rows in a data set, shard by shard; none if there is no data set yet.

    Yields
    ------
    (rows, 16) uint8 array
    """
    for entry in Manifest(dataset).entries.values():
        yield Shard(dataset, entry).column("key")
