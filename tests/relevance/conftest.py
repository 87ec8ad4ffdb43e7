"""Real molecules, networks that have learned something of them, and data sets of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from rdkit.Chem import Crippen
from torch import Tensor, nn

from hpcml.models import Batch, build, collate, example, fit_references, fit_scaling
from hpcml.molecules import Molecule, perceive, read
from hpcml.relevance import ExplainSettings
from hpcml.store import Dataset, Row, Schema, ShardWriter
from hpcml.training import Target
from hpcml.training.model_file import ModelInfo, save_model

REPOSITORY = Path(__file__).parents[2]

NETWORKS = {
    "linear": ("linear", {}),
    "weave": ("weave", {"readout": "sum", "hidden": 12, "representation": 16}),
    "weave-histogram": (
        "weave",
        {"hidden": 8, "representation": 6, "fully_connected": (20, 10), "dropout": 0.0},
    ),
    "graphconv": ("graphconv", {"hidden": [10, 10], "dense": 12, "largest_degree": 4}),
    "dtnn": ("dtnn", {"gaussians": 30, "farthest": 8.0}),
    "ani": (
        "ani",
        {"elements": [1, 6, 7, 8, 9], "hidden": [[10, 8]] * 5, "members": 2},
    ),
    "ani-gaussian": (
        "ani",
        {"elements": [1, 6, 7, 8, 9], "hidden": [[10, 8]] * 5, "activation": "gaussian"},
    ),
    "painn": ("painn", {"features": 12, "interactions": 2, "radial": 8}),
}
Trained = tuple[nn.Module, ModelInfo]


@pytest.fixture(scope="session")
def molecules() -> list[Molecule]:
    """The 80 GDB-9 molecules of the quickstart."""
    return [
        one for one in read(REPOSITORY / "jobs" / "quickstart.xyz") if isinstance(one, Molecule)
    ]


@pytest.fixture(scope="session")
def refractivity(molecules: list[Molecule]) -> np.ndarray:
    """Molar refractivity after Crippen, an additive property, (M, 1)."""
    return np.array([[Crippen.MolMR(perceive(molecule))] for molecule in molecules])


@pytest.fixture(scope="session")
def batch_of() -> Callable[..., Batch]:
    """batch_of(model, molecules, dtype) for that model."""

    def make(model: nn.Module, molecules: list[Molecule], dtype=torch.float64) -> Batch:
        return collate([example(one, model.inputs) for one in molecules], dtype)

    return make


@pytest.fixture(scope="session")
def trained(molecules, refractivity, batch_of) -> Callable[[str], Trained]:
    """trained(name): one of NETWORKS after some steps of training, in double precision."""
    made: dict[str, Trained] = {}

    def train(name: str) -> Trained:
        if name not in made:
            network, hyperparameters = NETWORKS[name]
            numbers = [molecule.numbers for molecule in molecules]
            scaling = fit_scaling(
                numbers, refractivity, references=fit_references(numbers, refractivity)
            )
            torch.manual_seed(7)
            model = build(network, hyperparameters, scaling=scaling).double()
            batch, target = batch_of(model, molecules), torch.from_numpy(refractivity)
            optimizer = torch.optim.Adam(model.parameters(), 5e-3)
            model.train()
            for _ in range(30):
                optimizer.zero_grad()
                loss = ((model(batch) - target) / scaling.std[0]).square().mean()
                loss.backward()
                optimizer.step()
            model.eval()
            for parameter in model.parameters():
                parameter.grad = None
            info = ModelInfo(
                model=network,
                hyperparameters=hyperparameters,
                targets=(Target(name="alpha_iso"),),
                units=("a0^3",),
                scaling=scaling,
            )
            made[name] = model, info
        return made[name]

    return train


@pytest.fixture(scope="session", params=NETWORKS)
def network(request, trained) -> nn.Module:
    """Each of NETWORKS in turn, trained."""
    return trained(request.param)[0]


@pytest.fixture(scope="session", params=NETWORKS)
def single(request, trained) -> nn.Module:
    """Each of NETWORKS in turn, trained, in single precision but for the target's scale."""
    return _single(*trained(request.param))


def _single(model: nn.Module, info: ModelInfo) -> nn.Module:
    fresh = build(info.model, info.hyperparameters, scaling=info.scaling)
    fresh.load_state_dict(model.state_dict())
    return fresh.eval()


@pytest.fixture(scope="session")
def model_folder(trained, tmp_path_factory) -> Path:
    """The trained Weave as hpcml train leaves it, in single precision."""
    folder = tmp_path_factory.mktemp("relevance-model")
    model, info = trained("weave")
    save_model(folder, _single(model, info).state_dict(), info)
    return folder


@pytest.fixture(scope="session")
def write_dataset() -> Callable[..., Dataset]:
    """write_dataset(folder, molecules, rows_per_shard) with made-up shares of alpha_iso."""

    def write(folder: Path, molecules: list[Molecule], rows_per_shard: int = 16) -> Dataset:
        schema = Schema(columns=("energy", "alpha_iso", "share_alpha_iso"), frequencies=(0.0,))
        with ShardWriter(folder, schema, "test", rows_per_shard=rows_per_shard) as writer:
            for number, molecule in enumerate(molecules):
                share = molecule.numbers + np.linspace(0.0, 1.0, len(molecule))
                values = {
                    "energy": np.array(0.0),
                    "alpha_iso": np.array([share.sum()]),
                    "share_alpha_iso": share,
                }
                writer.append(Row(f"{number:032x}", molecule, values, {}))
        return Dataset.open(folder)

    return write


@pytest.fixture(scope="session")
def dataset(tmp_path_factory, molecules, write_dataset) -> Dataset:
    """The molecules in five shards."""
    return write_dataset(tmp_path_factory.mktemp("relevance") / "dataset", molecules)


@pytest.fixture
def start(tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the program as the campaign does: ``start(dataset, model, relevance, ranks=2)``."""

    def run(
        dataset: Path,
        model: Path,
        relevance: Path,
        settings: ExplainSettings = ExplainSettings(rule="epsilon"),  # noqa: B008  frozen
        ranks: int = 1,
    ) -> subprocess.CompletedProcess[str]:
        file = tmp_path / "settings.json"
        file.write_bytes(msgspec.json.encode(settings))
        command = [
            sys.executable,
            "-m",
            "hpcml.relevance.explain_program",
            "--dataset",
            str(dataset),
        ]
        command += ["--model", str(model), "--relevance", str(relevance), "--settings", str(file)]
        if ranks > 1:
            command = ["mpiexec", "-n", str(ranks), "--oversubscribe", *command]
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(REPOSITORY),
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        }
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=120, check=False
        )

    return run


@pytest.fixture(scope="session")
def plain_network() -> Callable[..., nn.Sequential]:
    """plain_network(activation, seed): torch's own layers, three affine ones, with biases."""

    def make(activation: type[nn.Module] = nn.ReLU, seed: int = 3) -> nn.Sequential:
        torch.manual_seed(seed)
        layers = [nn.Linear(7, 11), activation(), nn.Linear(11, 9), activation(), nn.Linear(9, 1)]
        return nn.Sequential(*layers).double()

    return make


@pytest.fixture(scope="session")
def plain_inputs() -> Tensor:
    """(20, 7) numbers of both signs."""
    return torch.randn(20, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
