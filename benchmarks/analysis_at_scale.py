"""What do the tables of an analysis cost for all of QM9: processor time, and memory at most?

    python benchmarks/analysis_at_scale.py QM9 [--model MODEL] [--relevance FOLDER] [--scratch DIR]

QM9 is a data set (``hpcml import qm9``).  Without ``--model`` a small DTNN is trained on 2,000 of
its molecules (a minute), and without ``--relevance`` it explains all of them on two ranks (five
minutes); neither is timed.  Then comes each program by itself, on one thread: the tables of
``hpcml analyze``, and what its ``--representations`` adds.  Processor time is that of the program
and the processes that it starts, memory the largest that one of them held.  The demand: under ten
minutes and 4 GB.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from hpcml.relevance import ExplainSettings
from hpcml.training import TrainSettings

SMALL_NETWORK = TrainSettings(
    model="dtnn",
    hyperparameters={"passes": 2, "gaussians": 50, "farthest": 10.0},
    target="alpha_iso",
    epochs=10,
    train=2000,
    validation=500,
    test=500,
    ranks=1,
)
ANALYZE = """
import sys
from pathlib import Path
from hpcml.analysis import analyze
from hpcml.store import Dataset
data, model, relevance, to = map(Path, sys.argv[1:])
analyze(Dataset.open(data), relevance, model, to)
"""
LOOK_INSIDE = """
import sys
from pathlib import Path
from hpcml.pipeline import look_inside
from hpcml.store import Dataset
data, model, vectors, to = map(Path, sys.argv[1:])
look_inside(Dataset.open(data), model, vectors, to)
"""


def program(words: Sequence[str | Path], threads: int = 1) -> None:
    """Run a program to its end; SystemExit where it fails."""
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    environment = {**os.environ, **root, "OMP_NUM_THREADS": str(threads)}
    ended = subprocess.run(list(map(str, words)), env=environment, check=False)
    if ended.returncode:
        raise SystemExit(f"{words[0]} ended with {ended.returncode}")


def timed(name: str, words: Sequence[str | Path]) -> None:
    """One line of the table.  Run in a process of its own, whose children are these alone."""
    start = time.monotonic()
    child = os.fork()
    if not child:
        program(words)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = used.ru_utime + used.ru_stime
        wall = time.monotonic() - start
        print(f"{name:34}{seconds:12.0f}{wall:9.0f}{used.ru_maxrss * 1024 / 1e9:9.2f}", flush=True)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        raise SystemExit(f"{name} failed")


def trained(data: Path, folder: Path) -> Path:
    """A small network of a few epochs."""
    settings = folder / "train.json"
    settings.write_bytes(msgspec.json.encode(SMALL_NETWORK))
    words = [sys.executable, "-m", "hpcml.training.train_program", "--dataset", data]
    program([*words, "--model", folder / "model", "--settings", settings])
    return folder / "model"


def explained(data: Path, model: Path, folder: Path) -> Path:
    """Relevances of all molecules by the gamma rule."""
    settings = folder / "explain.json"
    settings.write_bytes(msgspec.json.encode(ExplainSettings(rule="gamma")))
    words = ["mpiexec", "-n", "2", "--bind-to", "none", sys.executable, "-m"]
    words += ["hpcml.relevance.explain_program", "--dataset", data, "--model", model]
    program([*words, "--relevance", folder / "relevance", "--settings", settings])
    return folder / "relevance"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("qm9", type=Path, help="QM9 as hpcml import qm9 leaves it")
    parser.add_argument("--model", type=Path, help="folder of a trained network")
    parser.add_argument("--relevance", type=Path, help="its relevances of all of QM9")
    parser.add_argument("--scratch", type=Path, help="where files go (a temporary folder)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.scratch) as scratch:
        folder = Path(scratch)
        model = chosen.model or trained(chosen.qm9, folder)
        relevance = chosen.relevance or explained(chosen.qm9, model, folder)
        print(f"{'':34}{'processor s':>12}{'wall s':>9}{'GB':>9}")
        python = [sys.executable, "-c"]
        data = [chosen.qm9, model]
        timed("hpcml analyze", [*python, ANALYZE, *data, relevance, folder / "analysis"])
        vectors = [*python, LOOK_INSIDE, *data, folder / "vectors", folder / "analysis"]
        timed("its --representations", vectors)


if __name__ == "__main__":
    main()
