"""The MPI program of a campaign: every rank computes molecules from one shared queue.

    mpiexec -n 2 python -m hpcml.generation.ranks.generate_program RUN/work/TASK --calculator psi4

This is the entry alone: it starts the keeper, then MPI, then lives a rank's life (``rank``), rank 0
with the ``server``, and the first rank of each node with its ``node_writer``.  Whatever is killed,
a committed row stays: the next start recovers the writers' journals and plans what is missing.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import traceback
from pathlib import Path

import msgspec

from hpcml.cluster.deadline import slurm_deadline
from hpcml.cluster.processes import die_with_parent
from hpcml.cluster.stop_signals import STOP_SIGNALS
from hpcml.errors import HpcmlError
from hpcml.files import lock
from hpcml.generation.protocol.messages import Pin
from hpcml.generation.protocol.task import Task, TaskFolder
from hpcml.generation.ranks.desk import Desk
from hpcml.generation.ranks.mail import Mail
from hpcml.generation.ranks.rank import KeeperIsGoneError, KeeperProcess, Rank
from hpcml.generation.ranks.server import Lifeline, Server
from hpcml.store import Schema, ShardWriter


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
    """Be one rank of a task's program; ends every rank if this one cannot go on."""
    folder = TaskFolder(path)
    task = folder.read_task()
    ranks_lock = task.run_folder.ranks_lock
    with ranks_lock.open("rb") as file:
        # Held by every rank while it lives: a launcher waits until all have ended.
        lock(file.fileno(), ranks_lock, shared=True, wait=True)
        keeper = KeeperProcess(task, calculator)
        mail = Mail()  # starts MPI: no process may be started after this line
        try:
            _run_rank(folder, task, keeper, mail)
        except BaseException as error:
            if not isinstance(error, HpcmlError | KeeperIsGoneError):
                traceback.print_exc()
            # one write: lines of ranks that end together must not run into each other
            sys.stderr.write(f"rank {mail.rank}: {type(error).__name__}: {error}\n")
            sys.stderr.flush()
            keeper.end()
            mail.comm.Abort(1)


def _run_rank(folder: TaskFolder, task: Task, keeper: KeeperProcess, mail: Mail) -> None:
    # The scheduler's name of the node, where there is one: hosts may share theirs.
    host = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
    hosts = mail.comm.allgather(host)
    rank = mail.rank
    if task.site.pins:
        cpus = pinned_cpus(rank, hosts, task.site.threads, os.sched_getaffinity(0))
        if cpus is not None:
            keeper.ask(Pin(cpus))
    server = None
    if rank == 0:
        ends = [end for end in (task.deadline, slurm_deadline(os.environ)) if end is not None]
        task = msgspec.structs.replace(task, deadline=min(ends) if ends else None)
        lifeline = Lifeline(task, socket.gethostname())
        server = Server(Desk(folder, task, hosts), len(hosts), mail.send, lifeline)
    node = [other for other, its_host in enumerate(hosts) if its_host == host]
    writer = None
    if rank == node[0]:
        # Not closed when something raises: its journal is brought home by the next start.
        writer = ShardWriter(
            task.run_folder.dataset,
            Schema.for_request(task.orders.request),
            writer=f"{task.identity}-{rank}",
            rows_per_shard=task.site.rows_per_shard,
        )
    life = Rank(
        mail=mail,
        task=task,
        keeper=keeper,
        writer=writer,
        node=node,
        in_flight=folder.flight / str(node[0]),
        server=server,
    )
    for number in STOP_SIGNALS:
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
