"""Networks of a run's own type and size, trained for a minute on labels whose reasons are known.

What a rule says of such a network can be held against what the network was given to learn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit import Chem
from torch import Tensor, nn

from hpcml.errors import InputError
from hpcml.models import Network, build, collate, example
from hpcml.models.batch import Example
from hpcml.models.readout import Scaling
from hpcml.molecules import Molecule, perceive
from hpcml.store import Dataset
from hpcml.training.model_file import ModelInfo

STEPS = 400
_BATCH = 16
_RATE = 3e-3

Labels = Callable[[list[int]], Tensor]
"""From numbers of examples to what the network is to say of them, (K, T)."""
Taken = tuple[Molecule, Example, Chem.Mol]
"""A molecule, what it gives to the network, and its bonds."""


def molecules_taken(dataset: Dataset, model: Network, most: int, seed: int = 0) -> list[Taken]:
    """Molecules at random that the network takes and whose bonds are perceived."""
    found: list[Taken] = []
    dtype = next(model.parameters()).dtype
    for row in np.random.default_rng(seed).permutation(len(dataset)).tolist():
        molecule = dataset.molecules[row]
        try:
            one, mol = example(molecule, model.inputs), perceive(molecule)
            with torch.no_grad():
                model(collate([one], dtype))
        except InputError:
            continue
        found.append((molecule, one, mol))
        if len(found) == most:
            break
    return found


def train_briefly(
    info: ModelInfo,
    scaling: Scaling,
    examples: Sequence[Example],
    labels: Labels,
    spread: Sequence[float],
    *,
    steps: int = STEPS,
    seed: int = 0,
) -> Network:
    """A network of the type and size of ``info`` after ``steps`` steps of Adam, one cycle.

    labels   asked anew at every step
    spread   of each of the T labels, by which errors are divided
    """
    torch.manual_seed(seed)
    model = build(info.model, info.hyperparameters, scaling=scaling)
    divisor = torch.tensor(spread)
    optimizer = torch.optim.Adam(model.parameters(), _RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps)
    random = np.random.default_rng(seed)
    order: list[int] = []
    model.train()
    for _ in range(steps):
        if len(order) < min(_BATCH, len(examples)):
            order = random.permutation(len(examples)).tolist()
        rows, order = order[:_BATCH], order[_BATCH:]
        errors = (model(collate([examples[row] for row in rows])) - labels(rows)) / divisor
        optimizer.zero_grad()
        errors.square().mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        schedule.step()
        model.constrain()
    return model.eval()


def of_molecules(
    atoms: NDArray[np.float64], offsets: NDArray[np.int64], extensive: bool
) -> NDArray[np.float64]:
    """Sums of the atoms' terms, or means for an intensive target.

    Parameters
    ----------
    atoms : (A,) array
        Molecules end to end.
    offsets : (M + 1,) integer array
        Molecule m has the atoms offsets[m] to offsets[m + 1].

    Returns
    -------
    (M,) array
    """
    sums: NDArray[np.float64] = np.add.reduceat(atoms, offsets[:-1])
    return sums if extensive else sums / np.diff(offsets)


def r_squared(predicted: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 - sum of squared errors / sum of squares about the mean, property by property.

    Parameters
    ----------
    predicted, values : (M, T) array

    Returns
    -------
    (T,) array
    """
    left = np.square(predicted - values).sum(axis=0)
    spread = np.square(values - values.mean(axis=0)).sum(axis=0)
    score: NDArray[np.float64] = 1.0 - left / np.where(spread > 0, spread, np.inf)
    return score
