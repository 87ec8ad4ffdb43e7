"""Second-order relevance against walks written out one by one."""

import itertools

import numpy as np
import pytest
import torch

from hpcml.molecules import Molecule
from hpcml.relevance import Epsilon, explain
from hpcml.relevance.copies import copies_per_atom, select
from hpcml.relevance.interactions import interactions


def test_sum_over_readers_is_the_atoms_relevance(network, molecules, batch_of):
    batch = batch_of(network, molecules[:30:3])
    found = interactions(network, batch, "gamma")
    total = torch.zeros(batch.atoms, dtype=torch.float64)
    total.index_add_(0, found.source, found.relevance)
    torch.testing.assert_close(total, explain(network, batch, "gamma").atoms)
    assert len(found.source) == int((torch.bincount(batch.molecule) ** 2).sum())


def test_permutation(network, molecules, batch_of):
    """Readers are named rightly in whatever order a network holds its atoms."""
    molecule = molecules[40]
    n, order = len(molecule), np.random.default_rng(3).permutation(len(molecule))
    permuted = Molecule(molecule.numbers[order], molecule.positions[order], smiles=molecule.smiles)

    def matrix(one):
        found = interactions(network, batch_of(network, [molecules[3], one]))
        both = torch.zeros(n, n, dtype=torch.float64)
        before = len(molecules[3])
        mine = found.source >= before
        both[found.source[mine] - before, found.reader[mine] - before] = found.relevance[mine]
        return both

    torch.testing.assert_close(matrix(permuted), matrix(molecule)[order][:, order])


def test_portions_do_not_matter(trained, molecules, batch_of):
    model, _ = trained("weave")
    batch = batch_of(model, molecules[:20])
    whole = interactions(model, batch)
    parts = interactions(model, batch, most_pairs=300)
    torch.testing.assert_close(parts.relevance, whole.relevance)
    assert torch.equal(parts.source, whole.source)


def test_network_without_messages_has_no_interactions(trained, molecules, batch_of):
    """ANI's atoms see their surroundings in their own input: nothing passes between them."""
    model, _ = trained("ani")
    found = interactions(model, batch_of(model, molecules[:10]))
    apart = found.source != found.reader
    assert found.relevance[apart].abs().max() == 0.0


@pytest.fixture
def water():
    return Molecule([8, 1, 1], [[0, 0, 0], [0.76, 0.59, 0], [-0.7, 0.65, 0.1]])


def walks_of_dtnn(model, batch):
    """(n, n): R_ij of one molecule, each walk i = i_0, i_1, ..., i_T = j by itself.

    With all slopes tanh(z) / z held fixed a pass is linear: c_i' = c_i + sum_j G_ij c_j + ...,
    and the relevance of a walk is c_i0 (step) (step) ... (output row of i_T).
    """
    n, i, j = batch.atoms, *batch.pairs
    state = model.state_dict()
    std = float(model.readout.standardize.std[0])
    once = model.expansion(batch.distances[: len(i) // 2])
    gates = (once @ state["distance_factors.weight"].T + state["distance_factors.bias"]).repeat(
        2, 1
    )
    c = state["embedding.weight"][batch.numbers]
    first, steps = c, []
    for _ in range(model.passes):
        factors = (c @ state["atom_factors.weight"].T + state["atom_factors.bias"])[j] * gates
        z = factors @ state["interaction.weight"].T
        slopes = torch.tanh(z) / z
        blocks = {}
        for a, b in itertools.product(range(n), repeat=2):
            blocks[a, b] = torch.eye(c.shape[1], dtype=c.dtype) if a == b else None
        for edge in range(len(i)):
            weight = state["interaction.weight"] * gates[edge]
            blocks[int(i[edge]), int(j[edge])] = slopes[edge][:, None] * (
                weight @ state["atom_factors.weight"]
            )
        steps.append(blocks)
        c = c + torch.zeros_like(c).index_add(0, i, torch.tanh(z))
    z = c @ state["hidden.weight"].T + state["hidden.bias"]
    rows = ((torch.tanh(z) / z) * state["output.weight"][0]) @ state["hidden.weight"] * std
    found = torch.zeros(n, n, dtype=c.dtype)
    for walk in itertools.product(range(n), repeat=model.passes + 1):
        vector = first[walk[0]]
        for step, (a, b) in zip(steps, itertools.pairwise(walk), strict=True):
            vector = step[b, a] @ vector
        found[walk[0], walk[-1]] += vector @ rows[walk[-1]]
    return found


def test_walks_one_by_one(trained, water, batch_of):
    model, _ = trained("dtnn")
    batch = batch_of(model, [water])
    with torch.no_grad():
        expected = walks_of_dtnn(model, batch)
    found = interactions(model, batch, Epsilon(0.0))
    for source, reader, relevance in zip(found.source, found.reader, found.relevance, strict=True):
        assert float(relevance) == pytest.approx(float(expected[source, reader]), rel=1e-8)


def test_mean_strength_by_distance(trained, water, batch_of):
    model, _ = trained("dtnn")
    found = interactions(model, batch_of(model, [water]))
    strength, count = found.by_distance(torch.tensor([0.0, 1.2, 5.0]))
    assert count.tolist() == [4, 2]  # O-H both ways twice, H-H both ways
    hydrogens = (found.source > 0) & (found.reader > 0) & (found.source != found.reader)
    assert float(strength[1]) == pytest.approx(float(found.relevance[hydrogens].abs().mean()))


def test_selected_molecules_are_the_batch_of_these_molecules(trained, molecules, batch_of):
    """Repeats and another order: tensor by tensor what collate would have made."""
    for name in ("weave", "graphconv", "dtnn"):
        model, _ = trained(name)
        chosen = [5, 0, 5, 17]
        found = select(batch_of(model, molecules[:20]), torch.tensor(chosen))
        expected = batch_of(model, [molecules[number] for number in chosen])
        assert found.size == expected.size
        for field in ("numbers", "positions", "molecule", "pairs", "distances", "atom_features",
                      "pair_features"):  # fmt: skip
            one, other = getattr(found, field), getattr(expected, field)
            assert (one is None) == (other is None)
            assert one is None or torch.equal(one, other)
        if expected.bonds is not None:
            ours = {tuple(bond) for bond in found.bonds.T.tolist()}
            assert ours == {tuple(bond) for bond in expected.bonds.T.tolist()}


def test_one_copy_for_each_atom(trained, molecules, batch_of):
    model, _ = trained("dtnn")
    batch = batch_of(model, molecules[:7])
    atoms = []
    for copies in copies_per_atom(batch, most_pairs=60):
        assert torch.equal(copies.original[copies.marked], copies.atom)
        assert torch.equal(batch.numbers[copies.original], copies.batch.numbers)
        atoms += copies.atom.tolist()
    assert atoms == list(range(batch.atoms))
