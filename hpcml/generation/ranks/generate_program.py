"""The MPI program of a campaign: every rank computes molecules from one shared queue.

    mpiexec -n 2 python -m hpcml.generation.ranks.generate_program RUN/work/TASK --calculator psi4

Each rank (``rank``) drives a keeper, which drives Psi4 (``keeper``), and commits its rows to a
shard writer of its own.  Whatever is killed, a committed row stays: the next start recovers the
writers' journals and plans what is missing.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from hpcml.cluster.deadline import slurm_deadline
from hpcml.cluster.processes import die_with_parent
from hpcml.errors import PlatformError
from hpcml.files import lock
from hpcml.generation.protocol import wire
from hpcml.generation.protocol.task import Task, TaskFolder
from hpcml.generation.ranks.dispatch import Dispatcher
from hpcml.generation.ranks.rank import KeeperIsGoneError, KeeperProcess, Rank
from hpcml.generation.ranks.server import Desk, Lifeline
from hpcml.store import Schema, ShardWriter

if TYPE_CHECKING:
    from mpi4py import MPI

_SECONDS_BETWEEN_LOOKS = 0.010


class Mail:
    """Messages between ranks, as bytes; nothing here spins or waits for one rank alone."""

    def __init__(self, comm: MPI.Comm) -> None:
        from mpi4py import MPI

        self._mpi = MPI
        self.comm = comm
        self.size = comm.Get_size()
        self._sent: list[tuple[MPI.Request, bytes]] = []

    def send(self, message: dict[str, Any], *ranks: int) -> None:
        data = wire.encode(message)
        self._sent = [pair for pair in self._sent if not pair[0].Test()]
        self._sent += [(self.comm.Isend([data, self._mpi.BYTE], rank), data) for rank in ranks]

    def receive(self) -> tuple[int, dict[str, Any]] | None:
        """(sender, message), or None when none has arrived."""
        status = self._mpi.Status()
        found = self.comm.Improbe(self._mpi.ANY_SOURCE, self._mpi.ANY_TAG, status)
        if found is None:
            return None
        data = bytearray(status.Get_count(self._mpi.BYTE))
        found.Recv([data, self._mpi.BYTE])
        return status.Get_source(), wire.decode(data)

    def abort(self) -> None:
        """End every rank now."""
        self.comm.Abort(1)

    def meet(self) -> None:
        """Wait for every rank without using a core for it.

        What still arrives is received, of no use to anybody: a large message that nobody takes
        would keep its sender here for ever.
        """
        while self._sent:
            self._idle()
            self._sent = [pair for pair in self._sent if not pair[0].Test()]
        everybody = self.comm.Ibarrier()
        while not everybody.Test():
            self._idle()

    def _idle(self) -> None:
        while self.receive() is not None:
            pass
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def pinned_cpus(rank: int, hosts: list[str], threads: int, allowed: set[int]) -> list[int] | None:
    """The cores of this rank's calculations, or None to leave the placing to the system.

    Ranks of one host take ``threads`` cores each, in order.  None where the cores do not
    suffice, and where the launcher (srun --cpu-bind) has already given each rank its own.
    """
    beside = hosts[:rank].count(hosts[rank])
    if len(allowed) < hosts.count(hosts[rank]) * threads:
        return None
    return sorted(allowed)[beside * threads : (beside + 1) * threads]


def run_task(path: Path, calculator: str) -> None:
    folder = TaskFolder(path)
    task = folder.read_task()
    run_lock = Path(task.run_lock)
    with run_lock.open("rb") as file:
        # Held by every rank while it lives: a later launcher waits until all have ended.
        lock(file.fileno(), run_lock, shared=True, wait=True)
        keeper = KeeperProcess(task, calculator)

        from mpi4py import MPI  # starts MPI: no process may be started after this line

        comm = MPI.COMM_WORLD
        rank = comm.Get_rank()
        try:
            _run_rank(folder, task, keeper, Mail(comm), rank)
        except BaseException as error:
            words = "its keeper ended" if isinstance(error, KeeperIsGoneError) else str(error)
            print(f"rank {rank}: {type(error).__name__}: {words}", file=sys.stderr, flush=True)
            keeper.end()
            comm.Abort(1)


def _run_rank(folder: TaskFolder, task: Task, keeper: KeeperProcess, mail: Mail, rank: int) -> None:
    # The scheduler's name of the node, where there is one: hosts may share theirs.
    host = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
    hosts = mail.comm.allgather(host)
    if task.pin:
        cpus = pinned_cpus(rank, hosts, task.orders.threads, os.sched_getaffinity(0))
        if cpus is not None:
            keeper.ask({"cpus": cpus})
    dispatcher = None
    if rank == 0:
        ends = [end for end in (task.deadline, slurm_deadline(os.environ)) if end is not None]
        task = msgspec.structs.replace(task, deadline=min(ends) if ends else None)
        dispatcher = Dispatcher(Desk(folder, task, hosts), len(hosts), task.large_ranks)
    while (ready := keeper.poll()) is None:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    if "ready" not in ready:
        raise PlatformError(f"the keeper began with {ready!r}")
    life = Rank(
        mail=mail,
        rank=rank,
        keeper=keeper,
        # Not closed when something raises: its journal is brought home by the next start.
        writer=ShardWriter(
            Path(task.dataset),
            Schema.for_request(task.orders.request),
            writer=f"{task.identity}-{rank}",
            rows_per_shard=task.rows_per_shard,
        ),
        flight=folder.flight / str(rank),
        dispatcher=dispatcher,
        lifeline=Lifeline(task, socket.gethostname()),
        stop_file=Path(task.stop_file),
    )
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        signal.signal(number, life.on_signal)
    life.run()
    mail.meet()


def main() -> None:
    die_with_parent(signal.SIGTERM)
    parser = argparse.ArgumentParser(prog="hpcml.generation.ranks.generate_program")
    parser.add_argument("task", type=Path, help="the task's folder")
    parser.add_argument("--calculator", default="psi4")
    arguments = parser.parse_args()
    run_task(arguments.task, arguments.calculator)


if __name__ == "__main__":
    main()
