"""Answers in a great many pieces that have all arrived: the agent's other work goes on meanwhile."""

import asyncio
import http.client

import hpack
import pytest
from zeroserve_dataplane.agent.reading_answers import PIECES_AT_ONCE_MAX, PIECES_MAX, read_answer
from zeroserve_dataplane.agent.requesting_http2 import exchange_http2

BODY_BYTES_MAX = 1 << 20
MANY = 3 * PIECES_MAX


def frame(kind, flags, payload, stream=1):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


HEAD = frame(1, 4, hpack.Encoder().encode([(":status", "200")]))
INTERIM = frame(1, 4, hpack.Encoder().encode([(":status", "103")]))
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Discarding:
    """Where acknowledgements of PINGs go."""

    def write(self, data):
        pass


async def read_http2(reader):
    return await exchange_http2(reader, Discarding(), [(":method", "GET")], b"", BODY_BYTES_MAX)


async def read_http1(reader):
    return await read_answer(reader, "GET", BODY_BYTES_MAX)


def read(data, ask):
    """Return what came of an answer, and how often other work ran."""

    async def run():
        reader, turns = asyncio.StreamReader(), 0
        reader.feed_data(data)
        reader.feed_eof()
        reading = asyncio.create_task(ask(reader))
        while not reading.done():
            turns += 1
            await asyncio.sleep(0)
        return await asyncio.gather(reading, return_exceptions=True), turns

    ([found], turns) = asyncio.run(run())
    return found, turns


@pytest.mark.parametrize(
    ("data", "ask"),
    [(CHUNKED + b"1\r\nx\r\n" * MANY, read_http1), (HEAD + frame(0, 0, b"x") * MANY, read_http2)],
    ids=["chunks", "DATA"],
)
def test_a_body_ends_after_so_many_pieces(data, ask):
    found, turns = read(data, ask)
    assert found.status == 200
    assert PIECES_MAX - 8 < len(found.body) < PIECES_MAX
    assert turns >= PIECES_MAX // PIECES_AT_ONCE_MAX


@pytest.mark.parametrize(
    ("data", "ask"),
    [
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" * MANY, read_http1),
        (b"HTTP/1.1 200 OK\r\n" + b"a:\r\n" * MANY, read_http1),
        (INTERIM * MANY, read_http2),
        (HEAD + frame(6, 0, b"12345678", 0) * MANY, read_http2),
        (frame(1, 0, b"") + frame(9, 0, b"") * MANY, read_http2),
    ],
    ids=["interim answers", "lines", "HEADERS", "PING", "CONTINUATION"],
)
def test_a_head_that_does_not_end_is_no_answer(data, ask):
    found, turns = read(data, ask)
    assert isinstance(found, ValueError | http.client.HTTPException) and "pieces" in str(found)
    assert turns >= PIECES_MAX // PIECES_AT_ONCE_MAX


def test_field_blocks_are_bounded_together():
    block = hpack.Encoder().encode([(":status", "103"), ("link", "\0" * 8000)], huffman=False)
    found, _ = read(frame(1, 4, block) * 16 + HEAD, read_http2)
    assert isinstance(found, ValueError) and "without end" in str(found)
