"""Networks by name, and settings that are refused."""

import pytest
import torch

from hpcml.errors import SettingsError
from hpcml.models import MODELS, build, unit_scaling
from hpcml.models.layers import Linear


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_number_of_outputs_is_the_scalings(name, molecules, make_batch):
    model = build(name, scaling=unit_scaling(3)).eval()
    prediction = model(make_batch(model, molecules[:3], torch.float32))
    assert prediction.shape == (3, 3)
    assert prediction.dtype == torch.float64


def test_what_does_not_exist_is_refused_with_what_does():
    with pytest.raises(SettingsError, match=r"no model 'gcn'; there are .*weave"):
        build("gcn")
    with pytest.raises(SettingsError, match=r"unknown field `depth`.*layers \(2\)"):
        build("weave", {"depth": 3})
    with pytest.raises(SettingsError, match="Expected `int`"):
        build("weave", {"layers": "two"})


def reads_columns_unmixed(model, batch, source, layer):
    """Whether column k of a layer's input depends on column k of the network's input alone.

    With random factors r the gradient of (input of the layer) @ r is then r times one number for
    each row.  None where no molecule of the batch reaches the layer.
    """
    kept = {}

    def leaf(_module, _arguments, output):
        kept["source"] = output.detach().requires_grad_()
        return kept["source"]

    def note(_module, arguments):
        kept["layer"] = arguments[0]

    hooks = [
        model.get_submodule(source).register_forward_hook(leaf),
        model.get_submodule(layer).register_forward_pre_hook(note),
    ]
    try:
        model(batch)
    finally:
        for hook in hooks:
            hook.remove()
    if "layer" not in kept or not kept["layer"].numel():
        return None
    r = torch.rand(kept["source"].shape[1], dtype=torch.float64) + 1.0
    if kept["layer"].shape[-1] != len(r) or not kept["layer"].requires_grad:
        return False
    total = (kept["layer"] @ r).sum()
    (gradient,) = torch.autograd.grad(total, kept["source"], allow_unused=True)
    if gradient is None or not gradient.any():
        return None
    factors = gradient / r
    return bool((factors - factors[:, :1]).abs().max() < 1e-9)


@pytest.mark.parametrize(
    ("name", "hyperparameters"),
    [
        ("weave", {"hidden": 12, "representation": 8, "fully_connected": [10]}),
        ("weave", {"layers": 1, "readout": "sum"}),
        ("graphconv", {}),
        ("ani", {"members": 2}),
        ("linear", {"features": "atom_features"}),
        ("linear", {}),
        ("dtnn", {}),
        ("painn", {}),
    ],
)
def test_first_layers_read_the_named_columns_as_they_are(
    name, hyperparameters, molecules, make_model, make_batch
):
    """By the gradient: all those that do, and no others, stand in ``first_layers``."""
    model = make_model(name, hyperparameters)
    few = [molecule for molecule in molecules if set(molecule.numbers.tolist()) <= {1, 6, 7, 8}]
    batch = make_batch(model, few)
    named, columns = model.first_layers(), model.column_names()
    assert named.keys() == columns.keys()
    linear = {path for path, module in model.named_modules() if isinstance(module, Linear)}
    for source, layers in named.items():
        assert set(layers) <= linear
        assert {model.get_submodule(one).in_features for one in layers} == {len(columns[source])}
        found = {one: reads_columns_unmixed(model, batch, source, one) for one in linear}
        assert True in found.values()
        for one, unmixed in found.items():
            assert unmixed is None or unmixed == (one in layers), one
