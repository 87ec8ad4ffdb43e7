"""The gamma rule by products with magnitudes is the gamma rule by products with signed parts."""

from dataclasses import dataclass

import pytest
import torch

from hpcml.relevance import Gamma
from hpcml.relevance.engine.rules import Term
from hpcml.relevance.engine.spreading import spread

ROWS, WIDTH, OUT = 40, 6, 5


@dataclass(frozen=True)
class AsDeclared:
    """The rule by its declared sums; no Gamma, so that nothing but the declaration is known."""

    rule: Gamma
    proportional = True

    @property
    def epsilon(self):
        return self.rule.epsilon

    def sums(self, weight, bias):
        return self.rule.sums(weight, bias)


def affine_map(positive, behind_relu, gathered):
    """Terms, bias, outputs and their relevance, all in double precision."""
    torch.manual_seed(3)
    terms, outputs = [], torch.zeros(ROWS, OUT, dtype=torch.float64)
    for index in [torch.randint(9, (ROWS,)), torch.randint(7, (ROWS,))] if gathered else [None]:
        inputs = torch.randn(ROWS if index is None else int(index.max()) + 1, WIDTH).double()
        terms.append(Term(inputs.abs() if positive else inputs, torch.randn(OUT, WIDTH), index))
        terms[-1] = Term(terms[-1].inputs, terms[-1].weight.double(), index)
        made = terms[-1].inputs @ terms[-1].weight.T
        outputs = outputs + (made if index is None else made[index])
    bias = torch.randn(OUT).double()
    outputs = outputs + bias
    relevance = torch.randn(ROWS, OUT).double()
    return terms, bias, outputs, relevance * (outputs > 0) if behind_relu else relevance


@pytest.mark.parametrize("epsilon", [0.0, 1e-6, 0.1])
@pytest.mark.parametrize("gamma", [0.25, 3.0])
@pytest.mark.parametrize("gathered", [False, True])
@pytest.mark.parametrize("behind_relu", [False, True])
@pytest.mark.parametrize("positive", [False, True])
def test_the_declared_sums(positive, behind_relu, gathered, gamma, epsilon):
    terms, bias, outputs, relevance = affine_map(positive, behind_relu, gathered)
    rule, given = Gamma(gamma, epsilon), {"outputs": outputs, "relevance": relevance}
    found = spread(rule, terms, bias, proportional=True, **given)
    expected = spread(AsDeclared(rule), terms, bias, proportional=True, **given)
    for ours, theirs in zip(found.inputs, expected.inputs, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(found.bias, expected.bias, rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(found.epsilon, expected.epsilon, rtol=1e-10, atol=1e-11)
    whole = sum(one.sum() for one in found.inputs) + found.bias.sum() + found.epsilon.sum()
    assert float(whole) == pytest.approx(float(relevance.sum()), abs=1e-10)


def test_three_axes_are_shared_row_by_row():
    terms, bias, outputs, relevance = affine_map(False, False, False)
    flat = spread(Gamma(0.25, 1e-6), terms, bias, outputs=outputs, relevance=relevance)
    deep = [Term(terms[0].inputs.view(ROWS // 2, 2, WIDTH), terms[0].weight)]
    shaped = {"outputs": outputs.view(-1, 2, OUT), "relevance": relevance.view(-1, 2, OUT)}
    found = spread(Gamma(0.25, 1e-6), deep, bias, **shaped)
    torch.testing.assert_close(found.inputs[0].reshape(ROWS, WIDTH), flat.inputs[0])
    torch.testing.assert_close(found.bias.reshape(ROWS), flat.bias)


def test_lost_relevance_of_an_output_of_zero_is_told():
    zeros, weight = torch.zeros(3, WIDTH).double(), torch.randn(OUT, WIDTH).double()
    bias, one = torch.zeros(OUT).double(), torch.ones(3, OUT).double()
    found = spread(Gamma(0.25), [Term(zeros, weight)], bias, outputs=one * 0, relevance=one)
    assert found.epsilon.tolist() == [OUT] * 3
    assert not found.inputs[0].any()
