"""Each result once, and none that is there: over more molecules than fit into memory.

What is planned is kept as it comes while it is little.  When it is more, it is parted by the first
byte of its key into files (a hash join: Shapiro, ACM TODS 11, 239 (1986)), as are the keys that
are done, and the parts are sorted out one after another: memory is that of a part.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpcml.generation.protocol.queue_file import CostClass, QueueWriter

_HEAD = struct.Struct("<16sII")  # key, number of the class, length of the frame
_MOST_HELD = 1 << 26  # bytes
_PARTS = 256


class SortingOut:
    """Takes every molecule that a plan meets, then writes those into a queue that are missing.

    doubled, done, failed, total   as in ``Plan``, after ``write``
    """

    def __init__(self, folder: Path, *, most_held: int = _MOST_HELD) -> None:
        """folder: for what is more than ``most_held`` bytes; what is put there is removed."""
        self._folder = folder
        self._most_held = most_held
        self._held = bytearray()
        self._parted = False
        self._numbers: dict[CostClass, int] = {}
        self.total = self.doubled = self.done = self.failed = 0

    def add(self, key: bytes, cost: CostClass, frame: bytes) -> None:
        """A result asked for: the 16 bytes of its key, and its entry in the queue."""
        number = self._numbers.setdefault(cost, len(self._numbers))
        self._held += _HEAD.pack(key, number, len(frame))
        self._held += frame
        if len(self._held) > self._most_held:
            self._part()

    def write(
        self,
        queue: QueueWriter,
        *,
        done: Callable[[], Iterable[NDArray[np.uint8]]],
        failed: Collection[bytes],
    ) -> None:
        """Put what is neither done nor failed into the queue, the first of each key.

        Parameters
        ----------
        done
            Gives the keys that are in the data set, as (n, 16) uint8 arrays.
        failed
            Keys that are not to be tried again.
        """
        costs = list(self._numbers)
        for data, there in self._parts(done):
            seen: set[bytes] = set()
            for key, number, frame in _records(data):
                if key in seen:
                    self.doubled += 1
                    continue
                seen.add(key)
                if key in there:
                    self.done += 1
                elif key in failed:
                    self.failed += 1
                else:
                    queue.add_frame(costs[number], frame)
            self.total += len(seen)

    def _parts(
        self, done: Callable[[], Iterable[NDArray[np.uint8]]]
    ) -> Iterator[tuple[bytes | bytearray, set[bytes]]]:
        """Records that may have keys in common, and which of their keys are done."""
        if not self._parted:
            asked = {key for key, _, _ in _records(self._held)}
            yield self._held, {key for keys in done() for key in _split(keys) if key in asked}
            return
        self._part()
        self._part_keys(done())
        for number in range(_PARTS):
            records, keys = self._file(number, "records"), self._file(number, "done")
            data = records.read_bytes() if records.exists() else b""
            raw = keys.read_bytes() if keys.exists() else b""
            yield data, {raw[i : i + 16] for i in range(0, len(raw), 16)}
            records.unlink(missing_ok=True)
            keys.unlink(missing_ok=True)

    def _part(self) -> None:
        parts = [bytearray() for _ in range(_PARTS)]
        for key, number, frame in _records(self._held):
            parts[key[0]] += _HEAD.pack(key, number, len(frame)) + frame
        for number, part in enumerate(parts):
            self._append(number, "records", part)
        self._held = bytearray()
        self._parted = True

    def _part_keys(self, chunks: Iterable[NDArray[np.uint8]]) -> None:
        held: list[NDArray[np.uint8]] = []
        size = 0
        for keys in chunks:
            held.append(np.ascontiguousarray(keys))
            size += keys.nbytes
            if size > self._most_held:
                self._put_keys(held)
                held, size = [], 0
        if held:
            self._put_keys(held)

    def _put_keys(self, held: list[NDArray[np.uint8]]) -> None:
        keys = np.concatenate(held)
        keys = keys[np.argsort(keys[:, 0], kind="stable")]
        cuts = np.searchsorted(keys[:, 0], np.arange(_PARTS + 1))
        for number in range(_PARTS):
            self._append(number, "done", keys[cuts[number] : cuts[number + 1]].tobytes())

    def _append(self, number: int, kind: str, data: bytes | bytearray) -> None:
        if data:
            with self._file(number, kind).open("ab") as stream:
                stream.write(data)

    def _file(self, number: int, kind: str) -> Path:
        return self._folder / f"{kind}-{number:03d}"


def _records(data: bytes | bytearray) -> Iterator[tuple[bytes, int, bytes]]:
    position, end = 0, len(data)
    while position < end:
        key, number, length = _HEAD.unpack_from(data, position)
        position += _HEAD.size
        yield key, number, bytes(data[position : position + length])
        position += length


def _split(keys: NDArray[np.uint8]) -> Iterator[bytes]:
    raw = keys.tobytes()
    return (raw[i : i + 16] for i in range(0, len(raw), 16))
