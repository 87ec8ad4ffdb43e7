"""Atomic environment vectors: what ANI sees of the surroundings of each atom.

J. S. Smith, O. Isayev, A. E. Roitberg, Chem. Sci. 8, 3192 (2017), equations 2 to 4, after
Behler and Parrinello, with NeuroChem's conventions: a factor 1/4 in the radial terms, and
angles shrunk to arccos(0.95 cos theta).
"""

from __future__ import annotations

import math

import msgspec
import torch
from torch import Tensor, nn

from hpcml.models.batch import Batch
from hpcml.models.expansion import LARGEST_EXPONENT, cosine_cutoff

_RADIAL_FACTOR = 0.25
_COSINE_FACTOR = 0.95
_PART = 4096  # pairs of neighbours


class AEVConstants(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cut-offs and grids in angstrom (angles in radian); the defaults are ANI-1x's and ANI-1ccx's.

    Rcr, Rca     radial and angular cut-off
    EtaR, ShfR   exponent (1/angstrom^2) and centres of the radial terms
    EtaA, ShfA   exponent and centres of the mean distance in the angular terms
    Zeta, ShfZ    exponent and centres of the angle
    """

    Rcr: float = 5.2
    Rca: float = 3.5
    EtaR: float = 16.0
    ShfR: tuple[float, ...] = tuple(0.9 + 0.26875 * k for k in range(16))
    EtaA: float = 8.0
    ShfA: tuple[float, ...] = (0.9, 1.55, 2.2, 2.85)
    Zeta: float = 32.0
    ShfZ: tuple[float, ...] = tuple(math.pi * (2 * k + 1) / 16 for k in range(8))


class AEV(nn.Module):
    """Forward: batch and element indices (A,) -> (A, size).

    The columns: for each element S radial terms by ShfR; then for each pair of elements
    (first <= second) the angular terms by ShfA, then ShfZ.
    """

    ShfR: Tensor
    ShfA: Tensor
    turn: Tensor
    repeat_a: Tensor
    repeat_z: Tensor
    pair_of_elements: Tensor

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
        fixed = {
            "ShfR": ShfR,
            "ShfA": ShfA,
            # cos(theta - ShfZ) = cos(theta) cos(ShfZ) + sin(theta) sin(ShfZ)
            "turn": torch.stack([ShfZ.cos(), ShfZ.sin()]),
            "repeat_a": torch.eye(len(ShfA)).repeat_interleave(len(ShfZ), dim=1).double(),
            "repeat_z": torch.eye(len(ShfZ)).repeat(1, len(ShfA)).double(),
        }
        for name, tensor in fixed.items():
            self.register_buffer(name, tensor, persistent=False)
        pair = torch.zeros(elements, elements, dtype=torch.int64)
        first, second = torch.triu_indices(elements, elements)
        pair[first, second] = pair[second, first] = torch.arange(self.element_pairs)
        self.register_buffer("pair_of_elements", pair, persistent=False)

    def forward(self, batch: Batch, element: Tensor) -> Tensor:
        # geometry is not a matter of the network's precision
        with torch.autocast(batch.distances.device.type, enabled=False):
            return torch.cat([self._radial(batch, element), self._angular(batch, element)], dim=1)

    def _radial(self, batch: Batch, element: Tensor) -> Tensor:
        """G_R: sum over neighbours of exp(-EtaR (R_ij - ShfR)^2) f_c(R_ij), by element."""
        c = self.constants
        # R_ij = R_ji: one term serves both atoms
        R = batch.distances[: batch.distances.shape[0] // 2]
        near = (c.Rcr > R).nonzero().squeeze(1)
        R = R.index_select(0, near)
        i, j = batch.pairs[0].index_select(0, near), batch.pairs[1].index_select(0, near)
        exponents = c.EtaR * (R[:, None] - self.ShfR.to(R.dtype)) ** 2
        weight = _RADIAL_FACTOR * cosine_cutoff(R, c.Rcr)
        terms = torch.exp(-exponents.clamp(max=LARGEST_EXPONENT)) * weight[:, None]
        total = terms.new_zeros(batch.atoms * self.elements, self.radial_terms)
        total = total.index_add(0, i * self.elements + element.index_select(0, j), terms)
        total = total.index_add(0, j * self.elements + element.index_select(0, i), terms)
        return total.view(batch.atoms, -1)

    def _angular(self, batch: Batch, element: Tensor) -> Tensor:
        """G_A: sum over pairs of neighbours j, k of atom i, by their pair of elements."""
        c = self.constants
        near = (batch.distances < c.Rca).nonzero().squeeze(1)
        i, order = batch.pairs[0].index_select(0, near).sort(stable=True)
        near = near.index_select(0, order)
        j, R = batch.pairs[1].index_select(0, near), batch.distances.index_select(0, near)
        x = batch.positions
        toward = (x.index_select(0, j) - x.index_select(0, i)) / R[:, None]
        f_c = cosine_cutoff(R, c.Rca)
        species = element.index_select(0, j)
        first, second = _pairs_within(torch.bincount(i, minlength=batch.atoms))

        total = R.new_zeros(batch.atoms * self.element_pairs, self.angular_terms)
        # part by part, so that all that belongs to a part stays in the processor's cache
        for a, b in zip(first.split(_PART), second.split(_PART), strict=True):
            cosine = (toward.index_select(0, a) * toward.index_select(0, b)).sum(dim=1)
            mean = 0.5 * (R.index_select(0, a) + R.index_select(0, b))
            weight = 2.0 * f_c.index_select(0, a) * f_c.index_select(0, b)
            pair = species.index_select(0, a) * self.elements + species.index_select(0, b)
            pair = self.pair_of_elements.view(-1).index_select(0, pair)
            row = i.index_select(0, a) * self.element_pairs + pair
            total = total.index_add_(0, row, self._angular_terms(cosine, mean, weight))
        return total.view(batch.atoms, -1)

    def _angular_terms(self, cosine: Tensor, mean: Tensor, weight: Tensor) -> Tensor:
        """((1 + cos(theta - ShfZ)) / 2)^Zeta exp(-EtaA (mean - ShfA)^2) weight: (t,) -> (t, terms).

        cosine    of the angle between the neighbours, before it is shrunk
        mean      of the neighbours' distances
        """
        c = self.constants
        cosine = _COSINE_FACTOR * cosine
        sine = torch.sqrt(1.0 - cosine * cosine)  # theta lies between 0 and pi
        turned = torch.stack([cosine, sine], dim=1) @ self.turn.to(cosine.dtype)
        angle = _power(0.5 + 0.5 * turned, c.Zeta)
        exponents = c.EtaA * (mean[:, None] - self.ShfA.to(mean.dtype)) ** 2
        radial = torch.exp(-exponents.clamp(max=LARGEST_EXPONENT)) * weight[:, None]
        # every radial with every angular factor: small products broadcast slowly, matrices do not
        return (radial @ self.repeat_a.to(mean.dtype)) * (angle @ self.repeat_z.to(mean.dtype))


def _pairs_within(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Positions of every two members of one group; groups of ``counts`` members stand in a row."""
    members = int(counts.sum())
    position = torch.arange(members, device=counts.device)
    end = torch.repeat_interleave(counts.cumsum(0), counts)
    later = end - position - 1  # members of the group behind this one
    first = torch.repeat_interleave(position, later)
    started = torch.repeat_interleave(later.cumsum(0) - later, later)
    second = first + 1 + torch.arange(len(first), device=counts.device) - started
    return first, second


def _power(base: Tensor, exponent: float) -> Tensor:
    """base^exponent for 0 <= base <= 1, kept out of the subnormal numbers; by squaring for 2^n."""
    base = base.clamp(min=math.exp(-LARGEST_EXPONENT / exponent))
    squarings = math.log2(exponent)
    if squarings != int(squarings):
        return base**exponent
    for _ in range(int(squarings)):
        base = base * base if base.requires_grad else base.mul_(base)
    return base
