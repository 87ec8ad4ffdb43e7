"""What does relevance cost: beside training, beside zennit and captum, and for all of QM9?

    pip install --no-deps zennit captum      (peers; without them that table is left out)
    python benchmarks/relevance_throughput.py QM9 [--weave MODEL] [--dtnn MODEL]

QM9 is a data set (``hpcml import qm9``), MODEL a folder of ``hpcml train``; without one the
published network with fresh weights takes its place.  Three tables, on two cores about nine
minutes:

Relevance of a batch against one forward and backward of training, network by network, at the
published sizes, for batches of 128 and of 512 molecules (two minutes).  A plain network of affine
layers and ReLU against zennit and captum, beside one forward and one gradient of the inputs, the
least that any of them can do (one minute).  ``hpcml explain`` with Weave and with DTNN (six
minutes): a sample on one rank and on two, and the whole data set on two.

What stands in one table is timed in turn, round after round, in processor time where one process
is timed; ``hpcml explain`` in wall time, less what it takes to start where that is said.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import nn

from hpcml.cluster.mpi_program import keep_freed_memory
from hpcml.models import build, collate, example, unit_scaling
from hpcml.molecules import Molecule
from hpcml.relevance import (
    AlphaBeta,
    Composite,
    Epsilon,
    ExplainSettings,
    Gamma,
    explain,
    open_relevance,
)
from hpcml.relevance.engine.rules import Rule
from hpcml.store import Dataset, Row, Schema, ShardWriter
from hpcml.training import Target
from hpcml.training.model_file import ModelInfo, save_model

NETWORKS = {
    "Weave, sum": ("weave", {"readout": "sum"}),
    "Weave, histogram": ("weave", {}),
    "GraphConv": ("graphconv", {}),
    "DTNN": ("dtnn", {}),
    "ANI": ("ani", {"elements": [1, 6, 7, 8, 9], "hidden": [[160, 128, 96]] * 5}),
    "PaiNN": ("painn", {}),
}


def sample(dataset: Dataset, count: int) -> list[Molecule]:
    """Molecules from all over the data set, the larger ones as frequent as they are there."""
    places = np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int)
    return [dataset.molecules[place] for place in places.tolist()]


def network(name: str) -> nn.Module:
    """Fresh weights, with nothing left at zero."""
    torch.manual_seed(0)
    kind, hyperparameters = NETWORKS[name]
    model = build(kind, hyperparameters, scaling=unit_scaling(1))
    for parameter in model.parameters():
        if not bool(parameter.any()):
            nn.init.normal_(parameter, std=0.05)
    return model


def medians(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Processor seconds of each, in turn; the first round does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds + 1):
        for name, work in works.items():
            start = time.process_time()
            work()
            seconds[name].append(time.process_time() - start)
    return {name: statistics.median(times[1:]) for name, times in seconds.items()}


def against_training(molecules: list[Molecule], rounds: int) -> None:
    print(f"\nRelevance (epsilon rule) of {len(molecules)} molecules, beside training, ms")
    print(f"{'network':18}{'training':>10}{'relevance':>11}{'ratio':>7}   one forward and backward")
    for name in NETWORKS:
        model = network(name)
        batch = collate([example(one, model.inputs) for one in molecules])  # type: ignore[arg-type]

        def train(model: nn.Module = model, batch: object = batch) -> None:
            model.train()
            model.zero_grad()
            model(batch).square().mean().backward()

        works = {"training": train, "relevance": lambda m=model, b=batch: explain(m, b)}
        found = medians(works, rounds)
        ratio = found["relevance"] / found["training"]
        line = f"{found['training'] * 1e3:10.1f}{found['relevance'] * 1e3:11.1f}{ratio:7.2f}"
        print(f"{name:18}{line}", flush=True)


# ------------------------------------------------------------------------------ peers


def zennit_relevance(model: nn.Module, inputs: torch.Tensor, rule: str) -> Callable[[], object]:
    """zennit's own gradient attributor; its torchvision helpers are not needed."""
    for name in ("torchvision", "torchvision.models", "torchvision.models.resnet",
                 "torchvision.models.vgg"):  # fmt: skip
        module = sys.modules.setdefault(name, types.ModuleType(name))
        module.Bottleneck = module.BasicBlock = module.VGG = nn.Identity  # type: ignore[attr-defined]
    import zennit.attribution
    import zennit.composites
    import zennit.rules

    chosen = getattr(zennit.rules, rule)()
    pairs = [(nn.Linear, chosen), (nn.ReLU, zennit.rules.Pass())]
    composite = zennit.composites.LayerMapComposite(layer_map=pairs)
    attributor = zennit.attribution.Gradient(model, composite, attr_output=lambda output: output)

    def work() -> object:
        with attributor:
            return attributor(inputs)

    return work


def captum_relevance(model: nn.Module, inputs: torch.Tensor, rule: str) -> Callable[[], object]:
    from captum.attr import LRP
    from captum.attr._utils import lrp_rules

    for layer in model:  # type: ignore[attr-defined]
        if isinstance(layer, nn.Linear):
            layer.rule = getattr(lrp_rules, rule)()
    values = inputs.clone().requires_grad_()
    return lambda: LRP(model).attribute(values, target=0)


def plain_network() -> nn.Sequential:
    torch.manual_seed(0)
    sizes = [256] * 6
    layers = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(256, 1))


def gradient(model: nn.Module, inputs: torch.Tensor) -> Callable[[], object]:
    """One forward, and one backward to the inputs alone."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)

    def work() -> object:
        values = inputs.clone().requires_grad_()
        outputs = model(values)
        return torch.autograd.grad(outputs, values, outputs.detach())

    return work


def against_peers(rounds: int) -> None:
    rows = 2048
    inputs = torch.randn(rows, 256)
    rules: dict[str, tuple[Rule, str, str | None]] = {
        "epsilon": (Epsilon(1e-6), "Epsilon", "EpsilonRule"),
        "gamma": (Gamma(0.25, 1e-6), "Gamma", "GammaRule"),
        "alpha-beta": (AlphaBeta(2.0, 1e-6), "AlphaBeta", None),
    }
    print(f"\nA plain network (6 affine layers of 256, ReLU), {rows} rows, ms")
    print(f"{'rule':12}{'gradient':>10}{'hpcml':>8}{'zennit':>9}{'captum':>9}")
    for name, (rule, theirs, captums) in rules.items():
        model, other, third = plain_network(), plain_network(), plain_network()
        composite = Composite(above=rule)
        works = {"gradient": gradient(plain_network(), inputs)}
        works["hpcml"] = lambda m=model, c=composite: explain(m, inputs, c)
        works["zennit"] = zennit_relevance(other, inputs, theirs)
        if captums:
            works["captum"] = captum_relevance(third, inputs, captums)
        found = medians(works, rounds)
        line = f"{name:12}{found['gradient'] * 1e3:10.1f}{found['hpcml'] * 1e3:8.1f}"
        line += f"{found['zennit'] * 1e3:9.1f}"
        line += f"{found['captum'] * 1e3:9.1f}" if captums else f"{'-':>9}"
        peers = [peer for peer in ("zennit", "captum") if peer in found]
        ratios = ", ".join(f"{found[peer] / found['hpcml']:.1f} times {peer}" for peer in peers)
        print(f"{line}   {ratios}", flush=True)


# --------------------------------------------------------------------------- a data set


def over_a_data_set(dataset: Dataset, rows: int, models: dict[str, Path | None]) -> None:
    """Time, memory, and ledger of ``hpcml explain``: a sample on one rank and two, then all."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        schema = Schema(columns=("energy",))
        with ShardWriter(folder / "data", schema, "benchmark", rows_per_shard=1024) as writer:
            for number, molecule in enumerate(sample(dataset, rows)):
                writer.append(Row(f"{number:032x}", molecule, {"energy": np.array(0.0)}, {}))
        part = Dataset.open(folder / "data")
        print(f"\nhpcml explain over {len(part)} rows, and over all {len(dataset)}")
        print(
            f"{'network':12}{'rows':>8}{'ranks':>6}{'wall s':>8}{'start s':>8}{'rows/s':>8}"
            f"{'GB/rank':>8}   without starting"
        )
        for name, trained in models.items():
            kind, hyperparameters = NETWORKS[name]
            model = trained or folder / kind
            if trained is None:
                info = ModelInfo(
                    model=kind,
                    hyperparameters=hyperparameters,
                    targets=(Target(name="energy"),),
                    units=("Eh",),
                    scaling=unit_scaling(1),
                )
                model.mkdir()
                save_model(model, network(name).state_dict(), info)
            works = {}
            for data, ranks in ((part, 1), (part, 2), (dataset, 2)):
                target = folder / f"{kind}-{len(data)}-{ranks}"
                seconds, memory = _program(data.folder, model, target, ranks)
                start, _ = _program(data.folder, model, target, ranks)  # nothing is left to do
                works[len(data), ranks] = seconds - start
                said = f"{len(data) / (seconds - start):.0f} rows/s"
                if (data, ranks) == (part, 2):
                    said += f", {works[len(data), 1] / works[len(data), 2]:.2f} times one rank"
                print(
                    f"{name:12}{len(data):8}{ranks:6}{seconds:8.1f}{start:8.1f}"
                    f"{len(data) / seconds:8.0f}{memory:8.2f}   {said}",
                    flush=True,
                )
            print(f"{name:12}{_ledger(target, dataset)}", flush=True)


def _ledger(relevance: Path, dataset: Dataset) -> str:
    """How well predictions = atoms + ledger closes over the whole data set."""
    found = open_relevance(relevance, dataset)
    atoms = np.add.reduceat(found.atoms, found.offsets[:-1])
    known = np.isfinite(found.prediction)
    missing = (found.prediction - atoms - found.ledger.sum(axis=1))[known]
    size = np.maximum(np.abs(found.prediction[known]), 1e-3)
    return (
        f"ledger closes to {np.abs(missing / size).max():.1e} of the prediction at worst, "
        f"{np.median(np.abs(missing / size)):.1e} in the middle; {int((~known).sum())} rows without"
    )


def _program(dataset: Path, model: Path, target: Path, ranks: int) -> tuple[float, float]:
    """Wall seconds, and the largest resident memory of a rank in GB."""
    settings = target.with_suffix(".json")
    settings.write_bytes(msgspec.json.encode(ExplainSettings()))
    command = [sys.executable, "-m", "hpcml.relevance.explain_program", "--dataset", str(dataset)]
    command += ["--model", str(model), "--relevance", str(target), "--settings", str(settings)]
    if ranks > 1:
        command = ["mpiexec", "-n", str(ranks), "--bind-to", "none", *command]
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    environment = {**os.environ, **root, "OMP_NUM_THREADS": "1"}
    start, peak = time.monotonic(), 0.0
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as running:
        while running.poll() is None:
            peak = max(peak, _largest_rank(str(target)))
            time.sleep(0.2)
        if running.returncode != 0:
            said = running.stderr.read().decode() if running.stderr else ""
            raise SystemExit(f"hpcml explain failed: {said}")
    return time.monotonic() - start, peak


def _largest_rank(argument: str) -> float:
    """Peak resident memory, in GB, of the processes that were given this argument."""
    largest = 0.0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode().split("\0")
            if argument not in words or "mpiexec" in words[0]:
                continue
            for line in (process / "status").read_text().splitlines():
                if line.startswith("VmHWM"):
                    largest = max(largest, int(line.split()[1]) * 1024 / 1e9)
        except OSError:
            continue  # it has ended
    return largest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("qm9", type=Path, help="QM9 as hpcml import qm9 leaves it")
    parser.add_argument("--rows", type=int, default=8192, help="of the sample that is explained")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--weave", type=Path, help="folder of a trained Weave")
    parser.add_argument("--dtnn", type=Path, help="folder of a trained DTNN")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as the ranks of hpcml explain do; here it serves all alike
    dataset = Dataset.open(chosen.qm9)
    for size in (128, 512):
        against_training(sample(dataset, size), chosen.rounds)
    if all(find_spec(peer) for peer in ("zennit", "captum")):
        against_peers(chosen.rounds)
    over_a_data_set(dataset, chosen.rows, {"Weave, sum": chosen.weave, "DTNN": chosen.dtnn})


if __name__ == "__main__":
    main()
