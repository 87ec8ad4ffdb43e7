"""Messages between processes: msgpack with a length in front, numpy arrays included.

Nothing that arrives is executed: msgpack holds numbers, text, lists, maps and, as extension 1,
an array's type, shape and bytes.
"""

from __future__ import annotations

import os
import select
import struct
import subprocess
from collections.abc import Sequence
from functools import cache
from typing import Any, BinaryIO, Generic, TypeVar, cast

import msgspec
import numpy as np

from hpcml.molecules import Molecule

_T = TypeVar("_T")

_LENGTH = struct.Struct("<I")
_ARRAY = 1
_KINDS = frozenset("biufcS")  # plain numbers and bytes; never objects


def _extend(value: Any) -> msgspec.msgpack.Ext:
    if isinstance(value, np.generic):
        value = np.asarray(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in _KINDS:
        array = np.ascontiguousarray(value).reshape(value.shape)  # keeps a 0-d array 0-d
        head = (array.dtype.str, array.shape, array.tobytes())
        return msgspec.msgpack.Ext(_ARRAY, msgspec.msgpack.encode(head))
    raise NotImplementedError(f"a {type(value).__name__} cannot be sent to another process")


def _restore(code: int, data: memoryview) -> Any:
    if code != _ARRAY:
        raise ValueError(f"unknown msgpack extension {code}")
    kind, shape, content = msgspec.msgpack.decode(data, type=tuple[str, tuple[int, ...], bytes])
    dtype = np.dtype(kind)
    if dtype.kind not in _KINDS:
        raise ValueError(f"an array of type {kind} is not accepted")
    return np.frombuffer(content, dtype).reshape(shape).copy()


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_extend)


@cache
def _decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(kind, ext_hook=_restore)


def encode(message: Any) -> bytes:
    """The message as bytes; numpy arrays and scalars may stand anywhere in it."""
    return _ENCODER.encode(message)


def encoded(message: Any) -> msgspec.Raw:
    """The message as a part of another, which those between pass on as it is."""
    return msgspec.Raw(encode(message))


NOTHING = encoded(None)


def decode(data: bytes | bytearray | memoryview, kind: Any = Any) -> Any:
    """Inverse of ``encode``; ValueError (msgspec.DecodeError) for anything else.

    kind   the messages that are expected: a class of ``messages``, or a union of them
    """
    return _decoder(kind).decode(data)


def write(stream: BinaryIO, message: Any) -> None:
    """Write one message with its length and flush."""
    data = encode(message)
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def read(stream: BinaryIO, kind: Any = Any) -> Any:
    """The next message of a blocking stream; EOFError at its end or in a torn message."""
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    return decode(_exactly(stream, length), kind)


def _exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if data is None or len(data) < count:
        raise EOFError("the other end of the pipe is closed")
    return data


def ends(process: subprocess.Popen[bytes]) -> tuple[BinaryIO, BinaryIO]:
    """(where to write, where to read) of a process that was started with two pipes."""
    assert process.stdin is not None
    assert process.stdout is not None
    return cast(BinaryIO, process.stdin), cast(BinaryIO, process.stdout)


class Inbox(Generic[_T]):
    """Messages of one kind from a file descriptor that must not block its reader."""

    def __init__(self, descriptor: int, kind: Any = Any) -> None:
        self.descriptor = descriptor
        self._kind = kind
        self._buffer = bytearray()

    def poll(self, seconds: float = 0.0) -> _T | None:
        """The next message, or None if none is complete after at most ``seconds``.

        EOFError when the writer is gone.
        """
        message = self._next()
        if message is not None:
            return message
        ready, _, _ = select.select([self.descriptor], [], [], seconds)
        if not ready:
            return None
        data = os.read(self.descriptor, 1 << 20)
        if not data:
            raise EOFError("the other end of the pipe is closed")
        self._buffer += data
        return self._next()

    @property
    def complete(self) -> bool:
        """Whether a whole message is here already."""
        if len(self._buffer) < _LENGTH.size:
            return False
        length: int = _LENGTH.unpack_from(self._buffer)[0]
        return len(self._buffer) >= _LENGTH.size + length

    def closed(self) -> bool:
        """Whether the writer is gone, whatever it has left to be read; never waits."""
        if not select.select([self.descriptor], [], [], 0.0)[0]:
            return False
        data = os.read(self.descriptor, 1 << 20)
        self._buffer += data
        return not data

    def _next(self) -> _T | None:
        if not self.complete:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        end = _LENGTH.size + length
        message: _T = decode(bytes(self._buffer[_LENGTH.size : end]), self._kind)
        del self._buffer[:end]
        return message


def wait(inboxes: Sequence[Inbox[Any]], seconds: float) -> None:
    """Wait until one of them has something to say, at most so long."""
    if not any(inbox.complete for inbox in inboxes):
        select.select([inbox.descriptor for inbox in inboxes], [], [], seconds)


def pack_molecule(molecule: Molecule) -> bytes:
    """A molecule as bytes, labels included."""
    return encode(
        (
            molecule.numbers,
            molecule.positions,
            molecule.charge,
            molecule.multiplicity,
            molecule.name,
            molecule.smiles,
            molecule.isotopes,
        )
    )


def unpack_molecule(data: bytes) -> Molecule:
    """Inverse of ``pack_molecule``; the key is the same."""
    return Molecule(*decode(data))
