"""Strong and weak scaling of the stages, on the ranks and nodes that a site has.

generate   a campaign of calculations that only wait (``calculators.wait``), or of Psi4's
train      a network on a data set that is given
explain    that network's relevance on the same data set

Strong: the same work for any number of ranks.  Weak: as much for each rank.  Every point is run
several times, in turn with the others, so that a busy hour falls on all of them.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from hpcml.cluster import RunFolder, Site, run_mpi
from hpcml.errors import PlatformError, SettingsError
from hpcml.molecules import Molecule

STAGES = ("generate", "train", "explain")
KINDS = ("strong", "weak")
_ROOMS = {"train": "training", "explain": "relevance"}
_HELD_OUT = 20  # rows for validation, and as many for the test
_EPOCHS = 10


class Point(msgspec.Struct, kw_only=True):
    """One stage on so many ranks.

    work      molecules, rows, or molecules of all epochs
    seconds   of the work itself, without its start; one for each repeat
    starting  seconds of start and end, one for each repeat
    """

    stage: str
    kind: str
    nodes: int
    ranks: int
    work: int
    seconds: list[float] = []
    starting: list[float] = []


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be run.

    site       as it is written; ``nodes`` (slurm, allocation) or ranks (local) are put in place
    sizes      numbers of nodes, or of ranks where the site is one machine
    stages, kinds   of ``STAGES``, ``KINDS``
    dataset    that train and explain use
    calculator wait, or psi4
    basis      that psi4 uses
    wait       seconds that a calculation waits
    each       molecules a rank: of a weak point, and of the largest strong one
    rows       of the data set, likewise
    repeats    of each point
    """

    site: Site
    sizes: tuple[int, ...]
    stages: tuple[str, ...] = ("generate",)
    kinds: tuple[str, ...] = KINDS
    dataset: str = ""
    calculator: str = "wait"
    basis: str = "STO-3G"
    wait: float = 0.5
    each: int = 20
    rows: int = 200
    repeats: int = 3


def run(bench: Bench, folder: Path, told: Callable[[str], None]) -> list[Point]:
    """Run every point; ``told`` is given a line after each.

    Raises SettingsError for a bench that cannot be run, and what the stages raise.
    """
    if not bench.dataset and set(bench.stages) & {"train", "explain"}:
        raise SettingsError("train and explain need a data set: --dataset DIR")
    if not bench.sizes or min(bench.sizes) < 1 or bench.repeats < 1:
        raise SettingsError("sizes and repeats must be at least 1")
    if "train" in bench.stages:
        _check_rows(bench)
    points = [_point(bench, *key) for key in _order(bench)]
    for repeat in range(bench.repeats):
        for point in points:
            place = tempfile.mkdtemp(prefix=f"{point.stage}-", dir=folder)
            seconds, starting = _RUNS[point.stage](bench, point, Path(place))
            point.seconds.append(seconds)
            point.starting.append(starting)
            told(
                f"{repeat + 1}/{bench.repeats} {point.stage}, {point.kind}: {point.ranks} ranks, "
                f"{seconds:.1f} s, beside them {starting:.1f} s"
            )
    return points


def _check_rows(bench: Bench) -> None:
    from hpcml.store import Dataset

    wanted = bench.rows * _site(bench, max(bench.sizes)).ranks + 2 * _HELD_OUT
    if (there := len(Dataset.open(bench.dataset))) < wanted:
        raise SettingsError(
            f"--rows {bench.rows}: training on {_site(bench, max(bench.sizes)).ranks} ranks takes "
            f"{wanted} rows, {bench.dataset} has {there}"
        )


def _order(bench: Bench) -> Iterator[tuple[str, str, int]]:
    for stage in bench.stages:
        for kind in bench.kinds:
            for size in sorted(set(bench.sizes)):
                yield stage, kind, size


def _site(bench: Bench, size: int) -> Site:
    if bench.site.kind == "local":
        return msgspec.structs.replace(bench.site, ranks_per_node=size)
    return msgspec.structs.replace(bench.site, nodes=size)


def _point(bench: Bench, stage: str, kind: str, size: int) -> Point:
    site = _site(bench, size)
    share = _site(bench, max(bench.sizes)).ranks if kind == "strong" else site.ranks
    work = (bench.each if stage == "generate" else bench.rows) * share
    return Point(stage=stage, kind=kind, nodes=site.nodes, ranks=site.ranks, work=work)


def _size(bench: Bench, point: Point) -> int:
    return point.ranks if bench.site.kind == "local" else point.nodes


def _generate(bench: Bench, point: Point, folder: Path) -> tuple[float, float]:
    from hpcml.generation import generate
    from hpcml.generation.protocol.task import task_folders
    from hpcml.response import Level, Request

    run_folder = RunFolder(folder / "run")
    began = time.monotonic()
    report = generate(
        run_folder,
        _waters(point.work, f"wait {bench.wait}"),
        Level(method="HF", basis=bench.basis),
        Request(properties=("dipole", "alpha", "beta")),
        _site(bench, _size(bench, point)),
        calculator=bench.calculator,
    )
    wall = time.monotonic() - began
    if report.done != point.work:
        raise PlatformError(f"{report.done} of {point.work} calculations ended well: {report}")
    states = [task.read_progress() for task in task_folders(run_folder.work)]
    seconds = max(s.last_end for s in states) - min(s.first_start for s in states)
    return seconds, wall - seconds


def _waters(count: int, name: str) -> Iterator[Molecule]:
    """Water molecules, another geometry for each."""
    for step in range(count):
        r = 0.95 + 1e-5 * step
        positions = np.array([[0, 0, 0], [0, 0.79 * r, 0.61 * r], [0, -0.79 * r, 0.61 * r]])
        yield Molecule(np.array([8, 1, 1]), positions, name=name)


def _train(bench: Bench, point: Point, folder: Path) -> tuple[float, float]:
    """The seconds are those of the training itself, from metrics.json."""
    batch = 32 * point.ranks if point.kind == "weak" else 64
    wall = _train_into(folder / "model", bench, point, batch=batch, epochs=_EPOCHS)
    metrics = json.loads((folder / "model" / "metrics.json").read_text())
    seconds = _EPOCHS * point.work / float(metrics["molecules_per_second"])
    return seconds, wall - seconds


def _train_into(model: Path, bench: Bench, point: Point, *, batch: int, epochs: int) -> float:
    """Wall seconds of training on as many rows as the point has."""
    from hpcml.store import Dataset
    from hpcml.training import TrainSettings

    column = next(c for c in ("energy", "alpha_iso") if c in Dataset.open(bench.dataset).columns)
    settings = TrainSettings(
        model="weave",
        target=column,
        epochs=epochs,
        train=point.work,
        validation=_HELD_OUT,
        test=_HELD_OUT,
        batch_size=batch,
        ranks=point.ranks,
        checkpoint_steps=10**6,
    )
    words = ["--model", str(model), "--dataset", bench.dataset]
    return _program(bench, point, "train", folder=model.parent, words=words, settings=settings)


def _explain(bench: Bench, point: Point, folder: Path) -> tuple[float, float]:
    """Explained, then asked for again: the second time is that of its start.

    The rule is named: choosing one (``auto``) is done once for each network, by one rank.
    """
    from hpcml.relevance import ExplainSettings
    from hpcml.store import Dataset, Row, Schema, ShardWriter

    data = Dataset.open(bench.dataset)
    with ShardWriter(folder / "data", Schema(columns=("energy",)), "bench") as writer:
        for number in range(point.work):
            molecule = data.molecule(number % len(data))
            writer.append(Row(f"{number:032x}", molecule, {"energy": np.array(0.0)}))
    words = ["--model", str(_network(bench, folder.parent)), "--dataset", str(folder / "data")]
    words += ["--relevance", str(folder / "relevance")]
    settings = ExplainSettings(rule="epsilon_gamma", ranks=point.ranks)
    run = partial(_program, bench, point, "explain", folder=folder, words=words, settings=settings)
    first, again = run(), run()
    return max(1e-3, first - again), again


def _network(bench: Bench, folder: Path) -> Path:
    """One that a training of this bench has left, else one that is trained for a moment."""
    for model in sorted(folder.glob("train-*/model")):
        if (model / "metrics.json").exists():
            return model
    one = msgspec.structs.replace(bench, sizes=(1,), rows=100)
    point = _point(one, "train", "weak", 1)
    model = folder / "train-for-explain" / "model"
    _train_into(model, one, point, batch=32, epochs=1)
    return model


def _program(
    bench: Bench,
    point: Point,
    stage: str,
    *,
    folder: Path,
    words: Sequence[str],
    settings: msgspec.Struct,
) -> float:
    """Wall seconds of a stage's MPI program; its settings and its log go to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    orders = folder / f"{stage}.json"
    orders.write_bytes(msgspec.json.encode(settings))
    module = f"hpcml.{_ROOMS[stage]}.{stage}_program"
    began = time.monotonic()
    site = _site(bench, _size(bench, point))
    words = ["--settings", str(orders), *words]
    if not run_mpi(point.ranks, module, words, site, folder / f"{stage}.log"):
        raise PlatformError(f"{stage} on {point.ranks} ranks was stopped")
    return time.monotonic() - began


_RUNS: dict[str, Callable[[Bench, Point, Path], tuple[float, float]]] = {
    "generate": _generate,
    "train": _train,
    "explain": _explain,
}


def efficiency(points: Sequence[Point], point: Point) -> tuple[float, float, float]:
    """Efficiency of a point against the smallest of its stage and kind, and its 95 % interval.

    Of the repeats, each against the smallest's of the same round (Student's t); a single repeat
    has no interval: NaN.
    """
    alike = [p for p in points if (p.stage, p.kind) == (point.stage, point.kind)]
    least = min(alike, key=lambda p: p.ranks)
    ratios = np.array(
        [
            (a / least.work) * least.ranks / (b / point.work * point.ranks)
            for a, b in zip(least.seconds, point.seconds, strict=True)
        ]
    )
    mean = float(ratios.mean())
    if len(ratios) < 2:
        return mean, float("nan"), float("nan")
    from scipy.stats import t

    half = float(t.ppf(0.975, len(ratios) - 1) * ratios.std(ddof=1) / np.sqrt(len(ratios)))
    return mean, mean - half, mean + half
