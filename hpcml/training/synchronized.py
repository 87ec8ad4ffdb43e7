"""Batch normalization over the molecules of all ranks, so that their number changes nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hpcml.models.layers import BatchNorm
from hpcml.training.world import World


class _SumOverRanks(torch.autograd.Function):
    """y = sum over ranks of x; each rank's x then feels every rank's y, so dx = sum of dy."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, world: World) -> Tensor:
        ctx.world = world
        return world.sum(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.world.sum(gradients[0].contiguous()), None


class SynchronizedBatchNorm(BatchNorm):
    """BatchNorm whose mean and variance in training are those of the rows of all ranks.

    Horovod's and torch's own do this on CUDA alone.
    """

    world: World

    def forward(self, values: Tensor) -> Tensor:
        """Normalize the rows of this rank by mean and variance over the rows of all.

        Parameters
        ----------
        values : (N, F) Tensor

        Returns
        -------
        (N, F) Tensor
        """
        if not self.training:
            return super().forward(values)
        running_mean, running_var = self.running_mean, self.running_var
        assert running_mean is not None and running_var is not None
        # Moments about the running mean, the same on every rank: no cancellation in x^2 - mean^2.
        shifted = values - running_mean
        count = shifted.new_full((1,), shifted.shape[0])
        moments = _SumOverRanks.apply(
            torch.cat([shifted.sum(0), (shifted * shifted).sum(0), count]), self.world
        )
        features = values.shape[1]
        rows = moments[-1].detach()
        if rows < 2:  # as BatchNorm: no variance
            return nn.functional.batch_norm(
                values, running_mean, running_var, self.weight, self.bias, eps=self.eps
            )
        mean = moments[:features] / rows
        variance = (moments[features:-1] / rows - mean * mean).clamp(min=0)
        with torch.no_grad():
            momentum = 0.0 if self.momentum is None else self.momentum
            running_mean.add_(momentum * mean)  # mean is the distance from the running mean
            running_var.lerp_(variance * (rows / (rows - 1)), momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        normalized: Tensor = (shifted - mean) * torch.rsqrt(variance + self.eps)
        return normalized * self.weight + self.bias


def synchronize_batch_norms(model: nn.Module, world: World) -> None:
    """Make every BatchNorm of the model take its statistics over all ranks, in place.

    Parameters, buffers, and their names stay what they are.
    """
    for module in model.modules():
        if type(module) is BatchNorm:
            module.__class__ = SynchronizedBatchNorm
            module.world = world  # type: ignore[assignment]
