"""Clients that count everything: HTTP/1.1, HTTP/2 and WebSocket; each answer must bear its request's number.

Called by `hitless` and `soaking`. Rule: nothing is tried again but what a peer said it has not taken (a
stream above GOAWAY's last one, RFC 9113 6.8); so whatever a user would notice is in the tally.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import itertools
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from hpack import Decoder, Encoder
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from bench.scenes import LOOPBACK

ANSWER_TIMEOUT_S = 30.0
"""Above any pause of a restart on a loaded machine; what takes longer hangs, and is lost."""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
REFUSED_STREAM = 7
FRAME_HEAD_BYTES = 9
CLOSED = (OSError, EOFError, asyncio.LimitOverrunError, ssl.SSLError)


class NotTakenError(Exception):
    """The peer said that it has not touched the request."""


class LostError(Exception):
    """There is no whole and right answer; says why."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A request without its answer, and when: monotonic seconds.

    `connected_s`: when its connection was begun: the kernel has it before this program hears of it.
    """

    kind: str
    connected_s: float
    started_s: float
    ended_s: float
    reason: str


@dataclass(slots=True)
class Tally:
    """What all clients met."""

    answered: collections.Counter[str] = field(default_factory=collections.Counter)
    announced: collections.Counter[str] = field(default_factory=collections.Counter)
    """Ends that the server told before: `Connection: close`, GOAWAY, WebSocket's close frame."""
    closed_idle: int = 0
    not_taken: int = 0
    refused: int = 0
    losses: list[Loss] = field(default_factory=list)
    longest_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a client connects. `authority`: None without TLS."""

    port: int
    host: str
    authority: Path | None = None

    def context(self, protocol: str) -> ssl.SSLContext | None:
        """The TLS settings for one protocol."""
        if self.authority is None:
            return None
        context = ssl.create_default_context(cafile=str(self.authority))
        context.set_alpn_protocols([protocol])
        return context

    async def open(self, protocol: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect, with the handshake."""
        context = self.context(protocol)
        name = self.host if context else None
        return await asyncio.open_connection(LOOPBACK, self.port, ssl=context, server_hostname=name)


class Http1:
    """One connection of HTTP/1.1."""

    def __init__(self, host: str, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self._host = host
        self._reader, self._writer = streams
        self.announced = ""

    @staticmethod
    async def open(place: Place) -> Http1:
        """Connect."""
        return Http1(place.host, await place.open("http/1.1"))

    @property
    def usable(self) -> bool:
        """Nothing speaks against another request."""
        ended = self._reader.at_eof() or self._reader.exception() is not None
        return not (self.announced or ended or self._writer.is_closing())

    async def ask(self, path: str, body: bytes) -> bytes:
        """Send a request; its answer's body. LostError when it is not 200 or not whole."""
        method = "POST" if body else "GET"
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        await self._writer.drain()
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if fields.get("connection", "").lower() == "close":
            self.announced = "Connection: close"
        answer = await self._reader.readexactly(int(fields["content-length"]))
        if not lines[0].startswith("HTTP/1.1 200"):
            raise LostError(lines[0])
        return answer

    async def close(self) -> None:
        """Let go of it."""
        self._writer.close()
        with contextlib.suppress(*CLOSED):
            await self._writer.wait_closed()


@dataclass(slots=True)
class _Stream:
    done: asyncio.Future[None]
    status: str = ""
    body: bytes = b""


class Http2:
    """One connection of HTTP/2 with several streams at a time; streams go on after GOAWAY."""

    def __init__(self, host: str, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self._host = host
        self._reader, self._writer = streams
        self._encoder, self._decoder = Encoder(), Decoder()
        self._streams: dict[int, _Stream] = {}
        self._next = 1
        self._ended = False
        self.announced = ""
        self._writer.write(PREFACE + SettingsFrame(0).serialize())
        self._receiving = asyncio.create_task(self._receive())

    @staticmethod
    async def open(place: Place) -> Http2:
        """Connect."""
        return Http2(place.host, await place.open("h2"))

    @property
    def usable(self) -> bool:
        """Nothing speaks against another stream."""
        return not (self.announced or self._ended)

    async def ask(self, path: str, body: bytes) -> bytes:
        """Send a request without a body; its answer's body. LostError when it is not 200."""
        assert not body, "a body needs flow control, which this client has not"
        status, answer = await self.fetch(path)
        if status != "200":
            raise LostError(f"status {status}")
        return answer

    async def fetch(self, path: str) -> tuple[str, bytes]:
        """Send a request without a body; its answer's status and body."""
        if not self.usable:
            raise NotTakenError
        stream, number = _Stream(asyncio.get_running_loop().create_future()), self._next
        self._next += 2
        self._streams[number] = stream
        scheme = "https" if self._writer.get_extra_info("ssl_object") else "http"
        fields = [(":method", "GET"), (":scheme", scheme), (":authority", self._host), (":path", path)]
        frame = HeadersFrame(number, self._encoder.encode(fields), flags=["END_STREAM", "END_HEADERS"])
        self._writer.write(frame.serialize())
        await stream.done
        return stream.status, stream.body

    async def close(self) -> None:
        """Let go of it once its streams have ended."""
        waiting = [stream.done for stream in self._streams.values()]
        await asyncio.gather(*waiting, return_exceptions=True)
        self._receiving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._receiving
        self._writer.close()
        with contextlib.suppress(*CLOSED):
            await self._writer.wait_closed()

    async def _receive(self) -> None:
        error: Exception = LostError("the connection ended")
        try:
            while True:
                head = await self._reader.readexactly(FRAME_HEAD_BYTES)
                frame, length = Frame.parse_frame_header(memoryview(head))
                frame.parse_body(memoryview(await self._reader.readexactly(length)))
                self._take(frame)
        except CLOSED as closed:
            error = LostError(f"{type(closed).__name__}: {closed}")
        finally:
            self._ended = True
            for number in list(self._streams):
                self._fail(number, error)

    def _take(self, frame: Frame) -> None:
        match frame:
            case SettingsFrame() if "ACK" not in frame.flags:
                self._writer.write(SettingsFrame(0, flags=["ACK"]).serialize())
            case PingFrame() if "ACK" not in frame.flags:
                self._writer.write(PingFrame(0, frame.opaque_data, flags=["ACK"]).serialize())
            case GoAwayFrame():
                self.announced = "GOAWAY"
                for number in [number for number in self._streams if number > frame.last_stream_id]:
                    self._fail(number, NotTakenError())
            case RstStreamFrame():
                refused = frame.error_code == REFUSED_STREAM
                reason = NotTakenError() if refused else LostError(f"RST_STREAM {frame.error_code}")
                self._fail(frame.stream_id, reason)
            case HeadersFrame():
                # Each block counts for the decoder's table, also one of a stream that nobody waits for.
                fields = self._decoder.decode(frame.data, raw=True)
                if stream := self._streams.get(frame.stream_id):
                    found = [bytes(value).decode() for name, value in fields if name == b":status"]
                    stream.status = (found or [stream.status])[0]
            case DataFrame():
                if stream := self._streams.get(frame.stream_id):
                    stream.body += frame.data
                if frame.flow_controlled_length:
                    self._writer.write(WindowUpdateFrame(0, frame.flow_controlled_length).serialize())
        if "END_STREAM" in frame.flags and (stream := self._streams.pop(frame.stream_id, None)):
            stream.done.set_result(None)

    def _fail(self, number: int, error: Exception) -> None:
        stream = self._streams.pop(number, None)
        if stream is not None and not stream.done.done():
            stream.done.set_exception(error)


Connection = Http1 | Http2


@dataclass(slots=True)
class Asking:
    """One client: asks again and again, on connections of its own."""

    kind: str
    open: Callable[[Place], Awaitable[Connection]]
    place: Place
    expect: Callable[[str, bytes], bytes]
    tally: Tally
    interval_s: float
    parallel: int = 1
    body: bytes = b""
    keeps: bool = True
    """False: a connection for each request."""
    numbers: itertools.count[int] = field(default_factory=itertools.count)
    connection: Connection | None = None
    connected_s: float = 0.0
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    closing: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self, stop: asyncio.Event) -> None:
        """Ask until told to stop; `parallel` requests at a time on one connection."""
        while not stop.is_set():
            await asyncio.gather(*(self._ask_once() for _ in range(self.parallel)))
            if self.connection is not None and not (self.keeps and self.connection.usable):
                self._let_go()
            await asyncio.sleep(self.interval_s)
        self._let_go()
        await asyncio.gather(*self.closing)

    def _let_go(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            if connection.announced:
                self.tally.announced[connection.announced] += 1
            elif self.keeps and not connection.usable:
                self.tally.closed_idle += 1
            task = asyncio.create_task(connection.close())
            self.closing.add(task)
            task.add_done_callback(self.closing.discard)

    async def _ask_once(self) -> None:
        path = f"/{self.kind.replace(' ', '-')}/{id(self)}/{next(self.numbers)}"
        started_s = time.monotonic()
        while True:
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    answer = await self._ask_on_connection(path)
                if answer != self.expect(path, self.body):
                    raise LostError(f"the answer to something else: {answer[:80]!r}")
            except NotTakenError:
                self.tally.not_taken += 1
                continue
            except (LostError, TimeoutError, ValueError, KeyError, *CLOSED) as error:
                self._lose(started_s, error)
            else:
                self.tally.answered[self.kind] += 1
                self.tally.longest_s = max(self.tally.longest_s, time.monotonic() - started_s)
            return

    async def _ask_on_connection(self, path: str) -> bytes:
        async with self.opening:
            if self.connection is None or not self.connection.usable:
                self._let_go()
                self.connected_s = time.monotonic()
                self.connection = await self.open(self.place)
            connection = self.connection
        return await connection.ask(path, self.body)

    def _lose(self, started_s: float, error: Exception) -> None:
        if isinstance(error, ConnectionRefusedError):
            self.tally.refused += 1
        reason = f"{type(error).__name__}: {error}"
        self.tally.losses.append(Loss(self.kind, self.connected_s, started_s, time.monotonic(), reason))


async def echo_without_end(
    place: Place, path: str, tally: Tally, interval_s: float, stop: asyncio.Event
) -> None:
    """Hold a WebSocket, with an echo each interval; a new one when it has ended."""
    kind = "websocket"
    while not stop.is_set():
        started_s = time.monotonic()
        try:
            channel = await _open_channel(place, path)
        except (OSError, WebSocketException, TimeoutError) as error:
            tally.refused += isinstance(error, ConnectionRefusedError)
            reason = f"{type(error).__name__}: {error}"
            tally.losses.append(Loss(kind, started_s, started_s, time.monotonic(), reason))
            continue
        try:
            for number in itertools.count():
                sent = f"message {number}"
                await channel.send(sent)
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    received = await channel.recv()
                if received != sent:
                    raise LostError("another message came back")
                tally.answered[kind] += 1
                if stop.is_set():
                    break
                await asyncio.sleep(interval_s)
        except (OSError, WebSocketException, LostError, TimeoutError):
            # A tunnel cannot outlive its engine: counted apart, it is no request.
            tally.announced["websocket ended"] += 1
        finally:
            with contextlib.suppress(OSError, WebSocketException, TimeoutError):
                await channel.close()


async def _open_channel(place: Place, path: str) -> ClientConnection:
    context = place.context("http/1.1")
    scheme = "wss" if context else "ws"
    uri = f"{scheme}://{place.host}:{place.port}{path}"
    return await connect(uri, host=LOOPBACK, port=place.port, ssl=context, open_timeout=ANSWER_TIMEOUT_S)
