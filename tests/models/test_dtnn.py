"""DTNN against the paper's formulas written out atom by atom."""

import numpy as np
import pytest
import torch

from hpcml.errors import InputError
from hpcml.models import Scaling, build
from hpcml.models import fused as messages
from hpcml.molecules import Molecule


def plain_terms(w, molecule, scaling):
    """Schuett 2017, equations 4 to 8, with the standardization of the authors' code."""
    n = len(molecule)
    mu = np.linspace(0, 20, 100)
    c = np.array([w["embedding.weight"][z] for z in molecule.numbers])
    for _ in range(3):
        new = c.copy()
        for i in range(n):
            for j in range(n):
                if i == j:
                    continue
                d = np.linalg.norm(molecule.positions[i] - molecule.positions[j])
                d_hat = np.exp(-((d - mu) ** 2) / (2 * 0.2**2))
                f_d = w["distance_factors.weight"] @ d_hat + w["distance_factors.bias"]
                f_c = w["atom_factors.weight"] @ c[j] + w["atom_factors.bias"]
                new[i] += np.tanh(w["interaction.weight"] @ (f_c * f_d))
        c = new
    o = np.tanh(c @ w["hidden.weight"].T + w["hidden.bias"])
    y = o @ w["output.weight"].T + w["output.bias"]
    references = np.array([scaling.references[z] for z in molecule.numbers])
    return y * scaling.atom_std + scaling.atom_mean + references


def test_atomic_terms_equal_the_loop(make_model, make_batch, molecules, scaling):
    model = make_model("dtnn", scaling=scaling)
    w = {name: value.numpy() for name, value in model.state_dict().items()}
    batch = make_batch(model, molecules)
    plain = [plain_terms(w, molecule, scaling) for molecule in molecules]
    np.testing.assert_allclose(model.atomic_terms(batch).detach(), np.concatenate(plain), rtol=1e-9)
    sums = [terms.sum(axis=0) for terms in plain]
    np.testing.assert_allclose(model(batch).detach(), sums, rtol=1e-9)


def test_published_sizes_by_default():
    model = build("dtnn", scaling=Scaling())
    expected = 21 * 30 + (100 * 60 + 60) + (30 * 60 + 60) + 60 * 30 + (30 * 15 + 15) + (15 + 1)
    assert sum(p.numel() for p in model.parameters()) == expected


def test_untrained_it_predicts_the_mean_and_the_references(make_batch, molecules, scaling):
    model = build("dtnn", scaling=scaling).double()
    prediction = model(make_batch(model, molecules)).detach()
    for molecule, got in zip(molecules, prediction, strict=True):
        rows = [np.add(scaling.references[z], scaling.atom_mean) for z in molecule.numbers]
        np.testing.assert_allclose(got, np.sum(rows, axis=0))


def test_an_element_beyond_the_embedding_is_named(make_model, make_batch):
    model = make_model("dtnn")
    with pytest.raises(InputError, match="does not know Br, only up to Ca"):
        model(make_batch(model, [Molecule([1, 35], [[0, 0, 0], [0, 0, 1.4]])]))


def test_in_one_stroke_and_step_by_step_agree(make_model, make_batch, molecules, monkeypatch):
    """Predictions and gradients, with parts that cut through molecules."""
    monkeypatch.setattr(messages, "_CACHED", 7 * 60)
    model = make_model("dtnn")
    batch = make_batch(model, molecules)
    results = []
    for look_on in (False, True):
        calls = []
        if look_on:
            model.tanh.register_forward_hook(lambda *_, seen=calls: seen.append(1))
        model.zero_grad()
        prediction = model(batch)
        prediction.square().sum().backward()
        assert len(calls) == (3 if look_on else 0)
        results.append([prediction.detach(), *(p.grad.clone() for p in model.parameters())])
    for one_stroke, stepwise in zip(*results, strict=True):
        scale = float(stepwise.abs().max())
        torch.testing.assert_close(one_stroke, stepwise, rtol=0.0, atol=1e-11 * scale)


def test_an_exchanged_layer_is_used(make_model, make_batch, molecules):
    model = make_model("dtnn")
    batch = make_batch(model, molecules)
    before = model(batch)
    model.tanh = torch.nn.Identity()
    assert not torch.allclose(model(batch), before)
