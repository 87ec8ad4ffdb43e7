"""Models that know nothing of hpcml, explained as they are."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

import hpcml
from hpcml.errors import InputError, SettingsError
from hpcml.relevance import Composite, Epsilon

F = 8
BATCH = torch.tensor([0] * 4 + [1] * 5 + [2] * 2)
BONDS = torch.tensor(
    [[0, 1, 1, 2, 2, 3, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10],
     [1, 0, 2, 1, 3, 2, 5, 4, 6, 5, 7, 6, 8, 7, 10, 9]]
)  # fmt: skip


def like(rows, values):
    return rows[:, None].expand_as(values)


def attention_of_neighbours(net, h, m, bonds):
    """The softmax over an atom's neighbours as libraries write it, by index."""
    source, target = bonds
    score = (h[source] * h[target]).sum(-1)
    highest = torch.full((len(h),), -9.0).to(h).scatter_reduce(0, target, score.detach(), "amax")
    score = (score - highest[target]).exp()
    total = torch.zeros(len(h)).to(h).index_add(0, target, score)
    shares = score / (total[target] + 1e-16)
    return torch.zeros_like(h).index_add(0, target, shares.unsqueeze(-1) * m)


def pieces(net, h, m, bonds):
    """Cut, scaled, joined with a constant, normalized."""
    left, right = h.chunk(2, -1)
    h = torch.cat([left * 2, functional.softplus(right) - 0.6931471805599453], -1)
    h = torch.cat([h, torch.ones(len(h), 1).to(h)], -1)[:, 1:]
    h = h + torch.norm(h, dim=-1, keepdim=True)
    return net.drop(h.clamp(min=0.1) - h.mean(-1, keepdim=True)).reshape(len(h), 2, 4).flatten(1)


def overwriting(net, h, m, bonds):
    """Written into zeros, divided in place, multiplied with a matrix and with itself."""
    made = torch.zeros_like(h)
    made[:, :4] = h[:, 4:]
    made[:, 4:] += h[:, :4]
    made /= 2
    return made + h @ net.b.weight + torch.einsum("ni,nj,ij->nj", h, h, net.b.weight)


WAYS = {
    "index_add": lambda net, h, m, bonds: h + torch.zeros_like(h).index_add_(0, bonds[1], m),
    "scatter_add": lambda net, h, m, bonds: (
        h + torch.zeros_like(h).scatter_add(0, like(bonds[1], m), m)
    ),
    "scatter_mean": lambda net, h, m, bonds: (
        h + torch.zeros_like(h).scatter_reduce_(0, like(bonds[1], m), m, "mean", include_self=False)
    ),
    "scatter_max": lambda net, h, m, bonds: (
        h + torch.zeros_like(h).scatter_reduce_(0, like(bonds[1], m), m, "amax", include_self=False)
    ),
    "gru": lambda net, h, m, bonds: net.gru(torch.zeros_like(h).index_add(0, bonds[1], m), h),
    "norms": lambda net, h, m, bonds: net.norm(h) + net.batch(h),
    "prelu": lambda net, h, m, bonds: net.prelu(net.b(h)) * functional.silu(h),
    "gate": lambda net, h, m, bonds: net.b(h) * torch.sigmoid(net.b(h)),
    "maximum": lambda net, h, m, bonds: torch.maximum(h, net.b(h)).amax(-1, keepdim=True) + h,
    "attention": attention_of_neighbours,
    "pieces": pieces,
    "overwriting": overwriting,
}


class Net(nn.Module):
    def __init__(self, way):
        super().__init__()
        torch.manual_seed(5)
        self.way = WAYS[way]
        self.a, self.b, self.out = nn.Linear(5, F), nn.Linear(F, F), nn.Linear(F, 1)
        self.gru, self.norm, self.batch = nn.GRUCell(F, F), nn.LayerNorm(F), nn.BatchNorm1d(F)
        self.prelu, self.drop = nn.PReLU(F), nn.Dropout(0.3)
        self.batch.running_mean.normal_()
        self.double()

    def forward(self, x, bonds, batch):
        h = functional.relu(self.a(x))
        h = self.way(self, h, self.b(h)[bonds[0]], bonds)
        atoms = self.out(self.drop(h))
        molecules = torch.zeros(int(batch.max()) + 1, 1, dtype=x.dtype)
        return molecules.index_add_(0, batch, atoms)


@pytest.fixture
def x():
    return torch.randn(
        len(BATCH), 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )


@pytest.mark.parametrize("rule", ["epsilon", "gamma", Composite(Epsilon(), products="weight")])
@pytest.mark.parametrize("way", WAYS)
def test_ledger_closes_molecule_by_molecule(way, rule, x):
    model = Net(way)
    state = copy.deepcopy(model.state_dict())
    found = hpcml.explain(model, (x, BONDS, BATCH), atoms=BATCH, rule=rule)
    torch.testing.assert_close(found.prediction, model.eval()(x, BONDS, BATCH)[:, 0].detach())
    assert found.closure.abs().max() < 1e-10
    assert found.elsewhere.abs().max() == 0
    assert found.atoms.abs().min() > 0
    assert all(torch.equal(one, state[name]) for name, one in model.state_dict().items())


@pytest.mark.parametrize("way", WAYS)
def test_a_molecule_alone_and_in_other_order(way, x):
    model = Net(way)
    whole = hpcml.explain(model, (x, BONDS, BATCH), atoms=BATCH)
    mine = (BATCH[BONDS[0]] == 1).nonzero()[:, 0]
    order = torch.tensor([3, 0, 4, 2, 1])
    bonds = torch.argsort(order)[BONDS[:, mine] - 4]
    alone = hpcml.explain(model, (x[4:9][order], bonds, BATCH[4:9] * 0), atoms=BATCH[4:9] * 0)
    torch.testing.assert_close(alone.atoms, whole.atoms[4:9][order])
    torch.testing.assert_close(alone.ledger[0], whole.ledger[1])


@pytest.mark.parametrize("way", WAYS)
def test_one_backward_for_each_molecule_books_the_same(way, x):
    """Whose the ledger's terms are is told by what the rows stand for; here by who was asked."""
    model = Net(way)
    whole = hpcml.explain(model, (x, BONDS, BATCH), atoms=BATCH)
    for molecule in range(3):
        rows = molecule == BATCH

        def of_one(made, molecule=molecule):
            return made[:, 0] * torch.eye(3, dtype=made.dtype)[molecule]

        one = hpcml.explain(model, (x, BONDS, BATCH), atoms=BATCH, output=of_one)
        torch.testing.assert_close(one.atoms[rows], whole.atoms[rows])
        torch.testing.assert_close(one.ledger.sum(0), whole.ledger[molecule])
        assert one.atoms[~rows].abs().max() == 0


class Message(nn.Module):
    """One layer without biases: what an atom gives to itself and to its neighbours."""

    def __init__(self, add):
        super().__init__()
        torch.manual_seed(2)
        self.linear, self.add = nn.Linear(5, 1, bias=False).double(), add

    def forward(self, x, bonds, batch):
        h = self.linear(x)
        h = h + self.add(torch.zeros_like(h), bonds[1], h[bonds[0]])
        return torch.zeros(3, 1, dtype=x.dtype).index_add(0, batch, h)


@pytest.mark.parametrize(
    "add",
    [
        lambda out, index, values: out.index_add(0, index, values),
        lambda out, index, values: out.index_add_(0, index, values),
        lambda out, index, values: out.scatter_add_(0, like(index, values), values),
        lambda out, index, values: out.index_put((index,), values, accumulate=True),
    ],
    ids=["index_add", "index_add_", "scatter_add_", "index_put"],
)
def test_message_passing_against_loops(add, x):
    """Each atom's relevance is its own term as often as it is counted."""
    model = Message(add)
    found = hpcml.explain(model, (x, BONDS, BATCH), atoms=BATCH)
    weight = model.linear.weight.detach()[0]
    for atom in range(len(BATCH)):
        counted = 1 + sum(1 for source in BONDS[0].tolist() if source == atom)
        assert float(found.atoms[atom]) == pytest.approx(counted * float(weight @ x[atom]))
    torch.testing.assert_close(found.explained, found.prediction)


class Calls(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *tensors):
        return self.function(*tensors)


def test_softmax_takes_the_first_step_of_its_taylor_series():
    values = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    weight = torch.linspace(-1, 2, 6, dtype=torch.float64)
    found = hpcml.explain(Calls(lambda v: (torch.softmax(v, -1) * weight).sum(-1)), values)
    for row in range(4):
        s = torch.softmax(values[row], -1)
        relevance = s * weight
        for i in range(6):
            expected = values[row, i] * (relevance[i] - s[i] * relevance.sum())
            assert float(found.features["input"][row, i]) == pytest.approx(float(expected))
    assert found.closure.abs().max() < 1e-12


def test_softmax_written_out_is_a_softmax():
    values = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    weight = torch.linspace(-1, 2, 6, dtype=torch.float64)

    def written(v):
        powers = (v - v.detach().amax(-1, keepdim=True)).exp()
        return (powers / powers.sum(-1, keepdim=True) * weight).sum(-1)

    ours = hpcml.explain(Calls(written), values)
    expected = hpcml.explain(Calls(lambda v: (torch.softmax(v, -1) * weight).sum(-1)), values)
    torch.testing.assert_close(ours.features["input"], expected.features["input"])
    torch.testing.assert_close(ours.closure, torch.zeros(4, dtype=torch.float64))


@pytest.mark.parametrize(
    "function",
    [
        lambda v: functional.softplus(v) - 0.6931471805599453,
        lambda v: v * torch.sigmoid(v),
        lambda v: 0.5 * v * (1 + torch.erf(v / 2**0.5)),
        lambda v: torch.relu(v) ** 2 + v,
        lambda v: v * v,
    ],
    ids=["shifted softplus", "silu", "gelu", "square", "product"],
)
def test_function_that_is_zero_at_zero_hands_all_on(function):
    """However many calls it is written in."""
    values = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    found = hpcml.explain(Calls(lambda v: function(v).sum(-1)), values)
    torch.testing.assert_close(found.features["input"], function(values))
    assert found.ledger.abs().max() == 0


def test_two_signals_take_half_each_or_the_gate_takes_nothing():
    generator = torch.Generator().manual_seed(3)
    v, w = (torch.randn(4, 3, dtype=torch.float64, generator=generator) for _ in range(2))
    model = Calls(lambda a, b: (a * torch.sigmoid(b)).sum(-1))
    halves = hpcml.explain(model, (v, w))
    whole = hpcml.explain(model, (v, w), rule=Composite(Epsilon(), products="weight"))
    product = v * torch.sigmoid(w)
    torch.testing.assert_close(halves.features["0"], 0.5 * product)
    torch.testing.assert_close(whole.features["0"], product)
    assert whole.features["1"].abs().max() == 0
    assert halves.features["1"].abs().min() > 0


def test_attention_conserves_and_equals_its_steps(x):
    torch.manual_seed(3)
    layer = nn.MultiheadAttention(6, 2, batch_first=True).double()
    values = torch.randn(2, 4, 6, dtype=torch.float64)
    found = hpcml.explain(Calls(lambda v: layer(v, v, v)[0].sum((1, 2))), values)
    torch.testing.assert_close(
        found.prediction, layer(values, values, values)[0].sum((1, 2)).detach()
    )
    assert found.closure.abs().max() < 1e-12
    encoder = nn.TransformerEncoderLayer(6, 2, 12, batch_first=True, activation="gelu").double()
    one = hpcml.explain(nn.Sequential(encoder, Calls(lambda v: v.sum((1, 2)))), values)
    assert one.closure.abs().max() < 1e-12


def test_additive_model_is_explained_exactly(x):
    net = nn.Sequential(
        nn.Linear(5, 8, bias=False), nn.ReLU(), nn.Linear(8, 1, bias=False)
    ).double()
    model = Calls(lambda v: torch.zeros(3, 1, dtype=v.dtype).index_add(0, BATCH, net(v)))
    found = hpcml.explain(model, x, atoms=BATCH)
    torch.testing.assert_close(found.atoms, net(x)[:, 0].detach())


def test_what_falls_on_a_constant_is_the_bias(x):
    weight = torch.tensor([2.0, -1.0, 0.5, 3.0], dtype=torch.float64)

    def forward(v):
        return torch.cat([v[:, :2], torch.full((len(v), 2), 0.7, dtype=v.dtype)], 1) @ weight

    found = hpcml.explain(Calls(forward), x)
    torch.testing.assert_close(found.column("bias"), torch.full((11,), 0.7 * 3.5, dtype=x.dtype))
    assert found.closure.abs().max() < 1e-12


def test_embeddings_of_atoms_and_bonds_take_relevance_and_positions_do_not(x):
    torch.manual_seed(3)
    atom, bond = nn.Embedding(4, 3).double(), nn.Embedding(2, 3).double()

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.atom, self.bond = atom, bond

        def forward(self, z, order, positions, bonds, batch):
            near = (positions[bonds[0]] - positions[bonds[1]]).norm(dim=-1, keepdim=True)
            told = (self.atom(z)[bonds[0]] + self.bond(order)) * torch.exp(-near)
            atoms = torch.zeros(len(z), 3, dtype=told.dtype).index_add(0, bonds[1], told)
            return torch.zeros(3, 3, dtype=told.dtype).index_add(0, batch, atoms).sum(1)

    inputs = (torch.arange(11) % 4, torch.arange(16) % 2, x[:, :3], BONDS, BATCH)
    found = hpcml.explain(Model(), inputs, atoms=BATCH)
    assert found.kinds == {"atom": "atom", "bond": "pair"}
    torch.testing.assert_close(found.explained, found.prediction)
    torch.testing.assert_close(
        torch.zeros(3).to(x).index_add(0, BATCH, found.atoms), found.prediction
    )


def test_function_without_a_rule_is_named_with_its_line(x):
    def forward(v):
        return torch.cumprod(v, 1).sum(1)

    said = r"'cumprod' \(.*test_any_model.py:\d+, in forward\)"
    with pytest.raises(InputError, match=said):
        hpcml.explain(Calls(forward), x)


def test_what_cannot_be_seen_is_refused(x):
    class Hidden(torch.autograd.Function):
        @staticmethod
        def forward(ctx, values):
            return values * 2

        @staticmethod
        def backward(ctx, gradient):
            return gradient * 2

    with pytest.raises(InputError, match="cannot be seen"):
        hpcml.explain(Calls(lambda v: Hidden.apply(v).sum(1)), x)
    with pytest.raises(InputError, match="cannot be seen"):
        hpcml.explain(Calls(lambda v: Hidden.apply(v)[:, 0]), x)
    with pytest.raises(InputError, match="cannot be seen"):
        hpcml.explain(Calls(lambda v: Hidden.apply(v.sum(1))), x)


def test_overwriting_through_a_view_is_found_out(x):
    def forward(v):
        made = v * 2
        made.view(-1).add_(v.reshape(-1))
        return made.sum(1)

    with pytest.raises(InputError, match="through a view"):
        hpcml.explain(Calls(forward), x)


@pytest.mark.parametrize(
    ("inputs", "named", "message"),
    [
        ((torch.arange(3),), {}, "nothing to explain"),
        ((torch.ones(11, 5),), {"atoms": BATCH.flip(0)}, "ascending"),
        ((torch.ones(11, 5),), {"of": ["charge"]}, "no floating-point input 'charge'; there are 0"),
        ((torch.ones(11, 5),), {"output": 7}, "no number 7"),
        ((torch.ones(11, 5),), {"atoms": BATCH}, "one number for each of 3 molecules"),
        ((torch.ones(2, 5),), {"atoms": torch.arange(2)}, "kind atom or molecule"),
    ],
)
def test_what_does_not_fit_is_told(inputs, named, message):
    with pytest.raises((InputError, SettingsError), match=message):
        hpcml.explain(Calls(lambda v: v * 1.0), inputs, **named)


def test_constants_beside_two_atoms_belong_to_their_pair():
    """Features of both atoms and of their distance side by side, as DimeNet begins."""
    torch.manual_seed(0)
    batch = torch.tensor([0, 0, 0, 1, 1])
    ends = torch.tensor([[0, 1, 1, 2, 3, 4], [1, 0, 2, 1, 4, 3]])
    linear, far = torch.nn.Linear(9, 1).double(), torch.rand(6, 3, dtype=torch.float64)

    def forward(x):
        pairs = torch.cat([x[ends[0]], x[ends[1]], far], 1)
        return torch.zeros(2, 1).double().index_add(0, batch[ends[0]], linear(pairs).relu())

    found = hpcml.explain(Calls(forward), torch.rand(5, 3, dtype=torch.float64), atoms=batch)
    assert found.closure.abs().max() < 1e-12
    assert found.elsewhere.abs().max() == 0
    torch.testing.assert_close(found.atom_ledger.sum(0), found.ledger.sum(0))
