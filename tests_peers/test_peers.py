"""What must hold for every model of another program, left as it is."""

import pytest
import torch
from peers import PEERS, peer, pyg, schnetpack

import hpcml

EPSILON = 1e-10


@pytest.fixture(scope="module", params=PEERS)
def one(request):
    return peer(request.param)


@pytest.mark.parametrize("rule", ["epsilon", "gamma"])
def test_ledger_closes(one, rule, sixty_four):
    found = one.explain(sixty_four, rule)
    torch.testing.assert_close(found.prediction, one.call(sixty_four))
    assert found.closure.abs().max() < EPSILON
    assert found.elsewhere.abs().max() == 0
    assert found.atoms.abs().max() > 0


def test_a_batch_of_one_is_a_batch_of_sixty_four(one, sixty_four, batch_of):
    whole = one.explain(sixty_four)
    for number, smiles in ((1, "c1ccccc1O"), (34, "CC(=O)NC")):
        alone = one.explain(batch_of(smiles))
        atoms = whole.atoms[sixty_four.batch == number]
        torch.testing.assert_close(alone.atoms, atoms, rtol=1e-7, atol=1e-9)
        torch.testing.assert_close(alone.ledger[0], whole.ledger[number], rtol=1e-7, atol=1e-9)


def test_order_of_atoms_does_not_matter(one, batch_of):
    order = [3, 0, 4, 2, 1]
    found, turned = one.explain(batch_of("CC(=O)NC")), one.explain(batch_of(("CC(=O)NC", order)))
    if not torch.allclose(found.prediction, turned.prediction, rtol=1e-9):
        pytest.fail("the model itself depends on the order of atoms")
    torch.testing.assert_close(turned.atoms, found.atoms[order], rtol=1e-6, atol=1e-9)


def test_equal_atoms_are_worth_the_same(one, benzene):
    atoms = one.explain(benzene).atoms
    torch.testing.assert_close(atoms, atoms.mean().expand(6), rtol=1e-9, atol=1e-12)


# ----------------------------------------------------------------------- one layer, slowly


def test_additive_model_is_exact(sixty_four):
    """Without interactions SchNet is a sum over atoms: what each is worth is its own term."""
    model, inputs = schnetpack("SchNet", interactions=0)
    args, named = inputs(sixty_four)
    found = hpcml.explain(model, args, atoms=sixty_four.batch, **named)
    alone = torch.stack([_alone(model, inputs, int(z)) for z in sixty_four.z])
    torch.testing.assert_close(found.booked, alone)


def _alone(model, inputs, z):
    from conftest import Molecules

    none = torch.zeros(2, 0, dtype=torch.long)
    atom = Molecules(
        smiles=[], z=torch.tensor([z]), x=None, positions=torch.zeros(1, 3, dtype=torch.float64),
        edges=none, near=none, batch=torch.zeros(1, dtype=torch.long),
    )  # fmt: skip
    return model(*inputs(atom)[0])["energy"].detach().reshape(())


def one_layer(network):
    network.convs, network.norms = network.convs[:1], network.norms[:1]
    network.num_layers = 1


def test_graph_convolution_against_loops(batch_of):
    """GCNConv: relevance of a feature is what it adds, A_ij W x_j, as loops over bonds."""
    molecules = batch_of("CC(=O)NC")
    model, inputs = pyg("GCN")
    one_layer(model.network)
    found = hpcml.explain(model, inputs(molecules)[0], atoms=molecules.batch)
    weight = (model.out.weight @ model.network.convs[0].lin.weight).detach()[0]
    n, bonds = len(molecules.z), molecules.edges.T.tolist()
    degree = [1 + sum(1 for _, i in bonds if i == atom) for atom in range(n)]
    expected = torch.zeros(n, dtype=torch.float64)
    for j, i in [*bonds, *((atom, atom) for atom in range(n))]:
        expected[j] += (degree[i] * degree[j]) ** -0.5 * float(weight @ molecules.x[j])
    torch.testing.assert_close(found.atoms, expected)


def test_isomorphism_layer_against_loops(batch_of):
    """GINConv, h = W2 relu(W1 (x_i + sum x_j) + b1) + b2, by LRP-0 neuron for neuron."""
    molecules = batch_of("OCC1CO1")
    model, inputs = pyg("GIN")
    one_layer(model.network)
    layer = model.network.convs[0].nn
    found = hpcml.explain(model, inputs(molecules)[0], atoms=molecules.batch)
    (first, b1), (second, _) = ((lin.weight.detach(), lin.bias.detach()) for lin in layer.lins)
    out = (model.out.weight.detach() @ second)[0]
    expected = torch.zeros_like(molecules.x)
    for i in range(len(molecules.z)):
        neighbours = [i, *(j for j, k in molecules.edges.T.tolist() if k == i)]
        z = first @ molecules.x[neighbours].sum(0) + b1
        for neuron in range(len(z)):
            R = out[neuron] * torch.relu(z[neuron])
            if z[neuron] > 0:
                for j in neighbours:
                    expected[j] += first[neuron] * molecules.x[j] / z[neuron] * R
    torch.testing.assert_close(found.features["0"], expected)
