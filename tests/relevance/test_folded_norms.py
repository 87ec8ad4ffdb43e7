"""A batch normalization behind a linear layer is one layer with it, as if it were folded in."""

import copy
from itertools import pairwise

import pytest
import torch

from hpcml.models.layers import BatchNorm, Linear
from hpcml.relevance import ExplainSettings, explain_by


def folded(model):
    """The same network with each Linear, BatchNorm in a row as a Linear, and nothing behind it."""
    model = copy.deepcopy(model)
    for block in list(model.modules()):
        layers = list(block.children()) if isinstance(block, torch.nn.Sequential) else []
        for linear, norm in pairwise(layers):
            if isinstance(linear, Linear) and isinstance(norm, BatchNorm):
                with torch.no_grad():
                    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
                    linear.weight *= scale[:, None]
                    linear.bias.copy_((linear.bias - norm.running_mean) * scale + norm.bias)
                    norm.running_mean.zero_()
                    norm.running_var.fill_(1.0 - norm.eps)
                    norm.weight.fill_(1.0)
                    norm.bias.zero_()
    return model


@pytest.mark.parametrize("rule", ["gamma", "z_plus", "alpha_beta"])
def test_weave_with_its_norms_folded_in_is_explained_the_same(rule, trained, molecules, batch_of):
    model = trained("weave")[0]
    other = folded(model)
    batch = batch_of(model, molecules[:12])
    settings = ExplainSettings(rule=rule)
    mine, theirs = (explain_by(network, batch, settings) for network in (model, other))
    torch.testing.assert_close(mine.prediction, theirs.prediction)
    torch.testing.assert_close(mine.atoms, theirs.atoms)
