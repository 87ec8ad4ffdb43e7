"""What does relevance cost: beside training, beside other tools, and for all of QM9?

    install/peers.sh        (zennit and captum are in .venv; this adds autolrp)
    PYTHONPATH=. .venv-peers/bin/python benchmarks/relevance_throughput.py
    .venv/bin/python benchmarks/relevance_throughput.py --qm9 QM9 [--weave MODEL] [--dtnn MODEL]
    .venv/bin/python benchmarks/relevance_throughput.py --device cuda

It says the versions of all that it compares, then three tables, two minutes of one core:

Relevance of a batch against one forward and backward of training, network by network, at the
published sizes.  A plain network of affine layers and ReLU against zennit, captum and autolrp, as
ratios to one gradient of the inputs, the least that any of them can do, and to one forward and
backward of training; beside each time stands how far the relevances of a row are from adding up
to its output (the biases are zero, so that they should), for a wrong answer may be a fast one.
Atoms whose relevance is known within an hour on one device, by epsilon_gamma.

With QM9 (``hpcml import qm9``; MODEL is a folder of ``hpcml train``, without one fresh weights
take its place) also ``hpcml explain``: a sample on one rank and on two, and the whole data set on
two (six minutes).  Without, the molecules are those of ``gdb9_200.xyz``.

What stands in one table is timed in turn, round after round, medians, in processor time where one
process is timed; what a GPU computes and ``hpcml explain`` in wall time, the latter less what it
takes to start where that is said.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import nn

from hpcml.cluster.mpi_program import keep_freed_memory
from hpcml.models import build, collate, example, unit_scaling
from hpcml.molecules import Molecule, read
from hpcml.relevance import (
    AlphaBeta,
    Composite,
    Epsilon,
    ExplainSettings,
    Gamma,
    Relevance,
    explain,
    open_relevance,
)
from hpcml.relevance.engine.rules import Rule
from hpcml.store import Dataset, Row, Schema, ShardWriter
from hpcml.training import Target
from hpcml.training.model_file import ModelInfo, save_model

GDB9 = Path(__file__).with_name("gdb9_200.xyz")
EPSILON = 1e-6
PEERS = ("captum", "zennit", "autolrp")
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


def versions() -> None:
    """What is compared, and on what."""
    print(f"Python {platform.python_version()}, torch.get_num_threads() {torch.get_num_threads()}")
    for name in ("hpcml", "torch", "numpy", *PEERS):
        there = find_spec(name) is not None
        print(f"{name} {importlib.metadata.version(name)}" if there else f"{name} is not installed")


def training_step(model: nn.Module, batch: object) -> Callable[[], object]:
    """One forward, and one backward to the weights."""

    def work() -> object:
        model.train()
        model.zero_grad()
        model(batch).square().mean().backward()
        return None

    return work


def against_training(molecules: list[Molecule], rounds: int) -> None:
    rules = ("epsilon", "gamma", "epsilon_gamma")
    print(f"\nRelevance of {len(molecules)} molecules as a ratio to one forward and backward")
    print(f"{'network':18}{'that, ms':>10}" + "".join(f"{rule:>15}" for rule in rules))
    for name in NETWORKS:
        model = network(name)
        batch = collate([example(one, model.inputs) for one in molecules])  # type: ignore[arg-type]
        works = {"training": training_step(model, batch)}
        for rule in rules:
            works[rule] = lambda m=model, b=batch, r=rule: explain(m, b, r)
        found = medians(works, rounds)
        ratios = "".join(f"{found[rule] / found['training']:15.2f}" for rule in rules)
        print(f"{name:18}{found['training'] * 1e3:10.1f}{ratios}", flush=True)


def an_hour(molecules: list[Molecule], device: str, rounds: int) -> None:
    """Atoms explained within an hour, in wall time, at the batch that does most."""
    print(f"\nAtoms explained in an hour by epsilon_gamma on {device}, in millions")
    print(f"{'network':18}{'molecules':>10}{'millions':>10}{'closure':>10}")
    for name in NETWORKS:
        model = network(name).to(device)
        best = (0.0, 0, 0.0)
        for size in (128, 512) if device == "cpu" else (512, 2048, 8192, 32768):
            several = [molecules[i % len(molecules)] for i in range(size)]
            batch = collate([example(one, model.inputs) for one in several]).to(device)  # type: ignore[arg-type]
            seconds = []
            for _ in range(rounds + 1):
                start = time.monotonic()
                found = explain(model, batch, "epsilon_gamma")
                if device != "cpu":
                    torch.cuda.synchronize()
                seconds.append(time.monotonic() - start)
            rate = 3600e-6 * batch.atoms / statistics.median(seconds[1:])
            worst = float((found.closure / found.prediction.abs().clamp(min=1.0)).abs().max())
            best = max(best, (rate, size, worst))
        print(f"{name:18}{best[1]:10}{best[0]:10.0f}{best[2]:10.1e}", flush=True)


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


def autolrp_relevance(model: nn.Module, inputs: torch.Tensor, rule: object) -> Callable[[], object]:
    import autolrp

    nodes = {"AddmmBackward": rule, "MmBackward": rule}
    config = autolrp.LRPConfig(rule={**autolrp.BASE, **nodes}, eps=EPSILON)

    def work() -> object:
        wrapped = autolrp.tensor(inputs)
        total = model(wrapped).sum()
        total.lrp(config=config)
        return wrapped.relevance * float(total.detach())  # it begins with one, not with the output

    return work


def plain_network() -> nn.Sequential:
    """Affine layers and ReLU; without biases' relevance that of the inputs is the output."""
    torch.manual_seed(0)
    sizes = [256] * 6
    layers = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())]
    model = nn.Sequential(*layers, nn.Linear(256, 1))
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.bias)
    return model


def gradient(model: nn.Module, inputs: torch.Tensor) -> Callable[[], object]:
    """One forward, and one backward to the inputs alone."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)

    def work() -> object:
        values = inputs.clone().requires_grad_()
        outputs = model(values)
        return torch.autograd.grad(outputs, values, outputs.detach())

    return work


def conservation(made: object, outputs: torch.Tensor) -> float:
    """How far the relevances of a row are from adding up to its output, in the middle."""
    if isinstance(made, Relevance):
        made = made.features["input"]
    given = made[-1] if isinstance(made, tuple) else made  # zennit gives the output as well
    apart = given.detach().double().sum(1) - outputs  # type: ignore[attr-defined]
    return float((apart / outputs).abs().median())


def against_peers(rounds: int) -> None:
    rows = 2048
    inputs = torch.randn(rows, 256)
    with torch.no_grad():
        outputs = plain_network()(inputs)[:, 0].double()
    rules: dict[str, tuple[Rule, str, str | None, object]] = {
        "epsilon": (Epsilon(EPSILON), "Epsilon", "EpsilonRule", "epsilon"),
        "gamma": (Gamma(0.25, EPSILON), "Gamma", "GammaRule", ("gamma", {"gamma": 0.25})),
        "alpha-beta": (
            AlphaBeta(2.0, EPSILON),
            "AlphaBeta",
            None,
            ("alpha_beta", {"alpha": 2.0, "beta": 1.0}),
        ),
    }
    print(f"\nA plain network (6 affine layers of 256, ReLU), {rows} rows")
    print(
        f"{'rule':12}{'tool':10}{'ms':>8}{'of a gradient':>15}{'of training':>13}"
        f"{'of hpcml':>10}{'sum is off by':>15}"
    )
    for name, (rule, zennits, captums, autolrps) in rules.items():
        works: dict[str, Callable[[], object]] = {
            "gradient": gradient(plain_network(), inputs),
            "training": training_step(plain_network(), inputs),
            "hpcml": partial(explain, plain_network(), inputs, Composite(above=rule)),
        }
        if find_spec("zennit"):
            works["zennit"] = zennit_relevance(plain_network(), inputs, zennits)
        if find_spec("captum") and captums:
            works["captum"] = captum_relevance(plain_network(), inputs, captums)
        if find_spec("autolrp"):
            works["autolrp"] = autolrp_relevance(plain_network(), inputs, autolrps)
        found = medians(works, rounds)
        for tool, seconds in found.items():
            off = conservation(works[tool](), outputs) if tool in ("hpcml", *PEERS) else None
            print(
                f"{name:12}{tool:10}{seconds * 1e3:8.1f}{seconds / found['gradient']:15.2f}"
                f"{seconds / found['training']:13.2f}{seconds / found['hpcml']:10.2f}"
                + (f"{'-':>15}" if off is None else f"{off:15.1e}"),
                flush=True,
            )


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
    parser.add_argument("--qm9", type=Path, help="QM9 as hpcml import qm9 leaves it")
    parser.add_argument("--rows", type=int, default=8192, help="of the sample that is explained")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch", type=int, default=128, help="molecules beside a training step")
    parser.add_argument("--weave", type=Path, help="folder of a trained Weave")
    parser.add_argument("--dtnn", type=Path, help="folder of a trained DTNN")
    parser.add_argument("--device", default="cpu", help="cuda: the third table alone, there")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as the ranks of hpcml explain do; here it serves all alike
    versions()
    dataset = Dataset.open(chosen.qm9) if chosen.qm9 else None
    if dataset is None:
        molecules = [one for one in read(GDB9) if isinstance(one, Molecule)][: chosen.batch]
    else:
        molecules = sample(dataset, chosen.batch)
    if chosen.device != "cpu":
        if not torch.cuda.is_available():
            raise SystemExit("torch finds no GPU here")
        print(torch.cuda.get_device_name(), torch.version.cuda)
        an_hour(molecules, chosen.device, chosen.rounds)
        return
    against_training(molecules, chosen.rounds)
    against_peers(chosen.rounds)
    an_hour(molecules, "cpu", min(chosen.rounds, 3))
    if dataset is not None:
        over_a_data_set(dataset, chosen.rows, {"Weave, sum": chosen.weave, "DTNN": chosen.dtnn})


if __name__ == "__main__":
    main()
