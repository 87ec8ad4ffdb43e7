"""What do gradients cost between ranks: Horovod beside torch.distributed, by size and by setting?

    python benchmarks/allreduce.py [--ranks 2]

Both are asked through ``hpcml.training.world``, as training asks them, on ranks started by mpiexec
with one thread each: one gradient of 1 kB to 64 MB; a hundred of 40 kB, as a network has them,
with fusion and without, as they are and as fp16; and a step whose backward pass makes gradients
that may leave while it goes on (Horovod sends each when it is made, the buckets of
torch.distributed when all are).  Medians of wall time on rank 0, both backends in turn, round
after round: as many idle cores as ranks are wanted.  Two minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from hpcml.cluster import Site
from hpcml.cluster.launch import mpi_environment
from hpcml.training.world import Horovod, TorchDistributed

BACKENDS = ("horovod", "torch")
SIZES = tuple(4**n for n in range(5, 14))  # bytes: 1 kB to 64 MB
MANY, EACH = 100, 10_000  # tensors, float32 numbers in each
FUSION = 64.0  # megabytes, hpcml's own setting
LAYERS, WIDTH, BATCH = 12, 512, 256

Settings = tuple[float, str]
"""Fusion in megabytes (0: none) and compression."""


def world(backend: str, ranks: int, settings: Settings) -> Horovod | TorchDistributed:
    if backend == "horovod":
        return Horovod(ranks, *settings)
    return TorchDistributed(ranks, *settings, "cpu")


def median(action: Callable[[], object], joined: Any, repeats: int) -> float:
    """Milliseconds of an action that all ranks begin together."""
    taken = []
    for _ in range(repeats + 2):
        joined.sum(torch.zeros(1))
        started = time.perf_counter()
        action()
        taken.append(1e3 * (time.perf_counter() - started))
    return statistics.median(taken[2:])  # the first two make buffers and connections


def reduced(joined: Any, sizes: list[int], repeats: int) -> float:
    """Milliseconds to add up gradients of so many float32 numbers."""
    parameters = [nn.Parameter(torch.zeros(size)) for size in sizes]
    named = [(f"{sizes[0]} {number}", one) for number, one in enumerate(parameters)]
    gradients = joined.gradients(named)

    def action() -> None:
        for parameter in parameters:
            parameter.grad = torch.ones_like(parameter)
        gradients.reduce()

    found = median(action, joined, repeats)
    assert all(bool((one.grad == joined.size).all()) for one in parameters), "not the ranks' sum"
    return found


def step(joined: Any, repeats: int) -> tuple[float, float]:
    """Milliseconds of a backward pass without and with its gradients' sums."""
    layers = [nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.SiLU()) for _ in range(LAYERS)]
    network, inputs = nn.Sequential(*layers), torch.randn(BATCH, WIDTH)

    def backward() -> None:
        network.zero_grad()
        network(inputs).square().mean().backward()

    alone = median(backward, joined, repeats)
    gradients = joined.gradients(list(network.named_parameters()))

    def together() -> None:
        backward()
        gradients.reduce()

    return alone, median(together, joined, repeats)


def as_rank(backend: str, options: argparse.Namespace) -> None:
    """What one rank does for one setting; rank 0 prints what it measured."""
    settings: Settings = (options.fusion, options.compression)
    joined = world(backend, options.ranks, settings)
    found: dict[str, Any] = {"many": reduced(joined, [EACH] * MANY, options.repeats)}
    if options.whole:
        found["one"] = [reduced(joined, [size // 4], options.repeats) for size in SIZES]
        found["alone"], found["step"] = step(joined, options.repeats)
    if joined.rank == 0:
        print(json.dumps(found), flush=True)
    joined.close()


def measured(backend: str, settings: Settings, whole: bool, options: argparse.Namespace) -> Any:
    words = ["--ranks", str(options.ranks), "--repeats", str(options.repeats)]
    words += ["--fusion", str(settings[0]), "--compression", settings[1], "--as-rank", backend]
    command = ["mpiexec", "-n", str(options.ranks), sys.executable, __file__, *words]
    ended = subprocess.run(
        [*command, "--whole"] if whole else command,
        env=os.environ | mpi_environment(Site(threads=1)),
        check=False,
        capture_output=True,
        text=True,
    )
    if ended.returncode:
        raise SystemExit(ended.stderr)
    return json.loads(ended.stdout)


def compare(options: argparse.Namespace) -> None:
    cases: list[Settings] = [(FUSION, "none"), (0.0, "none"), (FUSION, "fp16"), (0.0, "fp16")]
    found: dict[tuple[str, Settings], list[Any]] = {}
    for _ in range(options.rounds):
        for case in cases:
            for backend in BACKENDS:
                one = measured(backend, case, case == cases[0], options)
                found.setdefault((backend, case), []).append(one)

    def over_rounds(backend: str, case: Settings, pick: Callable[[Any], float]) -> float:
        return statistics.median(pick(one) for one in found[backend, case])

    print(f"one gradient, {options.ranks} ranks, ms\n{'bytes':>12} {'horovod':>10} {'torch':>10}")
    for index, size in enumerate(SIZES):
        each = [over_rounds(b, cases[0], lambda one, i=index: one["one"][i]) for b in BACKENDS]
        print(f"{size:12} {each[0]:10.3f} {each[1]:10.3f}")
    print(f"\n{MANY} gradients of {4 * EACH} bytes, ms")
    for fusion, compression in cases:
        each = [over_rounds(b, (fusion, compression), lambda one: one["many"]) for b in BACKENDS]
        told = f"{'fused' if fusion else 'one by one'}, {compression}"
        print(f"{told:>20} {each[0]:10.3f} {each[1]:10.3f}")
    print(f"\na backward pass of {LAYERS} layers of {WIDTH}, ms, and with its gradients' sums")
    for backend in BACKENDS:
        alone, with_sums = (
            over_rounds(backend, cases[0], lambda one, k=key: one[k]) for key in ("alone", "step")
        )
        print(f"{backend:>20} {alone:10.2f} {with_sums:10.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=30, help="of each measurement in a round")
    for word, kind, default in (("fusion", float, FUSION), ("compression", str, "none")):
        parser.add_argument(f"--{word}", type=kind, default=default, help=argparse.SUPPRESS)
    parser.add_argument("--as-rank", choices=BACKENDS, help=argparse.SUPPRESS)
    parser.add_argument("--whole", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.as_rank:
        as_rank(options.as_rank, options)
    else:
        compare(options)


if __name__ == "__main__":
    main()
