"""GraphConv against DeepChem's formulas written out atom by atom."""

import numpy as np
import pytest

from hpcml.errors import InputError
from hpcml.models import Scaling, build
from hpcml.molecules.features import ATOM_FEATURES, graph


def affine(w, name, x):
    return w[f"{name}.weight"] @ x + w[f"{name}.bias"]


def batch_norm(w, name, x):
    scale = w[f"{name}.weight"] / np.sqrt(w[f"{name}.running_var"] + 1e-5)
    return (x - w[f"{name}.running_mean"]) * scale + w[f"{name}.bias"]


def plain_output(w, molecule):
    g = graph(molecule)
    neighbours = [
        [int(b) if a == i else int(a) for a, b in g.bonds if i in (a, b)]
        for i in range(len(molecule))
    ]
    h = [row.astype(float) for row in g.atom_features]
    for layer in (0, 1):
        new = []
        for i, near in enumerate(neighbours):
            d, at = len(near), f"convolutions.{layer}"
            x = affine(w, f"{at}.own.{d}", h[i])
            x = x + affine(w, f"{at}.neighbours.{d - 1}", sum(h[j] for j in near))
            new.append(batch_norm(w, f"norms.{layer}", np.maximum(x, 0)))
        h = [np.max([new[i], *(new[j] for j in near)], axis=0) for i, near in enumerate(neighbours)]
    h = [batch_norm(w, "dense.2", np.maximum(affine(w, "dense.0", x), 0)) for x in h]
    return affine(w, "head", np.tanh(np.concatenate([np.sum(h, axis=0), np.max(h, axis=0)])))


def test_prediction_equals_the_loop(make_model, make_batch, molecules, scaling):
    model = make_model("graphconv", {"hidden": (6, 5), "dense": 4}, scaling=scaling)
    w = {name: value.numpy() for name, value in model.state_dict().items()}
    prediction = model(make_batch(model, molecules)).detach()
    for molecule, got in zip(molecules, prediction, strict=True):
        plain = plain_output(w, molecule) * scaling.std + scaling.mean
        plain = plain + np.sum([scaling.references[z] for z in molecule.numbers], axis=0)
        np.testing.assert_allclose(got, plain, rtol=1e-9)


def test_published_sizes_by_default():
    model = build("graphconv", scaling=Scaling())
    fa = len(ATOM_FEATURES)
    expected = (
        21 * (fa * 64 + 64) + 21 * (64 * 64 + 64)  # degrees 1 to 10 twice, degree 0 once
        + 2 * 2 * 64 + (64 * 128 + 128) + 2 * 128 + (256 + 1)
    )  # fmt: skip
    assert sum(p.numel() for p in model.parameters()) == expected


def test_too_many_bonds_and_atomic_terms_are_refused(make_model, make_batch, molecules):
    model = make_model("graphconv", {"largest_degree": 3})
    batch = make_batch(model, molecules)
    with pytest.raises(InputError, match="an atom has 4 bonds, more than largest_degree 3"):
        model(batch)
    with pytest.raises(InputError, match="no atomic terms"):
        model.atomic_terms(batch)
