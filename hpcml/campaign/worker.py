"""The MPI program of a campaign: every rank computes molecules from one shared queue.

    mpiexec -n 2 python -m hpcml.campaign.worker RUN/work/TASK --calculator psi4

A rank is a light process that drives a keeper, which drives Psi4 (``keeper``); it commits each
row to its own shard writer and asks rank 0 (``service``) for the next molecule *before* it
commits, so that Psi4 computes while the disk is written.  Whatever is killed, a committed row
stays: the next start recovers the writers' journals and plans what is missing.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import msgspec

from hpcml.campaign import wire
from hpcml.campaign.deadline import slurm_deadline
from hpcml.campaign.service import Desk, Lifeline
from hpcml.campaign.task import Entry, Task, TaskFolder
from hpcml.campaign.tether import die_with_parent
from hpcml.errors import PlatformError
from hpcml.store import Row, Schema, ShardWriter

if TYPE_CHECKING:
    from mpi4py import MPI

_SHORTEST_NAP, _LONGEST_NAP = 0.0002, 0.010  # seconds between looks at MPI's messages
_SECONDS_BETWEEN_CHECKS = 1.0
_SECONDS_TO_TIDY = 5.0


class KeeperIsGoneError(Exception):
    """The keeper ended; without it a rank can do nothing, and MPI must not start another."""


class KeeperProcess:
    """The rank's end of its keeper."""

    def __init__(self, task: Task, calculator: str) -> None:
        # MPI, which knows the rank, has not started yet; the log's name does without it.
        own = f"{socket.gethostname()}-{os.getpid()}"
        log = Path(task.logs) / f"psi4-{task.identity}-{own}.log"
        command = [sys.executable, "-m", "hpcml.campaign.keeper"]
        command += ["--orders", msgspec.json.encode(task.orders).decode()]
        command += ["--calculator", calculator, "--scratch", task.scratch, "--log", str(log)]
        # Psi4's process must not take itself for a rank of this program.
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("OMPI_COMM", "PMIX_", "PMI_", "OMPI_UNIVERSE"))
        }
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        self.questions, answers = wire.ends(self.process)
        self.inbox = wire.Inbox(answers.fileno())

    def ask(self, message: dict[str, Any]) -> None:
        try:
            wire.write(self.questions, message)
        except BrokenPipeError:
            raise KeeperIsGoneError from None

    def poll(self) -> dict[str, Any] | None:
        try:
            return self.inbox.poll()
        except EOFError:
            raise KeeperIsGoneError from None

    def end(self) -> None:
        """End keeper and Psi4, whatever they are doing."""
        with contextlib.suppress(BrokenPipeError):
            self.questions.close()  # it sees that, ends Psi4 and empties the scratch folder
        try:
            self.process.wait(timeout=_SECONDS_TO_TIDY)
        except subprocess.TimeoutExpired:
            self.process.kill()  # its Psi4 process dies with it
            self.process.wait()


class Mail:
    """Messages between ranks, as bytes; receiving never spins."""

    def __init__(self, comm: MPI.Comm) -> None:
        from mpi4py import MPI

        self._mpi = MPI
        self.comm = comm
        self._sent: list[tuple[MPI.Request, bytes]] = []

    def send(self, message: dict[str, Any], rank: int) -> None:
        data = wire.encode(message)
        self._sent = [pair for pair in self._sent if not pair[0].Test()]
        self._sent.append((self.comm.Isend([data, self._mpi.BYTE], rank), data))

    def receive(self) -> tuple[int, dict[str, Any]] | None:
        """(sender, message), or None when none has arrived."""
        status = self._mpi.Status()
        found = self.comm.Improbe(self._mpi.ANY_SOURCE, self._mpi.ANY_TAG, status)
        if found is None:
            return None
        data = bytearray(status.Get_count(self._mpi.BYTE))
        found.Recv([data, self._mpi.BYTE])
        return status.Get_source(), wire.decode(data)

    def meet(self) -> None:
        """Wait for every rank without using a core for it."""
        request = self.comm.Ibarrier()
        while not request.Test():
            time.sleep(_LONGEST_NAP)


class Rank:
    """The life of one rank: ask, compute, commit, until told to stop.

    ``desk`` is rank 0's; the other ranks have None and write to rank 0.
    """

    def __init__(
        self,
        *,
        mail: Mail,
        rank: int,
        keeper: KeeperProcess,
        writer: ShardWriter,
        flight: Path,
        desk: Desk | None,
        lifeline: Lifeline,
        stop_file: Path,
    ) -> None:
        self.mail = mail
        self.rank = rank
        self.size = mail.comm.Get_size()
        self.keeper = keeper
        self.writer = writer
        self.flight = flight.open("w")
        self.desk = desk
        self.lifeline = lifeline
        self.stop_file = stop_file
        self.entry: Entry | None = None
        self.stopping = False
        self.signalled = False
        # What rank 0 knows: who waits for work, who was told to stop, who has left.
        self.waiting: set[int] = set()
        self.told: set[int] = set()
        self.gone: set[int] = set()
        self._to_self: list[dict[str, Any]] = []
        self._checked = 0.0

    # -- what a rank does ---------------------------------------------------------------------

    def run(self) -> None:
        self._tell_desk({"free": True})
        nap = _SHORTEST_NAP
        while not self._at_end():
            if self._turn():
                nap = _SHORTEST_NAP
            else:
                # Wakes at once when Psi4 answers; MPI's messages wait for the nap's end.
                watched = [] if self.stopping else [self.keeper.inbox.descriptor]
                select.select(watched, [], [], nap)
                nap = min(2 * nap, _LONGEST_NAP)
        if self.desk is not None:
            self.desk.report("stopped" if self.desk.left() else "finished")

    def on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.signalled = True

    def _at_end(self) -> bool:
        if not self.stopping:
            return False
        return self.desk is None or len(self.gone) == self.size

    def _turn(self) -> bool:
        """Do whatever can be done now; False if that was nothing."""
        moved = False
        while (letter := self.mail.receive()) is not None:
            sender, message = letter
            if self.desk is None:
                self._hear(message)
            else:
                self._serve(sender, message)
            moved = True
        while self._to_self:
            self._hear(self._to_self.pop(0))
            moved = True
        if not self.stopping and (result := self.keeper.poll()) is not None:
            self._landed(result)
            moved = True
        if self.signalled and not self.stopping:
            self._tell_desk({"signal": True})
            self.signalled = False
        if self.desk is not None:
            self._look_around(self.desk)
        return moved

    def _landed(self, result: dict[str, Any]) -> None:
        """A result came back: fetch the next molecule first, then commit this one."""
        assert self.entry is not None
        entry, self.entry = self.entry, None
        self._mark_flight("")
        self._tell_desk({"free": True})
        if "values" in result:
            molecule = wire.unpack_molecule(entry.molecule)
            provenance = {**result["provenance"], "tries": result["tries"]}
            self.writer.append(Row(entry.key, molecule, result["values"], provenance))
        told = ("tries", "start", "end", "busy", "cause", "message")
        self._tell_desk({"finished": {name: result[name] for name in told if name in result}})

    def _hear(self, message: dict[str, Any]) -> None:
        if "work" in message:
            self.entry = msgspec.convert(message["work"], Entry)
            self._mark_flight(self.entry.key)
            entry = self.entry
            self.keeper.ask({"key": entry.key, "molecule": entry.molecule, "limit": entry.limit})
        elif "stop" in message and not self.stopping:
            # Told to stop while it computes, it drops that molecule: its time is over.
            self.stopping = True
            self.entry = None
            self.keeper.end()
            self.writer.close()
            self._tell_desk({"bye": True})

    def _mark_flight(self, key: str) -> None:
        os.pwrite(self.flight.fileno(), key.ljust(32).encode() + b"\n", 0)

    def _tell_desk(self, message: dict[str, Any]) -> None:
        if self.desk is not None:
            self._serve(self.rank, message)
        else:
            self.mail.send(message, 0)

    # -- what rank 0 does besides -------------------------------------------------------------

    def _serve(self, sender: int, message: dict[str, Any]) -> None:
        desk = self.desk
        assert desk is not None
        if "free" in message:
            desk.landed(sender)
            self.waiting.add(sender)
        elif "finished" in message:
            desk.finished(sender, message["finished"])
        elif "bye" in message:
            self.gone.add(sender)
        elif "signal" in message:
            desk.stop(time.time())
        self._hand_out(desk)

    def _hand_out(self, desk: Desk) -> None:
        for rank in sorted(self.waiting):
            entry = desk.next_for(rank)
            if entry is None and desk.must_wait():
                return
            self.waiting.discard(rank)
            self._post(rank, {"stop": True} if entry is None else {"work": entry})

    def _post(self, rank: int, message: dict[str, Any]) -> None:
        if "stop" in message:
            if rank in self.told:
                return
            self.told.add(rank)
        if rank != self.rank:
            self.mail.send(message, rank)
        elif "work" in message:
            self._hear(message)  # Psi4 starts before the last row is committed
        else:
            self._to_self.append(message)

    def _look_around(self, desk: Desk) -> None:
        """Once a second: is the launcher there, is a stop asked for, is the time over."""
        now = time.monotonic()
        if now - self._checked < _SECONDS_BETWEEN_CHECKS:
            return
        self._checked = now
        if self.lifeline.broken():
            print("the launcher of this task is gone: ending", file=sys.stderr, flush=True)
            self.keeper.end()
            self.mail.comm.Abort(1)
        if self.stop_file.exists():
            desk.stop(float(self.stop_file.read_text() or 0.0))
        if desk.over():
            desk.stop(time.time())
            for rank in range(self.size):
                self._post(rank, {"stop": True})
        desk.report()


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
    with Path(task.run_lock).open("rb") as lock:
        # Held by every rank while it lives: a later launcher waits until all have ended.
        fcntl.flock(lock, fcntl.LOCK_SH)
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
    desk = None
    if rank == 0:
        ends = [end for end in (task.deadline, slurm_deadline(os.environ)) if end is not None]
        task = msgspec.structs.replace(task, deadline=min(ends) if ends else None)
        desk = Desk(folder, task, hosts)
    while (ready := keeper.poll()) is None:
        time.sleep(_LONGEST_NAP)
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
        desk=desk,
        lifeline=Lifeline(task, socket.gethostname()),
        stop_file=Path(task.stop_file),
    )
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        signal.signal(number, life.on_signal)
    life.run()
    mail.meet()


def main() -> None:
    die_with_parent(signal.SIGTERM)
    parser = argparse.ArgumentParser(prog="hpcml.campaign.worker")
    parser.add_argument("task", type=Path, help="the task's folder")
    parser.add_argument("--calculator", default="psi4")
    arguments = parser.parse_args()
    run_task(arguments.task, arguments.calculator)


if __name__ == "__main__":
    main()
