"""A campaign as discrete events: who waits for what, on machines that nobody here has.

Ranks ask rank 0's desk for molecules, compute them, and commit rows; the desk serves one message
at a time; the file system takes so many operations a second (opens, creates, renames, waits for
the disk), of each rank, of each node's one writer, and for each group of rows; a node that fails
ends its program, which is planned and started again, less what was committed.  The rules by which
molecules are handed out and rows grouped are those of the program itself
(``messages.seconds_of_a_group``, ``desk.several_for``).

Molecules that follow each other in the queue go through the events together, as long as that is
short beside what is left; towards the end, where it matters who ends when, they go singly.  Of more
than ``_MOST_RANKS`` ranks one stands for several, and asks the desk and the file system for all of
them.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from hpcml.errors import PlatformError
from hpcml.generation.protocol.messages import seconds_of_a_group

if TYPE_CHECKING:
    import simpy

_MOST_RANKS = 8192
_MOST_DRAWN = 100_000  # costs
_PART_TOGETHER = 0.02  # of what is left to a rank
_HOURS = 3600.0


class Machine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a campaign runs on; seconds where nothing else is said.

    nodes, ranks_per_node
    start            from the launcher's word to the first calculation, of a program on one rank
    start_a_rank     what each rank adds to that
    plan_a_molecule  of the launcher, before pilot jobs begin: no rank idles meanwhile
    gap              from the end of a rank's calculation to the start of its next, but for the desk
    gap_scatter      rms deviation of its logarithm
    desk             of rank 0, for a molecule handed out and its outcome
    commit           of a rank and molecule, beside its calculation (where groups are committed)
    rows_per_shard   as in the site file
    operations       creates, renames and waits for the disk that the file system takes a second
    node_failures    an hour and node
    """

    nodes: int = 1
    ranks_per_node: int = 2
    start: float = 3.0
    start_a_rank: float = 0.0
    plan_a_molecule: float = 40e-6
    gap: float = 2e-3
    gap_scatter: float = 0.5
    desk: float = 20e-6
    commit: float = 0.3e-3
    rows_per_shard: int = 512
    operations: float = 10_000.0
    node_failures: float = 0.0

    @property
    def ranks(self) -> int:
        return self.nodes * self.ranks_per_node


OPERATIONS_A_RANK = 2
"""Of a rank that starts: the task's orders and the ranks' lock, opened."""

OPERATIONS_A_NODE = 6
"""Of a node that starts: flight, journal, its first manifest, and their folders' entries."""

OPERATIONS_A_SHARD = 5
"""Create, two waits for the disk, rename, and the manifest's line; shards are a node's."""


class Simulated(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a simulated campaign; times in seconds.

    makespan    from the launcher's start to the last row, planning included
    efficiency  part of the ranks' time, from their start, in calculations that counted
    lost        where the rest went, each as a part of the ranks' time: start, desk, files,
                failures, gaps, tail (ranks that had nothing left to do)
    desk, files how busy they were, of one
    failures    nodes that failed
    """

    ranks: int
    molecules: int
    makespan: float
    efficiency: float
    lost: dict[str, float]
    desk: float
    files: float
    failures: int

    @property
    def bottleneck(self) -> str:
        """What costs most beside the calculations."""
        return max(self.lost, key=lambda name: self.lost[name])


def simulate(
    machine: Machine, costs: NDArray[np.float64], molecules: int, seed: int = 0
) -> Simulated:
    """Simulate a campaign.

    Parameters
    ----------
    machine
        What it runs on.
    costs : (n,) array
        Seconds of calculations, from which those of the molecules are drawn.
    molecules
        How many there are.
    seed
        Of everything that is drawn.
    """
    try:
        import simpy
    except ImportError as error:
        raise PlatformError("simulations need simpy: pip install 'hpcml[bench]'") from error
    return _Campaign(machine, costs, molecules, simpy.Environment(), seed).run()


class _Campaign:
    def __init__(
        self,
        machine: Machine,
        costs: NDArray[np.float64],
        molecules: int,
        clock: simpy.Environment,
        seed: int,
    ) -> None:
        self.machine = machine
        self.asked = molecules
        self.fold = math.ceil(machine.ranks / _MOST_RANKS)  # ranks that one stands for
        self.ranks = max(1, machine.ranks // self.fold)
        self.molecules = max(1, molecules // self.fold)
        self.clock = clock
        self.random = np.random.default_rng(seed)
        drawn = self.random.choice(np.asarray(costs, float), min(self.molecules, _MOST_DRAWN))
        self.costs = np.sort(drawn)[::-1]  # longest first, as the queue is
        self.after = np.append(np.cumsum(self.costs[::-1])[::-1], 0.0)
        self.scale = self.molecules / len(self.costs)
        self.next = 0.0  # place in the queue, in molecules
        self.again: list[float] = []  # seconds of what was lost, to be computed again
        self.desk, self.files = _Server(), _Server()
        self.group = seconds_of_a_group(machine.ranks)
        self.busy = 0.0
        self.lost = dict.fromkeys(("start", "desk", "files", "failures", "gaps"), 0.0)
        self.ended = 0.0
        self.failures = 0

    def run(self) -> Simulated:
        while self._left() >= 1:
            self._program()
        allotted = self.ended * self.ranks
        lost = {name: seconds / allotted for name, seconds in self.lost.items()}
        efficiency = self.busy / allotted
        lost["tail"] = max(0.0, 1.0 - efficiency - sum(lost.values()))
        return Simulated(
            ranks=self.machine.ranks,
            molecules=self.asked,
            makespan=self.ended + self.machine.plan_a_molecule * self.asked,
            efficiency=efficiency,
            lost=lost,
            desk=self.desk.busy / self.ended,
            files=self.files.busy / self.ended,
            failures=self.failures,
        )

    def _left(self) -> float:
        return self.molecules - self.next + len(self.again)

    def _program(self) -> None:
        """One start of the MPI program, to its end or to the first node that fails."""
        machine = self.machine
        start = machine.start + machine.start_a_rank * machine.ranks
        ranks = [_Rank(self, start) for _ in range(self.ranks)]
        all_done = self.clock.all_of([rank.process for rank in ranks])
        rate = machine.node_failures * machine.nodes / _HOURS
        failure = self.random.exponential(1.0 / rate) if rate else math.inf
        if failure < math.inf:
            self.clock.run(until=all_done | self.clock.timeout(failure))
        else:
            self.clock.run(until=all_done)
        self.ended = self.clock.now
        alive = [rank.process for rank in ranks if rank.process.is_alive]
        if not alive:
            return
        self.failures += 1
        for process in alive:
            process.interrupt()
        self.clock.run(until=self.clock.all_of(alive))

    def take(self) -> tuple[float, int, float]:
        """Seconds and number of the next molecules for a rank, and in how many groups they go.

        None is left: (0, 0, 0).
        """
        if self.again:
            return self.again.pop(), 1, 1.0
        left = self.molecules - self.next
        if left < 1:
            return 0.0, 0, 0.0
        place = min(len(self.costs) - 1, int(self.next / self.scale))
        cost = float(self.costs[place])
        short = max(1, math.ceil(self.group / max(cost, 1e-9)))
        together = _PART_TOGETHER * self.after[place] * self.scale / (self.ranks * max(cost, 1e-9))
        most = max(1, int(left / (2 * self.ranks)))
        count = min(most, max(short, int(together)))
        self.next += count
        stop = min(len(self.costs), place + max(1, round(count / self.scale)))
        return float(self.costs[place:stop].mean()) * count, count, max(1.0, count / short)


class _Server:
    """One thing at a time, in the order in which it is asked for."""

    def __init__(self) -> None:
        self.free_at = 0.0
        self.busy = 0.0

    def serve(self, now: float, seconds: float) -> float:
        """When what is asked for now is done."""
        self.free_at = max(now, self.free_at) + seconds
        self.busy += seconds
        return self.free_at


class _Rank:
    """A rank of one program."""

    def __init__(self, campaign: _Campaign, start: float) -> None:
        self.campaign = campaign
        self.start = start
        self.process = campaign.clock.process(self._life())

    def _life(self) -> Generator[simpy.Event, Any, None]:
        import simpy

        campaign, machine, clock = self.campaign, self.campaign.machine, self.campaign.clock
        began, seconds, count = math.inf, 0.0, 0
        shared = 1.0 / machine.ranks_per_node  # a node has one writer
        a_row = OPERATIONS_A_SHARD / machine.rows_per_shard
        try:
            wait = self._files(OPERATIONS_A_RANK + shared * OPERATIONS_A_NODE) - clock.now
            campaign.lost["files"] += wait
            campaign.lost["start"] += self.start
            yield clock.timeout(wait + self.start)
            before = committed = clock.now  # of the rows before the last, and of the last
            while True:
                seconds, count, groups = campaign.take()
                if not count:
                    break
                desk = (
                    campaign.desk.serve(clock.now, machine.desk * count * campaign.fold) - clock.now
                )
                gap = groups * machine.gap * self._scatter() + count * machine.commit
                # the next calculation begins before the last one's rows are written, and waits only
                # where those before them are not
                late = max(0.0, before - clock.now)
                before = committed
                began = clock.now + desk + gap + late
                yield clock.timeout(desk + gap + late + seconds)
                for name, lost in (("desk", desk), ("gaps", gap), ("files", late)):
                    campaign.lost[name] += lost
                campaign.busy += seconds
                began = math.inf
                committed = self._files(groups + a_row * count)
            wait = self._files(shared * OPERATIONS_A_SHARD) - clock.now  # of the node's last shard
            campaign.lost["files"] += wait
            yield clock.timeout(wait)
        except simpy.Interrupt:
            if began < math.inf:
                campaign.lost["failures"] += max(0.0, clock.now - began)
                campaign.again += [seconds / count] * count

    def _files(self, operations: float) -> float:
        seconds = operations * self.campaign.fold / self.campaign.machine.operations
        return self.campaign.files.serve(self.campaign.clock.now, seconds)

    def _scatter(self) -> float:
        scatter = self.campaign.machine.gap_scatter
        return math.exp(scatter * float(self.campaign.random.standard_normal()) - 0.5 * scatter**2)
