"""From molecules to the tensors of a batch.

An ``Example`` is what one molecule gives to a network, made once; ``collate`` joins examples
into a ``Batch`` of molecules of different sizes, without padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpcml.errors import InputError
from hpcml.molecules.molecule import Molecule

INPUTS = frozenset({"pairs", "atom_features", "pair_features", "bonds"})
"""What a network can ask for beside numbers, positions, and the molecule index."""


@dataclass(frozen=True)
class Example:
    """One molecule as arrays: n atoms, and pairs i < j in the order of numpy.triu_indices.

    numbers         (n,) int64
    positions       (n, 3) float64, angstrom
    inputs          which of INPUTS it was made for
    atom_features   (n, Fa) float32, or None where not asked for
    pair_features   (n (n - 1) / 2, Fp) float32, or None
    bonds           (b, 2) int64, each bond once, or None
    """

    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    inputs: frozenset[str]
    atom_features: NDArray[np.float32] | None = None
    pair_features: NDArray[np.float32] | None = None
    bonds: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Batch:
    """Molecules of different sizes as one set of tensors: A atoms, E ordered pairs, M molecules.

    numbers         (A,) int64, atomic numbers; the atoms of a molecule stand together
    positions       (A, 3), angstrom
    molecule        (A,) int64, the molecule of each atom, ascending
    size            M
    pairs           (2, E) int64: atoms i and j != i of the same molecule, each pair both ways.
                    The second half of the columns is the first half (i < j) turned round.
    distances       (E,), angstrom
    atom_features   (A, Fa) or None
    pair_features   (E, Fp) or None, the same for (i, j) and (j, i)
    bonds           (2, B) int64: each bond both ways, halves as in pairs; or None
    """

    numbers: Tensor
    positions: Tensor
    molecule: Tensor
    size: int
    pairs: Tensor
    distances: Tensor
    atom_features: Tensor | None = None
    pair_features: Tensor | None = None
    bonds: Tensor | None = None

    @property
    def atoms(self) -> int:
        """A, the number of atoms of all molecules."""
        return int(self.numbers.shape[0])

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Batch:
        """The same batch elsewhere; dtype is for the floating-point tensors alone."""
        changed: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                to = dtype if value.is_floating_point() else None
                changed[field.name] = value.to(device=device, dtype=to, non_blocking=True)
        return replace(self, **changed)


def example(molecule: Molecule, inputs: frozenset[str]) -> Example:
    """What one molecule gives to a network that asks for ``inputs``.

    Raises InputError where RDKit cannot perceive the bonds that features need.
    """
    unknown = inputs - INPUTS
    if unknown:
        raise InputError(f"no such input: {', '.join(sorted(unknown))}; there are {sorted(INPUTS)}")
    made = Example(molecule.numbers, molecule.positions, inputs)
    if not inputs - {"pairs"}:
        return made
    from hpcml.molecules.features import graph  # RDKit's perception, only where it is needed

    perceived = graph(molecule)
    upper = np.triu_indices(len(molecule), 1)
    return replace(
        made,
        atom_features=perceived.atom_features if "atom_features" in inputs else None,
        pair_features=perceived.pair_features[upper] if "pair_features" in inputs else None,
        bonds=perceived.bonds if "bonds" in inputs else None,
    )


@lru_cache(maxsize=512)
def upper_triangle(atoms: int) -> NDArray[np.int64]:
    """The pairs i < j of one molecule.

    Returns
    -------
    (2, p) integer array
        Of n atoms, p = n (n - 1) / 2.
    """
    return np.stack(np.triu_indices(atoms, 1)).astype(np.int64)


def both_ways(columns: NDArray[np.int64]) -> Tensor:
    """The columns, then the same turned round.

    Parameters
    ----------
    columns : (2, h) integer array

    Returns
    -------
    (2, 2 h) Tensor
    """
    return torch.from_numpy(np.concatenate([columns, columns[::-1]], axis=1))


def collate(examples: Sequence[Example], dtype: torch.dtype = torch.float32) -> Batch:
    """Join examples of the same inputs into one batch, in their order.

    Distances are taken in double precision and rounded to ``dtype`` afterwards.
    """
    if not examples:
        raise InputError("a batch needs at least one molecule")
    inputs = examples[0].inputs
    if any(one.inputs != inputs for one in examples):
        raise InputError("the examples of one batch must be made for the same inputs")
    sizes = np.array([len(one.numbers) for one in examples])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    positions = np.concatenate([one.positions for one in examples])

    half = np.empty((2, 0), dtype=np.int64)
    if "pairs" in inputs or "pair_features" in inputs:
        half = np.concatenate(
            [upper_triangle(int(n)) + start for n, start in zip(sizes, starts, strict=True)],
            axis=1,
        )
    difference = positions[half[0]] - positions[half[1]]
    distances = np.tile(np.sqrt(np.einsum("ex,ex->e", difference, difference)), 2)

    def joined(name: str, repeat: int = 1) -> Tensor | None:
        if name not in inputs:
            return None
        rows = np.concatenate([getattr(one, name) for one in examples])
        return torch.from_numpy(np.concatenate([rows] * repeat)).to(dtype)

    bonds = None
    if "bonds" in inputs:
        shifted = [
            one.bonds + start
            for one, start in zip(examples, starts, strict=True)
            if one.bonds is not None
        ]
        bonds = both_ways(np.concatenate(shifted).T)
    return Batch(
        numbers=torch.from_numpy(np.concatenate([one.numbers for one in examples])),
        positions=torch.from_numpy(positions).to(dtype),
        molecule=torch.from_numpy(np.repeat(np.arange(len(examples)), sizes)),
        size=len(examples),
        pairs=both_ways(half),
        distances=torch.from_numpy(distances).to(dtype),
        atom_features=joined("atom_features"),
        pair_features=joined("pair_features", repeat=2),
        bonds=bonds,
    )
