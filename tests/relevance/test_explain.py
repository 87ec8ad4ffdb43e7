"""What must hold for every network: conservation, exactness, invariance, and clear errors."""

import copy

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import nn

from hpcml.errors import InputError, SettingsError
from hpcml.models import layers
from hpcml.models.autoencoder import AutoencoderSettings, fit_autoencoder
from hpcml.molecules import Molecule
from hpcml.relevance import Composite, Epsilon, ExplainSettings, Gamma, explain, explain_by
from hpcml.relevance.engine.registry import HANDLERS, declare

RULES = ["epsilon", "gamma", "z_plus", "alpha_beta", "flat", "w_square"]
COMPOSITES = ["epsilon_gamma", "epsilon_gamma_w_square"]


@pytest.mark.parametrize("products", ["weight", "halves"])
def test_ledger_closes_in_double_precision(network, molecules, batch_of, products):
    batch = batch_of(network, molecules)
    for rule in RULES + COMPOSITES:
        found = explain_by(network, batch, ExplainSettings(rule=rule, products=products))
        assert found.closure.abs().max() < 1e-10, rule
        assert torch.isfinite(found.atoms).all(), rule


def test_ledger_closes_in_single_precision(single, molecules, batch_of):
    """Of rules that ignore values the parts can be far larger than what they add up to."""
    batch = batch_of(single, molecules, torch.float32)
    for rule in RULES + COMPOSITES:
        found = explain(single, batch, rule)
        size = found.prediction.abs()
        if rule in ("flat", "w_square"):
            parts = size.new_zeros(batch.size).index_add(0, batch.molecule, found.atoms.abs())
            size = torch.maximum(size, parts + found.ledger.abs().sum(1))
        assert (found.closure.abs() / size).max() < 1e-5, rule


def test_prediction_is_the_models_own(network, molecules, batch_of):
    batch = batch_of(network, molecules)
    with torch.no_grad():
        expected = network(batch)[:, 0]
    torch.testing.assert_close(explain(network, batch).prediction, expected)


class _Slope(nn.Module):
    """Element-wise f with f(0) = 0 as multiplication by its secant slope, held fixed."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, values):
        fixed = values.detach()
        slope = torch.where(fixed == 0, 0.0, self.function(fixed) / fixed)
        return values * slope


class _Gate(nn.Module):
    def forward(self, signal, gate):
        return signal * gate.detach()


def _linearized(model):
    """The model with every nonlinearity and gate held fixed at its value."""
    linear = copy.deepcopy(model)
    for module in list(linear.modules()):
        for name, child in module.named_children():
            if isinstance(child, layers.Product):
                setattr(module, name, _Gate())
            elif hasattr(child, "zero_at_zero"):
                setattr(module, name, _Slope(child))
    for module in linear.modules():  # a hook keeps a network from computing layers in one stroke
        module.register_forward_hook(lambda *_: None)
    return linear


@pytest.mark.parametrize("name", ["linear", "weave", "dtnn"])
def test_vanishing_epsilon_is_input_times_gradient_of_the_linearized_network(
    name, trained, molecules, batch_of
):
    """LRP-0 another way: ordinary gradients of a network whose slopes are held fixed."""
    model = trained(name)[0]
    linear, batch = _linearized(model), batch_of(model, molecules)
    leaves = {}

    def keep(module, _, output):
        leaves[module] = output.detach().requires_grad_()
        return leaves[module]

    names = {}
    for path, module in linear.named_modules():
        if isinstance(module, layers.Input | nn.Embedding):
            module.register_forward_hook(keep)
            names[module] = path
    gradients = torch.autograd.grad(
        linear(batch)[:, 0].sum(), list(leaves.values()), allow_unused=True
    )
    found = explain(model, batch, Epsilon(0.0))
    for (module, leaf), gradient in zip(leaves.items(), gradients, strict=True):
        expected = torch.zeros_like(leaf) if gradient is None else leaf.detach() * gradient
        torch.testing.assert_close(found.features[names[module]], expected, rtol=1e-7, atol=1e-9)


def test_messages_in_one_stroke_are_their_steps(trained, molecules, batch_of, monkeypatch):
    """PaiNN's fused messages against the same layers one by one, each with its own rule."""
    model, _ = trained("painn")
    batch = batch_of(model, molecules[:30])
    fused = explain(model, batch, "gamma", hidden=["messages.1"])
    monkeypatch.delitem(HANDLERS, type(model.messages[1]))
    stepwise = explain(model, batch, "gamma", hidden=["messages.1"])
    assert fused.hidden["messages.1"]
    assert not stepwise.hidden["messages.1"]
    torch.testing.assert_close(fused.atoms, stepwise.atoms)
    torch.testing.assert_close(fused.ledger, stepwise.ledger)


@pytest.mark.parametrize("rule", ["epsilon", "flat"])
def test_neighbours_in_one_stroke_are_their_steps(trained, molecules, batch_of, monkeypatch, rule):
    """GraphConv's sums and maxima over neighbours, and the same bond by bond."""
    model, _ = trained("graphconv")
    batch = batch_of(model, molecules)
    fused = explain(model, batch, rule)
    for layer in (model.convolutions[0].over_neighbours, model.pools[0]):
        monkeypatch.delitem(HANDLERS, type(layer))
    stepwise = explain(model, batch, rule)
    torch.testing.assert_close(fused.atoms, stepwise.atoms)
    torch.testing.assert_close(fused.ledger, stepwise.ledger)


def test_linear_network_is_explained_exactly(trained, molecules, batch_of):
    """R_i = std w x_i, and the bias takes std b for each atom: nothing is left to a rule."""
    model, info = trained("linear")
    batch = batch_of(model, molecules)
    found = explain(model, batch, Epsilon(0.0))
    std, references = info.scaling.atom_std[0], info.scaling.references
    weight = model.neuron.weight[0].detach()
    one_hot = (batch.numbers[:, None] == model.elements).double()
    torch.testing.assert_close(found.atoms, std * (one_hot @ weight))
    counts = torch.bincount(batch.molecule).double()
    torch.testing.assert_close(found.column("bias"), std * model.neuron.bias.detach() * counts)
    torch.testing.assert_close(found.column("mean"), info.scaling.atom_mean[0] * counts)
    of_atoms = torch.tensor([references[z][0] for z in batch.numbers.tolist()], dtype=torch.float64)
    expected = torch.zeros(batch.size, dtype=torch.float64).index_add(0, batch.molecule, of_atoms)
    torch.testing.assert_close(found.column("reference"), expected)
    assert found.column("epsilon").abs().max() == 0
    assert found.column("taylor").abs().max() == 0


def test_additive_network_gives_back_its_terms(molecules, batch_of, trained):
    """One affine layer an atom: what an atom is told equals its own term less offsets."""
    model, info = trained("linear")
    batch = batch_of(model, molecules)
    found = explain(model, batch, Epsilon(0.0))
    terms = explain_by(model, batch, ExplainSettings(rule="atomic_terms"))
    assert terms.closure.abs().max() < 1e-10
    offsets = info.scaling.atom_mean[0] + info.scaling.atom_std[0] * model.neuron.bias.item()
    references = torch.tensor(
        [info.scaling.references[z][0] for z in batch.numbers.tolist()], dtype=torch.float64
    )
    torch.testing.assert_close(found.atoms, terms.atoms - offsets - references)


def test_batch_of_one_equals_batch_of_512(network, molecules, batch_of):
    crowd = (7 * molecules)[:512]
    many = explain(network, batch_of(network, crowd))
    ends = np.cumsum([len(molecule) for molecule in crowd])
    for number in (0, 7, 79, 250, 511):
        one = explain(network, batch_of(network, [crowd[number]]))
        mine = many.atoms[ends[number] - len(crowd[number]) : ends[number]]
        torch.testing.assert_close(one.atoms, mine)
        torch.testing.assert_close(one.ledger[0], many.ledger[number])


@pytest.fixture
def moved(molecules):
    """A molecule, the same turned and shifted, and the same with its atoms in another order."""
    molecule = molecules[40]
    order = np.random.default_rng(3).permutation(len(molecule))
    turned = molecule.positions @ Rotation.from_rotvec([0.3, -1.1, 0.7]).as_matrix() + [1.0, 2, -3]
    return (
        Molecule(molecule.numbers, turned, smiles=molecule.smiles),
        Molecule(molecule.numbers[order], molecule.positions[order], smiles=molecule.smiles),
        order,
    )


def test_rotation_and_permutation(network, molecules, batch_of, moved):
    turned, permuted, order = moved
    first = explain(network, batch_of(network, [molecules[40]])).atoms
    torch.testing.assert_close(explain(network, batch_of(network, [turned])).atoms, first)
    torch.testing.assert_close(explain(network, batch_of(network, [permuted])).atoms, first[order])


def test_equivalent_atoms_are_worth_the_same(network, batch_of):
    """The hydrogens of methane and of water; a made-up geometry of exact symmetry."""
    tetrahedron = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 0.63
    methane = Molecule([6, 1, 1, 1, 1], np.vstack([[0, 0, 0], tetrahedron]), smiles="C")
    water = Molecule([8, 1, 1], [[0, 0, 0], [0.76, 0.59, 0], [-0.76, 0.59, 0]], smiles="O")
    for rule in ("epsilon", "gamma"):
        found = explain(network, batch_of(network, [methane, water]), rule).atoms
        assert np.ptp(found[1:5].numpy()) < 1e-10
        assert np.ptp(found[6:8].numpy()) < 1e-10


def test_model_is_left_as_it_was(trained, molecules, batch_of):
    model, _ = trained("weave-histogram")
    model.train()
    try:
        before = {name: value.clone() for name, value in model.state_dict().items()}
        explain(model, batch_of(model, molecules[:5]))
        assert all(module.training for module in model.modules())
        assert all(parameter.requires_grad for parameter in model.parameters())
        assert not any("forward" in module.__dict__ for module in model.modules())
        assert all(torch.equal(before[name], v) for name, v in model.state_dict().items())
    finally:
        model.eval()


def test_model_is_left_as_it_was_after_an_error(trained, molecules, batch_of):
    model, _ = trained("dtnn")
    heavy = Molecule([53, 1], [[0, 0, 0], [0, 0, 1.6]])
    with pytest.raises(InputError, match="does not know I"):
        explain(model, batch_of(model, [heavy]))
    assert not any("forward" in module.__dict__ for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_target_that_the_model_has_not(trained, molecules, batch_of):
    model, _ = trained("linear")
    with pytest.raises(InputError, match="expected"):
        explain(model, batch_of(model, molecules[:2]), target=1)


def test_rule_that_does_not_exist(trained, molecules, batch_of):
    model, _ = trained("linear")
    with pytest.raises((SettingsError, ValueError), match="deep_taylor"):
        explain(model, batch_of(model, molecules[:2]), "deep_taylor")


# ------------------------------------------------------------------ modules of one's own


class _Residual(nn.Module):
    """Layers of torch, a sum as an operator, an activation as a function."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.first, self.second = nn.Linear(7, 7), nn.Linear(7, 7)
        self.head = nn.Linear(14, 1)

    def forward(self, values):
        hidden = torch.tanh(self.first(values)) + values
        other = 0.5 * nn.functional.relu(self.second(hidden)) - hidden / 3.0 + 1.0
        return self.head(torch.cat([hidden, other], dim=1))


@pytest.mark.parametrize("rule", RULES)
def test_plain_torch_module(plain_inputs, rule):
    model = _Residual().double()
    found = explain(model, plain_inputs, rule)
    torch.testing.assert_close(found.prediction, model(plain_inputs)[:, 0].detach())
    assert found.features["input"].shape == plain_inputs.shape
    assert found.closure.abs().max() < 1e-10


@pytest.fixture(params=["tanh", "silu"])
def autoencoder(request, plain_inputs):
    settings = AutoencoderSettings(hidden=(5,), latent=2, activation=request.param)
    return fit_autoencoder(plain_inputs, settings, epochs=30)


@pytest.mark.parametrize("rule", RULES)
def test_autoencoder(autoencoder, plain_inputs, rule):
    """Each restored feature in terms of the features that went in."""
    restored = autoencoder(plain_inputs).detach()
    single = copy.deepcopy(autoencoder).float()
    for feature in range(plain_inputs.shape[1]):
        found = explain(autoencoder, plain_inputs, rule, target=feature)
        torch.testing.assert_close(found.prediction, restored[:, feature])
        assert found.closure.abs().max() < 1e-10
        found = explain(single, plain_inputs.float(), rule, target=feature)
        passed_on = found.features["input"].abs().sum(1) + found.ledger.abs().sum(1)
        assert (found.closure.abs() / passed_on).max() < 1e-5


def test_autoencoder_row_by_row_equals_batch_of_512(autoencoder):
    inputs = torch.randn(512, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    many = explain(autoencoder, inputs, target=3)
    for row in (0, 1, 255, 511):
        one = explain(autoencoder, inputs[row : row + 1], target=3)
        torch.testing.assert_close(one.features["input"][0], many.features["input"][row])
        torch.testing.assert_close(one.ledger[0], many.ledger[row])


def test_plain_torch_module_against_its_linearization(plain_inputs):
    """The same network written with fixed slopes; the constant added is the bias's."""
    model = _Residual().double()
    values = plain_inputs.clone().requires_grad_()
    first = model.first(values)
    hidden = first * (torch.tanh(first) / first).detach() + values
    second = model.second(hidden)
    other = 0.5 * second * (second > 0).detach() - hidden / 3.0 + 1.0
    output = model.head(torch.cat([hidden, other], dim=1))[:, 0]
    (gradient,) = torch.autograd.grad(output.sum(), values)
    found = explain(model, plain_inputs, Epsilon(0.0))
    torch.testing.assert_close(found.features["input"], plain_inputs * gradient)


def test_rules_by_depth(plain_network, plain_inputs):
    """A composite with one rule everywhere is that rule; with another below it is not."""
    model = plain_network()
    whole = explain(model, plain_inputs, "gamma").features["input"]
    stacked = Composite(above=Epsilon(), below=((3, Gamma()),))
    torch.testing.assert_close(explain(model, plain_inputs, stacked).features["input"], whole)
    mixed = explain(model, plain_inputs, Composite(Epsilon(), ((1, Gamma()),)))
    assert not torch.allclose(mixed.features["input"], whole)


class _Cube(nn.Module):
    """By a function that has no rule."""

    def forward(self, values):
        return torch.special.i1(values)


def test_unknown_layer_is_named_and_can_be_declared(plain_inputs):
    model = nn.Sequential(nn.Linear(7, 4), _Cube(), nn.Linear(4, 1)).double()
    with pytest.raises(InputError, match=r"in layer '1' \(a _Cube\).*declare\(ITS_TYPE"):
        explain(model, plain_inputs)
    try:
        declare(_Cube, "passing")
        assert explain(model, plain_inputs).closure.abs().max() < 1e-10
    finally:
        HANDLERS.pop(_Cube, None)
    with pytest.raises(SettingsError, match="no layer meaning 'cubic'"):
        declare(_Cube, "cubic")


class _Own(nn.Module):
    """A network of one's own: our layers, and one of one's own between them."""

    inputs = frozenset({"pairs"})

    def __init__(self, odd):
        super().__init__()
        torch.manual_seed(3)
        self.elements = layers.Embedding(10, 6)
        self.near = layers.Input("pair")
        self.filter = layers.Linear(1, 6)
        self.gather, self.multiply = layers.Gather(), layers.Product()
        self.over_neighbours, self.over_atoms = layers.ScatterSum(), layers.ScatterSum()
        self.add, self.out = layers.Sum(), layers.Linear(6, 1)
        self.blocks = nn.ModuleDict({"odd": odd})

    def forward(self, batch):
        i, j = batch.pairs
        atoms = self.elements(batch.numbers)
        gates = self.filter(self.near(torch.exp(-batch.distances[:, None])))
        told = self.multiply(self.gather(atoms, j), gates)
        atoms = self.add(atoms, self.over_neighbours(told, i, batch.atoms))
        return self.over_atoms(self.out(self.blocks["odd"](atoms)), batch.molecule, batch.size)


@pytest.mark.parametrize("products", ["weight", "halves"])
def test_module_of_our_layers(molecules, batch_of, products):
    model = _Own(layers.Tanh()).double()
    batch = batch_of(model, molecules[:20])
    found = explain_by(model, batch, ExplainSettings(rule="epsilon", products=products))
    torch.testing.assert_close(found.prediction, model(batch)[:, 0].detach())
    assert found.closure.abs().max() < 1e-10
    assert (found.pair.abs().max() > 0) == (products == "halves")


def test_unknown_layer_among_ours_is_named(molecules, batch_of):
    model = _Own(_Cube()).double()
    batch = batch_of(model, molecules[:3])
    said = r"in layer 'blocks.odd' \(a _Cube\).*ITS_TYPE, meaning\), where meaning is 'passing'"
    with pytest.raises(InputError, match=said):
        explain(model, batch)
    try:
        declare(_Cube, "passing")
        assert explain(model, batch).closure.abs().max() < 1e-10
    finally:
        HANDLERS.pop(_Cube, None)


def test_normalization_without_statistics_is_refused(plain_inputs):
    norm = nn.BatchNorm1d(4, track_running_stats=False)
    model = nn.Sequential(nn.Linear(7, 4), norm, nn.Linear(4, 1)).double()
    with pytest.raises(InputError, match="running statistics"):
        explain(model, plain_inputs)


def test_normalization_is_folded(plain_inputs):
    """Linear and BatchNorm are explained as the one affine layer that they are."""
    torch.manual_seed(4)
    norm = nn.BatchNorm1d(4)
    model = nn.Sequential(nn.Linear(7, 4), norm, nn.ReLU(), nn.Linear(4, 1)).double()
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2.0)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    model.eval()
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    folded = nn.Sequential(nn.Linear(7, 4), nn.ReLU(), model[3]).double()
    folded[0].weight.data = model[0].weight * scale[:, None]
    folded[0].bias.data = (model[0].bias - norm.running_mean) * scale + norm.bias
    for rule in RULES:
        found, expected = explain(model, plain_inputs, rule), explain(folded, plain_inputs, rule)
        torch.testing.assert_close(found.features["input"], expected.features["input"])
        torch.testing.assert_close(found.ledger, expected.ledger)
