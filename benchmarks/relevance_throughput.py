"""What does relevance cost: beside training, beside zennit and captum, and for all of QM9?

    pip install --no-deps zennit captum      (peers; without them that table is left out)
    python benchmarks/relevance_throughput.py QM9 [--rows 4000]

Three tables.  Relevance of a batch against one forward and backward of training, network by
network, at the published sizes.  A plain network of affine layers and ReLU against zennit and
captum.  ``hpcml explain`` over a data set of ``--rows`` molecules with Weave and with DTNN on one
rank and on two, start-up included, and what that makes for all of QM9.  What stands in one
table is timed in turn, round after round, in processor time where one process is timed.
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
from itertools import islice, pairwise
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import nn

from hpcml.models import build, collate, example, unit_scaling
from hpcml.molecules import Molecule
from hpcml.molecules.qm9 import Qm9Record, read_qm9
from hpcml.relevance import AlphaBeta, Composite, Epsilon, ExplainSettings, Gamma, explain
from hpcml.relevance.rules import Rule
from hpcml.store import Dataset, Row, Schema, ShardWriter
from hpcml.training.model_file import ModelInfo, save_model

QM9_ROWS = 130_831
NETWORKS = {
    "Weave, sum": ("weave", {"readout": "sum"}),
    "Weave, histogram": ("weave", {}),
    "GraphConv": ("graphconv", {}),
    "DTNN": ("dtnn", {}),
    "ANI": ("ani", {"elements": [1, 6, 7, 8, 9], "hidden": [[160, 128, 96]] * 5}),
    "PaiNN": ("painn", {}),
}


def molecules_of_qm9(source: str, count: int) -> list[Molecule]:
    """Molecules from all over QM9, the larger ones as frequent as they are there."""
    step = max(1, QM9_ROWS // count)
    records = islice(read_qm9(source), 0, None, step)
    return [one.molecule for one in records if isinstance(one, Qm9Record)][:count]


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
    print(f"{'network':18}{'training':>10}{'relevance':>11}{'ratio':>7}")
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


def against_peers(rounds: int) -> None:
    rows = 2048
    inputs = torch.randn(rows, 256)
    rules: dict[str, tuple[Rule, str, str | None]] = {
        "epsilon": (Epsilon(1e-6), "Epsilon", "EpsilonRule"),
        "gamma": (Gamma(0.25, 1e-6), "Gamma", "GammaRule"),
        "alpha-beta": (AlphaBeta(2.0, 1e-6), "AlphaBeta", None),
    }
    print(f"\nA plain network (6 affine layers of 256, ReLU), {rows} rows, ms")
    print(f"{'rule':12}{'hpcml':>8}{'zennit':>9}{'captum':>9}")
    for name, (rule, theirs, captums) in rules.items():
        model, other, third = plain_network(), plain_network(), plain_network()
        composite = Composite(above=rule)
        works = {"hpcml": lambda m=model, c=composite: explain(m, inputs, c)}
        works["zennit"] = zennit_relevance(other, inputs, theirs)
        if captums:
            works["captum"] = captum_relevance(third, inputs, captums)
        found = medians(works, rounds)
        line = f"{name:12}{found['hpcml'] * 1e3:8.1f}{found['zennit'] * 1e3:9.1f}"
        line += f"{found['captum'] * 1e3:9.1f}" if captums else f"{'-':>9}"
        ratios = ", ".join(
            f"{found[peer] / found['hpcml']:.1f} times {peer}" for peer in found if peer != "hpcml"
        )
        print(f"{line}   {ratios}", flush=True)


# --------------------------------------------------------------------------- a data set


def over_a_data_set(molecules: list[Molecule], ranks: tuple[int, ...]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        schema = Schema(columns=("energy",))
        with ShardWriter(folder / "data", schema, "benchmark", rows_per_shard=1024) as writer:
            for number, molecule in enumerate(molecules):
                writer.append(Row(f"{number:032x}", molecule, {"energy": np.array(0.0)}, {}))
        rows = len(Dataset.open(folder / "data"))
        print(f"\nhpcml explain over {rows} rows, start-up included")
        print(f"{'network':18}{'ranks':>6}{'wall s':>9}{'rows/s':>9}{'QM9, min':>10}{'GB/rank':>9}")
        for name in ("Weave, sum", "DTNN"):
            kind, hyperparameters = NETWORKS[name]
            info = ModelInfo(
                model=kind,
                hyperparameters=hyperparameters,
                targets=("energy",),
                units=("Eh",),
                scaling=unit_scaling(1),
            )
            (folder / kind).mkdir()
            save_model(folder / kind, network(name).state_dict(), info)
            for count in ranks:
                target = folder / f"{kind}-{count}"
                seconds, memory = _program(folder / "data", folder / kind, target, count)
                rate = rows / seconds
                print(
                    f"{name:18}{count:6}{seconds:9.1f}{rate:9.0f}{QM9_ROWS / rate / 60:10.1f}"
                    f"{memory:9.2f}",
                    flush=True,
                )


def _program(dataset: Path, model: Path, target: Path, ranks: int) -> tuple[float, float]:
    """Wall seconds, and the largest resident memory of a rank in GB."""
    settings = target.with_suffix(".json")
    settings.write_bytes(msgspec.json.encode(ExplainSettings()))
    command = [sys.executable, "-m", "hpcml.relevance.program", "--dataset", str(dataset)]
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
    parser.add_argument("qm9", help="QM9 as hpcml import qm9 reads it")
    parser.add_argument("--rows", type=int, default=4000, help="of the data set to explain")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--ranks", default="1,2")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    molecules = molecules_of_qm9(chosen.qm9, chosen.rows)
    against_training(molecules[:: max(1, len(molecules) // 128)][:128], chosen.rounds)
    against_peers(chosen.rounds)
    over_a_data_set(molecules, tuple(int(count) for count in chosen.ranks.split(",")))


if __name__ == "__main__":
    main()
