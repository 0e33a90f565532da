"""The frame decoder: frames survive any cut, garbage is one typed error."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zeroserve_dataplane.enginelink.frames import FRAME_BYTES_MAX, FrameDecoder, FrameError, encode_frame
from zeroserve_ir._pb import control_pb2 as control

FRAMES = [
    control.Frame(hello=control.Hello(abi=1, version="0.1.0", io="epoll", io_reason="refused")),
    control.Frame(commit=control.Commit(sequence=1 << 40, snapshot="ab" * 32)),
    control.Frame(committed=control.Committed(sequence=1)),
    control.Frame(retained=control.Retained()),
]


def test_frames_come_out_whole_when_fed_byte_by_byte():
    decoder = FrameDecoder()
    stream = b"".join(encode_frame(frame) for frame in FRAMES)
    out = [frame for byte in stream for frame in decoder.feed(bytes([byte]))]
    assert out == FRAMES
    assert decoder.pending_bytes == 0


def test_frames_come_out_together_when_fed_at_once():
    decoder = FrameDecoder()
    assert decoder.feed(b"".join(encode_frame(frame) for frame in FRAMES)) == FRAMES


def test_the_beginning_of_a_frame_waits_for_its_rest():
    decoder = FrameDecoder()
    encoded = encode_frame(FRAMES[0])
    assert decoder.feed(encoded[:-1]) == []
    assert decoder.pending_bytes == len(encoded) - 1


def test_a_length_past_the_limit_is_refused_at_once():
    with pytest.raises(FrameError, match="exceeds"):
        FrameDecoder().feed(struct.pack("<I", FRAME_BYTES_MAX + 1))


def test_a_length_at_the_limit_waits_for_its_body():
    assert FrameDecoder().feed(struct.pack("<I", FRAME_BYTES_MAX)) == []


@pytest.mark.parametrize("body", [b"", b"\xff\xff", b"\xa2\x06\x00"], ids=["empty", "garbage", "unknown"])
def test_a_body_that_is_no_frame_is_refused(body):
    with pytest.raises(FrameError):
        FrameDecoder().feed(struct.pack("<I", len(body)) + body)


@given(st.lists(st.binary(max_size=64), max_size=16))
def test_any_bytes_give_frames_or_a_frame_error(pieces):
    decoder = FrameDecoder()
    try:
        for piece in pieces:
            for frame in decoder.feed(piece):
                assert frame.WhichOneof("frame") is not None
    except FrameError:
        pass


@given(st.lists(st.sampled_from(FRAMES), max_size=8), st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_cuts_do_not_change_what_comes_out(frames, sizes):
    stream = b"".join(encode_frame(frame) for frame in frames)
    decoder = FrameDecoder()
    out, position, turn = [], 0, 0
    while position < len(stream):
        size = sizes[turn % len(sizes)]
        out += decoder.feed(stream[position : position + size])
        position, turn = position + size, turn + 1
    assert out == frames
