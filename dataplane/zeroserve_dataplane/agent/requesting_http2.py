"""One exchange of HTTP/2 (RFC 9113): what a probe asks an endpoint that speaks it.

In: a fresh connection, a request. Out: the `Answer`. Who calls: `requesting` and `requesting_grpc`. Rules:
one stream; what is read is bounded, and lets other work run; time is the caller's to bound. No answer is
a ValueError or EOFError.
"""

from __future__ import annotations

import asyncio
import http.client
import struct
from collections.abc import Iterable, Iterator
from enum import IntEnum

from hpack import Decoder, Encoder, HPACKError

from zeroserve_dataplane.agent.reading_answers import HEAD_BYTES_MAX, Answer, Pieces

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_BYTES_MAX = 1 << 14
"""Which both sides must take, and ours takes no more (RFC 9113 4.2)."""
WINDOW_BYTES = 65_535
"""Of a connection that nobody has widened (RFC 9113 6.9.2)."""
STREAM = 1
_ACK = _END_STREAM = 0x1
_END_HEADERS, _PADDED, _PRIORITY = 0x4, 0x8, 0x20
_NO_PUSH, _STREAM_WINDOW = 0x2, 0x4


class _Kind(IntEnum):
    DATA = 0
    HEADERS = 1
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


async def exchange_http2(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    fields: Iterable[tuple[str, str]],
    body: bytes,
    body_bytes_max: int,
) -> Answer:
    """Send a request, pseudo-fields first; return its answer.

    Of the body, that much at most, and what came in as many frames as an answer may have.
    """
    writer.write(PREFACE + b"".join(_encode(list(fields), body, body_bytes_max)))
    decoder = Decoder(HEAD_BYTES_MAX)
    status, found, received = 0, http.client.HTTPMessage(), bytearray()
    frames = _Frames(reader, writer)
    while True:
        kind, flags, payload = await frames.read()
        if kind == _Kind.HEADERS:
            block = await frames.read_block(flags, _strip(flags, payload))
            decoded = _decode(decoder, block)
            if status == 0:
                status, found = _read_head(decoded)
        elif kind == _Kind.DATA and status:
            received += _strip(flags & _PADDED, payload)
        else:
            raise ValueError(f"{kind.name} in the place of an answer")
        if status and (flags & _END_STREAM or len(received) >= body_bytes_max or frames.pieces.spent):
            return Answer(status, found, bytes(received[:body_bytes_max]))


def _encode(fields: list[tuple[str, str]], body: bytes, body_bytes_max: int) -> Iterator[bytes]:
    """Return the frames of a request behind the preface."""
    block = Encoder().encode(fields)
    if len(block) > FRAME_BYTES_MAX or len(body) > WINDOW_BYTES:
        raise ValueError("the request of the probe is too long for HTTP/2")
    window = max(body_bytes_max, WINDOW_BYTES)
    yield _frame(_Kind.SETTINGS, 0, 0, struct.pack("!HIHI", _NO_PUSH, 0, _STREAM_WINDOW, window))
    yield _frame(_Kind.WINDOW_UPDATE, 0, 0, struct.pack("!I", window))
    yield _frame(_Kind.HEADERS, _END_HEADERS | (0 if body else _END_STREAM), STREAM, block)
    for at in range(0, len(body), FRAME_BYTES_MAX):
        piece = body[at : at + FRAME_BYTES_MAX]
        yield _frame(_Kind.DATA, _END_STREAM if at + len(piece) == len(body) else 0, STREAM, piece)


def _frame(kind: _Kind, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


class _Frames:
    """The frames of one answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.pieces = Pieces()
        self._reader = reader
        self._writer = writer
        self._blocks_bytes = 0

    async def read(self) -> tuple[_Kind, int, bytes]:
        """Return the next frame of our stream; what is about the connection is answered."""
        while True:
            await self.pieces.add()
            head = await self._reader.readexactly(9)
            length, kind, flags = int.from_bytes(head[:3]), head[3], head[4]
            if length > FRAME_BYTES_MAX:
                raise ValueError("no frame of HTTP/2")
            payload = await self._reader.readexactly(length)
            if kind in (_Kind.SETTINGS, _Kind.PING) and not flags & _ACK:
                self._writer.write(_frame(_Kind(kind), _ACK, 0, payload if kind == _Kind.PING else b""))
            elif kind in (_Kind.GOAWAY, _Kind.RST_STREAM, _Kind.PUSH_PROMISE):
                raise ValueError(f"{_Kind(kind).name} in the place of an answer")
            elif kind in (_Kind.DATA, _Kind.HEADERS, _Kind.CONTINUATION):
                if int.from_bytes(head[5:]) & 0x7FFFFFFF != STREAM:
                    raise ValueError("a frame of a stream that nobody opened")
                return _Kind(kind), flags, payload

    async def read_block(self, flags: int, block: bytes) -> bytes:
        """Return a whole field block, with its CONTINUATION frames; all blocks together are bounded."""
        self._blocks_bytes += len(block)
        while not flags & _END_HEADERS:
            kind, flags, payload = await self.read()
            block += payload
            self._blocks_bytes += len(payload)
            if kind != _Kind.CONTINUATION or self._blocks_bytes > HEAD_BYTES_MAX:
                raise ValueError("no field block of HTTP/2")
        if self._blocks_bytes > HEAD_BYTES_MAX:
            raise ValueError("field blocks of HTTP/2 without end")
        return block


def _decode(decoder: Decoder, block: bytes) -> list[tuple[str, str]]:
    try:
        return [(_text(name), _text(value)) for name, value in decoder.decode(block, raw=True)]
    except HPACKError as error:
        raise ValueError(f"no field block of HTTP/2: {error}") from error


def _strip(flags: int, payload: bytes) -> bytes:
    """Return what is between padding and priority."""
    begin = (1 if flags & _PADDED else 0) + (5 if flags & _PRIORITY else 0)
    end = len(payload) - (payload[0] if flags & _PADDED and payload else 0)
    if begin > end:
        raise ValueError("padding beyond its frame")
    return payload[begin:end]


def _read_head(fields: list[tuple[str, str]]) -> tuple[int, http.client.HTTPMessage]:
    """Return the status, 0 of an interim answer, and the fields."""
    found = http.client.HTTPMessage()
    status = 0
    for name, value in fields:
        if name == ":status":
            status = int(value)
        else:
            found[name] = value
    if not 100 <= status < 1000:
        raise ValueError(f"status {status}")
    return (status if status >= 200 else 0), found


def _text(octets: bytes | str) -> str:
    return octets if isinstance(octets, str) else octets.decode("latin-1")
