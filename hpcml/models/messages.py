"""PaiNN's messages summed part by part within the processor's cache.

The messages of a batch, (E, 3, F) numbers for each interaction, do not fit into any cache, and
a network that writes them all to memory and reads them back mostly waits.  Here they are made,
summed, and forgotten a few hundred pairs at a time, and made again in the backward.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

_PART = 512  # pairs, both ways


class MessageSum(torch.autograd.Function):
    """sum_j phi_s W_s  and  sum_j r_ij phi_vs W_vs + v_j phi_vv W_vv, for each atom i.

    phi           (A, 2 F or 3 F) of the neighbours: s, vs, vv side by side
    v             (A, 3, F), or None with 2 F columns: no vectors yet
    filters       (E / 2, 2 F or 3 F), the same for both directions of a pair
    directions    (E / 2, 3) from i to j, unit length; they get no gradient
    i, j          (E / 2,)

    Returns (A, F) and (A, 3, F).
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor]:
        phi, v, filters, directions, i, j = inputs
        ctx.save_for_backward(phi, v, filters, directions, i, j)
        atoms, F = phi.shape[0], phi.shape[1] // (2 if v is None else 3)
        ds, dv = phi.new_zeros(atoms, F), phi.new_zeros(atoms, 3, F)
        for _, W, r, to, source in _parts(filters, directions, i, j):
            m = phi.index_select(0, source).mul_(W)
            ds.index_add_(0, to, m[:, :F])
            vectors = m[:, None, F : 2 * F] * r[:, :, None]
            if v is not None:
                vectors.addcmul_(v.index_select(0, source), m[:, None, 2 * F :])
            dv.index_add_(0, to, vectors)
        return ds, dv

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        phi, v, filters, directions, i, j = ctx.saved_tensors
        to_ds, to_dv = gradients[0].contiguous(), gradients[1].contiguous()
        F = to_ds.shape[1]
        to_phi, to_filters = torch.zeros_like(phi), torch.zeros_like(filters)
        to_v = None if v is None else torch.zeros_like(v)
        for rows, W, r, to, source in _parts(filters, directions, i, j):
            to_vectors = to_dv.index_select(0, to)
            to_m = torch.empty_like(W)
            to_m[:, :F] = to_ds.index_select(0, to)
            to_m[:, F : 2 * F] = (to_vectors * r[:, :, None]).sum(dim=1)
            factors = phi.index_select(0, source)
            if v is not None and to_v is not None:
                torch.sum(to_vectors * v.index_select(0, source), dim=1, out=to_m[:, 2 * F :])
                scale = factors[:, 2 * F :] * W[:, 2 * F :]
                to_v.index_add_(0, source, to_vectors.mul_(scale[:, None, :]))
            to_filters[rows].addcmul_(to_m, factors)
            to_phi.index_add_(0, source, to_m.mul_(W))
        return to_phi, to_v, to_filters, None, None, None


def _parts(
    filters: Tensor, directions: Tensor, i: Tensor, j: Tensor
) -> Iterator[tuple[slice, Tensor, Tensor, Tensor, Tensor]]:
    """Rows of filters, filters, directions, receiving and sending atoms; each part both ways."""
    for start in range(0, filters.shape[0], _PART):
        rows = slice(start, start + _PART)
        W, r = filters[rows], directions[rows]
        yield rows, W, r, i[rows], j[rows]
        yield rows, W, -r, j[rows], i[rows]
