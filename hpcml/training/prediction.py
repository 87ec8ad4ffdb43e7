"""Predictions for molecules from outside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from hpcml.models import Network, collate, example
from hpcml.molecules import Molecule


def predict(
    model: Network, molecules: Sequence[Molecule], batch_size: int = 64
) -> NDArray[np.float64]:
    """The network's predictions for M molecules, in their order.

    Returns
    -------
    (M, T) array
        In the targets' units.

    Raises
    ------
    InputError
        For a molecule that the network's features cannot be made for.
    """
    weight = next(model.parameters())
    training = model.training
    model.eval()
    found = []
    try:
        with torch.no_grad():
            for start in range(0, len(molecules), batch_size):
                some = molecules[start : start + batch_size]
                examples = [example(one, model.inputs) for one in some]
                batch = collate(examples, weight.dtype).to(weight.device)
                found.append(model(batch).double().cpu().numpy())
    finally:
        model.train(training)
    return np.concatenate(found) if found else np.zeros((0, 0))
