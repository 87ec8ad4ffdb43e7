"""Batches made of molecules of another batch, in any order, any number of times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hpcml.models.batch import Batch


def _runs(starts: Tensor, lengths: Tensor) -> Tensor:
    """starts[0], starts[0] + 1, ... lengths[0] of them; then from starts[1], and so on."""
    before = lengths.cumsum(0) - lengths
    steps = torch.arange(int(lengths.sum()), device=starts.device)
    return steps + (starts - before).repeat_interleave(lengths)


def select(batch: Batch, molecules: Tensor) -> Batch:
    """The batch of these molecules (K,) of ``batch``, in this order; each may come many times.

    Parameters
    ----------
    molecules : (K,) Tensor of int64
        Numbers of molecules of the batch.
    """
    counts = torch.bincount(batch.molecule, minlength=batch.size)
    starts = counts.cumsum(0) - counts
    sizes = counts[molecules]
    new_starts = sizes.cumsum(0) - sizes
    atoms = _runs(starts[molecules], sizes)

    def both_ways(columns: Tensor) -> tuple[Tensor, Tensor]:
        """New atom numbers of the pairs, and which of the old first half they were."""
        half = columns[:, : columns.shape[1] // 2]
        order = batch.molecule[half[0]].argsort(stable=True)
        half_counts = torch.bincount(batch.molecule[half[0]], minlength=batch.size)
        half_starts = half_counts.cumsum(0) - half_counts
        old = order[_runs(half_starts[molecules], half_counts[molecules])]
        shift = (new_starts - starts[molecules]).repeat_interleave(half_counts[molecules])
        new = half[:, old] + shift
        return torch.cat([new, new.flip(0)], dim=1), torch.cat([old, old])

    pairs, old_pairs = both_ways(batch.pairs)
    return replace(
        batch,
        numbers=batch.numbers[atoms],
        positions=batch.positions[atoms],
        molecule=torch.arange(len(molecules), device=sizes.device).repeat_interleave(sizes),
        size=len(molecules),
        pairs=pairs,
        distances=batch.distances[old_pairs],
        atom_features=None if batch.atom_features is None else batch.atom_features[atoms],
        pair_features=None if batch.pair_features is None else batch.pair_features[old_pairs],
        bonds=None if batch.bonds is None else both_ways(batch.bonds)[0],
    )


@dataclass(frozen=True)
class Copies:
    """A batch with one copy of a molecule for each of its atoms.

    batch      the copies
    atom       (K,) the atom of the original batch for which each copy was made
    marked     (K,) the same atom's place among the copies' atoms
    original   (atoms of the copies,) which atom of the original batch each is
    """

    batch: Batch
    atom: Tensor
    marked: Tensor
    original: Tensor


def copies_per_atom(batch: Batch, most_pairs: int = 50_000) -> Iterator[Copies]:
    """A copy of each molecule for each of its atoms, in portions of bounded memory.

    most_pairs   ordered pairs of atoms in one portion (at least one copy comes)
    """
    counts = torch.bincount(batch.molecule, minlength=batch.size)
    starts = counts.cumsum(0) - counts
    work = (counts * counts)[batch.molecule].cumsum(0)
    portion = torch.div(work, most_pairs, rounding_mode="floor")
    for number in portion.unique().tolist():
        atom = torch.nonzero(portion == number)[:, 0]
        molecules = batch.molecule[atom]
        sizes = counts[molecules]
        copied = select(batch, molecules)
        first = sizes.cumsum(0) - sizes
        yield Copies(
            copied, atom, first + atom - starts[molecules], _runs(starts[molecules], sizes)
        )
