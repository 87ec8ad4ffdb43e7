"""What holds for every network: symmetry, independence of the batch, gradients, additivity."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from hpcml.models import MODELS, build, unit_scaling
from hpcml.molecules import Molecule

SMALL = {
    "ani": {"elements": (1, 6, 7, 8, 9), "hidden": [[6, 5]] * 5, "members": 2},
    "dtnn": {"passes": 2, "coefficients": 6, "factors": 8, "gaussians": 20, "width": 1.0},
    "graphconv": {"hidden": (6, 5), "dense": 7, "largest_degree": 4},
    "linear": {},
    "painn": {"features": 8, "interactions": 2, "radial": 5, "cutoff": 3.0},
    "weave": {"hidden": 8, "representation": 6, "fully_connected": (10, 7)},
    "weave, sum": {"hidden": 8, "representation": 6, "readout": "sum"},
}


@pytest.fixture(params=SMALL)
def case(request):
    return request.param.split(",")[0], SMALL[request.param]


@pytest.fixture
def model(case, make_model, scaling):
    return make_model(*case, scaling=scaling)


@pytest.fixture
def fresh(case):
    """The same network with other weights and another scaling, in single precision."""
    return build(*case, scaling=unit_scaling(2)).eval()


def test_every_network_is_tried():
    assert {name.split(",")[0] for name in SMALL} == set(MODELS)


def test_rotated_and_moved_molecules_are_the_same(model, make_batch, molecules):
    rotation = Rotation.random(random_state=2).as_matrix()
    moved = [Molecule(m.numbers, m.positions @ rotation.T + [3.0, -40.0, 7.0]) for m in molecules]
    torch.testing.assert_close(
        model(make_batch(model, moved)),
        model(make_batch(model, molecules)),
        # graph features hold distances as float32
        rtol=2e-5,
        atol=2e-5,
    )


def test_the_order_of_the_atoms_orders_the_atoms_alone(model, make_batch, molecules):
    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(molecule)) for molecule in molecules]
    shuffled = [
        Molecule(m.numbers[order], m.positions[order])
        for m, order in zip(molecules, orders, strict=True)
    ]
    before, after = make_batch(model, molecules), make_batch(model, shuffled)
    torch.testing.assert_close(model(after), model(before), rtol=1e-8, atol=1e-8)
    starts = np.cumsum([0] + [len(molecule) for molecule in molecules[:-1]])
    order = np.concatenate([s + o for s, o in zip(starts, orders, strict=True)])
    torch.testing.assert_close(
        model.representation(after), model.representation(before)[order], rtol=1e-8, atol=1e-8
    )


def test_a_molecule_does_not_see_its_batch(model, make_batch, molecules):
    alone = torch.cat([model(make_batch(model, [molecule])) for molecule in molecules])
    torch.testing.assert_close(model(make_batch(model, molecules)), alone, rtol=1e-10, atol=1e-10)


def test_every_parameter_gets_a_gradient(model, make_batch, molecules):
    fluoride = Molecule([9], [[0.0, 0.0, 0.0]], charge=-1)  # an atom without bonds
    model(make_batch(model, [*molecules, fluoride])).square().sum().backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_atomic_terms_add_up_to_the_prediction(model, make_batch, molecules):
    if not model.additive:
        assert not hasattr(model, "atomic_readout")
        return
    batch = make_batch(model, molecules)
    total = torch.zeros(batch.size, 2, dtype=torch.float64)
    total.index_add_(0, batch.molecule, model.atomic_terms(batch))
    torch.testing.assert_close(total, model(batch))


def test_float32_agrees_with_float64(model, fresh, make_batch, molecules):
    fresh.load_state_dict(model.state_dict())
    prediction = fresh(make_batch(fresh, molecules, torch.float32))
    torch.testing.assert_close(
        prediction, model(make_batch(model, molecules)), rtol=1e-3, atol=1e-3
    )


def test_bfloat16_by_autocast_is_near(model, fresh, make_batch, molecules):
    fresh.load_state_dict(model.state_dict())
    batch = make_batch(fresh, molecules, torch.float32)
    exact = fresh(batch)
    with torch.autocast("cpu", torch.bfloat16):
        prediction = fresh(batch)
    prediction.sum().backward()
    assert prediction.dtype == torch.float64
    assert (prediction - exact).abs().mean().item() < 0.05 * exact.abs().mean().item()


def test_weights_saved_and_loaded_without_pickle_give_the_same(
    model, fresh, make_batch, molecules, tmp_path
):
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    fresh.double().load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    batch = make_batch(model, molecules)
    assert torch.equal(fresh(batch), model(batch))
