"""A control of the reasons score: relevances of the same network before it learned anything."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from hpcml.relevance.explain_settings import ExplainSettings
from hpcml.relevance.relevance_rows import RelevanceRows
from hpcml.store import Dataset
from hpcml.training.model_folder import ModelFolder

_MOST_MOLECULES = 200
_AT_ONCE = 50


def untrained_relevance(
    dataset: Dataset, rows: RelevanceRows, model_folder: Path, seed: int = 0
) -> NDArray[np.float64] | None:
    """Relevances by a network of the same build, scaling and rule with its first weights.

    Parameters
    ----------
    dataset
        With A atoms.
    rows
        The trained network's relevances, by whose rule it is asked.
    model_folder
        Where that network lies; None is returned where none does.
    seed
        Of the weights.

    Returns
    -------
    (A,) array
        Target's unit; NaN but for 200 molecules, evenly taken, of those that could be explained.
    """
    if not ModelFolder(model_folder).network.exists():
        return None
    import torch  # only where there is a network

    from hpcml.models import build
    from hpcml.relevance.explain_stage import explain_rows
    from hpcml.training.model_file import load_model

    _, info = load_model(model_folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(info.model, info.hyperparameters, scaling=info.scaling).eval()
    settings = msgspec.structs.replace(ExplainSettings(), rule=rows.rule)
    target = info.targets.index(rows.target)
    known = np.flatnonzero(np.isfinite(rows.prediction))
    chosen = known[np.unique(np.linspace(0, len(known) - 1, _MOST_MOLECULES).astype(int))]
    relevance = np.full(int(rows.offsets[-1]), np.nan)
    for start in range(0, len(chosen), _AT_ONCE):
        some = chosen[start : start + _AT_ONCE]
        for row, found in explain_rows(model, dataset, some, settings, target):
            relevance[slice(*rows.offsets[row : row + 2])] = found.atoms
    return relevance
