"""One neuron: trained, it is linear least squares."""

import numpy as np
import pytest
import torch

from hpcml.errors import InputError
from hpcml.models import build, fit_scaling
from hpcml.molecules import Molecule
from hpcml.molecules.features import graph


@pytest.mark.parametrize("features", ["elements", "atom_features"])
@pytest.mark.parametrize("extensive", [True, False])
def test_trained_it_equals_least_squares(features, extensive, molecules, make_batch):
    rng = np.random.default_rng(1)
    targets = rng.normal(size=(len(molecules), 1))
    numbers = [molecule.numbers for molecule in molecules]
    scaling = fit_scaling(numbers, targets, extensive=extensive)
    model = build("linear", {"features": features}, scaling=scaling).double()
    batch = make_batch(model, molecules)
    optimizer = torch.optim.LBFGS(
        model.parameters(), lr=1, max_iter=5000, max_eval=9000, history_size=60,
        tolerance_grad=1e-12, tolerance_change=1e-16, line_search_fn="strong_wolfe",
    )  # fmt: skip

    def loss():
        optimizer.zero_grad()
        value = (model(batch) - torch.from_numpy(targets)).square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    rows = []
    for molecule in molecules:
        if features == "elements":
            atoms = np.array([[float(z == e) for e in (1, 6, 7, 8, 9)] for z in molecule.numbers])
        else:
            atoms = graph(molecule).atom_features.astype(float)
        atoms = np.hstack([atoms, np.ones((len(atoms), 1))])
        rows.append(atoms.sum(axis=0) if extensive else atoms.mean(axis=0))
    design = np.array(rows)
    exact = design @ np.linalg.lstsq(design, targets, rcond=None)[0]
    np.testing.assert_allclose(model(batch).detach(), exact, atol=1e-5)


def test_atomic_terms_add_up(molecules, make_model, make_batch, scaling):
    model = make_model("linear", scaling=scaling)
    batch = make_batch(model, molecules)
    total = torch.zeros(batch.size, 2, dtype=torch.float64)
    total.index_add_(0, batch.molecule, model.atomic_terms(batch))
    torch.testing.assert_close(total, model(batch))


def test_an_element_without_a_weight_is_named(make_model, make_batch):
    model = make_model("linear")
    with pytest.raises(InputError, match="does not know S, Cl, only H C N O F"):
        model(make_batch(model, [Molecule([16, 17], [[0, 0, 0], [0, 0, 2]])]))
