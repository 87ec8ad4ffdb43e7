"""Explain a data set: ``python -m hpcml.relevance.explain_program --dataset DIR --model DIR
--relevance DIR --settings FILE``.

One rank of it.  Started by mpiexec, srun, horovodrun, or torchrun the ranks share the work;
started plainly it works alone.  Exit codes: 0 done, 1 failed, 2 wrong settings or input,
85 stopped by a signal with work left (start it again to go on).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hpcml.cluster.mpi_program import end_by, settings_text, stop_asked
from hpcml.exits import DONE, WORK_LEFT


def main(arguments: list[str] | None = None) -> int:
    """Run one rank; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m hpcml.relevance.explain_program")
    parser.add_argument("--dataset", type=Path, required=True, help="data set folder")
    parser.add_argument("--model", type=Path, required=True, help="trained model's folder")
    parser.add_argument("--relevance", type=Path, required=True, help="folder to fill")
    parser.add_argument("--settings", type=Path, required=True, help="ExplainSettings as JSON")
    chosen = parser.parse_args(arguments)

    from hpcml.relevance.explain_settings import read_settings
    from hpcml.relevance.explain_stage import explain_dataset
    from hpcml.store import Dataset
    from hpcml.training.train_settings import TrainSettings
    from hpcml.training.world import enter

    stop = stop_asked()
    settings = read_settings(settings_text(chosen.settings), str(chosen.settings))
    world = enter(TrainSettings())
    finished = explain_dataset(
        Dataset.open(chosen.dataset),
        chosen.model,
        chosen.relevance,
        settings,
        world,
        stop=stop,
    )
    world.close()
    return DONE if finished else WORK_LEFT


if __name__ == "__main__":
    end_by("explain", main)
