"""Train a network: ``python -m hpcml.training.program --dataset DIR --model DIR --settings FILE``.

One rank of it.  Started by mpiexec, srun, horovodrun, or torchrun the ranks train together;
started plainly it trains alone.  Exit codes: 0 done, 1 failed, 2 wrong settings or input,
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
    parser = argparse.ArgumentParser(prog="python -m hpcml.training.program")
    parser.add_argument("--dataset", type=Path, required=True, help="data set folder")
    parser.add_argument("--model", type=Path, required=True, help="model folder to fill")
    parser.add_argument("--settings", type=Path, required=True, help="TrainSettings as JSON")
    chosen = parser.parse_args(arguments)

    from hpcml.store import Dataset
    from hpcml.training.fit import Stopped
    from hpcml.training.settings import read_settings
    from hpcml.training.stage import train
    from hpcml.training.world import enter

    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda number, _: asked.append(number))
    try:
        text = chosen.settings.read_bytes()
    except OSError as error:
        raise SettingsError(f"{chosen.settings}: {error.strerror}") from error
    settings = read_settings(text, str(chosen.settings))
    world = enter(settings)
    dataset = Dataset.open(chosen.dataset)
    try:
        train(dataset, chosen.model, settings, world, stop=lambda: bool(asked))
    except Stopped:
        world.close()
        return STOPPED
    world.close()
    return 0


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
        # What rank 0 meets, all meet: it speaks for them.  What another rank meets alone comes
        # a moment later, and rank 0 is by then waiting for it.
        if rank:
            time.sleep(1.0)
        print(f"hpcml train: rank {rank}: {error}", file=sys.stderr, flush=True)
        os._exit(2 if isinstance(error, SettingsError | InputError) else 1)
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(code)


if __name__ == "__main__":
    run()
