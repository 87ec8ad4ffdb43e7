"""Torch functions that are several others at once, written out in those.

The code here is plain torch, run while the trace looks on, so that each of its steps is explained
by the rule that it has anywhere.  What is taken off the tape (``detach``) is a weight: so the
deviation by which a normalization divides takes nothing (Achtibat et al., ICML 2024, arXiv
2402.05602, proposition 3.4).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

FAR_BELOW = -1e30
"""A score that softmax makes a zero."""


def layer_norm(
    values: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(values - mean) / deviation, along the last axes; the deviation is a weight.

    Parameters
    ----------
    values : (..., F) Tensor
    weight, bias : (F,) Tensor, or None

    Returns
    -------
    (..., F) Tensor
    """
    axes = tuple(range(-len(normalized_shape), 0))
    scale = (values.detach().var(axes, unbiased=False, keepdim=True) + eps).rsqrt()
    made = (values - values.mean(axes, keepdim=True)) * (
        scale if weight is None else scale * weight
    )
    return made if bias is None else made + bias


def rms_norm(
    values: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """values / root mean square, along the last axes; the root is a weight.

    Parameters
    ----------
    values : (..., F) Tensor
    weight : (F,) Tensor, or None

    Returns
    -------
    (..., F) Tensor
    """
    axes = tuple(range(-len(normalized_shape), 0))
    least = torch.finfo(values.dtype).eps if eps is None else eps
    scale = (values.detach().square().mean(axes, keepdim=True) + least).rsqrt()
    return values * (scale if weight is None else scale * weight)


def unit(values: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """values / length, along an axis; the length is a weight.

    Parameters
    ----------
    values : (..., F) Tensor

    Returns
    -------
    (..., F) Tensor
    """
    size: Tensor = torch.linalg.vector_norm(values.detach(), p, dim, keepdim=True)
    return values / size.clamp_min(eps)


def affine_sum(
    added: Tensor, left: Tensor, right: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """beta added + alpha left right.

    Parameters
    ----------
    added : (..., n, m) Tensor
    left : (..., n, k) Tensor
    right : (..., k, m) Tensor

    Returns
    -------
    (..., n, m) Tensor
    """
    product = left @ right
    product = product if alpha == 1 else product * alpha
    return product + (added if beta == 1 else added * beta)


def added_product(added: Tensor, left: Tensor, right: Tensor, *, value: float = 1) -> Tensor:
    """Added + value left right, cell by cell.

    Parameters
    ----------
    added, left, right : (rows, ...) Tensor

    Returns
    -------
    (rows, ...) Tensor
    """
    product = left * right
    return added + (product if value == 1 else product * value)


def added_quotient(added: Tensor, above: Tensor, below: Tensor, *, value: float = 1) -> Tensor:
    """Added + value above / below, cell by cell.

    Parameters
    ----------
    added, above, below : (rows, ...) Tensor

    Returns
    -------
    (rows, ...) Tensor
    """
    quotient = above / below
    return added + (quotient if value == 1 else quotient * value)


def gru_cell(  # noqa: PLR0917  as torch has them
    values: Tensor,
    state: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    """One step of a gated recurrent unit: n + z (h - n), as torch.nn.GRUCell has it.

    Parameters
    ----------
    values : (rows, in) Tensor
    state : (rows, F) Tensor
    w_ih, w_hh : (3 F, in) and (3 F, F) Tensor
    b_ih, b_hh : (3 F,) Tensor, or None

    Returns
    -------
    (rows, F) Tensor
    """
    of_values = functional.linear(values, w_ih, b_ih).chunk(3, -1)
    of_state = functional.linear(state, w_hh, b_hh).chunk(3, -1)
    reset = torch.sigmoid(of_values[0] + of_state[0])
    keep = torch.sigmoid(of_values[1] + of_state[1])
    new = torch.tanh(of_values[2] + reset * of_state[2])
    return (1 - keep) * new + keep * state


def lstm_cell(  # noqa: PLR0917  as torch has them
    values: Tensor,
    states: tuple[Tensor, Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """One step of a long short-term memory, as torch.nn.LSTMCell has it.

    Parameters
    ----------
    values : (rows, in) Tensor
    states : two (rows, F) Tensor
    w_ih, w_hh : (4 F, in) and (4 F, F) Tensor
    b_ih, b_hh : (4 F,) Tensor, or None

    Returns
    -------
    two (rows, F) Tensor
    """
    state, memory = states
    summed = functional.linear(values, w_ih, b_ih) + functional.linear(state, w_hh, b_hh)
    take, forget, new, out = summed.chunk(4, -1)
    memory = torch.sigmoid(forget) * memory + torch.sigmoid(take) * torch.tanh(new)
    return torch.sigmoid(out) * torch.tanh(memory), memory


def attention(  # noqa: PLR0917  as torch has them
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(Q K^T scale + mask) V.

    Parameters
    ----------
    query : (..., n, k) Tensor
    key : (..., m, k) Tensor
    value : (..., m, F) Tensor
    attn_mask : (..., n, m) Tensor, or None

    Returns
    -------
    (..., n, F) Tensor
    """
    if dropout_p or enable_gqa:
        raise NotImplementedError("attention with dropout, or of grouped queries")
    scores = query @ key.transpose(-2, -1) * (scale or 1.0 / math.sqrt(query.shape[-1]))
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    return torch.softmax(_masked(scores, attn_mask, keeps=True), -1) @ value


def _masked(scores: Tensor, mask: Tensor | None, *, keeps: bool) -> Tensor:
    if mask is None:
        return scores
    if mask.dtype == torch.bool:
        return scores.masked_fill(~mask if keeps else mask, FAR_BELOW)
    return scores + mask.clamp_min(FAR_BELOW)


def multi_head_attention(  # noqa: PLR0917  as torch has them
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """torch.nn.functional's, for (n, batch, F) or (n, F); without weights of dropout.

    Parameters
    ----------
    query : (n, batch, F) Tensor
    key, value : (m, batch, F) Tensor
    in_proj_weight : (3 F, F) Tensor, or None
    in_proj_bias : (3 F,) Tensor, or None
    out_proj_weight, q_proj_weight, k_proj_weight, v_proj_weight : (F, F) Tensor
    out_proj_bias : (F,) Tensor, or None
    key_padding_mask : (batch, m) Tensor, or None
    attn_mask : (n, m) or (batch heads, n, m) Tensor, or None
    bias_k, bias_v, static_k, static_v : (F,) Tensor
        Refused.

    Returns
    -------
    (n, batch, F) Tensor, and the weights (batch, n, m) or None
    """
    odd = bias_k is not None or add_zero_attn or static_k is not None or static_v is not None
    if odd or (training and dropout_p):
        raise NotImplementedError("attention with dropout, bias_k, add_zero_attn or static keys")
    single = query.dim() == 2
    if single:
        query, key, value = (one.unsqueeze(1) for one in (query, key, value))
    if in_proj_weight is not None and not use_separate_proj_weight:
        weights: Any = in_proj_weight.chunk(3)
    else:
        weights = (q_proj_weight, k_proj_weight, v_proj_weight)
    biases: Any = [None] * 3 if in_proj_bias is None else in_proj_bias.chunk(3)
    n, batch, width = query.shape
    heads = []
    for one, weight, bias in zip((query, key, value), weights, biases, strict=True):
        made = functional.linear(one, weight, bias)
        heads.append(made.reshape(len(one), batch, num_heads, -1).permute(1, 2, 0, 3))
    scores = heads[0] @ heads[1].transpose(-2, -1) / math.sqrt(width // num_heads)
    if attn_mask is not None:
        mask = attn_mask.reshape(-1, *([1] * (attn_mask.dim() == 2)), *attn_mask.shape[-2:])
        mask = mask if attn_mask.dim() == 2 else mask.reshape(batch, num_heads, *mask.shape[-2:])
        scores = _masked(scores, mask, keeps=False)
    if key_padding_mask is not None:
        padding = key_padding_mask.reshape(batch, 1, 1, -1)
        scores = _masked(scores, padding, keeps=False)
    probabilities = torch.softmax(scores, -1)
    mixed = (probabilities @ heads[2]).permute(2, 0, 1, 3).reshape(n, batch, -1)
    made = functional.linear(mixed, out_proj_weight, out_proj_bias)
    made = made.squeeze(1) if single else made
    if not need_weights:
        return made, None
    told = probabilities.mean(1) if average_attn_weights else probabilities
    return made, told.squeeze(0) if single else told


COMPOSITIONS: dict[str, Callable[..., Any]] = {
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "normalize": unit,
    "addmm": affine_sum,
    "baddbmm": affine_sum,
    "addmv": affine_sum,
    "addcmul": added_product,
    "addcdiv": added_quotient,
    "gru_cell": gru_cell,
    "lstm_cell": lstm_cell,
    "scaled_dot_product_attention": attention,
    "multi_head_attention_forward": multi_head_attention,
}
