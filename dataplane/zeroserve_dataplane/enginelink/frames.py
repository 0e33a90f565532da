"""Frames of the agent-engine protocol, without I/O.

In: bytes as they arrive, in pieces of any size. Out: whole `Frame` messages (control.proto).
Rule: any bytes give frames or one `FrameError`; a length past the limit is refused before anything is kept.
"""

from __future__ import annotations

import struct

from google.protobuf.message import DecodeError
from zeroserve_ir._pb import control_pb2 as pb

FRAME_BYTES_MAX = 64 << 20
"""A `Retained` of 100,000 resources stays below; a length above it is another protocol or garbage."""

_LENGTH = struct.Struct("<I")


class FrameError(Exception):
    """The peer sent what is no frame; the connection cannot go on."""


def encode_frame(frame: pb.Frame) -> bytes:
    """Return the frame with its length before it."""
    body = frame.SerializeToString()
    if len(body) > FRAME_BYTES_MAX:
        raise FrameError(f"frame of {len(body)} bytes exceeds {FRAME_BYTES_MAX}")
    return _LENGTH.pack(len(body)) + body


class FrameDecoder:
    """Cuts a byte stream into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[pb.Frame]:
        """Take bytes and return the frames that are complete now."""
        self._buffer += data
        frames: list[pb.Frame] = []
        start = 0
        while (body := self._find_body(start)) is not None:
            frames.append(_parse_body(bytes(self._buffer[body])))
            start = body.stop
        del self._buffer[:start]
        return frames

    @property
    def pending_bytes(self) -> int:
        """Bytes of a frame that is not complete yet."""
        return len(self._buffer)

    def _find_body(self, start: int) -> slice | None:
        if len(self._buffer) - start < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer, start)
        if length > FRAME_BYTES_MAX:
            raise FrameError(f"frame length {length} exceeds {FRAME_BYTES_MAX}")
        begin = start + _LENGTH.size
        return slice(begin, begin + length) if len(self._buffer) - begin >= length else None


def _parse_body(body: bytes) -> pb.Frame:
    try:
        frame = pb.Frame.FromString(body)
    except DecodeError as error:
        raise FrameError("frame is not a protobuf message") from error
    if frame.WhichOneof("frame") is None:
        raise FrameError("frame is empty or of an unknown kind")
    return frame
