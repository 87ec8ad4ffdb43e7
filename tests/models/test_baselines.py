"""Baselines against their definitions and their closed forms."""

import numpy as np
import pytest

from hpcml.errors import InputError, SettingsError
from hpcml.models.baselines import BASELINES, Baseline, coulomb_matrix
from hpcml.molecules import Molecule


def stretched(molecules, copies=3):
    """Each molecule a little larger and larger."""
    return [
        Molecule(m.numbers, m.positions * (1 + 0.02 * k)) for m in molecules for k in range(copies)
    ]


def test_coulomb_matrix_of_water():
    water = Molecule([8, 1, 1], np.array([[0, 0, 0], [0, 0, 1], [0, 1, 0]]) * 0.529177210903)
    root = np.sqrt(2.0)
    np.testing.assert_allclose(
        coulomb_matrix(water),
        [[0.5 * 8**2.4, 8, 8], [8, 0.5, 1 / root], [8, 1 / root, 0.5]],
    )


def test_mean_and_atom_counts_equal_their_closed_forms(molecules):
    rng = np.random.default_rng(0)
    targets = rng.normal(size=(len(molecules), 2))
    mean = Baseline("mean", molecules, targets).predict(molecules[:2])
    np.testing.assert_allclose(mean, [targets.mean(axis=0)] * 2)
    counts = np.array([[(m.numbers == z).sum() for z in (1, 6, 7, 8, 9)] for m in molecules])
    exact = counts @ np.linalg.lstsq(counts, targets, rcond=None)[0]
    got = Baseline("atom counts", molecules, targets).predict(molecules)
    np.testing.assert_allclose(got, exact, atol=1e-10)


def test_kernel_ridge_solves_its_equations(molecules):
    many = stretched(molecules)
    targets = np.random.default_rng(1).normal(size=len(many))
    baseline = Baseline("kernel ridge, coulomb", many, targets)
    best = baseline.estimator.best_params_
    rows = []
    for molecule in many:  # sorted by row norm, zeros behind
        matrix = coulomb_matrix(molecule)
        order = sorted(range(len(molecule)), key=lambda i, m=matrix: -np.linalg.norm(m[i]))
        padded = np.zeros((13, 13))
        padded[: len(order), : len(order)] = matrix[order][:, order]
        rows.append([padded[i, j] for i in range(13) for j in range(i + 1)])
    x = np.array(rows)
    K = np.exp(-best["gamma"] * np.abs(x[:, None] - x[None]).sum(axis=2))
    weights = np.linalg.solve(K + best["alpha"] * np.eye(len(x)), targets - targets.mean())
    np.testing.assert_allclose(baseline.predict(many), K @ weights + targets.mean(), atol=1e-6)


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_the_order_of_atoms_and_the_place_do_not_matter(name, molecules):
    many = stretched(molecules)
    targets = np.array([m.numbers.sum() + np.ptp(m.positions) for m in many])
    baseline = Baseline(name, many, targets)
    rng = np.random.default_rng(2)
    moved = []
    for molecule in molecules:
        order = rng.permutation(len(molecule))
        moved.append(Molecule(molecule.numbers[order], molecule.positions[order] + 3.0))
    np.testing.assert_allclose(baseline.predict(moved), baseline.predict(molecules), atol=1e-5)


@pytest.mark.parametrize("name", ["kernel ridge, coulomb", "kernel ridge, bonds"])
def test_kernel_ridge_learns_a_smooth_function_of_the_geometry(name, molecules):
    def repulsion(molecule):
        return np.tril(coulomb_matrix(molecule), -1).sum()

    many = stretched(molecules, copies=5)
    held_out = [Molecule(m.numbers, m.positions * 1.03) for m in molecules]
    targets = np.array([repulsion(m) for m in many])
    truth = np.array([repulsion(m) for m in held_out])
    error = np.abs(Baseline(name, many, targets).predict(held_out) - truth).mean()
    assert error < 0.05 * np.abs(truth - targets.mean()).mean()


def test_what_a_baseline_cannot_do_is_said(molecules):
    targets = np.ones(len(molecules))
    with pytest.raises(SettingsError, match="no baseline 'median'; there are mean, atom counts"):
        Baseline("median", molecules, targets)
    with pytest.raises(InputError, match="at least five"):
        Baseline("mean", molecules[:4], targets[:4])
    with pytest.raises(InputError, match="not a finite"):
        Baseline("mean", molecules, targets * np.nan)
    small = Baseline("kernel ridge, coulomb", molecules[:6], targets[:6])
    with pytest.raises(InputError, match="larger than any"):
        small.predict(molecules)
    with pytest.raises(InputError, match="larger bags"):
        Baseline("kernel ridge, bonds", molecules[:6], targets[:6]).predict(molecules)
    chlorine = Molecule([1, 17], [[0, 0, 0], [0, 0, 1.3]], name="HCl")
    with pytest.raises(InputError, match=r"HCl.*element that no training"):
        Baseline("atom counts", molecules, targets).predict([chlorine])
