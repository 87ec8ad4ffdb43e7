"""References, scaling, and the two ways to a molecule's number."""

import numpy as np
import pytest
import torch

from hpcml.errors import InputError
from hpcml.models import Scaling, collate, example, fit_references, fit_scaling, unit_scaling
from hpcml.models.readout import AtomicReadout, MoleculeReadout


@pytest.fixture
def batch(molecules):
    return collate([example(molecule, frozenset()) for molecule in molecules], torch.float64)


def test_references_of_additive_targets_are_found(molecules):
    numbers = [molecule.numbers for molecule in molecules]
    true = {1: (1.0, -2.0), 6: (3.0, 0.5), 7: (-4.0, 2.0), 8: (0.25, 7.0), 9: (9.0, 1.0)}
    targets = np.array([np.sum([true[int(z)] for z in one], axis=0) for one in numbers])
    targets[0, 1] = np.nan
    found = fit_references(numbers, targets)
    assert found.keys() == true.keys()
    for z, values in true.items():
        np.testing.assert_allclose(found[z], values, atol=1e-10)
    scaling = fit_scaling(numbers, targets, references=found)
    np.testing.assert_allclose(scaling.mean, 0.0, atol=1e-10)
    assert scaling.std == scaling.atom_std == (1.0, 1.0)


def test_scaling_is_mean_and_spread_above_the_references(molecules):
    numbers = [molecule.numbers for molecule in molecules]
    atoms = np.array([len(one) for one in numbers])
    targets = np.random.default_rng(0).normal(5.0, 2.0, (len(numbers), 1))
    targets[3] = np.nan
    rest = np.delete(np.arange(len(numbers)), 3)
    carbon = np.array([(one == 6).sum() for one in numbers])
    above = (targets[:, 0] - 0.7 * carbon)[rest]
    scaling = fit_scaling(numbers, targets, references={6: [0.7]})
    np.testing.assert_allclose(scaling.mean + scaling.std, [above.mean(), above.std()])
    per_atom = above / atoms[rest]
    np.testing.assert_allclose(
        scaling.atom_mean + scaling.atom_std, [per_atom.mean(), per_atom.std()]
    )
    plain = fit_scaling(numbers, targets, extensive=False)
    assert plain.atom_mean == plain.mean
    assert plain.atom_std == plain.std


def test_what_cannot_be_scaled_is_refused(molecules):
    numbers = [molecule.numbers for molecule in molecules]
    targets = np.full((len(numbers), 2), np.nan)
    with pytest.raises(InputError, match="NaN in every"):
        fit_scaling(numbers, targets)
    with pytest.raises(InputError, match="intensive"):
        fit_scaling(numbers, targets, extensive=False, references={1: [0.0, 0.0]})


def test_extensive_is_the_sum_and_intensive_the_mean_of_atoms(batch, scaling, intensive):
    values = torch.randn(batch.atoms, 2, dtype=torch.float64)
    summed, averaged = AtomicReadout(scaling), AtomicReadout(intensive)
    for molecule in range(batch.size):
        mine = batch.molecule == molecule
        rows = values[mine].numpy()
        references = [scaling.references[int(z)] for z in batch.numbers[mine]]
        terms = rows * scaling.atom_std + scaling.atom_mean + references
        np.testing.assert_allclose(summed.terms(values, batch)[mine], terms)
        np.testing.assert_allclose(summed(values, batch)[molecule], terms.sum(axis=0))
        mean = rows.mean(axis=0) * intensive.atom_std + intensive.atom_mean
        np.testing.assert_allclose(averaged(values, batch)[molecule], mean)
        np.testing.assert_allclose(averaged.terms(values, batch)[mine].sum(dim=0), mean)


def test_molecule_readout_adds_references_to_extensive_targets_only(batch, scaling, intensive):
    values = torch.randn(batch.size, 2, dtype=torch.float64)
    totals = [
        np.sum([scaling.references[int(z)] for z in batch.numbers[batch.molecule == m]], axis=0)
        for m in range(batch.size)
    ]
    np.testing.assert_allclose(
        MoleculeReadout(scaling)(values, batch),
        values.numpy() * scaling.std + scaling.mean + np.array(totals),
    )
    np.testing.assert_allclose(
        MoleculeReadout(intensive)(values, batch), values.numpy() * intensive.std + intensive.mean
    )


def test_unit_scaling_changes_nothing(batch):
    values = torch.randn(batch.size, 3, dtype=torch.float64)
    assert torch.equal(MoleculeReadout(unit_scaling(3))(values, batch), values)
    assert Scaling().targets == 1
