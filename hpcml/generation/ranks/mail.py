"""Messages between ranks by MPI, as bytes; nothing here spins or waits for one rank alone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from hpcml.generation.protocol import wire
from hpcml.generation.protocol.messages import ToRank, ToServer, ToWriter

if TYPE_CHECKING:
    from mpi4py import MPI

_SECONDS_BETWEEN_TESTS = 0.010


class Mail:
    """This rank's end of the communicator of all ranks; starts MPI, after which no process may be
    started here (fork is unsafe on some networks)."""

    def __init__(self) -> None:
        from mpi4py import MPI

        self._mpi = MPI
        self.comm: MPI.Comm = MPI.COMM_WORLD
        self.rank = self.comm.Get_rank()
        self.size = self.comm.Get_size()
        self._sent: list[tuple[MPI.Request, bytes]] = []

    def send(self, message: ToServer | ToRank | ToWriter, *ranks: int) -> None:
        """Send to these ranks; returns at once."""
        data = wire.encode(message)
        self._sent = [pair for pair in self._sent if not pair[0].Test()]
        self._sent += [(self.comm.Isend([data, self._mpi.BYTE], rank), data) for rank in ranks]

    def receive(self) -> tuple[int, ToServer | ToRank | ToWriter] | None:
        """(sender, message), or None when none has arrived."""
        status = self._mpi.Status()
        found = self.comm.Improbe(self._mpi.ANY_SOURCE, self._mpi.ANY_TAG, status)
        if found is None:
            return None
        data = bytearray(status.Get_count(self._mpi.BYTE))
        found.Recv([data, self._mpi.BYTE])
        return status.Get_source(), wire.decode(data, ToServer | ToRank | ToWriter)

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
        time.sleep(_SECONDS_BETWEEN_TESTS)
