"""Which rank explains which shards, and when the ranks wait for each other.

As long as every rank can have a shard of its own, each explains whole ones and writes their files
itself; what is left over, fewer shards than ranks, all of them share row by row.  Ranks wait for
each other only at the end of a *turn*, some twenty seconds long, when rank 0 gives the manifest
the lines of what they have written.  (Sharing the rows of every shard made them wait at each.)
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from hpcml.store.lines import Entry
from hpcml.training.world import World

_SECONDS_OF_A_TURN = 20.0
_MOST_EACH = 64  # shards


class Told(msgspec.Struct, frozen=True):
    """What one rank says at the end of a turn: shards whose files are there; was it stopped."""

    entries: list[Entry]
    stopped: bool
    seconds: float


def shards_each(left: int, size: int, seconds: float) -> int:
    """How many whole shards each of ``size`` ranks gets in the next turn, of ``left`` shards.

    seconds   that a rank took for a shard last; 0 where none has been done
    """
    wanted = int(_SECONDS_OF_A_TURN / seconds) if seconds else 1
    return min(max(1, wanted), _MOST_EACH, left // size)


def dealt(costs: ArrayLike, size: int) -> list[list[int]]:
    """Numbers of the shards that each of ``size`` ranks gets: dearest first, to whom has least.

    Parameters
    ----------
    costs : (n,) array
        Of each shard, in any unit.
    """
    given: list[list[int]] = [[] for _ in range(size)]
    load = [0.0] * size
    values = np.asarray(costs, float)
    for number in np.argsort(-values, kind="stable").tolist():
        rank = min(range(size), key=lambda one: (load[one], len(given[one])))
        given[rank].append(number)
        load[rank] += float(values[number])
    return given


def cost(entry: Entry) -> float:
    """Of explaining a shard: pairs of atoms, by its mean number of atoms."""
    atoms = entry.columns["numbers"].shape[0]
    return atoms**2 / max(1, entry.rows)


def told_by_all(world: World, said: Told) -> Sequence[Told]:
    """What each rank says, on every rank."""
    message = msgspec.msgpack.encode(said)
    return [
        msgspec.msgpack.decode(world.broadcast(message, root=rank), type=Told)
        for rank in range(world.size)
    ]
