"""Walk the cells of a study: one rank of it.

    python -m hpcml.study.study_program --run DIR --settings FILE --cells FILE --current FILE

Started by mpiexec or srun the ranks train each cell together, by Horovod.  A cell that cannot be
had is written down, and the next one begun.  Exit codes: 0 all cells were gone through, 1 failed,
2 wrong settings or input, 85 stopped by a signal with work left.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from hpcml.cluster.mpi_program import end_by, settings_text, stop_asked
from hpcml.errors import InputError, SettingsError
from hpcml.exits import DONE, WORK_LEFT


def main(arguments: list[str] | None = None) -> int:
    """Run one rank; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m hpcml.study.study_program")
    parser.add_argument("--run", type=Path, required=True, help="folder of the study")
    parser.add_argument("--settings", type=Path, required=True, help="the study as JSON")
    parser.add_argument("--cells", type=Path, required=True, help="cells to go through, as JSON")
    parser.add_argument("--current", type=Path, required=True, help="file for the cell in work")
    chosen = parser.parse_args(arguments)

    from hpcml.files import write_whole
    from hpcml.study.cell_work import do_cell
    from hpcml.study.cells import Cell, settings_of
    from hpcml.study.material import Material
    from hpcml.study.results import StudyFolder
    from hpcml.study.study_settings import Study
    from hpcml.training.fit import Stopped
    from hpcml.training.world import enter

    stop = stop_asked()
    study = msgspec.json.decode(settings_text(chosen.settings), type=Study)
    cells = msgspec.json.decode(settings_text(chosen.cells), type=list[Cell])
    folder = StudyFolder(chosen.run)
    world = enter(settings_of(study, cells[0]))
    material = Material(study, folder, world)
    for cell in cells:
        if world.broadcast(b"stop" if stop() else b""):
            world.close()
            return WORK_LEFT
        if world.rank == 0:
            write_whole(chosen.current, msgspec.json.encode(cell))
        try:
            do_cell(material, cell, stop)
        except Stopped:
            world.close()
            return WORK_LEFT
        except (InputError, SettingsError) as error:
            if world.rank == 0:
                folder.write_failure(cell, str(error))
    world.close()
    return DONE


if __name__ == "__main__":
    end_by("study", main)
