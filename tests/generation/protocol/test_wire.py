"""Messages survive the pipe, in pieces too, and nothing but data comes out of it."""

import io
import os

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from hpcml.generation.protocol import wire
from hpcml.molecules import Molecule

arrays = npst.arrays(
    dtype=st.sampled_from(["<f8", "<f4", "<i8", "|u1", "|b1"]),
    shape=npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3),
)
messages = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(arrays)
def test_an_array_comes_back_bit_by_bit(array):
    back = wire.decode(wire.encode({"x": [array]}))["x"][0]
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


@given(st.lists(messages, min_size=1, max_size=4), st.integers(1, 9))
def test_an_inbox_puts_messages_together_from_pieces(contents, piece):
    sent = [{"content": content} for content in contents]
    frames = io.BytesIO()
    for message in sent:
        wire.write(frames, message)
    data = frames.getvalue()
    reading, writing = os.pipe()
    received = []
    with os.fdopen(reading, "rb"), os.fdopen(writing, "wb", buffering=0) as out:
        inbox = wire.Inbox(reading)
        for start in range(0, len(data), piece):
            out.write(data[start : start + piece])
            while (message := inbox.poll()) is not None:
                received.append(message)
            assert not inbox.closed()
    assert received == sent


def test_the_end_of_the_pipe_is_told():
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream:
        inbox = wire.Inbox(reading)
        assert not inbox.closed()
        os.write(writing, b"\x05\x00")  # half a length
        os.close(writing)
        assert inbox.poll() is None
        with pytest.raises(EOFError):
            inbox.poll()
        with pytest.raises(EOFError):
            wire.read(stream)


def test_objects_are_neither_sent_nor_made():
    with pytest.raises(NotImplementedError):
        wire.encode(object())
    with pytest.raises(NotImplementedError):
        wire.encode(np.array([object()]))
    head = msgspec.msgpack.encode(("|O", (1,), b"\0" * 8))
    with pytest.raises(ValueError, match="not accepted"):
        wire.decode(msgspec.msgpack.encode(msgspec.msgpack.Ext(1, head)))


def test_a_molecule_keeps_its_key():
    molecule = Molecule(
        np.array([8, 1]),
        np.array([[0, 0, 1 / 3], [0, 0.1, -2 / 7]]),
        -1,
        1,
        "hydroxide",
        "[OH-]",
        np.array([0, 2]),
    )
    back = wire.unpack_molecule(wire.pack_molecule(molecule))
    assert back.key == molecule.key
    assert (back.name, back.smiles, back.charge) == ("hydroxide", "[OH-]", -1)
    assert back.isotopes.tolist() == [0, 2]
