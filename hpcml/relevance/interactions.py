"""Interactions: relevance of an atom's input for what is read out at another atom.

A message-passing network hands the relevance of atom j's part of the prediction along walks to
input atoms i.  The sum over all walks that begin at i and end at j is the second-order
relevance R_ij (Schnake et al., IEEE Trans. Pattern Anal. Mach. Intell. 44, 7581 (2022), of
which it is the marginal over the ends).  Summed over j it is the relevance of atom i.

The walks are summed by the backward itself: a molecule of n atoms enters the batch n times,
each time with another atom allowed to take relevance from the readout.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hpcml.models.batch import Batch
from hpcml.relevance.copies import copies_per_atom
from hpcml.relevance.engine.rules import Composite, Rule
from hpcml.relevance.propagation import as_composite, propagate


@dataclass(frozen=True)
class Interactions:
    """R_ij of all ordered pairs of atoms of a molecule, i = j included; in the target's unit.

    source      (P,) atom i of the batch, where the relevance ends
    reader      (P,) atom j of the batch, where it was read out
    relevance   (P,) float64
    distance    (P,) angstrom, 0 for i = j
    """

    source: Tensor
    reader: Tensor
    relevance: Tensor
    distance: Tensor

    def of_pairs(self, molecule: Tensor) -> Tensor:
        """R_ij + R_ji of the pairs i < j of each molecule, in the order of numpy.triu_indices.

        Parameters
        ----------
        molecule : (A,) Tensor of int64
            The molecule of each atom of the batch.

        Returns
        -------
        (P,) Tensor of float64, P = sum of n (n - 1) / 2 over molecules
            Target's unit.
        """
        counts = torch.bincount(molecule)
        pairs = torch.div(counts * (counts - 1), 2, rounding_mode="floor")
        first_atom, first_pair = counts.cumsum(0) - counts, pairs.cumsum(0) - pairs
        apart = self.source != self.reader
        ends = torch.stack([self.source[apart], self.reader[apart]])
        own = molecule[ends[0]]
        n = counts[own]
        i, j = (ends - first_atom[own]).sort(dim=0).values
        row = torch.div(i * (2 * n - i - 1), 2, rounding_mode="floor")  # pairs of atoms before i
        place = first_pair[own] + row + j - i - 1
        total = self.relevance.new_zeros(int(pairs.sum()))
        return total.index_add_(0, place, self.relevance[apart])

    def by_distance(self, edges: Tensor) -> tuple[Tensor, Tensor]:
        """Mean |R_ij| and number of pairs in each bin of distance; i = j is no pair.

        Parameters
        ----------
        edges : (K + 1,) Tensor
            Ascending, angstrom; a bin holds its lower edge.

        Returns
        -------
        (K,) Tensor of float64, (K,) Tensor of int64
            Strength in the target's unit, and count.
        """
        apart = self.source != self.reader
        bins = torch.bucketize(self.distance[apart], edges.to(self.distance), right=True) - 1
        inside = (bins >= 0) & (bins < len(edges) - 1)
        count = torch.bincount(bins[inside], minlength=len(edges) - 1)
        strength = torch.zeros(len(edges) - 1, dtype=torch.float64, device=count.device)
        strength.index_add_(0, bins[inside], self.relevance[apart][inside].abs())
        return strength / count.clamp(min=1), count


def interactions(
    model: nn.Module,
    batch: Batch,
    rule: str | Rule | Composite = "epsilon",
    *,
    target: int = 0,
    most_pairs: int = 50_000,
) -> Interactions:
    """Second-order relevance of a batch; memory is bounded by ``most_pairs`` at a time.

    The network must read its atoms out by a sum, mean, or maximum over each molecule, as all of
    ours do.
    """
    chosen = as_composite(rule)
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for copies in copies_per_atom(batch, most_pairs):
        reads = torch.zeros(copies.batch.atoms, device=batch.positions.device)
        reads[copies.marked] = 1.0
        found = propagate(model, copies.batch, chosen, target=target, readout=reads)
        parts.append((copies.original, copies.atom[copies.batch.molecule], found.atoms))
    source, reader, relevance = (torch.cat(column) for column in zip(*parts, strict=True))
    distance = (batch.positions[source] - batch.positions[reader]).norm(dim=1)
    return Interactions(source, reader, relevance, distance)
