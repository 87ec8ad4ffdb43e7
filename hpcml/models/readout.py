"""From the network's unit scale to a molecule's property in the target's unit.

An extensive property is a sum of atomic terms above per-element references; an intensive one
is a mean over atoms and has no references.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hpcml.errors import InputError
from hpcml.models.batch import Batch
from hpcml.models.layers import AtomReference, Product, ScatterSum, Standardize, Sum


class Scaling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the target lies and how far it spreads, T values each, in the target's unit.

    references          atomic number -> T values; empty for intensive targets
    mean, std           of the target less its references, over molecules
    atom_mean, atom_std of the same: divided by the number of atoms where the target is
                        extensive, as it is where it is intensive
    """

    extensive: bool = True
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    atom_mean: tuple[float, ...] = (0.0,)
    atom_std: tuple[float, ...] = (1.0,)
    references: dict[int, tuple[float, ...]] = {}

    @property
    def targets(self) -> int:
        """T."""
        return len(self.mean)


def unit_scaling(targets: int, *, extensive: bool = True) -> Scaling:
    """The scaling that changes nothing: mean 0, standard deviation 1, no references."""
    zeros, ones = (0.0,) * targets, (1.0,) * targets
    return Scaling(extensive=extensive, mean=zeros, std=ones, atom_mean=zeros, atom_std=ones)


def element_counts(
    numbers: Sequence[NDArray[np.int64]], elements: Sequence[int]
) -> NDArray[np.float64]:
    """(M, len(elements)): how many atoms of each element a molecule has.

    Parameters
    ----------
    numbers : M arrays, each (n,) int64
        Atomic numbers.

    Returns
    -------
    (M, E) array, E elements
    """
    return np.array([[np.count_nonzero(n == e) for e in elements] for n in numbers], dtype=float)


def fit_references(
    numbers: Sequence[NDArray[np.int64]], targets: NDArray[np.float64]
) -> dict[int, tuple[float, ...]]:
    """Per-element references by least squares of the targets (M, T) on the atom counts.

    The solution of least norm where the counts do not determine it.  NaN targets are left out,
    target by target.

    Parameters
    ----------
    numbers : M arrays, each (n,) int64
        Atomic numbers.
    targets : (M, T) array
        In the targets' units.
    """
    elements = sorted({int(z) for one in numbers for z in one})
    counts = element_counts(numbers, elements)
    solution = np.zeros((len(elements), targets.shape[1]))
    for column, values in enumerate(targets.T):
        known = np.isfinite(values)
        solution[:, column] = np.linalg.lstsq(counts[known], values[known], rcond=None)[0]
    return {z: tuple(row.tolist()) for z, row in zip(elements, solution, strict=True)}


def fit_scaling(
    numbers: Sequence[NDArray[np.int64]],
    targets: NDArray[np.float64],
    *,
    extensive: bool = True,
    references: Mapping[int, Sequence[float]] | None = None,
) -> Scaling:
    """Mean and standard deviation of the training targets above their references.

    A target that does not vary gets the standard deviation 1.  Raises InputError for a target
    that no molecule has, and for references of an intensive target.

    Parameters
    ----------
    numbers : M arrays, each (n,) int64
        Atomic numbers.
    targets : (M, T) array
        In the targets' units; NaN where not known.
    references
        Atomic number -> T values, such as ``fit_references`` gives; None for none.
    """
    if references and not extensive:
        raise InputError("an intensive target has no atom references: leave them out")
    if not np.isfinite(targets).any(axis=0).all():
        raise InputError("a target is NaN in every training row")
    fixed = {int(z): tuple(float(v) for v in row) for z, row in (references or {}).items()}
    elements = sorted(fixed)
    known = np.array([fixed[z] for z in elements]).reshape(len(elements), targets.shape[1])
    above = targets - element_counts(numbers, elements).reshape(len(targets), -1) @ known
    atoms = np.array([len(one) for one in numbers])[:, None]

    def spread(values: NDArray[np.float64]) -> tuple[float, ...]:
        std = np.nanstd(values, axis=0)
        # rounding leaves a constant with a spread of this size, not of zero
        flat = std <= 1e-12 * (1.0 + np.abs(np.nanmean(values, axis=0)))
        return tuple(np.where(flat, 1.0, std).tolist())

    per_atom = above / atoms if extensive else above
    return Scaling(
        extensive=extensive,
        mean=tuple(np.nanmean(above, axis=0).tolist()),
        std=spread(above),
        atom_mean=tuple(np.nanmean(per_atom, axis=0).tolist()),
        atom_std=spread(per_atom),
        references=fixed,
    )


def without_scale(scaling: Scaling, chosen: Sequence[bool]) -> Scaling:
    """The scaling, with mean 0, spread 1 and no references for the chosen of its T targets."""

    def replaced(values: Sequence[float], by: float) -> tuple[float, ...]:
        return tuple(by if one else value for one, value in zip(chosen, values, strict=True))

    return msgspec.structs.replace(
        scaling,
        mean=replaced(scaling.mean, 0.0),
        std=replaced(scaling.std, 1.0),
        atom_mean=replaced(scaling.atom_mean, 0.0),
        atom_std=replaced(scaling.atom_std, 1.0),
        references={z: replaced(row, 0.0) for z, row in scaling.references.items()},
    )


class AtomicReadout(nn.Module):
    """Sum (extensive) or mean (intensive) over atoms: (A, T) -> (M, T) in the target's unit."""

    def __init__(self, scaling: Scaling) -> None:
        super().__init__()
        self.extensive = scaling.extensive
        self.standardize = Standardize(scaling.atom_mean, scaling.atom_std)
        self.reference = AtomReference(scaling.references, scaling.targets)
        self.add_reference = Sum()
        self.divide = Product()
        self.over_atoms = ScatterSum()

    def terms(self, values: Tensor, batch: Batch) -> Tensor:
        """What each atom adds to the prediction of its molecule: (A, T).

        Parameters
        ----------
        values : (A, T) Tensor
            The network's outputs.

        Returns
        -------
        (A, T) Tensor
            In the targets' units.
        """
        scaled: Tensor = self.standardize(values)
        if self.extensive:
            total: Tensor = self.add_reference(scaled, self.reference(batch.numbers))
            return total
        atoms = torch.bincount(batch.molecule, minlength=batch.size).to(scaled.dtype)
        share: Tensor = self.divide(scaled, (1.0 / atoms).index_select(0, batch.molecule)[:, None])
        return share

    def forward(self, values: Tensor, batch: Batch) -> Tensor:
        total: Tensor = self.over_atoms(self.terms(values, batch), batch.molecule, batch.size)
        return total


class MoleculeReadout(nn.Module):
    """Scaling of a molecule's own outputs: (M, T) -> (M, T) in the target's unit."""

    def __init__(self, scaling: Scaling) -> None:
        super().__init__()
        self.extensive = scaling.extensive
        self.standardize = Standardize(scaling.mean, scaling.std)
        self.reference = AtomReference(scaling.references, scaling.targets)
        self.over_atoms = ScatterSum()
        self.add_reference = Sum()

    def forward(self, values: Tensor, batch: Batch) -> Tensor:
        scaled: Tensor = self.standardize(values)
        if not self.extensive:
            return scaled
        references = self.over_atoms(self.reference(batch.numbers), batch.molecule, batch.size)
        total: Tensor = self.add_reference(scaled, references)
        return total
