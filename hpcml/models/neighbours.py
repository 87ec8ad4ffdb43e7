"""Sums and maxima over the bonded neighbours of atoms, gather by gather.

Atoms that stand by falling number of bonds have their first neighbours in one column, those
that have a second one in a shorter column, and so on (jagged diagonals; Y. Saad, SIAM J. Sci.
Stat. Comput. 10, 1200 (1989)).  Every step is then a gather into the first rows of a tensor
that stays in the processor's cache.  As every bond stands both ways, so is every backward.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Neighbours:
    """The bonds of a batch with its A atoms set in another order: by falling number of bonds.

    order      (A,) which atom stands at each place
    place      (A,) where each atom stands
    bonds      (2, B) places of the atoms of each bond, both ways, ascending in the first
    start      (A,) where the bonds of each place begin
    counts     d -> atoms with d bonds
    columns    d -> places of the neighbours number d + 1 of all that have so many
    """

    order: Tensor
    place: Tensor
    bonds: Tensor
    start: Tensor
    counts: list[int]
    columns: list[Tensor]

    @classmethod
    def of(cls, bonds: Tensor, atoms: int) -> Neighbours:
        """Neighbours of a batch's atoms.

        Parameters
        ----------
        bonds : (2, B) Tensor of int64
            As of a Batch.
        """
        degree = torch.bincount(bonds[0], minlength=atoms)
        degree, order = degree.sort(descending=True, stable=True)
        place = torch.empty_like(order)
        place[order] = torch.arange(atoms, device=order.device)
        i, by_atom = place.index_select(0, bonds[0]).sort(stable=True)
        j = place.index_select(0, bonds[1]).index_select(0, by_atom)
        start = degree.cumsum(0) - degree
        counts = torch.bincount(degree).tolist()
        columns = []
        left = atoms
        for number in range(len(counts) - 1):
            left -= counts[number]
            columns.append(j.index_select(0, start[:left] + number))
        return cls(order, place, torch.stack([i, j]), start, counts, columns)

    def blocks(self, *values: Tensor) -> Iterator[tuple[Any, ...]]:
        """Number of bonds, and the rows of the atoms that have so many in each of ``values``.

        Parameters
        ----------
        values : each (A, F) Tensor
            Atoms in the order of ``order``.
        """
        degrees = [d for d in range(len(self.counts) - 1, -1, -1) if self.counts[d]]
        sizes = [self.counts[d] for d in degrees]
        return zip(degrees, *(one.split(sizes) for one in values), strict=True)


class NeighbourSum(torch.autograd.Function):
    """sum_j h_j over the neighbours of each atom: (A, F), Neighbours -> (A, F)."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, neighbours: Neighbours) -> Tensor:
        ctx.neighbours = neighbours
        return _sum(h, neighbours)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _sum(gradients[0], ctx.neighbours), None


def _sum(h: Tensor, neighbours: Neighbours) -> Tensor:
    return torch.nn.functional.embedding_bag(
        neighbours.bonds[1], h.contiguous(), neighbours.start, mode="sum"
    )


class NeighbourMaximum(torch.autograd.Function):
    """max of h_i and its neighbours' h_j, feature by feature: (A, F), Neighbours -> (A, F).

    Equal winners share the gradient alike.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, neighbours: Neighbours) -> Tensor:
        largest = h.clone()
        for column in neighbours.columns:
            first = largest[: len(column)]
            torch.maximum(first, h.index_select(0, column), out=first)
        ctx.save_for_backward(h, largest)
        ctx.neighbours = neighbours
        return largest

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        h, largest = ctx.saved_tensors
        columns = ctx.neighbours.columns
        winners = torch.eq(h, largest, out=torch.empty_like(h))  # one or zero
        total = winners.clone()
        for column in columns:
            first = largest[: len(column)]
            winners[: len(column)] += h.index_select(0, column).eq_(first)
        share = gradients[0] / winners
        total *= share
        for column in columns:
            wins = largest.index_select(0, column).eq_(h[: len(column)])
            total[: len(column)].addcmul_(share.index_select(0, column), wins)
        return total, None
