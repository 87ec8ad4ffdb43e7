"""Train a network: one rank of it.

    python -m hpcml.training.train_program --dataset DIR --model DIR --settings FILE

Started by mpiexec, srun, horovodrun, or torchrun the ranks train together;
started plainly it trains alone.  Exit codes: 0 done, 1 failed, 2 wrong settings or input,
85 stopped by a signal with work left (start it again to go on).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hpcml.cluster.mpi_program import end_by, settings_text, stop_asked
from hpcml.exits import DONE, WORK_LEFT


def main(arguments: list[str] | None = None) -> int:
    """Run one rank; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m hpcml.training.train_program")
    parser.add_argument("--dataset", type=Path, required=True, help="data set folder")
    parser.add_argument("--model", type=Path, required=True, help="model folder to fill")
    parser.add_argument("--settings", type=Path, required=True, help="TrainSettings as JSON")
    chosen = parser.parse_args(arguments)

    from hpcml.store import Dataset
    from hpcml.training.fit import Stopped
    from hpcml.training.train_settings import read_settings
    from hpcml.training.train_stage import train
    from hpcml.training.world import enter

    stop = stop_asked()
    settings = read_settings(settings_text(chosen.settings), str(chosen.settings))
    world = enter(settings)
    dataset = Dataset.open(chosen.dataset)
    try:
        train(dataset, chosen.model, settings, world, stop=stop)
    except Stopped:
        world.close()
        return WORK_LEFT
    world.close()
    return DONE


if __name__ == "__main__":
    end_by("train", main)
