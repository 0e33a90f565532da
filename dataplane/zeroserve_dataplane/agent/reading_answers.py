"""One answer of HTTP/1.1 (RFC 9112) off a stream: its status, its fields, and a bounded part of its body.

In: a stream after the request. Out: an `Answer`. Who calls: `requesting` and `asking_responders`. Rules: what
is read is bounded, and lets other work run; time is the caller's to bound. No answer is a ValueError,
EOFError or HTTPException.
"""

from __future__ import annotations

import asyncio
import http.client
import io
from dataclasses import dataclass

HEAD_BYTES_MAX = 64 << 10
PIECES_MAX = 1024
"""Lines, chunks and frames of one answer: 1 MiB in whole frames of HTTP/2 is 64."""
PIECES_AT_ONCE_MAX = 16
SWITCHING = 101


class Pieces:
    """Those that were read of one answer; what lies in a buffer is read without a wait for anything."""

    def __init__(self) -> None:
        self._count = 0

    @property
    def spent(self) -> bool:
        """Whether there may be no more."""
        return self._count >= PIECES_MAX

    async def add(self) -> None:
        """Count one, and let other work run now and then. ValueError beyond the bound."""
        if self.spent:
            raise ValueError(f"an answer in more than {PIECES_MAX} pieces")
        self._count += 1
        if self._count % PIECES_AT_ONCE_MAX == 0:
            await asyncio.sleep(0)


@dataclass(frozen=True, slots=True)
class Answer:
    """A final answer."""

    status: int
    fields: http.client.HTTPMessage
    body: bytes


async def read_answer(reader: asyncio.StreamReader, method: str, body_bytes_max: int) -> Answer:
    """Return the final answer; a body that is longer, in too many chunks, or cut off, is what came of it."""
    pieces = Pieces()
    while True:
        status, fields = _parse_head(await _read_head(reader, pieces))
        if status >= 200 or status == SWITCHING:
            break
    if body_bytes_max == 0 or method == "HEAD" or status in (SWITCHING, 204, 304):
        return Answer(status, fields, b"")
    if "chunked" in fields.get("Transfer-Encoding", "").lower():
        return Answer(status, fields, await _read_chunks(reader, body_bytes_max, pieces))
    length = int(fields.get("Content-Length", body_bytes_max))
    return Answer(status, fields, await _read_up_to(reader, min(length, body_bytes_max)))


async def _read_head(reader: asyncio.StreamReader, pieces: Pieces) -> bytes:
    head = bytearray()
    while len(head) < HEAD_BYTES_MAX:
        await pieces.add()
        line = await reader.readline()
        if not line.endswith(b"\n"):
            raise EOFError("the answer's head is cut off")
        head += line
        if line in (b"\r\n", b"\n"):
            return bytes(head)
    raise http.client.LineTooLong("head")


def _parse_head(head: bytes) -> tuple[int, http.client.HTTPMessage]:
    start, _, fields = head.partition(b"\n")
    version, _, rest = start.decode("latin-1").partition(" ")
    code = rest[:3]
    if not version.startswith("HTTP/1.") or not (code.isascii() and code.isdecimal() and len(code) == 3):
        raise http.client.BadStatusLine(repr(start[:100]))
    return int(code), http.client.parse_headers(io.BytesIO(fields))


async def _read_chunks(reader: asyncio.StreamReader, most: int, pieces: Pieces) -> bytes:
    body = bytearray()
    while len(body) < most and not pieces.spent:
        await pieces.add()
        size = int((await reader.readline()).partition(b";")[0], 16)
        if size <= 0:
            break
        body += await _read_up_to(reader, min(size, most - len(body)))
        await reader.readline()
    return bytes(body)


async def _read_up_to(reader: asyncio.StreamReader, most: int) -> bytes:
    found = bytearray()
    while len(found) < most and (piece := await reader.read(most - len(found))):
        found += piece
    return bytes(found)
