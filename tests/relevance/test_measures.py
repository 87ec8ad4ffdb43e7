"""Measures of faithfulness on networks whose reasons are known."""

import numpy as np
import pytest
import torch

from hpcml.relevance import Epsilon, ExplainSettings, explain, explain_by
from hpcml.relevance.measures import (
    cascade,
    changes,
    displaced,
    flipping,
    randomization,
    stability,
    symmetry,
    turned,
    within_molecules,
)


def by_epsilon(model, batch):
    return explain(model, batch, Epsilon(0.0)).atoms


def test_flipping_of_a_linear_network_is_its_running_sum(trained, molecules, batch_of):
    """Taking away the k most positive atoms loses exactly their relevances."""
    model, _ = trained("linear")
    batch = batch_of(model, molecules[10:13])
    atoms = by_epsilon(model, batch)
    curves = flipping(model, batch, atoms, points=5)
    whole = explain(model, batch).prediction
    for number in range(batch.size):
        mine = atoms[batch.molecule == number]
        for point, part in enumerate(curves.fraction):
            removed = round(float(part) * len(mine))
            largest = torch.sort(mine, descending=True).values[:removed].sum()
            smallest = torch.sort(mine).values[:removed].sum()
            first, last = curves.positive_first[point, number], curves.negative_first[point, number]
            assert float(first) == pytest.approx(float(whole[number] - largest))
            assert float(last) == pytest.approx(float(whole[number] - smallest))
    assert (curves.area >= 0).all()


def test_no_order_is_better_than_the_exact_one(trained, molecules, batch_of):
    model, _ = trained("linear")
    batch = batch_of(model, molecules)
    best = flipping(model, batch, by_epsilon(model, batch)).area
    generator = torch.Generator().manual_seed(1)
    chance = [
        flipping(model, batch, torch.randn(batch.atoms, generator=generator)).area
        for _ in range(20)
    ]
    assert all((best >= area - 1e-9).all() for area in chance)
    assert abs(float(torch.stack(chance).mean())) < 0.05 * float(best.mean())


@pytest.mark.parametrize("name", ["weave", "dtnn", "graphconv"])
def test_relevance_beats_chance(name, trained, molecules, batch_of):
    model, _ = trained(name)
    batch = batch_of(model, molecules)
    area = flipping(model, batch, by_epsilon(model, batch)).area
    generator = torch.Generator().manual_seed(2)
    chance = torch.stack(
        [
            flipping(model, batch, torch.randn(batch.atoms, generator=generator)).area
            for _ in range(5)
        ]
    )
    assert float(area.mean()) > float(chance.mean() + 3.0 * chance.mean(dim=1).std())


@pytest.mark.parametrize("name", ["weave", "dtnn"])
def test_explanation_collapses_with_shuffled_weights(name, trained, molecules, batch_of):
    model, _ = trained(name)
    batch = batch_of(model, molecules[20:50])
    before = {key: value.clone() for key, value in model.state_dict().items()}
    lines = randomization(model, batch, by_epsilon)
    assert abs(lines[-1][1]) < 0.5
    layers = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)]
    assert lines[0][0] in layers
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_explanation_that_ignores_the_network_is_caught(trained, molecules, batch_of):
    """Atomic numbers as "relevance" survive every shuffling."""
    model, _ = trained("dtnn")
    batch = batch_of(model, molecules[20:30])
    lines = randomization(model, batch, lambda _, b: b.numbers.double())
    assert all(correlation == pytest.approx(1.0) for _, correlation in lines)


def test_symmetry_of_known_spreads():
    molecule = np.array([0, 0, 0, 0, 1, 1])
    classes = np.array([0, 0, 1, 1, 0, 1])
    equal = np.array([1.0, 1.0, 3.0, 3.0, 7.0, 9.0])
    assert symmetry(equal, classes, molecule) == 0.0
    mixed = np.array([1.0, 3.0, 1.0, 3.0, 2.0, 2.0])
    # inside classes: 4 squares of 1 by 2 degrees of freedom; within molecules: the same 4 by 4
    assert symmetry(mixed, classes, molecule) == pytest.approx(np.sqrt((4 / 2) / (4 / 4)))
    assert np.isnan(symmetry(equal, np.arange(6), molecule))


def test_stability(trained, molecules):
    """Features without distances do not move; distances move as far as the noise."""
    linear, dtnn = trained("linear")[0], trained("dtnn")[0]
    assert stability(linear, molecules[:5], by_epsilon, noise=0.05) == 0.0
    small = stability(dtnn, molecules[:20], by_epsilon, noise=1e-4)
    large = stability(dtnn, molecules[:20], by_epsilon, noise=1e-3)
    assert 0.0 < small < 0.1
    assert large == pytest.approx(10.0 * small, rel=0.1)


def test_correlation_within_molecules():
    molecule = torch.tensor([0, 0, 0, 1, 1])
    first = torch.tensor([1.0, 2.0, 3.0, 10.0, 11.0])
    assert within_molecules(first, 2 * first + 5 * molecule, molecule) == pytest.approx(1.0)
    assert within_molecules(first, torch.ones(5), molecule) == 0.0


@pytest.mark.parametrize("rule", ["gradient_times_input", "integrated_gradients", "occlusion"])
def test_comparators_are_exact_on_a_linear_network(rule, trained, molecules, batch_of):
    model, _ = trained("linear")
    batch = batch_of(model, molecules[:20])
    found = explain_by(model, batch, ExplainSettings(rule=rule))
    torch.testing.assert_close(found.atoms, by_epsilon(model, batch))
    assert found.closure.abs().max() < 1e-10


def test_changes_by_molecule(trained, molecules):
    """Turned molecules are the same ones; where nothing is displaced nothing changes."""
    dtnn = trained("dtnn")[0]
    some = molecules[:6]
    moved = displaced(some, 0.01, seed=3)
    found = changes(dtnn, some, moved, by_epsilon)
    assert (changes(dtnn, some, displaced(some, 0.0), by_epsilon) == 0.0).all()
    for one, other, change in zip(some, moved, found.tolist(), strict=True):
        assert float(changes(dtnn, [one], [other], by_epsilon)) == pytest.approx(change)
    assert (found > 1e-4).all()
    rotated = turned(some, seed=1)
    assert changes(dtnn, some, rotated, by_epsilon).max() < 1e-9
    distances = [np.linalg.norm(one.positions[:, None] - one.positions, axis=2) for one in some]
    for one, expected in zip(rotated, distances, strict=True):
        found_distances = np.linalg.norm(one.positions[:, None] - one.positions, axis=2)
        np.testing.assert_allclose(found_distances, expected, atol=1e-9)


def test_a_cascade_shuffles_from_the_output_down(trained):
    model = trained("weave")[0]
    names = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)]
    before = {name: model.get_submodule(name).weight.clone() for name in names}
    done = []
    for name, shuffled in cascade(model):
        done.append(name)
        for layer in names:
            same = torch.equal(shuffled.get_submodule(layer).weight, before[layer])
            assert same == (layer not in done)
    assert done[0] == "head" and set(names) <= set(done)
    assert all(torch.equal(model.get_submodule(n).weight, before[n]) for n in names)
