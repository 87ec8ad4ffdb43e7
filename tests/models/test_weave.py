"""Weave against the paper's formulas written out atom by atom and pair by pair."""

import numpy as np
import pytest
import torch

from hpcml.errors import InputError
from hpcml.models import Scaling, build
from hpcml.molecules.features import ATOM_FEATURES, PAIR_FEATURES, graph


def arrays(module):
    return {name: value.numpy() for name, value in module.state_dict().items()}


def affine(w, name, x):
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def batch_norm(w, name, x):
    scale = w[f"{name}.weight"] / np.sqrt(w[f"{name}.running_var"] + 1e-5)
    return (x - w[f"{name}.running_mean"]) * scale + w[f"{name}.bias"]


def dense(w, name, x):
    return np.maximum(batch_norm(w, f"{name}.1", affine(w, f"{name}.0", x)), 0)


def plain_representation(w, molecule, layers):
    """Kearnes 2016, equations of the Weave module, all ordered pairs, one at a time."""
    n = len(molecule)
    g = graph(molecule)
    A = [row.astype(float) for row in g.atom_features]
    P = {(i, j): g.pair_features[i, j].astype(float) for i in range(n) for j in range(n) if i != j}
    for layer in range(layers):
        up = f"atom_updates.{layer}"
        new_A = []
        for i in range(n):
            AA = dense(w, f"{up}.atom_to_atom", A[i])
            PA = sum(dense(w, f"{up}.pair_to_atom.dense", P[i, j]) for j in range(n) if j != i)
            new_A.append(dense(w, f"{up}.dense", np.concatenate([AA, PA])))
        if layer < layers - 1:
            up = f"pair_updates.{layer}"
            to_pair = f"{up}.atom_to_pair"
            W = np.hstack([w[f"{to_pair}.first.weight"], w[f"{to_pair}.second.weight"]])

            def AP(i, j, A=A, W=W, to_pair=to_pair):
                z = W @ np.concatenate([A[i], A[j]]) + w[f"{to_pair}.first.bias"]
                return np.maximum(batch_norm(w, f"{to_pair}.norm", z), 0)

            P = {
                (i, j): dense(
                    w,
                    f"{up}.dense",
                    np.concatenate([AP(i, j) + AP(j, i), dense(w, f"{up}.pair_to_pair", P[i, j])]),
                )
                for i, j in P
            }
        A = new_A
    return np.array(
        [batch_norm(w, "atom_dense.2", np.tanh(affine(w, "atom_dense.0", a))) for a in A]
    )


MEANS = np.array([-1.645, -1.080, -0.739, -0.468, -0.228, 0, 0.228, 0.468, 0.739, 1.080, 1.645])
WIDTHS = np.array([0.283, 0.170, 0.134, 0.118, 0.114, 0.114, 0.114, 0.118, 0.134, 0.170, 0.283])


def plain_histogram(row):
    bins = []
    for x in row:
        density = np.exp(-0.5 * ((x - MEANS) / WIDTHS) ** 2)
        bins.extend(density / density.sum())
    return np.array(bins)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_atom_features_equal_the_loop_over_pairs(layers, make_model, make_batch, molecules):
    model = make_model("weave", {"layers": layers, "hidden": 7, "representation": 5})
    got = model.representation(make_batch(model, molecules)).detach()
    plain = [plain_representation(arrays(model), molecule, layers) for molecule in molecules]
    np.testing.assert_allclose(got, np.concatenate(plain), rtol=1e-9, atol=1e-9)


def test_histogram_readout_equals_the_loop(make_model, make_batch, molecules, scaling):
    settings = {"hidden": 6, "representation": 4, "fully_connected": (8, 5)}
    model = make_model("weave", settings, scaling=scaling)
    w = arrays(model)
    prediction = model(make_batch(model, molecules)).detach()
    for molecule, got in zip(molecules, prediction, strict=True):
        x = sum(plain_histogram(row) for row in plain_representation(w, molecule, 2))
        x = dense(w, "head.2", dense(w, "head.0", x))
        y = affine(w, "head.4", x) * scaling.std + scaling.mean
        y = y + np.sum([scaling.references[z] for z in molecule.numbers], axis=0)
        np.testing.assert_allclose(got, y, rtol=1e-5)  # the bins are float32 constants


def test_sum_readout_adds_its_atomic_terms(make_model, make_batch, molecules, scaling):
    model = make_model("weave", {"hidden": 6, "readout": "sum"}, scaling=scaling)
    batch = make_batch(model, molecules)
    terms = model.atomic_terms(batch).detach().numpy()
    w = arrays(model)
    start = 0
    for molecule, got in zip(molecules, model(batch).detach().numpy(), strict=True):
        rows = affine(w, "head", plain_representation(w, molecule, 2))
        plain = rows * scaling.atom_std + scaling.atom_mean
        plain = plain + [scaling.references[z] for z in molecule.numbers]
        np.testing.assert_allclose(terms[start : start + len(molecule)], plain, atol=1e-9)
        np.testing.assert_allclose(got, plain.sum(axis=0), atol=1e-9)
        start += len(molecule)


def test_histogram_readout_has_no_atomic_terms(make_model, make_batch, molecules):
    model = make_model("weave", {"hidden": 4, "representation": 3, "fully_connected": (4,)})
    with pytest.raises(InputError, match="no atomic terms"):
        model.atomic_terms(make_batch(model, molecules))


def test_published_sizes_by_default():
    model = build("weave", scaling=Scaling())
    fa, fp = len(ATOM_FEATURES), len(PAIR_FEATURES)

    def affine_and_norm(inputs, outputs):
        return inputs * outputs + outputs + 2 * outputs

    expected = (
        affine_and_norm(fa, 50) + affine_and_norm(fp, 50) + affine_and_norm(100, 50)  # atoms, 1
        + affine_and_norm(2 * fa, 50) + affine_and_norm(fp, 50) + affine_and_norm(100, 50)  # pairs
        + affine_and_norm(50, 50) * 2 + affine_and_norm(100, 50)  # atoms, 2
        + affine_and_norm(50, 128)
        + affine_and_norm(128 * 11, 2000) + affine_and_norm(2000, 100) + 101
    )  # fmt: skip
    assert sum(p.numel() for p in model.parameters()) == expected


def test_training_normalizes_over_pairs_as_over_both_directions(make_batch, molecules):
    """Statistics over each pair once are those over both directions: the features are the same."""
    model = build("weave", {"hidden": 6, "readout": "sum"}).double().train()
    batch = make_batch(model, molecules)
    model(batch)
    norm = model.atom_updates[0].pair_to_atom.dense[1]
    affine_values = model.atom_updates[0].pair_to_atom.dense[0](batch.pair_features)
    torch.testing.assert_close(norm.running_mean, 0.1 * affine_values.mean(dim=0))
