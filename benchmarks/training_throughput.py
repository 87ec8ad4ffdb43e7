"""How many molecules a second does each network train on, beside the same network elsewhere?

One batch of QM9 molecules, one optimizer step (forward, squared error, backward, Adam) of each
program in turn, round after round, so that whatever else the machine does meets all alike.
Every program gets its own inputs ready made; making a batch of ours from the data in memory, as
in training, is timed apart: its share of a step is the last column.  On one thread of a CPU the
time is the processor's, as other users of the machine do not count there.  All programs meet the
same memory allocator; --keep-memory sets it as our training program does.  Two minutes.

    pip install --no-deps --target PEERS torchani==2.9.0 schnetpack==2.1.1 deepchem==2.8.0 \\
        torch_geometric==2.8.1 xxhash tqdm 'huggingface_hub<1' pytorch_lightning torchmetrics \\
        lightning_utilities fasteners dirsync torch_ema matscipy hydra-core omegaconf \\
        antlr4-python3-runtime==4.9.3 tensorboardX
    PYTHONPATH=PEERS python benchmarks/training_throughput.py QM9

Peers are set to our (the published) sizes.  DeepChem's DTNN gets its distances expanded
beforehand, in float32, as its loader does; SchNet stands beside DTNN as its successor of the
same width; PyTorch Geometric's GraphConv is made of its MFConv, which is the same convolution.
"""

from __future__ import annotations

import argparse
import statistics
import time
import typing
import warnings
from collections.abc import Callable
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from hpcml.cluster.mpi_program import keep_freed_memory
from hpcml.models import Batch, build, collate, example
from hpcml.molecules import Molecule
from hpcml.molecules.qm9 import Qm9Record, read_qm9
from hpcml.training.examples import PackedExamples, pack
from hpcml.training.world import Alone

Step = Callable[[], object]
Forward = Callable[[], Tensor]


def training_step(model: nn.Module, forward: Forward) -> Step:
    """One optimizer step on a fixed batch; the target is of no matter for the time it takes."""
    forward()  # lazy layers take their shape
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        prediction = forward()
        loss = (prediction - 1.0).square().mean()
        loss.backward()
        optimizer.step()

    return step


# ------------------------------------------------------------------------------ peers


def deepchem_dtnn(batch: Batch, device: str) -> Step:
    from deepchem.models.torch_models.dtnn import DTNN
    from deepchem.models.torch_models.layers import DTNNStep

    model = DTNN(1, n_embedding=30, n_hidden=15, n_steps=3, output_activation=False)
    model.dtnn_step = nn.ModuleList(DTNNStep(n_embedding=30, n_hidden=60) for _ in range(3))
    # its pairs are all n^2, each atom with itself too
    own = torch.arange(batch.atoms, device=device)
    i, j = torch.cat([batch.pairs, own.expand(2, -1)], dim=1)
    order = i.argsort(stable=True)
    distances = torch.cat([batch.distances, torch.zeros(batch.atoms, device=device)])[order]
    centres = torch.linspace(-1, 18, 100, dtype=torch.float64, device=device)
    expanded = torch.exp(-0.5 * ((distances[:, None] - centres) / 0.19) ** 2).float()
    inputs = [batch.numbers, expanded, batch.molecule, i[order], j[order]]
    model.to(device)
    return training_step(model, lambda: model(inputs))


def schnetpack_inputs(batch: Batch, cutoff: float) -> dict[str, Tensor]:
    from schnetpack import properties

    order = batch.pairs[0].argsort(stable=True)
    near = order[batch.distances[order] < cutoff]
    i, j = batch.pairs[:, near]
    return {
        properties.Z: batch.numbers,
        properties.idx_i: i,
        properties.idx_j: j,
        properties.idx_m: batch.molecule,
        properties.Rij: batch.positions[j] - batch.positions[i],
    }


def schnetpack_step(network: nn.Module, head: nn.Module, batch: Batch, cutoff: float) -> Step:
    inputs = schnetpack_inputs(batch, cutoff)
    model = nn.Sequential(network, head).to(batch.positions.device)
    return training_step(model, lambda: model(dict(inputs))["y"])


def schnetpack_schnet(batch: Batch, device: str) -> Step:
    import schnetpack as spk

    schnet = spk.representation.SchNet(
        30, 3, spk.nn.GaussianRBF(100, 20.0), spk.nn.CosineCutoff(20.0), n_filters=60
    )
    head = spk.atomistic.Atomwise(30, n_hidden=15)
    return schnetpack_step(schnet, head, batch, 20.0)


def schnetpack_painn(batch: Batch, device: str) -> Step:
    import schnetpack as spk

    painn = spk.representation.PaiNN(128, 3, spk.nn.BesselRBF(20, 5.0), spk.nn.CosineCutoff(5.0))
    return schnetpack_step(painn, spk.atomistic.Atomwise(128), batch, 5.0)


def torchani_ani(batch: Batch, device: str) -> Step:
    import torchani

    aev = torchani.aev.AEVComputer.like_1x()
    networks = torchani.nn.ANINetworks.like_1x()
    model = nn.ModuleList([aev, networks]).to(device)
    atoms = torch.bincount(batch.molecule)
    elements = torch.tensor([1, 6, 7, 8], device=device)
    species = torch.full((batch.size, int(atoms.max())), -1, device=device)
    positions = torch.zeros(*species.shape, 3, device=device)
    filled = torch.arange(species.shape[1], device=device) < atoms[:, None]
    species[filled] = (batch.numbers[:, None] == elements).int().argmax(dim=1)
    positions[filled] = batch.positions
    return training_step(model, lambda: networks(species, aev(species, positions)))


def geometric_graphconv(batch: Batch, device: str) -> Step:
    from torch_geometric import nn as pyg

    assert batch.atom_features is not None

    class GraphConv(nn.Module):
        def __init__(self, features: int) -> None:
            super().__init__()
            self.convolutions = nn.ModuleList([pyg.MFConv(features, 64), pyg.MFConv(64, 64)])
            self.norms = nn.ModuleList([nn.BatchNorm1d(64), nn.BatchNorm1d(64)])
            self.pool = pyg.SimpleConv(aggr="max", combine_root="self_loop")
            self.dense = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.BatchNorm1d(128))
            self.head = nn.Linear(256, 1)

        def forward(self, atoms: Tensor, bonds: Tensor, molecule: Tensor, size: int) -> Tensor:
            for convolution, norm in zip(self.convolutions, self.norms, strict=True):
                atoms = self.pool(norm(convolution(atoms, bonds).relu()), bonds)
            atoms = self.dense(atoms)
            total = pyg.global_add_pool(atoms, molecule, size)
            largest = pyg.global_max_pool(atoms, molecule, size)
            return self.head(torch.cat([total, largest], dim=1).tanh())

    model = GraphConv(batch.atom_features.shape[1]).to(device)
    inputs = (batch.atom_features, batch.bonds, batch.molecule, batch.size)
    return training_step(model, lambda: model(*inputs))


PEERS: dict[str, dict[str, Callable[[Batch, str], Step]]] = {
    "dtnn": {"DeepChem DTNN": deepchem_dtnn, "SchNetPack SchNet": schnetpack_schnet},
    "ani": {"TorchANI": torchani_ani},
    "painn": {"SchNetPack PaiNN": schnetpack_painn},
    "graphconv": {"PyG MFConv": geometric_graphconv},
    "weave": {},
}


# ------------------------------------------------------------------------------ timing


def seconds(step: Step, device: str) -> float:
    """Time of one call, the device's work included: the processor's on one thread, else the wall's.

    What others do on the machine slows the wall's clock more than the processor's.
    """
    if device == "cuda":
        torch.cuda.synchronize()
    alone = device == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    start = clock()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def interleaved(steps: dict[str, Step], rounds: int, device: str) -> dict[str, list[float]]:
    """Each step in turn, ``rounds`` times after two that are not counted."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 2):
        for name, step in steps.items():
            elapsed = seconds(step, device)
            if number >= 2:
                times[name].append(elapsed)
    return times


def product_rate(device: str) -> float:
    """Floating-point operations per second of a 2048 x 2048 matrix product in float32."""
    a = torch.randn(2048, 2048, device=device)
    return 2 * 2048**3 / min(seconds(lambda: a @ a, device) for _ in range(5))


def compare(name: str, molecules: list[Molecule], rounds: int, device: str) -> None:
    """One row a program: median molecules per second, range, and how much faster ours is."""
    model = build(name).to(device)
    examples = [example(molecule, model.inputs) for molecule in molecules]
    batch = collate(examples).to(device)
    steps = {f"hpcml {name}": training_step(model, lambda: model(batch))}
    steps |= {peer: make(batch, device) for peer, make in PEERS[name].items()}
    packed = PackedExamples(model.inputs, pack(examples, model.inputs, Alone()))
    everything = np.arange(len(molecules))
    steps["(making a batch)"] = lambda: packed.batch(everything).to(device)
    times = interleaved(steps, rounds, device)
    ours = statistics.median(times[f"hpcml {name}"])
    for program, elapsed in times.items():
        median = statistics.median(elapsed)
        low, high = len(molecules) / max(elapsed), len(molecules) / min(elapsed)
        print(
            f"{program:20} {len(molecules) / median:10.0f} {low:10.0f} {high:10.0f}"
            f" {median / ours:10.3f}"
        )
    if name == "weave":
        counter = FlopCounterMode(display=False)
        with counter:
            steps[f"hpcml {name}"]()
        work, best = counter.get_total_flops(), product_rate(device)
        print(
            f"  {name}: {work / 1e9:.2f} Gflop a step at {work / ours / 1e9:.1f} Gflop/s, "
            f"{work / ours / best:.2f} of a large matrix product's {best / 1e9:.1f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("qm9", help="QM9 in a form that `hpcml import qm9` reads")
    parser.add_argument("--networks", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--batch", type=int, default=100, help="molecules a step")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--keep-memory", action="store_true", help="freed memory stays ours")
    options = parser.parse_args()
    if options.keep_memory:
        keep_freed_memory()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    warnings.filterwarnings("ignore")
    # SchNetPack 2.1.1 imports names that torch 2.13 no longer has
    torch.utils.data.dataloader.T_co = typing.Any  # type: ignore[attr-defined]

    records = (record for record in read_qm9(options.qm9) if isinstance(record, Qm9Record))
    wanted = islice(  # every 50th of those that ANI can read, from 9-heavy-atom molecules mostly
        (record.molecule for record in records if 9 not in record.molecule.numbers),
        5000, 5000 + 50 * options.batch, 50,
    )  # fmt: skip
    molecules = list(wanted)
    atoms = np.mean([len(molecule) for molecule in molecules])
    print(f"torch {torch.__version__}, {options.device}, {options.threads} thread(s)")
    print(f"{len(molecules)} molecules of {atoms:.1f} atoms a step, {options.rounds} rounds")
    print(f"{'':20} {'molecules/s':>10} {'least':>10} {'most':>10} {'time/ours':>10}")
    for name in options.networks:
        compare(name, molecules, options.rounds, options.device)


if __name__ == "__main__":
    main()
