"""Requests as clients of the ingress send them: single ones, and open-loop load that counts what went wrong.

Comes in: an address, a host name and, for HTTPS, the authority that signed its certificate. Goes out:
answers, or a report of load. Rule of the load: it never tries anything again, so whatever a client would
notice is in `failures`. A connection that the server ends after it announced so (`Connection: close`) is not
a failure; any other end is.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from cluster.clients import Client
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

TIMEOUT_SECONDS = 30.0
HEAD_BYTES_MAX = 64 * 1024
ECHO_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go; `authority` (PEM) makes them HTTPS, with the host name as SNI."""

    address: str
    host: str
    authority: bytes = b""
    port: int = 0

    @property
    def place(self) -> tuple[str, int]:
        """Address and port to connect to."""
        return self.address, self.port or (443 if self.authority else 80)

    def tls(self) -> ssl.SSLContext | None:
        """Return the context that verifies the server, or None for plain HTTP."""
        return ssl.create_default_context(cadata=self.authority.decode()) if self.authority else None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer; `certificate` is the server's (DER), empty without TLS."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    certificate: bytes = b""

    def json(self) -> dict[str, Any]:
        """Return the body of the demo backend: the request as it saw it."""
        found = json.loads(self.body)
        assert isinstance(found, dict), found
        return found


@dataclass(slots=True)
class Report:
    """What load met so far."""

    answered: int = 0
    announced_closes: int = 0
    failures: list[str] = field(default_factory=list)
    pods: set[str] = field(default_factory=set)

    def wait_for(self, more: int, seconds: float = 120) -> None:
        """Wait until so many more requests were answered."""
        wanted, deadline = self.answered + more, time.monotonic() + seconds
        while self.answered < wanted:
            assert time.monotonic() < deadline, f"load stands still: {self}"
            time.sleep(0.05)


def fetch(client: Client, target: Target, path: str = "/", method: str = "GET", **headers: str) -> Answer:
    """Send one request on a connection of its own, from inside the cluster's network."""
    return client.in_network(lambda: _fetch(target, path, method, headers))


def _fetch(target: Target, path: str, method: str, headers: Mapping[str, str]) -> Answer:
    connected = socket.create_connection(target.place, TIMEOUT_SECONDS)
    context = target.tls()
    if context is not None:
        connected = context.wrap_socket(connected, server_hostname=target.host)
    connection = http.client.HTTPConnection(target.host)
    connection.sock = connected
    with connected:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers={"Host": target.host} | sent)
        response = connection.getresponse()
        certificate = connected.getpeercert(binary_form=True) if isinstance(connected, ssl.SSLSocket) else b""
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, response.read(), certificate or b"")


@contextmanager
def load(
    client: Client, target: Target, path: str = "/load", requests_per_second: int = 100, connections: int = 10
) -> Iterator[Report]:
    """Send requests at a constant rate on keep-alive connections until the block ends."""
    plan = _Plan(target, path, connections / requests_per_second, connections, Report(), threading.Event())
    thread = threading.Thread(target=client.in_network, args=(lambda: asyncio.run(_load(plan)),))
    thread.start()
    try:
        plan.report.wait_for(connections)
        yield plan.report
        plan.report.wait_for(connections)
    finally:
        plan.stop.set()
        thread.join()


@contextmanager
def echoing(client: Client, target: Target, sockets: int = 10, path: str = "/ws") -> Iterator[Report]:
    """Hold WebSockets open until the block ends; each sends a message twice a second and expects it back."""
    report, stop = Report(), threading.Event()

    async def all_sockets() -> None:
        await asyncio.gather(*(_echo(target, path, report, stop) for _ in range(sockets)))

    thread = threading.Thread(target=client.in_network, args=(lambda: asyncio.run(all_sockets()),))
    thread.start()
    try:
        report.wait_for(sockets)
        yield report
    finally:
        stop.set()
        thread.join()


async def _echo(target: Target, path: str, report: Report, stop: threading.Event) -> None:
    context = target.tls()
    host, port = target.place
    scheme = "wss" if context is not None else "ws"
    try:
        async with connect(f"{scheme}://{target.host}{path}", host=host, port=port, ssl=context) as channel:
            while not stop.is_set():
                sent = f"message {report.answered}"
                await channel.send(sent)
                got = await asyncio.wait_for(channel.recv(), TIMEOUT_SECONDS)
                if got != sent:
                    raise ValueError(f"sent {sent!r}, got {got!r}")
                report.answered += 1
                await asyncio.sleep(ECHO_SECONDS)
    except (OSError, ValueError, TimeoutError, WebSocketException) as error:
        report.failures.append(f"WebSocket: {type(error).__name__}: {error}")


@dataclass(frozen=True, slots=True)
class _Plan:
    target: Target
    path: str
    interval_seconds: float  # between two requests on one connection
    connections: int
    report: Report
    stop: threading.Event


async def _load(plan: _Plan) -> None:
    await asyncio.gather(*(_one_connection(plan, number) for number in range(plan.connections)))


async def _one_connection(plan: _Plan, number: int) -> None:
    """Send at fixed times, whatever became of the request before; connect again after an end."""
    started = time.monotonic() + plan.interval_seconds * number / plan.connections
    report = plan.report
    stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    sequence = 0
    while not plan.stop.is_set():
        sequence += 1
        await asyncio.sleep(max(0.0, started + sequence * plan.interval_seconds - time.monotonic()))
        request = f"{plan.path}/{number}/{sequence}"
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                if stream is None:
                    stream = await _connect(plan.target)
                pod, closes = await _exchange(stream, plan.target.host, request)
        except (OSError, EOFError, ValueError, TimeoutError, asyncio.LimitOverrunError) as error:
            report.failures.append(f"{request}: {type(error).__name__}: {error}")
            closes = True
        else:
            report.answered += 1
            report.pods.add(pod)
            report.announced_closes += closes
        if closes and stream is not None:
            stream[1].close()
            stream = None
    if stream is not None:
        stream[1].close()
        with suppress(OSError):
            await stream[1].wait_closed()


async def _connect(target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = target.tls()
    name = target.host if context is not None else None
    address, port = target.place
    return await asyncio.open_connection(
        address, port, ssl=context, server_hostname=name, limit=HEAD_BYTES_MAX
    )


async def _exchange(
    stream: tuple[asyncio.StreamReader, asyncio.StreamWriter], host: str, path: str
) -> tuple[str, bool]:
    """Send one request; return the Pod that answered, and whether the connection ends; raise if not 200."""
    reader, writer = stream
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    await writer.drain()
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    lines = head.split("\r\n")
    fields = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
    }
    if "content-length" not in fields:
        raise ValueError(f"no length in {head!r}")
    body = await reader.readexactly(int(fields["content-length"]))
    if not lines[0].startswith("HTTP/1.1 200"):
        raise ValueError(f"{lines[0]}: {body[:200]!r}")
    seen = json.loads(body)
    if seen["path"] != path:
        raise ValueError(f"the answer to another request: {seen['path']}")
    return seen["pod"], fields.get("connection", "").lower() == "close"
