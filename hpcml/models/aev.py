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
    ShfZ: Tensor
    pair_of_elements: Tensor

    def __init__(self, constants: AEVConstants, elements: int) -> None:
        super().__init__()
        self.constants = constants
        self.elements = elements
        self.element_pairs = elements * (elements + 1) // 2
        self.radial_terms = len(constants.ShfR)
        self.angular_terms = len(constants.ShfA) * len(constants.ShfZ)
        self.size = elements * self.radial_terms + self.element_pairs * self.angular_terms
        for name in ("ShfR", "ShfA", "ShfZ"):
            grid = torch.tensor(getattr(constants, name), dtype=torch.float64)
            self.register_buffer(name, grid, persistent=False)
        pair = torch.zeros(elements, elements, dtype=torch.int64)
        first, second = torch.triu_indices(elements, elements)
        pair[first, second] = pair[second, first] = torch.arange(self.element_pairs)
        self.register_buffer("pair_of_elements", pair, persistent=False)

    def forward(self, batch: Batch, element: Tensor) -> Tensor:
        return torch.cat([self._radial(batch, element), self._angular(batch, element)], dim=1)

    def _radial(self, batch: Batch, element: Tensor) -> Tensor:
        """G_R: sum over neighbours of exp(-eta (R_ij - ShfR)^2) f_c(R_ij), by element."""
        c = self.constants
        # R_ij = R_ji: one term serves both atoms
        R = batch.distances[: batch.distances.shape[0] // 2]
        near = (c.Rcr > R).nonzero().squeeze(1)
        R = R[near]
        i, j = batch.pairs[:, near]
        exponents = c.EtaR * (R[:, None] - self.ShfR.to(R.dtype)) ** 2
        weight = _RADIAL_FACTOR * cosine_cutoff(R, c.Rcr)
        terms = torch.exp(-exponents.clamp(max=LARGEST_EXPONENT)) * weight[:, None]
        total = terms.new_zeros(batch.atoms * self.elements, self.radial_terms)
        total.index_add_(0, i * self.elements + element[j], terms)
        total.index_add_(0, j * self.elements + element[i], terms)
        return total.view(batch.atoms, -1)

    def _angular(self, batch: Batch, element: Tensor) -> Tensor:
        """G_A: sum over pairs of neighbours j, k of atom i, by their pair of elements."""
        c = self.constants
        near = (batch.distances < c.Rca).nonzero().squeeze(1)
        i, order = batch.pairs[0, near].sort(stable=True)
        near = near[order]
        j, R = batch.pairs[1, near], batch.distances[near]
        toward = (batch.positions[j] - batch.positions[i]) / R[:, None]
        f_c = cosine_cutoff(R, c.Rca)
        first, second = _pairs_within(torch.bincount(i, minlength=batch.atoms))

        cosine = _COSINE_FACTOR * (toward[first] * toward[second]).sum(dim=1)
        sine = torch.sqrt(1.0 - cosine * cosine)  # theta lies between 0 and pi
        ShfZ = self.ShfZ.to(R.dtype)
        # cos(theta - ShfZ) by the addition theorem
        turned = cosine[:, None] * torch.cos(ShfZ) + sine[:, None] * torch.sin(ShfZ)
        angle = _power(0.5 + 0.5 * turned, c.Zeta)
        mean = 0.5 * (R[first] + R[second])
        exponents = c.EtaA * (mean[:, None] - self.ShfA.to(R.dtype)) ** 2
        weight = 2.0 * f_c[first] * f_c[second]
        radial = torch.exp(-exponents.clamp(max=LARGEST_EXPONENT)) * weight[:, None]
        terms = (radial[:, :, None] * angle[:, None, :]).flatten(start_dim=1)

        pair = self.pair_of_elements[element[j[first]], element[j[second]]]
        total = terms.new_zeros(batch.atoms * self.element_pairs, self.angular_terms)
        total.index_add_(0, i[first] * self.element_pairs + pair, terms)
        return total.view(batch.atoms, -1)


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
        base = base * base
    return base
