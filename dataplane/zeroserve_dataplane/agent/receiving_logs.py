"""Log lines of the engine that go to files and over the network.

In: frames on a Unix socket (u32 length, u16 length of the sink's name, name, lines; little-endian), the
`Logger` messages that say what a sink is. Out: lines, where they belong. Who calls: the embedded node, and
the agent of a cluster, whose nodes have spans for it and no other lines. Rules: the engine opens no files and
no connections for logs: it could neither roll a file nor be confined otherwise; what is written is written by
this process, with its owner's rights. A sink that fails is told once and tried again; its lines meanwhile go
to standard error (network) or are lost (files).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from zeroserve_ir._pb import resources_pb2 as pb

from zeroserve_dataplane.agent import exporting_spans
from zeroserve_dataplane.agent.private_sockets import is_of_this_user, listen_privately
from zeroserve_dataplane.agent.rolling import RollingFile, RollingSettings

logger = logging.getLogger(__name__)

FRAME_BYTES_MAX = 16 << 20
"""A batch of an engine is 64 KiB and one line at most, and lines are shorter than heads."""
TICK_S = 1.0
REDIAL_S = 10.0


class NetSink:
    """A connection that is dialled again when it breaks (Caddy: netwriter.go)."""

    def __init__(self, writer: Mapping[str, Any]) -> None:
        network, host, port = _split_address(str(writer.get("address", "")))
        self._address: tuple[str, int] | str = host if network.startswith("unix") else (host, port)
        self._kind = socket.SOCK_DGRAM if network in ("udp", "unixgram") else socket.SOCK_STREAM
        self._timeout_s = writer.get("dial_timeout", 0) / 1e9 or None
        self._socket: socket.socket | None = None
        self._dialled_at = 0.0
        self._dial()

    def write(self, lines: bytes) -> None:
        """Send the lines, each by itself where they are datagrams."""
        if self._socket is None and time.monotonic() - self._dialled_at > REDIAL_S:
            self._dial()
        if self._socket is None:
            sys.stderr.buffer.write(lines)
            return
        try:
            for part in lines.splitlines(keepends=True) if self._kind is socket.SOCK_DGRAM else (lines,):
                self._socket.sendall(part)
        except OSError as error:
            logger.error("log lines to %s: %s", self._address, error)
            self.close()
            sys.stderr.buffer.write(lines)

    def roll_when_due(self) -> None:
        """Nothing is rolled."""

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _dial(self) -> None:
        self._dialled_at = time.monotonic()
        try:
            if isinstance(self._address, str):
                dialled = socket.socket(socket.AF_UNIX, self._kind)
                dialled.settimeout(self._timeout_s)
                dialled.connect(self._address)
            elif self._kind is socket.SOCK_DGRAM:
                host, port = self._address
                found = socket.getaddrinfo(host, port, type=self._kind)[0]
                dialled = socket.socket(found[0], self._kind)
                dialled.connect(found[4])
            else:
                dialled = socket.create_connection(self._address, self._timeout_s)
        except OSError as error:
            logger.error("log lines to %s: %s", self._address, error)
            return
        dialled.settimeout(REDIAL_S)
        self._socket = dialled


def _split_address(address: str) -> tuple[str, str, int]:
    """Return network, host or path, and port of Caddy's network address."""
    network, slash, rest = address.partition("/")
    if not slash:
        network, rest = "tcp", address
    if network.startswith("unix"):
        return network, rest, 0
    host, _, port = rest.rpartition(":")
    return network.rstrip("46"), host.strip("[]") or "localhost", int(port) if port.isdecimal() else 0


Sink = RollingFile | NetSink


def open_sink(writer: dict[str, Any]) -> Sink:
    """Open what Caddy's JSON of a writer describes; OSError or ValueError where that cannot be."""
    if writer["output"] == "net":
        return NetSink(writer)
    name = re.sub(r"\{env\.([^{}]*)\}", lambda found: os.environ.get(found[1], ""), writer["filename"])
    return RollingFile(RollingSettings.of(writer | {"filename": name}))


class LogReceiver:
    """Threads that take what engines send; `set_loggers` says what the sinks are."""

    def __init__(self, path: Path, spans: exporting_spans.SpanSink | None = None) -> None:
        """Listen at a path, in place of what was there. OSError."""
        self.path = path
        self._lock = threading.Lock()
        self._sinks: dict[str, tuple[str, Sink]] = {}
        self._former: set[str] = set()
        self.spans = spans or exporting_spans.SpanSink()
        self._listener = listen_privately(path)
        self._listener.settimeout(TICK_S)
        self._closing = False
        self._thread = threading.Thread(target=self._accept, name="log-receiver", daemon=True)
        self._readers: list[threading.Thread] = []
        self._thread.start()

    def set_loggers(self, loggers: Iterable[pb.Logger]) -> None:
        """Open the sinks of a configuration; those of the one before stay for what is under way."""
        wanted = {one.sink: one.writer for one in loggers if one.output == pb.LOG_AGENT}
        with self._lock:
            for name in self._sinks.keys() - wanted.keys() - self._former:
                self._sinks.pop(name)[1].close()
            self._former = set(wanted)
            for name, writer in wanted.items():
                if name in self._sinks and self._sinks[name][0] == writer:
                    continue
                if name in self._sinks:
                    self._sinks.pop(name)[1].close()
                try:
                    self._sinks[name] = (writer, open_sink(json.loads(writer)))
                except (OSError, ValueError) as error:
                    logger.error("lines for the log %s are lost: %s", name, error)

    def close(self, timeout_s: float = 2.0) -> None:
        """Take what engines sent until they are gone, and close all sinks."""
        deadline = time.monotonic() + timeout_s
        # Connections that wait are accepted still: an engine that ended may have said all of its lines there.
        self._closing = True
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as waker:
            waker.settimeout(timeout_s)
            waker.connect(str(self.path))
        self._thread.join(timeout_s)
        self._listener.close()
        for reader in self._readers:
            reader.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            for _, sink in self._sinks.values():
                sink.close()
            self._sinks = {}
        self.spans.close(timeout_s)

    def _accept(self) -> None:
        while True:
            try:
                # Where `close` waited for long enough, the listener is closed already.
                if self._closing:
                    self._listener.setblocking(False)
                connection, _ = self._listener.accept()
            except TimeoutError:
                self._tick()
                continue
            except OSError:
                return
            if not is_of_this_user(connection):
                connection.close()
                continue
            reader = threading.Thread(target=self._read, args=(connection,), name="log-reader", daemon=True)
            self._readers = [one for one in self._readers if one.is_alive()] + [reader]
            reader.start()

    def _tick(self) -> None:
        with self._lock:
            for name, (_, sink) in self._sinks.items():
                try:
                    sink.roll_when_due()
                except OSError as error:
                    logger.error("log %s: %s", name, error)

    def _read(self, connection: socket.socket) -> None:
        connection.settimeout(None)
        with connection, connection.makefile("rb", buffering=1 << 18) as stream, contextlib.suppress(OSError):
            while frame := read_frame(stream):
                self._write(*frame)

    def _write(self, name: str, lines: bytes) -> None:
        if name == exporting_spans.SINK:
            self.spans.write(lines)
            return
        with self._lock:
            found = self._sinks.get(name)
            if found is None:
                return
            try:
                found[1].write(lines)
            except OSError as error:
                logger.error("log %s: %s", name, error)


def read_frame(stream: Any) -> tuple[str, bytes] | None:
    """Return sink and lines of one frame; None at the end, and where what comes is no frame."""
    head = stream.read(6)
    if len(head) < 6:
        return None
    length, name_length = struct.unpack("<IH", head)
    if not 2 + name_length <= length <= FRAME_BYTES_MAX:
        return None
    body = stream.read(length - 2)
    if len(body) < length - 2:
        return None
    return body[:name_length].decode(errors="replace"), body[name_length:]
