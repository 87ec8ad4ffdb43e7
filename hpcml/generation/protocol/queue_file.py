"""A queue on the disk: molecules in blocks of equal cost, read only when their turn comes.

The expected cost depends on the number of basis functions alone, so that ten million molecules
have some hundreds of different costs.  Each is a *class*.  A queue is written in any order, in one
go, and read class by class, longest first, without ever being sorted or held:

    blocks     frames (length, entry) of one class each
    index      the classes, and where their blocks lie
    tail       where the index begins

What is in memory is the index, a few bytes for every hundred molecules.
"""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from hpcml.errors import InputError
from hpcml.generation.protocol import wire

_FRAME = struct.Struct("<I")
_TAIL = struct.Struct("<Q8s")
_MAGIC = b"hpcmlQ01"
_BLOCK_ENTRIES = 128
_BLOCK_BYTES = 1 << 16
_MOST_BUFFERED = 1 << 25  # bytes of blocks that are not full


class QueueEntry(msgspec.Struct, frozen=True, array_like=True):
    """One molecule in a queue.

    expected   seconds that the calculation is expected to take on one rank
    limit      seconds after which it counts as hung
    suspect    it was in flight when an MPI program died: never beside another suspect
    size       the cost model's measure of the molecule (see ``cost``), kept with its timing
    """

    key: str
    name: str
    formula: str
    molecule: bytes
    expected: float
    limit: float
    suspect: bool
    size: float


class CostClass(msgspec.Struct, frozen=True, array_like=True):
    """What molecules of a class have in common: see ``QueueEntry``."""

    expected: float
    size: float
    suspect: bool

    @classmethod
    def of(cls, entry: QueueEntry) -> CostClass:
        return cls(entry.expected, entry.size, entry.suspect)


class _Blocks(msgspec.Struct):
    """Where a class lies: for each block its offset and length in bytes, as int64."""

    cost: CostClass
    count: int
    places: bytes


class QueueWriter:
    """Writes a queue file; it can be read when ``close`` has returned."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("wb")
        self._open: dict[CostClass, tuple[bytearray, int]] = {}  # frames, and how many
        self._places: dict[CostClass, array[int]] = {}
        self._counts: dict[CostClass, int] = {}
        self._buffered = 0
        self._end = 0

    def add(self, entry: QueueEntry) -> None:
        self.add_frame(CostClass.of(entry), wire.encode(entry))

    def add_frame(self, cost: CostClass, frame: bytes | memoryview) -> None:
        """Add an entry that is encoded already."""
        block, count = self._open.get(cost) or (bytearray(), 0)
        block += _FRAME.pack(len(frame))
        block += frame
        self._open[cost] = block, count + 1
        self._buffered += len(frame) + _FRAME.size
        if count + 1 >= _BLOCK_ENTRIES or len(block) >= _BLOCK_BYTES:
            self._put(cost)
        elif self._buffered > _MOST_BUFFERED:
            for each in list(self._open):
                self._put(each)

    def _put(self, cost: CostClass) -> None:
        block, count = self._open.pop(cost)
        self._file.write(block)
        self._places.setdefault(cost, array("q")).extend((self._end, len(block)))
        self._counts[cost] = self._counts.get(cost, 0) + count
        self._end += len(block)
        self._buffered -= len(block)

    def close(self) -> None:
        """Write what is left, and the index."""
        for cost in list(self._open):
            self._put(cost)
        index = [
            _Blocks(cost, self._counts[cost], places.tobytes())
            for cost, places in sorted(
                self._places.items(), key=lambda pair: pair[0].expected, reverse=True
            )
        ]
        self._file.write(msgspec.msgpack.encode(index))
        self._file.write(_TAIL.pack(self._end, _MAGIC))
        self._file.close()


def write_queue(path: Path, entries: Iterable[QueueEntry]) -> QueueFile:
    """A queue file of these entries."""
    writer = QueueWriter(path)
    for entry in entries:
        writer.add(entry)
    writer.close()
    return QueueFile(path)


class QueueFile:
    """A queue file opened for reading; it stays readable when its name is moved or removed."""

    def __init__(self, path: Path) -> None:
        """InputError unless it is a whole queue file."""
        self.path = path
        self._file = path.open("rb")
        size = os.fstat(self._file.fileno()).st_size
        tail = os.pread(self._file.fileno(), _TAIL.size, max(0, size - _TAIL.size))
        start, magic = _TAIL.unpack(tail) if len(tail) == _TAIL.size else (0, b"")
        if magic != _MAGIC:
            raise InputError(f"{path}: is no whole queue of molecules; start the campaign again")
        index = os.pread(self._file.fileno(), size - _TAIL.size - start, start)
        self._index: dict[CostClass, _Blocks] = {
            blocks.cost: blocks for blocks in msgspec.msgpack.decode(index, type=list[_Blocks])
        }

    @property
    def classes(self) -> dict[CostClass, int]:
        """How many molecules each class has, longest first."""
        return {cost: blocks.count for cost, blocks in self._index.items()}

    def __len__(self) -> int:
        return sum(self.classes.values())

    @property
    def seconds(self) -> float:
        """Seconds of calculation expected, on one rank."""
        return sum(count * cost.expected for cost, count in self.classes.items())

    def frames(self, cost: CostClass) -> Iterator[bytes]:
        """The entries of a class, encoded, block by block."""
        places = array("q")
        places.frombytes(self._index[cost].places)
        for number in range(0, len(places), 2):
            block = os.pread(self._file.fileno(), places[number + 1], places[number])
            position = 0
            while position < len(block):
                (length,) = _FRAME.unpack_from(block, position)
                position += _FRAME.size
                yield block[position : position + length]
                position += length

    def entries(self, cost: CostClass) -> Iterator[QueueEntry]:
        """The entries of a class."""
        for frame in self.frames(cost):
            entry: QueueEntry = wire.decode(frame, QueueEntry)
            yield entry

    def __iter__(self) -> Iterator[QueueEntry]:
        """Every entry, longest expected first."""
        for cost in self._index:
            yield from self.entries(cost)

    def shortest(self) -> QueueEntry:
        """One of those that are expected to take least."""
        return next(self.entries(next(reversed(self._index))))
