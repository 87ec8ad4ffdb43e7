"""The building blocks of every network: the only modules that do arithmetic on signals.

A network file wires these together and does nothing else to a signal but views (slicing,
reshaping, adding an axis).  That is what lets a later room follow a prediction back through
any network, layer type by layer type; the layers themselves know nothing of it.

Rows are atoms (A), pairs (E), or molecules (M); features (F) lie on the last axis.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hpcml.errors import InputError


def watched(*layers: tuple[nn.Module, type[nn.Module]]) -> bool:
    """Whether each of these layers, given with its type, must be called by itself.

    It must where someone has hooked it, exchanged it, or put another forward in the place of
    its own, and under autocast, which chooses a precision for each layer.  Only otherwise may a
    network compute several of them by one fused function.
    """
    return (
        torch.is_autocast_enabled("cpu")
        or torch.is_autocast_enabled("cuda")
        or any(
            type(layer) is not kind
            or "forward" in vars(layer)
            or layer._forward_hooks
            or layer._forward_pre_hooks
            for layer, kind in layers
        )
    )


# ------------------------------------------------------------------------------ affine


class Linear(nn.Linear):
    """Affine map of the last axis: (..., in) -> (..., out)."""


class Embedding(nn.Embedding):
    """One learned vector for each integer: (A,) -> (A, F).  An input of the network."""


class Input(nn.Module):
    """Marks where data enter the network; the identity, (rows, F) -> (rows, F).

    rows    "atom", "pair", or "molecule": what the rows of the tensor are
    """

    def __init__(self, rows: str) -> None:
        super().__init__()
        self.rows = rows

    def forward(self, values: Tensor) -> Tensor:
        return values

    def extra_repr(self) -> str:
        return self.rows


class BatchNorm(nn.BatchNorm1d):
    """Batch normalization of the last axis over all rows: (rows, F) -> (rows, F).

    Ioffe and Szegedy, arXiv:1502.03167.  Fewer than two rows have no variance: they are
    normalized with the running statistics, in training too.
    """

    def forward(self, values: Tensor) -> Tensor:
        if self.training and values.shape[0] < 2:
            return nn.functional.batch_norm(
                values, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(values)


class Dropout(nn.Dropout):
    """Zeroes a share of the features in training; the identity otherwise."""


# ------------------------------------------------------------------------- activations


class ReLU(nn.ReLU):
    """max(x, 0)."""

    zero_at_zero: ClassVar[bool] = True


class Tanh(nn.Tanh):
    """tanh(x)."""

    zero_at_zero: ClassVar[bool] = True


class CELU(nn.CELU):
    """max(x, 0) + min(alpha (exp(x / alpha) - 1), 0); arXiv:1704.07483."""

    zero_at_zero: ClassVar[bool] = True


class SiLU(nn.SiLU):
    """x / (1 + exp(-x))."""

    zero_at_zero: ClassVar[bool] = True


class ShiftedSoftplus(nn.Module):
    """ln(exp(x) / 2 + 1 / 2), (rows, F) -> (rows, F); SchNet, arXiv:1706.08566."""

    zero_at_zero: ClassVar[bool] = True

    def forward(self, values: Tensor) -> Tensor:
        return nn.functional.softplus(values) - math.log(2.0)


class Gaussian(nn.Module):
    """exp(-x^2), (rows, F) -> (rows, F): activation of ANI-1; one, not zero, at zero."""

    zero_at_zero: ClassVar[bool] = False

    def forward(self, values: Tensor) -> Tensor:
        return torch.exp(-values * values)


# -------------------------------------------------------- sums, products, and the like


class Sum(nn.Module):
    """Element-wise sum of tensors of the same shape."""

    def forward(self, *tensors: Tensor) -> Tensor:
        total = tensors[0]
        for tensor in tensors[1:]:
            total = total + tensor
        return total


class Product(nn.Module):
    """Element-wise product of a signal (rows, ...) with a gate that broadcasts to it."""

    def forward(self, signal: Tensor, gate: Tensor) -> Tensor:
        return signal * gate


class Dot(nn.Module):
    """Scalar product over the axis of space: (A, 3, F), (A, 3, F) -> (A, F)."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return (left * right).sum(dim=1)


class Norm(nn.Module):
    """Length over the axis of space, sqrt(|v|^2 + epsilon): (A, 3, F) -> (A, F).

    epsilon keeps the gradient finite at zero length.
    """

    def __init__(self, epsilon: float = 1e-8) -> None:
        super().__init__()
        self.epsilon = epsilon

    def forward(self, vectors: Tensor) -> Tensor:
        return torch.sqrt((vectors * vectors).sum(dim=1) + self.epsilon)


class Concatenate(nn.Module):
    """Tensors side by side on the last axis: (..., F1), (..., F2) -> (..., F1 + F2)."""

    def forward(self, *tensors: Tensor) -> Tensor:
        return torch.cat(tensors, dim=-1)


# ------------------------------------------------------------ from rows to rows, by index


class Gather(nn.Module):
    """Row index[e] of values for each e: (A, ...), (E,) -> (E, ...)."""

    def forward(self, values: Tensor, index: Tensor) -> Tensor:
        return values.index_select(0, index)


class ScatterSum(nn.Module):
    """Sum of the rows with the same index: (E, ...), (E,), size -> (size, ...)."""

    def forward(self, values: Tensor, index: Tensor, size: int) -> Tensor:
        return values.new_zeros((size, *values.shape[1:])).index_add(0, index, values)


class ScatterMean(nn.Module):
    """Mean of the rows with the same index: (E, ...), (E,), size -> (size, ...); 0 for none."""

    def forward(self, values: Tensor, index: Tensor, size: int) -> Tensor:
        total = values.new_zeros((size, *values.shape[1:])).index_add(0, index, values)
        count = torch.bincount(index, minlength=size).clamp(min=1).to(values.dtype)
        return total / count.view(-1, *[1] * (values.dim() - 1))


class _ScatterMax(torch.autograd.Function):
    """Torch's own backward of the same maximum takes half as long again."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, index: Tensor, size: int) -> Tensor:
        columns = index[:, None].expand(values.shape)
        largest = values.new_full((size, values.shape[1]), -torch.inf)
        largest = largest.scatter_reduce(0, columns, values, "amax")
        ctx.save_for_backward(values, index, largest)
        return largest.masked_fill(largest == -torch.inf, 0.0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        values, index, largest = ctx.saved_tensors
        wins = largest.index_select(0, index).eq_(values)  # one or zero
        winners = torch.zeros_like(largest).index_add_(0, index, wins).clamp_(min=1.0)
        return wins.mul_((gradients[0] / winners).index_select(0, index)), None, None


class ScatterMax(nn.Module):
    """Largest of the rows with the same index, feature by feature: (E, F), (E,), size -> (size, F).

    The winner takes the whole gradient; equal winners, such as equivalent atoms, share alike.
    An index without rows gives 0.
    """

    def forward(self, values: Tensor, index: Tensor, size: int) -> Tensor:
        largest: Tensor = _ScatterMax.apply(values, index, size)
        return largest


# ---------------------------------------------------------------------- Weave's histogram

_HISTOGRAM_MEANS = (-1.645, -1.080, -0.739, -0.468, -0.228, 0.0)
_HISTOGRAM_WIDTHS = (0.283, 0.170, 0.134, 0.118, 0.114, 0.114)


class Histogram(nn.Module):
    """Fuzzy membership of each feature in eleven Gaussian bins: (A, F) -> (A, 11 F).

    Kearnes et al. 2016, section 2.3 (doi 10.1007/s10822-016-9938-8): each Gaussian has height
    one, and the eleven memberships of a feature are divided by their sum.  The bins of feature
    f are the columns 11 f to 11 f + 10.
    """

    bins: ClassVar[int] = 11
    means: Tensor
    widths: Tensor

    def __init__(self) -> None:
        super().__init__()
        means = [*_HISTOGRAM_MEANS, *(-mean for mean in _HISTOGRAM_MEANS[-2::-1])]
        widths = [*_HISTOGRAM_WIDTHS, *_HISTOGRAM_WIDTHS[-2::-1]]
        self.register_buffer("means", torch.tensor(means), persistent=False)
        self.register_buffer("widths", torch.tensor(widths), persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        exponents = -0.5 * ((values[..., None] - self.means) / self.widths) ** 2
        # the same factor for all bins of a feature keeps the sum from vanishing far from every
        # bin; memberships end at exp(-40), before the subnormal numbers, which are slow
        exponents = exponents - exponents.detach().amax(dim=-1, keepdim=True)
        heights = torch.exp(exponents.clamp(min=-40.0))
        return (heights / heights.sum(dim=-1, keepdim=True)).flatten(start_dim=-2)


# ------------------------------------------------------------------- the target's scaling


class _DoublePrecision(nn.Module):
    """Keeps its buffers in double precision when the network is moved to another one.

    Total energies have more digits than a float32.
    """

    def _apply(self, fn: Any, recurse: bool = True) -> _DoublePrecision:
        kept = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, exact in kept.items():
            moved = self._buffers[name]
            if exact is not None and moved is not None:
                self._buffers[name] = exact.to(moved.device)
        return self


class Standardize(_DoublePrecision):
    """From the network's unit scale to the target's: y std + mean; (rows, T) -> (rows, T)."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float64))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float64))

    def forward(self, values: Tensor) -> Tensor:
        return values.to(self.std.dtype) * self.std + self.mean


class AtomReference(_DoublePrecision):
    """What an atom of each element contributes before any network: (A,) -> (A, T).

    references    atomic number -> T values, in the target's unit; 0 for elements not named
    """

    energies: Tensor

    def __init__(self, references: Mapping[int, Sequence[float]], targets: int = 1) -> None:
        super().__init__()
        energies = torch.zeros(119, targets, dtype=torch.float64)
        for number, values in references.items():
            if len(values) != targets:
                raise InputError(
                    f"atom reference of element {number} has {len(values)} values "
                    f"for {targets} targets"
                )
            energies[number] = torch.tensor(values, dtype=torch.float64)
        self.register_buffer("energies", energies)

    def forward(self, numbers: Tensor) -> Tensor:
        return self.energies.index_select(0, numbers)


ACTIVATIONS: dict[str, Any] = {
    "relu": ReLU,
    "tanh": Tanh,
    "celu": CELU,
    "silu": SiLU,
    "shifted_softplus": ShiftedSoftplus,
    "gaussian": Gaussian,
}
