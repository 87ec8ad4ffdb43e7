"""Groups gather for large molecules and nobody else waits: whole campaigns, simulated."""

import heapq
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcml.cluster import Site
from hpcml.errors import PlatformError
from hpcml.generation.protocol.messages import (
    Bye,
    Committed,
    Error,
    Free,
    Leaving,
    Outcome,
    Stop,
)
from hpcml.generation.protocol.queue_file import QueueEntry, write_queue
from hpcml.generation.protocol.task import Orders, Task, TaskFolder
from hpcml.generation.ranks.desk import Desk
from hpcml.generation.ranks.dispatch import Dispatcher, groups
from hpcml.generation.ranks.server import Server
from hpcml.response import Level, Request

LARGE = 100


def desk(folder, entries, ranks, large_ranks, tries=3):
    site = Site(tries=tries, large_functions=LARGE, large_ranks=large_ranks, large_threads=1)
    orders = Orders(level=Level(method="HF", basis="STO-3G"), request=Request(), site=site)
    task = Task(identity="t", orders=orders, run="", deadline=None, launcher=("", 0, 0))
    task_folder = TaskFolder(folder)
    task_folder.create()
    write_queue(task_folder.queue, entries)
    task_folder.write_task(task)
    return Desk(task_folder, task, ["host"] * ranks)


def entry(index, seconds, *, large=False, suspect=False):
    size = float(LARGE) if large else 1.0
    return QueueEntry(f"{index}", f"m{index}", "", b"", seconds, 60.0, suspect, size)


class Simulation:
    """Ranks with clocks; a shared calculation takes its seconds divided by its ranks."""

    def __init__(self, desk, ranks, large_ranks, failing=None):
        self.desk = desk
        self.dispatcher = Dispatcher(desk, ranks, large_ranks)
        self.dispatcher.waiting.update(range(ranks))
        self.failing = failing or {}  # key -> {rung: member that crashes at once}
        self.clock = 0.0
        self.busy = [0.0] * ranks
        self.idle_since = [0.0] * ranks
        self.shares = []  # (members, key, rung) of every assignment
        self._events = []

    def run(self):
        self._send(self.dispatcher.hand_out())
        while self._events:
            self.clock, _, rank, answer = heapq.heappop(self._events)
            self.idle_since[rank] = self.clock
            self.desk.answered(rank)
            self.dispatcher.waiting.add(rank)
            self._send(self.dispatcher.hand_out())
            self.desk.committed(rank, answer)
            self._send(self.dispatcher.hand_out())
        return self

    def _send(self, orders):
        for rank, assignments in orders:
            if not assignments:
                continue
            (assignment,) = assignments
            entry, members = assignment.entry, assignment.members
            if rank == members[0]:
                self.shares.append((members, entry.key, assignment.rung))
            crashing = self.failing.get(entry.key, {}).get(assignment.rung)
            seconds = entry.expected / len(members)
            error = None
            if crashing is not None:
                crashes = members.index(rank) == crashing % len(members)
                # the others find out when they next want something of it
                seconds *= 0.1 if crashes else 0.5
                error = Error("crash" if crashes else "lost", "")
            answer = Outcome(error, 1, self.clock, self.clock + seconds, seconds)
            self.busy[rank] += seconds
            heapq.heappush(self._events, (answer.end, len(self.shares), rank, answer))


def test_groups_are_neighbours_of_about_the_wanted_number():
    assert groups(6, 2) == [[0, 1], [2, 3], [4, 5]]
    assert groups(7, 3) == [[0, 1, 2], [3, 4, 5, 6]]
    assert groups(3, 8) == [[0, 1, 2]]
    assert groups(2, 1) == [[0], [1]]


molecules = st.lists(
    st.tuples(st.floats(0.1, 50.0), st.booleans(), st.booleans(), st.integers(0, 4)), max_size=25
)


@settings(deadline=None, max_examples=150)
@given(molecules, st.integers(1, 9), st.integers(1, 5), st.data())
def test_every_molecule_comes_to_an_end_once_whatever_fails(
    tmp_path_factory, molecules, ranks, large_ranks, data
):
    entries = [entry(i, s, large=b, suspect=q) for i, (s, b, q, _) in enumerate(molecules)]
    failing = {
        f"{i}": dict.fromkeys(range(times), data.draw(st.integers(0, 8)))
        for i, (_, large, _, times) in enumerate(molecules)
        if large and ranks > 1 and large_ranks > 1
    }
    made = desk(tmp_path_factory.mktemp("t") / "task", entries, ranks, large_ranks)
    done = Simulation(made, ranks, large_ranks, failing).run()
    assert made.left() == 0
    assert done.dispatcher.told == set(range(ranks))
    tries = {}
    for members, key, rung in done.shares:
        assert rung == tries.get(key, 0)
        tries[key] = rung + 1
        large = molecules[int(key)][1] and large_ranks > 1
        assert len(members) == 1 or large
        if large and ranks > 1:
            assert len(members) >= min(large_ranks, ranks)
    wanted = {f"{i}": min(3, 1 + len(failing.get(f"{i}", {}))) for i in range(len(molecules))}
    assert tries == wanted
    given_up = sum(len(failing.get(key, {})) >= 3 for key in wanted)
    assert (made.progress.failed, made.progress.done) == (given_up, len(molecules) - given_up)


def test_no_rank_idles_while_small_molecules_are_left(tmp_path):
    """Three large ones for two groups: the group that gets none fills the time with small ones."""
    large = [entry(i, 40.0, large=True) for i in range(3)]
    small = [entry(10 + i, 1.0) for i in range(60)]
    made = desk(tmp_path / "task", [*large, *small], 4, 2)
    done = Simulation(made, 4, 2).run()
    # 180 s of work on 4 ranks: nobody idles for longer than the shortest molecule lasts
    assert done.clock - min(done.idle_since) <= 1.0 + 1e-9
    assert sum(done.busy) == 180.0
    assert done.clock <= 46.0


def test_short_molecules_are_handed_out_several_at_a_time_and_all_end_together(tmp_path):
    """They last a millisecond where a second was expected: that is learnt, then used."""
    made = desk(tmp_path / "task", [entry(i, 1.0) for i in range(4000)], 2, 1)
    sent = deque()
    server = Server(made, 2, lambda message, rank: sent.append((rank, message)), None)
    server.hear(0, Free())
    server.hear(1, Free())
    sizes, clock, keys = [], 0.0, []
    while sent:
        rank, message = sent.popleft()
        if isinstance(message, Stop):
            server.hear(rank, Bye())
            continue
        sizes.append(len(message.assignments))
        keys += [assignment.entry.key for assignment in message.assignments]
        outcomes = [Outcome(None, 1, clock, clock + 1e-3, 1e-3) for _ in message.assignments]
        if len(outcomes) > 3:  # some are committed before all have ended
            server.hear(rank, Committed(outcomes[:3]))
            outcomes = outcomes[3:]
        server.hear(rank, Free())
        server.hear(rank, Committed(outcomes))
    assert sorted(keys) == sorted(f"{i}" for i in range(4000))
    assert made.progress.done == 4000
    assert sizes[0] == 1
    assert 200 < max(sizes) <= 252  # a quarter of a second
    assert sizes[-1] == 1
    assert server.everyone_is_gone
    assert made.left() == 0


def test_a_rank_that_leaves_with_several_in_hand_gives_all_back(tmp_path):
    made = desk(tmp_path / "task", [entry(i, 1.0) for i in range(400)], 2, 1)
    made.progress.busy, made.progress.expected_done, made._settled = 0.1, 100.0, 100
    sent = {}
    server = Server(made, 2, lambda message, rank: sent.update({rank: message}), None)
    server.hear(0, Free())
    assert len(sent[0].assignments) == 100  # a quarter of what is left
    server.hear(0, Committed([Outcome(None, 1, 0.0, 1.0, 1e-3)] * 2))
    server.hear(0, Leaving("no Psi4"))
    assert made.progress.done == 2
    assert made.left() == 398
    assert not made.hands.computed()


def test_progress_stays_small_however_many_ranks_compute(tmp_path):
    made = desk(tmp_path / "task", [entry(i, 50.0) for i in range(3000)], 2000, 1)
    for rank in range(2000):
        made.next_for([rank])
    made.report("finished")
    found = made.folder.read_progress()
    assert found.computing == {"host": 2000}
    assert len(found.running) == 100
    assert found.under_way >= 0.0
    assert made.folder.progress.stat().st_size < 20_000


def test_a_rank_that_leaves_gives_back_what_it_has_and_the_last_one_says_why(tmp_path):
    """Its molecule goes to another rank; with no rank left, the program fails with the reason."""
    sent = []
    made = desk(tmp_path / "task", [entry(0, 5.0)], 2, 1)
    server = Server(made, 2, lambda message, rank: sent.append((rank, message)), None)
    server.hear(0, Free())
    server.hear(0, Leaving("no Psi4"))
    server.hear(1, Free())
    assert [(rank, message.assignments[0].entry.key) for rank, message in sent] == [
        (0, "0"),
        (1, "0"),
    ]
    server.hear(1, Leaving("no Psi4"))
    assert server.everyone_is_gone
    with pytest.raises(PlatformError, match="no Psi4"):
        server.close()
    assert made.folder.read_progress().state == "unfinished"
