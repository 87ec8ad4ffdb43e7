"""Networks cut otherwise, and the ledger by atom: what must hold whatever the code looks like."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from hpcml.models import layers
from hpcml.molecules import Molecule
from hpcml.relevance import ExplainSettings, cancellation, explain, explain_by, relative_closure
from hpcml.relevance.engine.registry import declare
from hpcml.relevance.ledger import LEDGER

RULES = ["epsilon", "gamma", "z_plus", "alpha_beta", "flat", "w_square"]

# ------------------------------------------------------- one affine layer, however it is cut


class _WeavePairs(nn.Module):
    """ReLU(BatchNorm([A_i, A_j] W + b)) summed over pairs: by atoms as Weave does, or at once."""

    inputs = frozenset({"atom_features", "pairs"})

    def __init__(self, width=5):
        super().__init__()
        torch.manual_seed(5)
        self.atom_input = layers.Input("atom")
        self.first, self.second = layers.Linear(width, 6), layers.Linear(width, 6, bias=False)
        self.i, self.j = layers.Gather(), layers.Gather()
        self.add, self.norm, self.activation = layers.Sum(), layers.BatchNorm(6), layers.ReLU()
        self.head, self.total = layers.Linear(6, 1), layers.ScatterSum()
        nn.init.normal_(self.norm.weight)
        nn.init.normal_(self.norm.bias)
        self.norm.running_mean.normal_()
        self.norm.running_var.uniform_(0.5, 2.0)

    def pairs(self, atoms, batch):
        i, j = batch.pairs
        return self.norm(self.add(self.i(self.first(atoms), i), self.j(self.second(atoms), j)))

    def forward(self, batch):
        atoms = self.atom_input(batch.atom_features[:, :5] - 0.3)
        pairs = self.activation(self.pairs(atoms, batch))
        return self.total(self.head(pairs), batch.molecule[batch.pairs[0]], batch.size)


class _WeavePairsAtOnce(_WeavePairs):
    """The same map as one folded layer on the atoms' features side by side."""

    def __init__(self, cut):
        super().__init__()
        scale = cut.norm.weight / torch.sqrt(cut.norm.running_var + cut.norm.eps)
        self.one, self.concatenate = layers.Linear(10, 6), layers.Concatenate()
        weight = torch.cat([cut.first.weight, cut.second.weight], dim=1)
        self.one.weight.data = weight * scale[:, None]
        self.one.bias.data = (cut.first.bias - cut.norm.running_mean) * scale + cut.norm.bias
        self.head.load_state_dict(cut.head.state_dict())

    def pairs(self, atoms, batch):
        i, j = batch.pairs
        return self.one(self.concatenate(self.i(atoms, i), self.j(atoms, j)))


@pytest.mark.parametrize("rule", RULES)
def test_pairs_from_atoms_are_one_affine_layer(molecules, batch_of, rule):
    cut = _WeavePairs().double().eval()
    whole = _WeavePairsAtOnce(cut).double().eval()
    batch = batch_of(cut, molecules[:20])
    torch.testing.assert_close(cut(batch), whole(batch))
    found, expected = explain(cut, batch, rule), explain(whole, batch, rule)
    torch.testing.assert_close(found.atoms, expected.atoms)
    torch.testing.assert_close(found.ledger, expected.ledger)
    torch.testing.assert_close(found.atom_ledger, expected.atom_ledger)


class _Convolution(nn.Module):
    """W h + b + V g + c of two inputs, as GraphConv cuts it, or [W, V] [h, g] + (b + c)."""

    def __init__(self, together):
        super().__init__()
        torch.manual_seed(6)
        self.own, self.near = nn.Linear(4, 5), nn.Linear(3, 5)
        self.add, self.activation, self.head = layers.Sum(), nn.ReLU(), nn.Linear(5, 1)
        self.one = nn.Linear(7, 5)
        self.one.weight.data = torch.cat([self.own.weight, self.near.weight], dim=1)
        self.one.bias.data = self.own.bias + self.near.bias
        self.together = together

    def forward(self, values):
        h, g = values[:, :4], values[:, 4:]
        hidden = self.one(values) if self.together else self.add(self.own(h), self.near(g))
        return self.head(self.activation(hidden))


@pytest.mark.parametrize("rule", RULES)
def test_sum_of_affine_layers_is_one(plain_inputs, rule):
    cut, whole = (_Convolution(together).double() for together in (False, True))
    found, expected = explain(cut, plain_inputs, rule), explain(whole, plain_inputs, rule)
    torch.testing.assert_close(found.features["input"], expected.features["input"])
    torch.testing.assert_close(found.ledger, expected.ledger)
    assert set(found.layers) == {"add", "head"}  # in whose name the account is kept


def test_operator_and_layer_add_alike(plain_inputs):
    class Plus(_Convolution):
        def forward(self, values):
            return self.head(torch.relu(self.own(values[:, :4]) + self.near(values[:, 4:])))

    found = explain(Plus(False).double(), plain_inputs, "gamma").features["input"]
    expected = explain(_Convolution(True).double(), plain_inputs, "gamma").features["input"]
    torch.testing.assert_close(found, expected)


# --------------------------------------------------------------------- the ledger by atom


def test_atoms_bookings_are_part_of_the_molecules(network, molecules, batch_of):
    """Relevances, what is booked to atoms, and what is the molecule's make the prediction."""
    batch = batch_of(network, molecules)
    for rule in RULES:
        found = explain(network, batch, rule)
        total = found.molecule_ledger.sum(1).index_add(0, batch.molecule, found.booked)
        assert (total - found.prediction).abs().max() < 1e-10, rule


def test_sums_over_atoms_leave_the_molecule_nothing(trained, molecules, batch_of):
    """All layers of these networks have the rows of atoms and pairs."""
    for name in ("linear", "weave", "dtnn", "ani", "ani-gaussian", "painn"):
        model = trained(name)[0]
        found = explain(model, batch_of(model, molecules), "gamma")
        assert found.molecule_ledger.abs().max() < 1e-10, name


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["linear", "ani", "ani-gaussian"])
def test_atoms_that_are_told_nothing_by_others_keep_their_terms(
    trained, molecules, batch_of, name, rule
):
    """Without messages, relevance and bookings of an atom are its own term under any rule."""
    model = trained(name)[0]
    batch = batch_of(model, molecules)
    terms = model.atomic_terms(batch)[:, 0].detach()
    torch.testing.assert_close(explain(model, batch, rule).booked, terms)


def test_references_are_booked_to_their_atoms(trained, molecules, batch_of):
    for name in ("weave", "graphconv", "painn"):  # read out by atoms, and by molecules
        model, info = trained(name)
        batch = batch_of(model, molecules)
        found = explain(model, batch).atom_ledger[:, LEDGER.index("reference")]
        expected = [info.scaling.references[z][0] for z in batch.numbers.tolist()]
        torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_bookings_turn_with_the_atoms(network, molecules, batch_of):
    """In another order of the atoms each has the same account: pairs go half and half."""
    molecule = molecules[40]
    order = np.random.default_rng(4).permutation(len(molecule))
    other = Molecule(molecule.numbers[order], molecule.positions[order], smiles=molecule.smiles)
    for products in ("weight", "halves"):
        settings = ExplainSettings(rule="gamma", products=products)
        first = explain_by(network, batch_of(network, [molecule]), settings)
        second = explain_by(network, batch_of(network, [other]), settings)
        torch.testing.assert_close(second.atom_ledger, first.atom_ledger[order])


def test_one_layers_bookings_by_hand(molecules, batch_of):
    """A bias on pairs of an atom-to-pair map: half of each pair's share to each of its atoms."""
    model = _WeavePairs().double().eval()
    model.norm = nn.Identity()
    batch = batch_of(model, molecules[:6])
    found = explain(model, batch, "epsilon")
    i, j = batch.pairs
    atoms = batch.atom_features[:, :5] - 0.3
    z = atoms[i] @ model.first.weight.T + model.first.bias + atoms[j] @ model.second.weight.T
    taken = ((z > 0) * model.head.weight[0] * model.first.bias).sum(1) + model.head.bias
    expected = torch.zeros(batch.atoms, dtype=torch.float64)
    for end in (i, j):
        expected.index_add_(0, end, 0.5 * taken.detach())
    bias = LEDGER.index("bias")
    torch.testing.assert_close(found.atom_ledger[:, bias], expected)
    both_ways = dict.fromkeys(zip(*i_below_j(batch), strict=True), 0.0)
    for one, other, value in zip(i.tolist(), j.tolist(), taken.tolist(), strict=True):
        both_ways[min(one, other), max(one, other)] += value
    torch.testing.assert_close(
        found.pair_ledger[:, bias], torch.tensor(list(both_ways.values()), dtype=torch.float64)
    )


def i_below_j(batch):
    """Pairs of atoms molecule by molecule, in the order of numpy.triu_indices."""
    ends, first = [[], []], 0
    for count in torch.bincount(batch.molecule).tolist():
        for end, atoms in zip(ends, np.triu_indices(count, 1), strict=True):
            end.extend((first + atoms).tolist())
        first += count
    return ends


def test_pairs_bookings_are_among_their_atoms(trained, molecules, batch_of):
    """Layers of pairs alone: what is left of an atom's account without its pairs' halves."""
    for name in ("weave", "painn", "graphconv"):
        model = trained(name)[0]
        batch = batch_of(model, molecules)
        settings = ExplainSettings(rule="gamma", products="halves")
        found = explain_by(model, batch, settings)
        assert found.pair_ledger.shape == (len(i_below_j(batch)[0]), len(LEDGER))
        halves = torch.zeros_like(found.atom_ledger)
        for end in i_below_j(batch):
            halves.index_add_(0, torch.tensor(end), found.pair_ledger, alpha=0.5)
        whole = found.atom_ledger[:, LEDGER.index("reference")]
        torch.testing.assert_close(
            (found.atom_ledger - halves)[:, LEDGER.index("reference")], whole
        )
        assert (found.pair_ledger.abs().max() > 0) == (name != "graphconv")


# ----------------------------------------------------------------- what is asked of it


def test_cancellation_by_hand():
    """Parts 3, -1 and a bias of -1: five in sum, and one is left; means and references are not."""
    ledger = np.zeros((3, len(LEDGER)))
    ledger[0, LEDGER.index("bias")] = -1.0
    ledger[:, LEDGER.index("reference")] = 40.0
    ledger[2] = np.nan
    atoms = np.array([3.0, -1.0, 2.0, 1.0, np.nan])
    found = cancellation(atoms, ledger, np.array([0, 2, 4, 5]))
    assert found[:2].tolist() == [5.0, 1.0]
    assert np.isnan(found[2])


def test_cancellation_agrees_with_the_relevance(trained, molecules, batch_of):
    model = trained("weave")[0]
    found = explain(model, batch_of(model, molecules), "gamma")
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in molecules])])
    ratio = cancellation(found.atoms.numpy(), found.ledger.numpy(), offsets)
    said = [LEDGER.index(term) for term in ("bias", "epsilon", "taylor")]
    for row in (0, 40, 79):
        parts = [*found.atoms[offsets[row] : offsets[row + 1]], *found.ledger[row, said]]
        expected = sum(abs(float(part)) for part in parts) / abs(sum(map(float, parts)))
        assert ratio[row] == pytest.approx(max(expected, 1.0))


def test_closure_is_divided_by_what_is_at_least_one():
    ledger = np.zeros((2, len(LEDGER)))
    found = relative_closure(np.array([0.0, -10.0]), np.array([0.5, -9.0]), ledger)
    assert found.tolist() == [0.5, 0.1]


def test_handler_of_ones_own(plain_inputs):
    """A layer type gets a handler where a meaning does not say it all."""
    from hpcml.relevance.engine.affine_handlers import linear
    from hpcml.relevance.engine.registry import HANDLERS

    class Dense(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.weight, self.bias = inner.weight, inner.bias

        def forward(self, values):
            return nn.functional.linear(values, self.weight, self.bias)

    inner = nn.Linear(7, 1).double()
    try:
        declare(Dense, linear)
        found = explain(nn.Sequential(Dense(copy.deepcopy(inner))), plain_inputs)
    finally:
        HANDLERS.pop(Dense, None)
    expected = plain_inputs * inner.weight.detach()
    torch.testing.assert_close(found.features["input"], expected)
