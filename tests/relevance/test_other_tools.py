"""Agreement with zennit and captum on plain networks, where they have the rule."""

import sys
import types

import pytest
import torch
from torch import nn

from hpcml.relevance import AlphaBeta, Epsilon, Flat, Gamma, WSquare, explain, z_plus

EPSILON = 1e-6


@pytest.fixture(scope="module")
def zennit():
    """zennit without its helpers for torchvision's networks, which need not be installed."""
    absent = [name for name in ("torchvision", "torchvision.models") if name not in sys.modules]
    for name in ("torchvision", "torchvision.models", "torchvision.models.resnet",
                 "torchvision.models.vgg"):  # fmt: skip
        module = sys.modules.setdefault(name, types.ModuleType(name))
        module.Bottleneck = module.BasicBlock = module.VGG = nn.Identity
    import zennit.composites
    import zennit.rules

    yield zennit
    for name in absent:
        sys.modules.pop(name, None)


def by_zennit(zennit, model, inputs, rule):
    """Input relevances of the outputs themselves."""
    pairs = [(nn.Linear, rule), (nn.ReLU, zennit.rules.Pass()), (nn.Tanh, zennit.rules.Pass())]
    composite = zennit.composites.LayerMapComposite(layer_map=pairs)
    values = inputs.clone().requires_grad_()
    with composite.context(model) as hooked:
        output = hooked(values)
        (relevance,) = torch.autograd.grad(output, values, output.detach())
    return relevance


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
@pytest.mark.parametrize(
    "rule",
    [
        (Epsilon(EPSILON), "Epsilon", {"epsilon": EPSILON}),
        (Gamma(0.25, EPSILON), "Gamma", {"gamma": 0.25, "stabilizer": EPSILON}),
        (z_plus(EPSILON), "ZPlus", {"stabilizer": EPSILON}),
        (AlphaBeta(2.0, EPSILON), "AlphaBeta", {"alpha": 2.0, "stabilizer": EPSILON}),
        (AlphaBeta(3.0, EPSILON), "AlphaBeta", {"alpha": 3.0, "beta": 2.0, "stabilizer": EPSILON}),
        (Flat(EPSILON), "Flat", {"stabilizer": EPSILON}),
        (WSquare(EPSILON), "WSquare", {"stabilizer": EPSILON, "zero_params": "bias"}),
    ],
)
def test_zennit(zennit, plain_network, plain_inputs, activation, rule):
    ours, name, arguments = rule
    model = plain_network(activation)
    expected = by_zennit(zennit, model, plain_inputs, getattr(zennit.rules, name)(**arguments))
    found = explain(model, plain_inputs, ours).features["input"]
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize(
    ("ours", "name", "arguments"),
    [
        (Epsilon(EPSILON), "EpsilonRule", {"epsilon": EPSILON}),
        (Gamma(0.25, 1e-9), "GammaRule", {"gamma": 0.25}),
        (z_plus(1e-9), "Alpha1_Beta0_Rule", {}),
    ],
)
def test_captum(plain_network, plain_inputs, ours, name, arguments):
    """With positive inputs and weights without biases, where captum's rules are the textbook's."""
    from captum.attr import LRP
    from captum.attr._utils import lrp_rules

    model, inputs = plain_network(), plain_inputs.abs()
    if name != "EpsilonRule":
        for layer in model:
            if isinstance(layer, nn.Linear):
                layer.bias.data.zero_()
    for layer in model:
        if isinstance(layer, nn.Linear):
            layer.rule = getattr(lrp_rules, name)(**arguments)
    expected = LRP(model).attribute(inputs.clone().requires_grad_(), target=0)
    found = explain(model, inputs, ours).features["input"]
    torch.testing.assert_close(found, expected.detach(), rtol=1e-5, atol=1e-8)
