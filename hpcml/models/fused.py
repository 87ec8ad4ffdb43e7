"""Messages between atoms summed part by part within the processor's cache.

The messages of a batch, PaiNN's (E, 3, F) numbers for each interaction before all, do not fit
into any cache, and a network that writes them all to memory and reads them back mostly waits.
Here they are made, summed, and forgotten a few hundred pairs at a time; the backward makes them
again.  The networks hold the same computation layer by layer, for when somebody looks on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

_CACHED = 200_000  # numbers of a part's widest tensor: most of a megabyte


class PaiNNMessages(torch.autograd.Function):
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
        for way, rows, to, source in _parts(i, j, filters.shape[1]):
            W, r = filters[rows], directions[rows] if way == 0 else -directions[rows]
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
        to_phi, to_filters = torch.zeros_like(phi), torch.empty_like(filters)
        to_v = None if v is None else torch.zeros_like(v)
        for way, rows, to, source in _parts(i, j, filters.shape[1]):
            W, r = filters[rows], directions[rows] if way == 0 else -directions[rows]
            to_vectors = to_dv.index_select(0, to)
            to_m = torch.empty_like(W)
            to_m[:, :F] = to_ds.index_select(0, to)
            to_m[:, F : 2 * F] = (to_vectors * r[:, :, None]).sum(dim=1)
            factors = phi.index_select(0, source)
            if v is not None and to_v is not None:
                torch.sum(to_vectors * v.index_select(0, source), dim=1, out=to_m[:, 2 * F :])
                scale = factors[:, 2 * F :] * W[:, 2 * F :]
                to_v.index_add_(0, source, to_vectors.mul_(scale[:, None, :]))
            _add_product(to_filters[rows], to_m, factors, first=way == 0)
            to_phi.index_add_(0, source, to_m.mul_(W))
        return to_phi, to_v, to_filters, None, None, None


class DTNNInteractions(torch.autograd.Function):
    """sum_j tanh(W (f_j * g_ij)) for each atom i.

    f       (A, F), factors of the atoms
    g       (E / 2, F), factors of the distances, the same for both directions of a pair
    W       (B, F)
    i, j    (E / 2,)

    Returns (A, B).
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        f, g, W, i, j = inputs
        total: Tensor = f.new_zeros(f.shape[0], W.shape[0])
        tanh = f.new_empty(2, g.shape[0], W.shape[0])  # narrow, and dear to make again
        for way, rows, to, source in _parts(i, j, g.shape[1]):
            v = torch.mm(f.index_select(0, source).mul_(g[rows]), W.T, out=tanh[way, rows]).tanh_()
            total.index_add_(0, to, v)
        ctx.save_for_backward(f, g, W, i, j, tanh)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        f, g, W, i, j, tanh = ctx.saved_tensors
        to_f, to_g, to_W = torch.zeros_like(f), torch.empty_like(g), torch.zeros_like(W)
        for way, rows, to, source in _parts(i, j, g.shape[1]):
            v = tanh[way, rows]
            to_v = gradients[0].index_select(0, to)
            to_argument = torch.addcmul(to_v, to_v * v, v, value=-1.0)
            factors = f.index_select(0, source)
            to_product = to_argument @ W
            to_W.addmm_(to_argument.T, factors * g[rows])
            _add_product(to_g[rows], to_product, factors, first=way == 0)
            to_f.index_add_(0, source, to_product.mul_(g[rows]))
        return to_f, to_g, to_W, None, None


def _add_product(total: Tensor, left: Tensor, right: Tensor, *, first: bool) -> None:
    """total += left * right; the first product is put where nothing has been yet."""
    if first:
        torch.mul(left, right, out=total)
    else:
        total.addcmul_(left, right)


def _parts(i: Tensor, j: Tensor, width: int) -> Iterator[tuple[int, slice, Tensor, Tensor]]:
    """Way 0 or 1, rows, receiving atoms, sending atoms: each part from i to j and from j to i."""
    part = max(1, _CACHED // width if i.device.type == "cpu" else i.shape[0])
    for start in range(0, i.shape[0], part):
        rows = slice(start, start + part)
        yield 0, rows, i[rows], j[rows]
        yield 1, rows, j[rows], i[rows]
