"""The page of what is for Python alone: its blocks run as they stand, one after another."""

import re
from pathlib import Path
from typing import Any

import torch

from hpcml.store import Dataset

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


def test_the_blocks_run(dataset: Dataset, model_folder: Path) -> None:
    places = {"runs/quickstart/dataset": dataset.folder, "runs/quickstart/model": model_folder}
    text = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL))
    for place, here in places.items():
        assert place in text
        text = text.replace(place, str(here))
    names: dict[str, Any] = {}
    exec(compile(text, str(PAGE), "exec"), names)

    assert len(names["first"]) == len(dataset) and not names["difference"].any()
    atoms = sum(len(dataset.molecules[row]) for row in range(4))
    assert names["positions"].shape == (atoms, 2)
    # the interactions with all readers add up to the relevance of each atom
    told, relevance = names["told"], names["relevance"]
    sums = torch.zeros(atoms, dtype=torch.float64)
    sums.index_add_(0, told.source, told.relevance.double())
    torch.testing.assert_close(sums, relevance.atoms, rtol=1e-3, atol=1e-3)
