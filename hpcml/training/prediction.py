"""Predictions for molecules from outside, and a word of warning where they reach too far."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from hpcml.models import Network, collate, example
from hpcml.molecules import Molecule, symbol
from hpcml.training.model_file import ModelInfo


def predict(
    model: Network, molecules: Sequence[Molecule], batch_size: int = 64
) -> NDArray[np.float64]:
    """(M, T) predictions in the targets' units, in the order of the molecules.

    Raises InputError for a molecule that the network's features cannot be made for.
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


def applicability(info: ModelInfo, molecule: Molecule, level: str = "") -> list[str]:
    """Why the network may be wrong about this molecule: one line for each reason, none if none.

    level    of theory that the prediction is held against, where it is known
    """
    warnings = []
    unknown = sorted({int(z) for z in molecule.numbers} - set(info.elements))
    if unknown:
        names = ", ".join(symbol(z) for z in unknown)
        known = ", ".join(symbol(z) for z in info.elements)
        warnings.append(f"{names}: not among the elements of the training set ({known})")
    heavy = int((molecule.numbers > 1).sum())
    if heavy > info.heavy_atoms:
        warnings.append(
            f"{heavy} heavy atoms: the largest training molecule has {info.heavy_atoms}"
        )
    if molecule.charge not in info.charges:
        warnings.append(f"charge {molecule.charge:+d}: not in the training set")
    if molecule.multiplicity not in info.multiplicities:
        warnings.append(f"multiplicity {molecule.multiplicity}: not in the training set")
    learned = [one.lower() for one in info.levels]  # programs spell 6-31G(D) as they like
    if level and learned and level.lower() not in learned:
        warnings.append(f"level {level}: the network has learned {info.level}")
    return warnings
