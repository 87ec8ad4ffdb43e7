"""A study begun or gone on with: what is missing, the program that does it, what failed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from hpcml import progress as shown
from hpcml.analysis.analyze_stage import write_table
from hpcml.cluster import Job, RunFolder, run_mpi, scripts
from hpcml.cluster import submit as submit_jobs
from hpcml.cluster.site import Site
from hpcml.errors import InputError, PlatformError, SettingsError
from hpcml.exits import DONE, FAILED, WORK_LEFT
from hpcml.files import make_folder, write_whole
from hpcml.progress import progress
from hpcml.store import Dataset
from hpcml.study import study_tables
from hpcml.study.cells import Cell, cells_of, explained_by, part_of, settings_of, trained_by
from hpcml.study.claim import claim
from hpcml.study.control_lines import controls_table
from hpcml.study.results import StudyFolder, check_same
from hpcml.study.study_cost import told_cost
from hpcml.study.study_settings import Study
from hpcml.training import check

_DIGITS = 6
"""Of the tables' numbers."""
_MOST_ENDS = 3
"""Times that the program may end in the midst of a cell without having finished one before."""


@dataclass(frozen=True)
class Plan:
    """The cells of a study, or of a part of it.

    cells     all of them
    missing   those to be done
    refused   cell -> why it cannot be trained as the settings are
    """

    cells: list[Cell]
    missing: list[Cell]
    refused: dict[Cell, str]


def plan(study: Study, folder: StudyFolder, part: tuple[int, int] = (1, 1)) -> Plan:
    """What there is to do.

    Raises SettingsError where a finished cell was made with other settings or from other data,
    InputError where a data set cannot be read.
    """
    datasets: dict[str, Dataset] = {}

    def opened(path: str) -> Dataset:
        if path not in datasets:
            datasets[path] = Dataset.open(path)
        return datasets[path]

    cells = part_of(cells_of(study), *part)
    missing, refused = [], {}
    for cell in cells:
        home = opened(study.dataset_of(study.target(cell.target)))
        told_by = explained_by(study, cell, lambda path: opened(path).fingerprint)
        result = folder.result(cell)
        if result is not None:
            check_same(result, trained_by(study, cell, home.fingerprint), folder.cell(cell))
            if result.explained_by == told_by:
                continue
        try:
            check(settings_of(study, cell), home.schema)
        except SettingsError as error:
            refused[cell] = str(error)
        else:
            missing.append(cell)
    return Plan(cells, missing, refused)


def run(study: Study, path: Path, part: tuple[int, int] = (1, 1)) -> int:
    """Do the cells that are missing; the exit code (85: stopped in time with work left)."""
    folder = StudyFolder(path)
    apart = path if part[1] == 1 else path / "parts" / f"{part[0]}-of-{part[1]}"
    run_folder = RunFolder(apart)
    with run_folder.lock():
        make_folder(folder.cells)
        planned = plan(study, folder, part)
        for cell in planned.missing:
            folder.forget_failure(cell)
        for cell, why in planned.refused.items():
            folder.write_failure(cell, why)
        done = len(planned.cells) - len(planned.missing) - len(planned.refused)
        before = done + len(planned.refused)
        with progress("study", len(planned.cells), before=before) as advance:
            count = _Count(folder, planned.missing, before, advance)
            return _go_through(study, folder, run_folder, planned.missing, count)


class _Count:
    """Shows how many cells are gone through, looking only at those not seen finished yet."""

    def __init__(
        self,
        folder: StudyFolder,
        missing: list[Cell],
        before: int,
        advance: Callable[[int, str], None],
    ) -> None:
        self._folder, self._left, self._before = folder, list(missing), before
        self._all, self._advance = len(missing), advance

    def left(self) -> list[Cell]:
        """The cells that have neither result nor failure."""
        self._left = [cell for cell in self._left if not self._folder.gone_through(cell)]
        return self._left

    def show(self) -> None:
        # the cells are done in their order: as soon as one is missing, the rest is
        while self._left and self._folder.gone_through(self._left[0]):
            del self._left[0]
        note = self._left[0].name if self._left else ""
        self._advance(self._before + self._all - len(self._left), note)


def _go_through(
    study: Study, folder: StudyFolder, run_folder: RunFolder, missing: list[Cell], count: _Count
) -> int:
    """Start the program, again after a cell that ended it."""
    ends, left = 0, missing
    for again in left:
        folder.outdate(again)
    while left:
        before = len(left)
        try:
            if not _program(study, folder, run_folder, left, count.show):
                return WORK_LEFT
        except (PlatformError, SettingsError) as error:
            cell = _current(run_folder)
            if cell is None:
                raise
            if not folder.gone_through(cell):
                folder.write_failure(cell, str(error))
            left = count.left()
            ends = 1 if len(left) < before - 1 else ends + 1
            if ends == _MOST_ENDS:
                raise
            print(f"study: {cell.name} ended the program: {error}", file=sys.stderr)
        else:
            left = []
    count.show()
    return DONE


def _program(
    study: Study,
    folder: StudyFolder,
    run_folder: RunFolder,
    cells: list[Cell],
    watch: Callable[[], None],
) -> bool:
    work = run_folder.work
    files = {name: work / f"{name}.json" for name in ("settings", "cells", "current")}
    write_whole(files["settings"], msgspec.json.encode(study))
    write_whole(files["cells"], msgspec.json.encode(cells))
    files["current"].unlink(missing_ok=True)
    words = ["--run", str(folder.path)]
    for name, path in files.items():
        words += [f"--{name}", str(path)]
    site: Site = study.site.here(os.environ)
    return run_mpi(
        settings_of(study, cells[0]).ranks,
        "hpcml.study.study_program",
        words,
        site,
        run_folder.logs / "study.log",
        watch=watch,
    )


def _current(run_folder: RunFolder) -> Cell | None:
    """The cell that the program was at; None where it did not come to one."""
    try:
        return msgspec.json.decode((run_folder.work / "current.json").read_bytes(), type=Cell)
    except FileNotFoundError:
        return None


def finish(study: Study, path: Path) -> int:
    """Write failures.jsonl and name what stands in it; the exit code."""
    folder = StudyFolder(path)
    cells = cells_of(study)
    for line in folder.gather_failures(cells):
        print(line, file=sys.stderr)
    failed = sum(bool(folder.failure(cell)) for cell in cells)
    shown.tell(f"study: {len(cells)} cells, {failed} failed; tables and figures in {folder.tables}")
    return FAILED if failed else DONE


def jobs(study: Study) -> list[Job]:
    """The jobs of a study: one for each part of its cells, and one that tells of all."""
    settings = settings_of(study, cells_of(study)[0])
    gpus = settings.device == "cuda"
    walk = Job(stage="study", ranks=settings.ranks, gpus=gpus, parts=study.parts)
    return [walk, Job(stage="tables", words=("study", "--tables-only"), hours=1.0)]


def submit(study: Study, path: Path, *, dry_run: bool) -> list[str]:
    """Hand the cells to SLURM; lines that say which jobs it made of them.

    With ``dry_run`` the scripts instead.  The jobs read the study.toml in the folder.
    """
    run_folder = RunFolder(path)
    toml = StudyFolder(path).study_toml
    if dry_run:
        texts = scripts(run_folder, toml, jobs(study), study.site)
        return [f"# {name}.sbatch\n{text}" for name, text in texts.items()]
    found = submit_jobs(run_folder, toml, jobs(study), study.site)
    return [f"{name}: job {number}" for name, number in found.items()]


def describe(study: Study, path: Path) -> list[str]:
    """Lines that say which cells there are and what those that are missing cost."""
    folder = StudyFolder(path)
    planned = plan(study, folder)
    cells, missing = planned.cells, set(planned.missing)
    lines = [
        f"study {study.name} in {path}: {len(cells)} cells, "
        f"{len(cells) - len(missing) - len(planned.refused)} done, {len(missing)} to do, "
        f"{len(planned.refused)} that cannot be trained",
    ]
    for cell in cells:
        state = "refused: " + planned.refused[cell] if cell in planned.refused else "done"
        if cell in missing:
            failed = folder.failure(cell)
            state = "to do" + (f" (failed before: {failed})" if failed else "")
        lines.append(f"  {cell.name:<60} {state}")
    return lines + told_cost(study, folder, planned.cells, planned.missing)


def _told(value: object) -> object:
    """A number with the digits that it is known to: of all cells the files are large."""
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def tell(study: Study, path: Path) -> list[Path]:
    """Write the tables and figures of what is finished; the files.

    Raises InputError where nothing is.
    """
    from hpcml.study.material import Material
    from hpcml.study.study_figures import study_figures
    from hpcml.study.study_summary import summary
    from hpcml.training.world import Alone

    folder = StudyFolder(path)
    cells = cells_of(study)
    lines = study_tables.grid(folder.results(cells))
    if not lines:
        words = folder.gather_failures(cells)
        raise InputError(f"{path}: no cell is finished" + (f"; {words[0]}" if words else ""))
    material = Material(study, folder, Alone())
    tables = {
        "grid": lines,
        "seeds": study_tables.seeds(lines),
        "controls": controls_table(material, cells, lines),
        "causal": study_tables.causal(lines),
        "transfer": study_tables.transfer(lines),
        "claim": claim(lines),
    }
    make_folder(folder.tables)
    files = [folder.tables / f"{name}.csv" for name in tables]
    for file, table in zip(files, tables.values(), strict=True):
        write_table(file, [{name: _told(value) for name, value in line.items()} for line in table])
    files.append(folder.tables / "summary.md")
    write_whole(files[-1], summary(study.name, tables).encode())
    for name, svg in study_figures(tables).items():
        files.append(folder.tables / f"{name}.svg")
        write_whole(files[-1], svg)
    return files
