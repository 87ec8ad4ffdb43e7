"""Relevance by feature, by ANI's blocks, and by layer."""

import pytest
import torch
from torch import nn

from hpcml.errors import InputError
from hpcml.molecules import Molecule
from hpcml.molecules.features import ATOM_FEATURES
from hpcml.relevance import Epsilon, explain
from hpcml.relevance.feature_blocks import by_block


def test_blocks_add_up(network, molecules, batch_of):
    found = explain(network, batch_of(network, molecules[:30]))
    for layer, blocks in by_block(network, found).items():
        total = torch.stack(list(blocks.values())).sum(0)
        torch.testing.assert_close(total, found.features[layer].sum(1))


def test_block_of_an_element_that_is_not_near_is_empty(trained, batch_of):
    """Water's oxygen sees hydrogens alone: no term with carbon can be worth anything."""
    model, _ = trained("ani")
    water = Molecule([8, 1, 1], [[0, 0, 0], [0.76, 0.59, 0], [-0.76, 0.59, 0]])
    blocks = by_block(model, explain(model, batch_of(model, [water])))["aev_input"]
    assert list(blocks)[:5] == [f"radial {element}" for element in "HCNOF"]
    assert "angular H-H" in blocks
    assert blocks["radial H"].abs().min() > 0  # hydrogens see each other
    assert blocks["angular H-H"][0].abs() > 0
    assert blocks["angular H-H"][1:].abs().max() == 0
    assert all(
        values.abs().max() == 0
        for name, values in blocks.items()
        if any(element in name.split()[1].split("-") for element in "CNF")
    )


def test_features_of_weave_have_names(trained, molecules, batch_of):
    """A feature that no atom has is worth nothing under the epsilon rule."""
    model, _ = trained("weave")
    batch = batch_of(model, molecules[:4])  # methane, ammonia, water, acetylene
    blocks = by_block(model, explain(model, batch, Epsilon(0.0)))
    assert list(blocks["atom_input"]) == list(ATOM_FEATURES)
    absent = [n for n, v in zip(ATOM_FEATURES, batch.atom_features.T, strict=True) if not v.any()]
    assert absent
    assert all(blocks["atom_input"][name].abs().max() == 0 for name in absent)
    assert set(model.column_names()) == {"atom_input", "pair_input"}


def test_relevance_of_another_model_is_refused(trained, molecules, batch_of):
    weave, ani = trained("weave")[0], trained("ani")[0]
    found = explain(weave, batch_of(weave, molecules[:2]))
    with pytest.raises(InputError, match="no input 'aev_input'"):
        by_block(ani, found)


def test_relevance_is_conserved_from_layer_to_layer(plain_network, plain_inputs):
    """Prediction = relevance of a layer's outputs + what the ledger took above it."""
    model = plain_network(nn.Tanh)
    found = explain(model, plain_inputs, "gamma", hidden=["1", "3"])
    (first,), (second,) = found.hidden["1"], found.hidden["3"]
    above_second = found.layers["4"].sum(1)
    above_first = above_second + found.layers["2"].sum(1)
    torch.testing.assert_close(second.sum(1) + above_second, found.prediction)
    torch.testing.assert_close(first.sum(1) + above_first, found.prediction)


def test_layer_called_again_and_again(trained, molecules, batch_of):
    """DTNN's one interaction layer: a tensor of relevances for each of its three passes."""
    model, _ = trained("dtnn")
    batch = batch_of(model, molecules[:3])
    found = explain(model, batch, hidden=["interaction"])
    assert [len(one) for one in found.hidden["interaction"]] == [batch.pairs.shape[1]] * 3
