"""The ranks that train together, and the few things they say to each other.

Three worlds behind one interface: Horovod, torch.distributed, and a rank alone.  No other
module knows the names of the first two.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from hpcml.errors import PlatformError
from hpcml.training.gradients import (
    Gradients,
    GradientsAlone,
    GradientsByHorovod,
    GradientsInBuckets,
    others_present,
)
from hpcml.training.train_settings import TrainSettings

NamedParameters = Iterable[tuple[str, nn.Parameter]]


class World(Protocol):
    """Who takes part.  Every method but ``close`` must be called by all ranks, in one order."""

    name: str
    rank: int
    size: int
    local_rank: int

    def sum(self, values: Tensor) -> Tensor:
        """Sum over the ranks, element by element.

        Parameters
        ----------
        values : (...,) Tensor
            Of one shape and dtype on every rank.

        Returns
        -------
        Tensor of the same shape
            A new one, on the device of ``values``.
        """

    def broadcast(self, message: bytes, root: int = 0) -> bytes:
        """What the rank ``root`` said; the others' message is not looked at."""

    def gradients(self, parameters: NamedParameters) -> Gradients:
        """Sums the gradients of these parameters, from now on."""

    def close(self) -> None:
        """Leave in peace."""


class Alone:
    """A world of one rank."""

    name = "alone"
    rank = 0
    size = 1
    local_rank = 0

    def sum(self, values: Tensor) -> Tensor:
        """The values themselves: there is no other rank.

        Parameters
        ----------
        values : (...,) Tensor
            Of one shape and dtype on every rank.

        Returns
        -------
        Tensor of the same shape
            A new one, on the device of ``values``.
        """
        return values.clone()

    def broadcast(self, message: bytes, root: int = 0) -> bytes:
        return message

    def gradients(self, parameters: NamedParameters) -> Gradients:
        return GradientsAlone(list(parameters))

    def close(self) -> None:
        pass


# --------------------------------------------------------------------------- Horovod


class Horovod:
    """Ranks started by mpiexec, srun, or horovodrun, talking through Horovod.

    Raises PlatformError where Horovod is missing or sees another number of ranks than the
    launcher started.
    """

    name = "horovod"

    def __init__(self, expected: int, fusion_megabytes: float, compression: str) -> None:
        os.environ.setdefault("HOROVOD_FUSION_THRESHOLD", str(int(fusion_megabytes * 2**20)))
        # A rank that stops answering ends the job rather than hold the others for ever.
        os.environ.setdefault("HOROVOD_STALL_SHUTDOWN_TIME_SECONDS", "1800")
        try:
            import horovod.torch as hvd
        except ImportError as error:
            raise PlatformError(
                f"Horovod cannot be imported ({error}): install it, or set backend = 'torch'"
            ) from error
        # Waiting ranks give way: cores may be shared with others, and Horovod's thread waits too.
        os.environ.setdefault("OMPI_MCA_mpi_yield_when_idle", "1")
        by_horovodrun = "HOROVOD_SIZE" in os.environ
        self._mpi = None if by_horovodrun else _mpi_for_two_threads()
        hvd.init()
        self._hvd: ModuleType = hvd
        self._compression = {"none": hvd.Compression.none, "fp16": hvd.Compression.fp16}[
            compression
        ]
        self.rank: int = hvd.rank()
        self.size: int = hvd.size()
        self.local_rank: int = hvd.local_rank()
        if self.size != expected:
            raise PlatformError(
                f"the launcher started {expected} ranks but Horovod sees {self.size}: "
                "use the mpiexec that Horovod was built with, srun --mpi=pmix, or horovodrun"
            )

    def sum(self, values: Tensor) -> Tensor:
        """Sum over the ranks, by MPI where Horovod uses it.

        Horovod itself answers only once a cycle (1 ms).

        Parameters
        ----------
        values : (...,) Tensor
            Of one shape and dtype on every rank.

        Returns
        -------
        Tensor of the same shape
            A new one, on the device of ``values``.
        """
        with others_present():
            if self._mpi is not None:
                here = values.detach().to("cpu", copy=True).contiguous()
                self._mpi.Allreduce(_in_place(), here.numpy())
                return here.to(values.device)
            # One name for each shape keeps Horovod's cache of known messages warm.
            name = f"sum {values.dtype} {tuple(values.shape)}"
            total: Tensor = self._hvd.allreduce(values, name=name, op=self._hvd.Sum)
            return total

    def broadcast(self, message: bytes, root: int = 0) -> bytes:
        def send(values: Tensor) -> Tensor:
            received: Tensor = self._hvd.broadcast(values, root_rank=root)
            return received

        with others_present():
            return _broadcast_bytes(send, message if self.rank == root else None)

    def gradients(self, parameters: NamedParameters) -> Gradients:
        return GradientsByHorovod(self._hvd, self._compression, list(parameters))

    def close(self) -> None:
        self._hvd.shutdown()


def _mpi_for_two_threads() -> Any:
    """A communicator of our own; None where MPI allows one thread alone.

    To be called before Horovod starts: whoever starts MPI ends it, and mpi4py ends it at exit.
    """
    from mpi4py import MPI

    return MPI.COMM_WORLD.Dup() if MPI.Query_thread() == MPI.THREAD_MULTIPLE else None


def _in_place() -> Any:
    from mpi4py import MPI

    return MPI.IN_PLACE


# ----------------------------------------------------------------- torch.distributed


class TorchDistributed:
    """Ranks talking through torch.distributed: gloo on CPUs, NCCL on CUDA.

    Started by torchrun, or by mpiexec and srun, where MPI tells the ranks where to meet.
    """

    name = "torch"

    def __init__(
        self, expected: int, fusion_megabytes: float, compression: str, device: str
    ) -> None:
        from torch import distributed

        self._distributed = distributed
        self._fusion_bytes = int(fusion_megabytes * 2**20)
        self._compression = compression
        backend = "nccl" if device == "cuda" else "gloo"
        if "TORCHELASTIC_RUN_ID" in os.environ:
            distributed.init_process_group(backend)
            self.local_rank = int(os.environ["LOCAL_RANK"])
        else:
            self.local_rank = self._meet_by_mpi(backend, expected)
        self.rank: int = distributed.get_rank()
        self.size: int = distributed.get_world_size()
        self._device = torch.device(device, self.local_rank) if device == "cuda" else None

    @staticmethod
    def _meet_by_mpi(backend: str, expected: int) -> int:
        """Rank 0 opens a port, and MPI carries its address to the others; the local rank."""
        import socket

        from mpi4py import MPI
        from torch import distributed
        from torch._C._distributed_c10d import TCPStore

        ranks = MPI.COMM_WORLD
        if ranks.size != expected:
            raise PlatformError(
                f"the launcher started {expected} ranks but MPI sees {ranks.size}: "
                "use the mpiexec that mpi4py was built with, or srun --mpi=pmix"
            )
        here = ranks.Split_type(MPI.COMM_TYPE_SHARED)
        host = "127.0.0.1" if here.size == ranks.size else socket.gethostname()
        meeting = None
        if ranks.rank == 0:
            meeting = TCPStore(host, 0, ranks.size, is_master=True, wait_for_workers=False)
        host, port = ranks.bcast((host, meeting.port) if meeting else None)
        meeting = meeting or TCPStore(host, port, ranks.size, is_master=False)
        distributed.init_process_group(
            backend, store=meeting, rank=ranks.rank, world_size=ranks.size
        )
        return int(here.rank)

    def sum(self, values: Tensor) -> Tensor:
        """Sum over the ranks, element by element.

        Parameters
        ----------
        values : (...,) Tensor
            Of one shape and dtype on every rank.

        Returns
        -------
        Tensor of the same shape
            A new one, on the device of ``values``.
        """
        total = values.detach().to(self._device or values.device, copy=True)
        with others_present():
            self._distributed.all_reduce(total)
        return total.to(values.device)

    def broadcast(self, message: bytes, root: int = 0) -> bytes:
        def send(values: Tensor) -> Tensor:
            values = values.to(self._device)
            self._distributed.broadcast(values, src=root)
            return values.cpu()

        with others_present():
            return _broadcast_bytes(send, message if self.rank == root else None)

    def gradients(self, parameters: NamedParameters) -> Gradients:
        return GradientsInBuckets(self.sum, list(parameters), self._fusion_bytes, self._compression)

    def close(self) -> None:
        self._distributed.destroy_process_group()


# ------------------------------------------------------------------------ common ground


def _broadcast_bytes(send: Callable[[Tensor], Tensor], message: bytes | None) -> bytes:
    """Broadcast bytes as two tensors, length and content; ``message`` is None where they arrive."""
    length = int(send(torch.tensor([len(message or b"")]))[0])
    if message is None:
        values = torch.zeros(length, dtype=torch.uint8)
    else:
        values = torch.from_numpy(np.frombuffer(message, dtype=np.uint8).copy())
    return send(values).numpy().tobytes()


def launched_size() -> int:
    """How many ranks the launcher says it started: mpiexec, srun, horovodrun, or torchrun."""
    for name in ("HOROVOD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"):
        with suppress(KeyError, ValueError):
            return int(os.environ[name])
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ["WORLD_SIZE"])
    return 1


def enter(settings: TrainSettings) -> World:
    """The world that the settings name, or that the way the program was started calls for.

    Raises PlatformError where it cannot be had.
    """
    expected = launched_size()
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise PlatformError("device = 'cuda', but torch finds no GPU here: set device = 'cpu'")
    world = _enter(settings, expected)
    if settings.device == "cuda":
        torch.cuda.set_device(world.local_rank % torch.cuda.device_count())
    return world


def _enter(settings: TrainSettings, expected: int) -> World:
    backend = settings.backend
    if backend == "auto":
        by_torch = "TORCHELASTIC_RUN_ID" in os.environ or find_spec("horovod") is None
        backend = "alone" if expected == 1 else "torch" if by_torch else "horovod"
    if backend == "alone":
        if expected > 1:
            raise PlatformError(
                f"{expected} ranks were started, but backend = 'alone' is for one: "
                "each would train the same network over the other's files"
            )
        return Alone()
    if backend == "torch":
        return TorchDistributed(
            expected, settings.fusion_megabytes, settings.compression, settings.device
        )
    return Horovod(expected, settings.fusion_megabytes, settings.compression)
