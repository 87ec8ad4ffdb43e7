"""Atomic environment vectors: what ANI sees of the surroundings of each atom.

J. S. Smith, O. Isayev, A. E. Roitberg, Chem. Sci. 8, 3192 (2017), equations 2 to 4, after
Behler and Parrinello, with NeuroChem's conventions: a factor 1/4 in the radial terms, and
angles shrunk to arccos(0.95 cos theta).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Annotated

import msgspec
import torch
from torch import Tensor, nn

from hpcml.models.batch import Batch
from hpcml.models.expansion import LARGEST_EXPONENT, cosine_cutoff, gaussian
from hpcml.models.hyperparameters import Length

Positive = Annotated[float, msgspec.Meta(gt=0)]
Grid = Annotated[tuple[float, ...], msgspec.Meta(min_length=1)]

_RADIAL_FACTOR = 0.25
_COSINE_FACTOR = 0.95
_PART = 4096  # atoms at once
_CACHED = 16384  # angles at once: half a megabyte


class AEVConstants(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cut-offs and grids in angstrom (angles in radian); the defaults are ANI-1x's and ANI-1ccx's.

    Rcr, Rca     radial and angular cut-off
    EtaR, ShfR   exponent (1/angstrom^2) and centres of the radial terms
    EtaA, ShfA   exponent and centres of the mean distance in the angular terms
    Zeta, ShfZ    exponent and centres of the angle
    """

    Rcr: Length = 5.2
    Rca: Length = 3.5
    EtaR: Positive = 16.0
    ShfR: Grid = tuple(0.9 + 0.26875 * k for k in range(16))
    EtaA: Positive = 8.0
    ShfA: Grid = (0.9, 1.55, 2.2, 2.85)
    Zeta: Positive = 32.0
    ShfZ: Grid = tuple(math.pi * (2 * k + 1) / 16 for k in range(8))


class AEV(nn.Module):
    """Forward: batch and element indices (A,) -> (A, size).

    The columns: for each element S radial terms by ShfR; then for each pair of elements
    (first <= second) the angular terms by ShfA, then ShfZ.
    """

    ShfR: Tensor
    ShfA: Tensor
    half_turn: Tensor
    first_of_pair: Tensor
    second_of_pair: Tensor

    def __init__(self, constants: AEVConstants, elements: int) -> None:
        super().__init__()
        self.constants = constants
        self.elements = elements
        self.element_pairs = elements * (elements + 1) // 2
        self.radial_terms = len(constants.ShfR)
        self.angular_terms = len(constants.ShfA) * len(constants.ShfZ)
        self.size = elements * self.radial_terms + self.element_pairs * self.angular_terms
        ShfR, ShfA, ShfZ = (
            torch.tensor(grid, dtype=torch.float64)
            for grid in (constants.ShfR, constants.ShfA, constants.ShfZ)
        )
        first, second = torch.triu_indices(elements, elements)
        fixed = {
            "ShfR": ShfR,
            "ShfA": ShfA,
            # cos(theta - ShfZ) / 2 = (cos(theta) cos(ShfZ) + sin(theta) sin(ShfZ)) / 2
            "half_turn": torch.stack([ShfZ.cos(), ShfZ.sin()]) / 2.0,
            "first_of_pair": first,
            "second_of_pair": second,
        }
        for name, tensor in fixed.items():
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, batch: Batch, element: Tensor) -> Tensor:
        """The environment of each atom: its radial terms, then its angular ones.

        Parameters
        ----------
        element : (A,) Tensor of int64
            Place of each atom's element among the known.

        Returns
        -------
        (A, size) Tensor
        """
        # geometry is data: no matter of the network's precision, and without a gradient
        device = batch.distances.device.type
        with torch.no_grad(), torch.autocast(device, enabled=False):
            environments = batch.distances.new_empty(batch.atoms, self.size)
            radial = self.elements * self.radial_terms
            environments[:, :radial] = self._radial(batch, element)
            self._fill_angular(environments[:, radial:], batch, element)
            return environments

    def _radial(self, batch: Batch, element: Tensor) -> Tensor:
        """G_R: sum over neighbours of exp(-EtaR (R_ij - ShfR)^2) f_c(R_ij), by element."""
        c = self.constants
        # R_ij = R_ji: one term serves both atoms
        R = batch.distances[: batch.distances.shape[0] // 2]
        near = (c.Rcr > R).nonzero().squeeze(1)
        R = R.index_select(0, near)
        i, j = batch.pairs[0].index_select(0, near), batch.pairs[1].index_select(0, near)
        scale = math.sqrt(c.EtaR)
        terms = gaussian((R * scale)[:, None] - (self.ShfR * scale).to(R.dtype))
        terms *= _RADIAL_FACTOR * cosine_cutoff(R, c.Rcr)[:, None]
        total = terms.new_zeros(batch.atoms * self.elements, self.radial_terms)
        total.index_add_(0, i * self.elements + element.index_select(0, j), terms)
        total.index_add_(0, j * self.elements + element.index_select(0, i), terms)
        return total.view(batch.atoms, -1)

    def _fill_angular(self, found: Tensor, batch: Batch, element: Tensor) -> None:
        """G_A: sum over pairs of neighbours j < k, by pair of elements; into ``found``."""
        near = (batch.distances < self.constants.Rca).nonzero().squeeze(1)
        i, j = batch.pairs[0].index_select(0, near), batch.pairs[1].index_select(0, near)
        # an atom's neighbours stand together, and among them those of one element
        place, order = (i * self.elements + element.index_select(0, j)).sort(stable=True)
        i, j = i.index_select(0, order), j.index_select(0, order)
        R = batch.distances.index_select(0, near.index_select(0, order))
        x = batch.positions.t()
        toward = (x.index_select(1, j) - x.index_select(1, i)) / R
        counts = torch.bincount(place, minlength=batch.atoms * self.elements)
        counts = counts.view(batch.atoms, self.elements).int()
        row = 0
        # part by part, so that all that belongs to a part stays in the processor's cache
        for atoms, part in zip(found.split(_PART), counts.split(_PART), strict=True):
            rows = slice(row, row := row + int(part.sum()))
            shape = self.element_pairs, len(self.constants.ShfA), len(self.constants.ShfZ)
            atoms.unflatten(1, shape)[:] = self._angular_part(part, R[rows], toward[:, rows])

    def _angular_part(self, counts: Tensor, R: Tensor, toward: Tensor) -> Tensor:
        """G_A of A atoms with N neighbours, which stand by atom, then by element.

        Returns (A, element_pairs, len(ShfA), len(ShfZ)).

        counts    (A, S) neighbours of each element
        R         (N,) distances, angstrom
        toward    (3, N) unit vectors
        """
        c = self.constants
        a, b, start = self._two_neighbours(counts)
        f_c = cosine_cutoff(R, c.Rca)
        weight = 2.0 * f_c.index_select(0, a) * f_c.index_select(0, b)
        x, y, z = (one.index_select(0, a) * one.index_select(0, b) for one in toward)
        angle = self._angle(_COSINE_FACTOR * (x + y + z))
        scale = math.sqrt(c.EtaA)
        R = R * (0.5 * scale)
        mean = R.index_select(0, a) + R.index_select(0, b)
        radial = gaussian(mean - (self.ShfA * scale).to(R.dtype)[:, None])
        radial *= weight
        # sum over triples of radial (outer product) angle, one radial term after another: a bag
        # is one atom's pair of elements
        triple = torch.arange(len(a), dtype=torch.int32, device=a.device)
        total = [
            nn.functional.embedding_bag(
                triple, angle, start, mode="sum", per_sample_weights=weights
            )
            for weights in radial
        ]
        shape = len(counts), self.element_pairs, len(c.ShfZ)
        return torch.stack([one.view(shape) for one in total], dim=2)

    def _two_neighbours(self, counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Every two neighbours of one atom: (T,) the one, (T,) the other, and a third tensor.

        They stand by atom, then by pair of elements: the third, (A * element_pairs,), tells where
        those of each begin.
        """
        n = counts.flatten()
        place = (n.cumsum(0, dtype=torch.int32) - n).view_as(counts)
        first, second = self.first_of_pair, self.second_of_pair
        n_a, n_b = counts[:, first], counts[:, second]
        same = first == second
        triples = torch.where(same, n_a * (n_a - 1) // 2, n_a * n_b).flatten()
        end = triples.cumsum(0, dtype=torch.int32)
        start = end - triples
        # place p among the triples of an atom and a pair of elements -> (place of a, place of b)
        largest, total = (int(counts.max()), int(end[-1])) if len(n) else (0, 0)
        place_a, place_b = _places(largest, counts.device)
        entry = (torch.where(same, 0, n_b) * largest**2).flatten() - start
        kind = torch.repeat_interleave(triples, output_size=total)
        entry = entry.index_select(0, kind)
        entry += torch.arange(total, dtype=torch.int32, device=counts.device)
        a = place[:, first].flatten().index_select(0, kind)
        b = place[:, second].flatten().index_select(0, kind)
        a += place_a.index_select(0, entry)
        b += place_b.index_select(0, entry)
        return a, b, start

    def _angle(self, cosine: Tensor) -> Tensor:
        """((1 + cos(theta - ShfZ)) / 2)^Zeta: cos(theta), (T,) -> (T, len(ShfZ))."""
        sine = torch.sqrt(1.0 - cosine * cosine)  # theta lies between 0 and pi
        direction = torch.stack([cosine, sine]).t()
        half_turn = self.half_turn.to(cosine.dtype)
        found = cosine.new_empty(len(cosine), half_turn.shape[1])
        for into, part in zip(found.split(_CACHED), direction.split(_CACHED), strict=True):
            _power(torch.mm(part, half_turn, out=into).add_(0.5), self.constants.Zeta)
        return found


@lru_cache(maxsize=16)
def _places(largest: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """How pairs of members of two groups are counted: (largest + 1, largest^2) twice, flat.

    Row w > 0: of two groups, of which the second has w members.  Row 0: of one group, each two
    once; what belongs to smaller groups comes first.
    """
    place = torch.arange(largest**2, device=device)
    second, first = torch.tril_indices(largest, largest, -1, device=device)
    rows = [torch.nn.functional.pad(torch.stack([first, second]), (0, largest**2 - len(first)))]
    rows += [torch.stack([place // w, place % w]) for w in range(1, largest + 1)]
    a, b = torch.cat(rows, dim=1).int()
    return a, b


def _power(base: Tensor, exponent: float) -> Tensor:
    """base^exponent for 0 <= base <= 1, kept out of the subnormal numbers; by squaring for 2^n.

    The base itself is changed.
    """
    base.clamp_(min=math.exp(-LARGEST_EXPONENT / exponent))
    squarings = math.log2(exponent)
    if squarings != int(squarings):
        return base.pow_(exponent)
    for _ in range(int(squarings)):
        base.mul_(base)
    return base
