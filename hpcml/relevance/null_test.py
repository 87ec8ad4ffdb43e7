"""What does an explanation find where there is nothing to be found?

A network of the run's type and size is trained on labels drawn anew at every step: normal noise
about the target's mean, as wide as the target.  Nothing in a molecule tells of it, and as no label
comes twice there is nothing to memorize either.  No atom may stand out in what such a network
says; a rule by which atoms stand out as much as in the run's own network tells of the rule.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hpcml.models import Network
from hpcml.models.batch import Example
from hpcml.models.readout import AtomicReadout, Scaling, element_counts
from hpcml.relevance.brief_training import STEPS, train_briefly
from hpcml.training.model_file import ModelInfo


def null_network(
    model: Network,
    info: ModelInfo,
    examples: Sequence[Example],
    *,
    steps: int = STEPS,
    seed: int = 0,
) -> Network:
    """A network as ``model`` that was trained on noise.

    model    the run's own, of which the way its outputs become predictions is taken
    """
    scaling = info.scaling
    means = offsets_of(model, scaling, examples)
    spread = torch.tensor(scaling.std)
    generator = torch.Generator().manual_seed(seed)

    def labels(rows: list[int]) -> Tensor:
        noise = torch.randn(len(rows), scaling.targets, generator=generator, dtype=torch.float64)
        return means[rows] + spread * noise

    return train_briefly(info, scaling, examples, labels, spread.tolist(), steps=steps, seed=seed)


def offsets_of(model: Network, scaling: Scaling, examples: Sequence[Example]) -> Tensor:
    """What the network predicts where its last layer gives zero: all that no atom is given.

    Returns
    -------
    (M, T) Tensor
        Of M examples, in the targets' units.
    """
    by_atom = any(isinstance(layer, AtomicReadout) for layer in model.modules())
    numbers = [one.numbers for one in examples]
    atoms = torch.tensor([[len(one)] for one in numbers], dtype=torch.float64)
    mean = torch.tensor(scaling.atom_mean if by_atom else scaling.mean, dtype=torch.float64)
    if not scaling.extensive:
        return mean.expand(len(examples), -1)
    known = sorted(scaling.references)
    counts = torch.from_numpy(element_counts(numbers, known)).reshape(len(examples), len(known))
    worth = torch.tensor([scaling.references[z] for z in known], dtype=torch.float64)
    offsets = (atoms if by_atom else 1.0) * mean + counts @ worth.reshape(
        len(known), scaling.targets
    )
    return offsets.expand(len(examples), scaling.targets)


def spread_within(relevance: Tensor, molecule: Tensor) -> Tensor:
    """How far atoms stand out: the root mean square deviation from their molecule's mean.

    Parameters
    ----------
    relevance : (A,) Tensor
        Any unit.
    molecule : (A,) Tensor of int64
        The molecule of each atom.

    Returns
    -------
    (M,) Tensor
        In the unit of the relevances.
    """
    count = torch.bincount(molecule).clamp(min=1)

    def mean(values: Tensor) -> Tensor:
        return values.new_zeros(len(count)).index_add_(0, molecule, values) / count

    values = relevance.double()
    return (mean((values - mean(values)[molecule]).square())).sqrt()
