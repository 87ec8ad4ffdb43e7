"""What other tools make of a layer that passes messages: the page quotes these numbers."""

import pytest
import torch
from torch import nn

import hpcml


class Message(nn.Module):
    """A linear layer without bias, and the sum over neighbours: relevances add up to the output."""

    def __init__(self, way):
        super().__init__()
        torch.manual_seed(0)
        self.linear, self.way = nn.Linear(3, 4, bias=False).double(), way

    def forward(self, x):
        source, target = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])
        h = self.linear(x)
        messages, nothing = h[source], torch.zeros(4, 4, dtype=torch.float64)
        if self.way == "index_add":
            told = nothing.index_add(0, target, messages)
        else:
            told = nothing.scatter_add(0, target[:, None].expand_as(messages), messages)
        return told.sum()[None]


@pytest.mark.parametrize("way", ["index_add", "scatter_add"])
def test_sum_of_relevances(way, capsys):
    """Ours is the output; autolrp 0.2's is not, and nothing says so."""
    import autolrp

    model = Message(way)
    values = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    output = float(model(values))
    rows = torch.zeros(4, dtype=torch.long)
    found = hpcml.explain(model, values, atoms=rows)
    assert float(found.atoms.sum()) == pytest.approx(output)
    wrapped = autolrp.tensor(values)
    model(wrapped)[0].lrp()
    theirs = float(wrapped.relevance.sum())
    with capsys.disabled():
        print(f"\n{way}: sum of relevances / output: hpcml 1.0, autolrp {theirs / output:.3f}")
    assert theirs / output != pytest.approx(1.0, abs=1e-3)
