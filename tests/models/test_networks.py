"""Networks by name, and settings that are refused."""

import pytest
import torch

from hpcml.errors import SettingsError
from hpcml.models import MODELS, build, unit_scaling


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
