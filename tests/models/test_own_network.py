"""A network that another package brings: found by its entry point, built, trained, refused."""

import textwrap

import pytest
import torch

from hpcml.errors import SettingsError
from hpcml.models import build, names, networks, register, unit_scaling

NETWORK = '''
import msgspec
from hpcml.models import Network
from hpcml.models.layers import Embedding, Linear
from hpcml.models.readout import AtomicReadout

class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    features: int = 3

class Tiny(Network):
    """One vector an element, one neuron."""
    Settings = Settings
    inputs = frozenset()
    additive = True

    def __init__(self, settings, scaling):
        super().__init__(settings, scaling)
        self.embedding = Embedding(20, settings.features)
        self.neuron = Linear(settings.features, scaling.targets)
        self.readout = AtomicReadout(scaling)

    def representation(self, batch):
        return self.embedding(batch.numbers)

    def atomic_terms(self, batch):
        return self.readout.terms(self.neuron(self.representation(batch)), batch)

    def forward(self, batch):
        return self.readout(self.neuron(self.representation(batch)), batch)

no_network = int
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package on the path that names three networks, one of which is none."""
    (tmp_path / "tiny_network.py").write_text(NETWORK)
    metadata = tmp_path / "tiny_network-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny_network\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        textwrap.dedent("""\
            [hpcml.networks]
            tiny = tiny_network:Tiny
            broken = tiny_network:not_there
            number = tiny_network:no_network
        """)
    )
    monkeypatch.syspath_prepend(tmp_path)


def test_network_of_another_package_learns(package, molecules, make_batch):
    """Counts of atoms, which one neuron on vectors of elements can learn exactly."""
    assert {"tiny", "weave"} <= set(names())
    torch.manual_seed(0)
    model = build("tiny", {"features": 4}, scaling=unit_scaling(1))
    batch = make_batch(model, molecules, torch.float32)
    target = torch.tensor([[float(len(one))] for one in molecules])
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = (model(batch) - target).square().mean()
        loss.backward()
        optimizer.step()
        model.constrain()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.05 * losses[0]


def test_what_is_no_network_is_refused(package):
    with pytest.raises(SettingsError, match=r"features \(3\)"):
        build("tiny", {"width": 4})
    with pytest.raises(SettingsError, match="'broken': tiny_network:not_there cannot be loaded"):
        build("broken")
    with pytest.raises(SettingsError, match="'number': tiny_network:no_network is no"):
        build("number")


def test_registered_network(monkeypatch):
    monkeypatch.setattr(networks, "MODELS", dict(networks.MODELS))
    other = networks.MODELS["linear"]
    register("mine", other)
    register("mine", other)
    assert type(build("mine")) is other
    with pytest.raises(SettingsError, match="'weave' already"):
        register("weave", other)
