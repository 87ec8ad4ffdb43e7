"""The gradients of one network on all ranks: summed after backward, before the step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from hpcml.errors import PlatformError


class Gradients(Protocol):
    """The gradients of one network on all ranks."""

    def reduce(self) -> None:
        """After backward: make every ``parameter.grad`` its sum over the ranks.

        A parameter that this rank's molecules did not touch counts as zero here.
        """


class GradientsAlone:
    """Of a rank alone: they are their own sum."""

    def __init__(self, parameters: list[tuple[str, nn.Parameter]]) -> None:
        self._parameters = parameters

    def reduce(self) -> None:
        for _, parameter in self._parameters:
            _gradient(parameter)


def _gradient(parameter: nn.Parameter) -> Tensor:
    """The parameter's gradient, zero where backward did not reach it."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


class GradientsByHorovod:
    """Each gradient leaves as soon as backward has made it; Horovod fuses what is waiting.

    Horovod's own DistributedOptimizer does the same, but replaces the optimizer's class and
    steps by itself; here clipping and averages of weights stand between reduction and step.
    """

    def __init__(
        self, hvd: ModuleType, compression: Any, parameters: list[tuple[str, nn.Parameter]]
    ) -> None:
        self._hvd = hvd
        self._compression = compression
        self._parameters = parameters
        self._under_way: dict[nn.Parameter, tuple[int, Any]] = {}
        self._names = {parameter: name for name, parameter in parameters}
        for _, parameter in parameters:
            parameter.register_post_accumulate_grad_hook(self._send)

    def _send(self, parameter: Tensor) -> None:
        assert isinstance(parameter, nn.Parameter)
        packed, context = self._compression.compress(_gradient(parameter))
        handle = self._hvd.allreduce_async_(
            packed, name=f"gradient {self._names[parameter]}", op=self._hvd.Sum
        )
        self._under_way[parameter] = (handle, context)

    def reduce(self) -> None:
        for _, parameter in self._parameters:
            if parameter not in self._under_way:
                self._send(parameter)
        with others_present():
            for parameter, (handle, context) in self._under_way.items():
                packed = self._hvd.synchronize(handle)
                parameter.grad = self._compression.decompress(packed, context)
        self._under_way.clear()


class GradientsInBuckets:
    """Gradients laid end to end in buckets of a given size, one message a bucket."""

    def __init__(
        self,
        sum_over_ranks: Callable[[Tensor], Tensor],
        parameters: list[tuple[str, nn.Parameter]],
        bucket_bytes: int,
        compression: str,
    ) -> None:
        self._sum = sum_over_ranks
        self._half = compression == "fp16"
        self._buckets: list[list[nn.Parameter]] = [[]]
        filled = 0
        for _, parameter in parameters:
            size = parameter.numel() * parameter.element_size()
            if self._buckets[-1] and filled + size > bucket_bytes:
                self._buckets.append([])
                filled = 0
            self._buckets[-1].append(parameter)
            filled += size

    def reduce(self) -> None:
        for bucket in self._buckets:
            flat = torch.cat([_gradient(parameter).reshape(-1) for parameter in bucket])
            total = self._sum(flat.half() if self._half else flat).to(flat.dtype)
            pieces = total.split([parameter.numel() for parameter in bucket])
            for parameter, piece in zip(bucket, pieces, strict=True):
                parameter.grad = piece.reshape(parameter.shape)


@contextmanager
def others_present() -> Iterator[None]:
    """PlatformError where a message fails, which it does when a rank has ended.

    The failures of Horovod, gloo and NCCL are all RuntimeErrors, and those of mpi4py too.
    """
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise PlatformError(
            "another rank has ended: its own message, or the launcher's, says which and why; "
            f"start again to go on from the checkpoint ({reason})"
        ) from error
