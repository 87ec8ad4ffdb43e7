"""What a Psi4 process is computing now, for its keeper to see without a message.

Sixteen bytes of a file without a name that both have mapped: how many calculations have been begun,
and when the last was.  They outlive the process, so that the one that ended it is known.
"""

from __future__ import annotations

import mmap
import struct
import time

_PULSE = struct.Struct("<Qd")


class Pulse:
    """The pages behind a descriptor: ``begin`` on one side, ``seen`` on the other.

    The file must be ``Pulse.BYTES`` long.
    """

    BYTES = _PULSE.size

    def __init__(self, descriptor: int) -> None:
        self._page = mmap.mmap(descriptor, self.BYTES)
        self._begun = 0

    def begin(self) -> None:
        """Say that the next calculation begins."""
        self._begun += 1
        _PULSE.pack_into(self._page, 0, self._begun, time.monotonic())

    def seen(self) -> tuple[int, float]:
        """How many have been begun, and when the last one was (``time.monotonic``)."""
        before = _PULSE.unpack_from(self._page)
        while (now := _PULSE.unpack_from(self._page)) != before:  # it was being written
            before = now
        return int(now[0]), float(now[1])

    def close(self) -> None:
        self._page.close()
