"""PaiNN against the paper's equations written out pair by pair, and its vectors under rotation."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from hpcml.errors import InputError
from hpcml.models import Scaling, build
from hpcml.models import fused as messages
from hpcml.molecules import Molecule

SETTINGS = {"features": 6, "interactions": 3, "radial": 5, "cutoff": 3.5}


def affine(w, name, x):
    return w[f"{name}.weight"] @ x + w[f"{name}.bias"]


def mlp(w, name, x):
    x = affine(w, f"{name}.0", x)
    return affine(w, f"{name}.2", x / (1 + np.exp(-x)))


def plain_features(w, molecule, interactions=3, radial=5, cutoff=3.5):
    """Schuett 2021, equations 7 to 10; filters in the order s, vs, vv."""
    n = len(molecule)
    s = [w["embedding.weight"][z] for z in molecule.numbers]
    F = len(s[0])
    v = [np.zeros((3, F)) for _ in range(n)]
    for t in range(interactions):
        new_s, new_v = [x.copy() for x in s], [x.copy() for x in v]
        for i in range(n):
            for j in range(n):
                r = molecule.positions[j] - molecule.positions[i]
                d = np.linalg.norm(r)
                if i == j or d >= cutoff:
                    continue
                waves = np.sin(np.arange(1, radial + 1) * np.pi * d / cutoff) / d
                W = affine(w, f"filters.{t}", waves) * 0.5 * (np.cos(np.pi * d / cutoff) + 1)
                x = mlp(w, f"messages.{t}.phi", s[j]) * W
                new_s[i] += x[:F]
                new_v[i] += np.outer(r / d, x[F : 2 * F])
                if t > 0:
                    new_v[i] += v[j] * x[2 * F :]
        s, v = new_s, new_v
        for i in range(n):
            Uv = v[i] @ w[f"updates.{t}.U.weight"].T
            Vv = v[i] @ w[f"updates.{t}.V.weight"].T
            length = np.sqrt((Vv**2).sum(axis=0) + 1e-8)
            a_vv, a_sv, a_ss = np.split(mlp(w, f"updates.{t}.a", np.concatenate([s[i], length])), 3)
            s[i] = s[i] + a_ss + a_sv * (Uv * Vv).sum(axis=0)
            v[i] = v[i] + a_vv * Uv
    return np.array(s), np.array(v)


def test_atomic_terms_equal_the_loop(make_model, make_batch, molecules, scaling):
    model = make_model("painn", SETTINGS, scaling=scaling)
    w = {name: value.numpy() for name, value in model.state_dict().items()}
    batch = make_batch(model, molecules)
    scalars, vectors = model.features(batch)
    plain = [plain_features(w, molecule) for molecule in molecules]
    plain_s = np.concatenate([s for s, _ in plain])
    scale = np.abs(plain_s).max()
    np.testing.assert_allclose(scalars.detach(), plain_s, atol=1e-10 * scale)
    np.testing.assert_allclose(
        vectors.detach(), np.concatenate([v for _, v in plain]), atol=1e-10 * scale
    )
    rows = []
    for z, s in zip(batch.numbers.tolist(), plain_s, strict=True):
        x = affine(w, "hidden", s)
        y = affine(w, "output", x / (1 + np.exp(-x)))
        rows.append(y * scaling.atom_std + scaling.atom_mean + scaling.references[z])
    np.testing.assert_allclose(model.atomic_terms(batch).detach(), rows, rtol=1e-8)


def test_in_one_stroke_and_step_by_step_agree(make_model, make_batch, molecules, monkeypatch):
    """Predictions and gradients, with parts that cut through molecules."""
    monkeypatch.setattr(messages, "_CACHED", 7 * 3 * 6)
    model = make_model("painn", SETTINGS)
    batch = make_batch(model, molecules)
    results = []
    for look_on in (False, True):
        calls = []
        for message in model.messages if look_on else []:
            message.gather.register_forward_hook(lambda *_, seen=calls: seen.append(1))
        model.zero_grad()
        prediction = model(batch)
        prediction.square().sum().backward()
        assert bool(calls) == look_on
        results.append([prediction.detach(), *(p.grad.clone() for p in model.parameters())])
    for one_stroke, stepwise in zip(*results, strict=True):
        scale = float(stepwise.abs().max())
        torch.testing.assert_close(one_stroke, stepwise, rtol=0.0, atol=1e-11 * scale)


def test_positions_that_ask_for_a_gradient_get_it(make_model, make_batch, molecules):
    """Directions enter the graph; distances come with the batch and stay fixed."""
    model = make_model("painn", SETTINGS)
    batch = make_batch(model, molecules[:1])
    positions = batch.positions.clone().requires_grad_()
    vectors = model.features(replace(batch, positions=positions))[1]
    gradient = torch.autograd.grad(vectors[0, 0, 0], positions)[0][0, 0]
    step = torch.zeros_like(positions)
    step[0, 0] = 1e-6
    up, down = (
        model.features(replace(batch, positions=batch.positions + sign * step))[1][0, 0, 0].detach()
        for sign in (1, -1)
    )
    assert float(gradient) == pytest.approx(float(up - down) / 2e-6, rel=1e-5)


def test_vectors_turn_with_the_molecule(make_model, make_batch, molecules):
    model = make_model("painn", SETTINGS)
    rotation = Rotation.random(random_state=4).as_matrix()
    turned = [Molecule(m.numbers, m.positions @ rotation.T) for m in molecules]
    _, before = model.features(make_batch(model, molecules))
    _, after = model.features(make_batch(model, turned))
    expected = torch.einsum("xy,ayf->axf", torch.from_numpy(rotation), before)
    torch.testing.assert_close(after, expected, rtol=1e-9, atol=1e-9)
    assert float(before.abs().max().detach()) > 1e-3


def test_published_sizes_by_default():
    """About 600 k parameters (paper, section 5.1), less those that meet only zero vectors."""
    model = build("painn", scaling=Scaling())
    F = 128
    message = (F * F + F) + (F * 3 * F + 3 * F) + (20 * 3 * F + 3 * F)
    update = 2 * F * F + (2 * F * F + F) + (F * 3 * F + 3 * F)
    idle = F * F + F + 20 * F + F  # the first message's share for v_j
    head = (F * 64 + 64) + (64 + 1)
    expected = 101 * F + 3 * (message + update) - idle + head
    assert sum(p.numel() for p in model.parameters()) == expected
    assert expected + idle == pytest.approx(600_000, rel=0.02)


def test_two_molecules_far_apart_add_up(make_model, make_batch, molecules):
    model = make_model("painn", SETTINGS)
    first, second = molecules[1], molecules[2]
    together = Molecule(
        np.concatenate([first.numbers, second.numbers]),
        np.concatenate([first.positions, second.positions + 50.0]),
    )
    apart = model(make_batch(model, [first, second])).sum()
    torch.testing.assert_close(model(make_batch(model, [together])).sum(), apart)


def test_an_element_beyond_the_embedding_is_named(make_model, make_batch):
    model = make_model("painn", {"largest_number": 9})
    with pytest.raises(InputError, match="does not know Cl, only up to F"):
        model(make_batch(model, [Molecule([1, 17], [[0, 0, 0], [0, 0, 1.3]])]))
