"""Is an explanation true to the network? Measures that need no ground truth.

flipping        atoms' inputs are set to zero in the order of their relevance: the prediction
                should fall fastest when the most positive go first, and rise when the most
                negative do (Samek et al., IEEE Trans. Neural Netw. Learn. Syst. 28, 2660 (2017))
randomization   weights are shuffled layer by layer from the output downwards: an explanation
                that stays the same does not explain the network (Adebayo et al., NeurIPS 2018)
symmetry        atoms that the molecular graph cannot tell apart should be worth the same
stability       positions are jolted a little: relevances should not change more than a little;
                molecules are turned round: they should not change at all

Relevances here are those of atoms, (A,), the atoms of a batch's molecules end to end.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from hpcml.models.batch import Batch, collate, example
from hpcml.models.network import Network
from hpcml.molecules import Molecule
from hpcml.relevance.comparators import inputs_of, masking

Explain = Callable[[nn.Module, Batch], Tensor]
"""From model and batch to the atoms' relevances, (A,)."""


@dataclass(frozen=True)
class Flipping:
    """Predictions while atoms are taken away, in the target's unit.

    fraction           (K,) of each molecule's atoms taken away, from 0 to 1
    positive_first     (K, M) predictions when the largest relevance goes first
    negative_first     (K, M) when the smallest goes first
    """

    fraction: Tensor
    positive_first: Tensor
    negative_first: Tensor

    @property
    def area(self) -> Tensor:
        """(M,) between the two curves: above 0 is better than chance, larger is better."""
        return torch.trapezoid(self.negative_first - self.positive_first, self.fraction, dim=0)


def flipping(
    model: nn.Module, batch: Batch, atoms: Tensor, *, points: int = 11, target: int = 0
) -> Flipping:
    """Atom-flipping curves; each point is one forward of the whole batch.

    For atoms of random relevance the area is 0 on average.

    Parameters
    ----------
    atoms : (A,) Tensor
        Relevances, any unit.
    """
    counts = torch.bincount(batch.molecule, minlength=batch.size)
    fraction = torch.linspace(0.0, 1.0, points, dtype=torch.float64, device=batch.molecule.device)

    def curve(ascending: Tensor) -> Tensor:
        # place of each atom in its molecule's order of removal, 0 the first
        order = ascending.argsort(stable=True)
        order = order[batch.molecule[order].argsort(stable=True)]
        starts = counts.cumsum(0) - counts
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order), device=order.device) - starts[batch.molecule]
        predictions = []
        for part in fraction:
            removed = place < torch.round(part * counts).to(place.dtype)[batch.molecule]
            with torch.no_grad(), inputs_of(model, masking(batch, 1.0 - removed.double())):
                predictions.append(model(batch)[:, target].double())
        return torch.stack(predictions)

    return Flipping(fraction, curve(-atoms), curve(atoms))


def randomization(
    model: nn.Module, batch: Batch, explain: Explain, *, seed: int = 0
) -> list[tuple[str, float]]:
    """(layer, correlation within molecules of old and new relevances) from the output down.

    Each line has the weights of that layer and of all above it shuffled.  A correlation that
    stays near 1 to the end means that the explanation does not depend on what was learned.
    """
    before = explain(model, batch)
    return [
        (name, within_molecules(before, explain(shuffled, batch), batch.molecule))
        for name, shuffled in cascade(model, seed=seed)
    ]


def cascade(model: nn.Module, *, seed: int = 0) -> Iterator[tuple[str, nn.Module]]:
    """(layer, the model with the weights of it and of all above shuffled) from the output down.

    It is one model, in which more and more is shuffled; ``model`` itself stays as it is.
    """
    shuffled = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    layers = [
        (n, m) for n, m in shuffled.named_modules() if isinstance(m, nn.Linear | nn.Embedding)
    ]
    for name, layer in reversed(layers):
        for parameter in layer.parameters():
            order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
            parameter.data = parameter.data.flatten()[order].view_as(parameter)
        yield name, shuffled


def within_molecules(first: Tensor, second: Tensor, molecule: Tensor) -> float:
    """Pearson's correlation of two relevances less their molecules' means; 0 if one is constant.

    Parameters
    ----------
    first, second : (A,) Tensor
        Relevances, any unit.
    molecule : (A,) Tensor of int64
        The molecule of each atom.
    """
    count = torch.bincount(molecule).clamp(min=1)
    columns = torch.stack([first.double(), second.double()], dim=1)
    sums = columns.new_zeros(len(count), 2).index_add_(0, molecule, columns)
    centred = columns - (sums / count[:, None])[molecule]
    xx, yy = centred.square().sum(0)
    scale = torch.sqrt(xx * yy)
    return float((centred[:, 0] * centred[:, 1]).sum() / scale) if scale > 0 else 0.0


def symmetry(
    atoms: NDArray[np.float64], classes: NDArray[np.int64], molecule: NDArray[np.int64]
) -> float:
    """Spread of relevance among equivalent atoms, as a share of its spread within molecules.

    0: equivalent atoms are worth the same. 1: as different as any two atoms of the molecule.

    Parameters
    ----------
    atoms : (A,) array
        Relevances, any unit.
    classes : (A,) array of int64
        Equal for the equivalent atoms of a molecule, such as RDKit's canonical ranks without
        ties broken.
    molecule : (A,) array of int64
        The molecule of each atom.
    """

    def squares(groups: NDArray[np.int64]) -> tuple[float, int]:
        _, group, count = np.unique(groups, axis=0, return_inverse=True, return_counts=True)
        group = group.reshape(-1)
        deviation = atoms - (np.bincount(group, atoms) / count)[group]
        return float(np.square(deviation).sum()), int((count - 1).sum())

    inside, inside_freedom = squares(np.stack([molecule, classes], axis=1))
    whole, whole_freedom = squares(molecule[:, None])
    if not inside_freedom or not whole:
        return float("nan")
    return float(np.sqrt(inside / inside_freedom) / np.sqrt(whole / whole_freedom))


def stability(
    model: Network,
    molecules: Sequence[Molecule],
    explain: Explain,
    *,
    noise: float = 0.01,
    seed: int = 0,
) -> float:
    """|change of the relevances| / |relevances| when positions move by ``noise`` angstrom.

    noise    standard deviation of each coordinate, so small that bonds stay what they are
    """
    before, after = (
        _relevance_of(model, those, explain)
        for those in (molecules, displaced(molecules, noise, seed))
    )
    return float((after - before).norm() / before.norm())


def changes(
    model: Network, molecules: Sequence[Molecule], moved: Sequence[Molecule], explain: Explain
) -> Tensor:
    """|change of the relevances| / |relevances| of each molecule when it becomes another.

    Parameters
    ----------
    molecules, moved
        The same atoms in the same order, M molecules each.

    Returns
    -------
    (M,) Tensor
        Without unit; 0 where no atom has any relevance, before and after.
    """
    before, after = (_relevance_of(model, those, explain) for those in (molecules, moved))
    molecule = torch.arange(len(molecules)).repeat_interleave(
        torch.tensor([len(one) for one in molecules])
    )

    def norms(values: Tensor) -> Tensor:
        return values.new_zeros(len(molecules)).index_add_(0, molecule, values.square()).sqrt()

    size, change = norms(before), norms(after - before)
    return torch.where(change > 0, change / size, 0.0)


def displaced(molecules: Sequence[Molecule], noise: float, seed: int = 0) -> list[Molecule]:
    """The molecules with ``noise`` angstrom (standard deviation) added to each coordinate."""
    random = np.random.default_rng(seed)
    return [
        replace(one, positions=one.positions + random.normal(scale=noise, size=(len(one), 3)))
        for one in molecules
    ]


def turned(molecules: Sequence[Molecule], seed: int = 0) -> list[Molecule]:
    """The molecules in orientations and places drawn at random."""
    random = np.random.default_rng(seed)
    rotations = Rotation.random(len(molecules), random_state=random)
    return [
        replace(one, positions=rotation.apply(np.array(one.positions)) + random.normal(size=3))
        for one, rotation in zip(molecules, rotations, strict=True)
    ]


def _relevance_of(model: Network, molecules: Sequence[Molecule], explain: Explain) -> Tensor:
    """(A,) float64."""
    dtype = next(model.parameters()).dtype
    batch = collate([example(one, model.inputs) for one in molecules], dtype)
    return explain(model, batch).double().cpu()
