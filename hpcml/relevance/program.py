"""Explain a data set: ``python -m hpcml.relevance.program --dataset DIR --model DIR
--relevance DIR --settings FILE``.

One rank of it.  Started by mpiexec, srun, horovodrun, or torchrun the ranks share the work;
started plainly it works alone.  Exit codes: 0 done, 1 failed, 2 wrong settings or input,
85 stopped by a signal with work left (start it again to go on).
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
import traceback
from pathlib import Path

from hpcml.errors import HpcmlError, InputError, SettingsError

STOPPED = 85


def main(arguments: list[str] | None = None) -> int:
    """Run one rank; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m hpcml.relevance.program")
    parser.add_argument("--dataset", type=Path, required=True, help="data set folder")
    parser.add_argument("--model", type=Path, required=True, help="trained model's folder")
    parser.add_argument("--relevance", type=Path, required=True, help="folder to fill")
    parser.add_argument("--settings", type=Path, required=True, help="ExplainSettings as JSON")
    chosen = parser.parse_args(arguments)

    from hpcml.relevance.dataset import explain_dataset
    from hpcml.relevance.settings import read_settings
    from hpcml.store import Dataset
    from hpcml.training.settings import TrainSettings
    from hpcml.training.world import enter

    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda number, _: asked.append(number))
    try:
        text = chosen.settings.read_bytes()
    except OSError as error:
        raise SettingsError(f"{chosen.settings}: {error.strerror}") from error
    settings = read_settings(text, str(chosen.settings))
    world = enter(TrainSettings())
    finished = explain_dataset(
        Dataset.open(chosen.dataset),
        chosen.model,
        chosen.relevance,
        settings,
        world,
        stop=lambda: bool(asked),
    )
    world.close()
    return 0 if finished else STOPPED


def _rank() -> int:
    """This rank as the launcher counts, known before and after any world."""
    names = ("HOROVOD_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID", "RANK")
    return next((int(os.environ[name]) for name in names if name in os.environ), 0)


def run() -> None:
    """End the process by ``main``'s exit code, or by one clear line.

    An error leaves by os._exit: a rank that tidied up would wait for the others, and they for
    it.  The launcher sees the exit code and ends them.
    """
    try:
        code = main()
    except Exception as error:
        rank = _rank()
        if not isinstance(error, HpcmlError):
            traceback.print_exc()
        if rank:
            time.sleep(1.0)  # what all ranks meet, rank 0 tells first
        print(f"hpcml explain: rank {rank}: {error}", file=sys.stderr, flush=True)
        os._exit(2 if isinstance(error, SettingsError | InputError) else 1)
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(code)


if __name__ == "__main__":
    run()
