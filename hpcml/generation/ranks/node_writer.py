"""One writer a node: its first rank writes what all ranks of the node have computed.

A parallel file system minds files and waits for the disk more than bytes.  So a node has one
journal, one manifest, and shards of the rows of all its ranks, however many these are.  A rank
sends its rows (``Rows``) to the node's first one, which writes whatever has come by one wait for
the disk and says so (``Written``); only then does the rank tell the server that they are done.
The writer outlives its own work until the others of its node have ended (``Ended``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hpcml.generation.protocol import wire
from hpcml.generation.protocol.messages import Ended, Finished, Rows, Values
from hpcml.store import Row, ShardWriter


class NodeWriter:
    """Writes for ranks of one node.

    others   ranks, beside the one that holds this, which have not ended
    """

    def __init__(self, writer: ShardWriter, others: Iterable[int]) -> None:
        self.others = set(others)
        self._writer = writer
        self._theirs: list[tuple[int, list[Finished]]] = []

    def hear(self, sender: int, message: Rows | Ended) -> None:
        """Take note of what another rank says."""
        match message:
            case Rows(rows):
                self._theirs.append((sender, rows))
            case Ended():
                self.others.discard(sender)

    @property
    def asked(self) -> bool:
        """Whether rows of others wait."""
        return bool(self._theirs)

    def write(self, own: Sequence[Finished]) -> list[int]:
        """Write these and all that has come: to whom that is to be said, once for each message."""
        theirs, self._theirs = self._theirs, []
        rows = [row_of(one) for one in own]
        rows += [row_of(one) for _, several in theirs for one in several]
        self._writer.append(*rows)
        return [sender for sender, _ in theirs]

    def close(self) -> None:
        """Write the last shard; everybody has ended."""
        self._writer.close()


def row_of(finished: Finished) -> Row:
    """A row out of what a calculation came to."""
    values: Values = wire.decode(finished.values, Values)
    provenance = {**values.provenance, "tries": finished.tries}
    if finished.ranks > 1:
        provenance["ranks"] = finished.ranks
    molecule = wire.unpack_molecule(finished.molecule)
    return Row(finished.key, molecule, values.values, provenance)
