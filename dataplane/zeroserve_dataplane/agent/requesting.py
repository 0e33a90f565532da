"""One probe of one endpoint: HTTP, TCP, or gRPC's health protocol.

In: an `ActiveHealth` message, where to connect, the TLS context. Out: whether the endpoint is healthy, or why
it is not. Who calls: `probing`. Rules: a probe reads a bounded number of bytes and ends at its deadline; what
a hostile endpoint answers makes it unhealthy, nothing else.
"""

from __future__ import annotations

import asyncio
import http.client
import ssl
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass

import re2
from zeroserve_ir._pb import resources_pb2 as pb

from zeroserve_dataplane.agent.naming_places import is_socket
from zeroserve_dataplane.agent.reading_answers import Answer, read_answer

ANSWER_BYTES_MAX = 1 << 20
"""Of which the body is searched (Caddy reads without a limit)."""
REDIRECTS_MAX = 10


class UnhealthyError(Exception):
    """The endpoint is not healthy; says why."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a probe connects to."""

    host: str
    """Name, address, or a Unix socket's path or abstract name (`@…`), which has no port."""
    port: int
    name: str
    """The Host field, with its port."""
    tls: ssl.SSLContext | None = None
    server_name: str = ""
    http2: bool = False
    """Spoken without being asked for, where there is no TLS to choose it."""
    greeting: bytes = b""
    """What a connection begins with, before TLS: the header of an upstream that demands one."""


async def probe(health: pb.ActiveHealth, place: Place) -> None:
    """Return where the endpoint is healthy. UnhealthyError where it is not."""
    try:
        async with asyncio.timeout(health.timeout_ms / 1000):
            if health.protocol == pb.ActiveHealth.TCP:
                _, writer, _ = await connect(place)
                writer.close()
            elif health.protocol == pb.ActiveHealth.GRPC:
                # Loaded for those who need it.
                from zeroserve_dataplane.agent.requesting_grpc import check_grpc  # noqa: PLC0415

                await check_grpc(place)
            else:
                await _check_http(health, place)
    except TimeoutError as error:
        raise UnhealthyError("no answer in time") from error
    except (OSError, EOFError, http.client.HTTPException, ValueError, re2.error) as error:
        raise UnhealthyError(str(error) or type(error).__name__) from error


async def connect(place: Place) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bool]:
    """Return both directions, and whether HTTP/2 is spoken there."""
    if is_socket(place.host):
        # For the kernel an abstract name begins with NUL (unix(7)).
        path = f"\0{place.host[1:]}" if place.host.startswith("@") else place.host
        reader, writer = await asyncio.open_unix_connection(path, limit=ANSWER_BYTES_MAX)
    else:
        reader, writer = await asyncio.open_connection(place.host, place.port, limit=ANSWER_BYTES_MAX)
    http2 = place.http2
    try:
        writer.write(place.greeting)
        if place.tls is not None:
            await writer.start_tls(place.tls, server_hostname=place.server_name or place.host)
            http2 = writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
    except BaseException:
        writer.close()
        raise
    return reader, writer, http2


async def _check_http(health: pb.ActiveHealth, place: Place) -> None:
    target = health.uri if health.uri.startswith("/") else f"/{health.uri}"
    for _ in range(REDIRECTS_MAX if health.follow_redirects else 1):
        status, location, body = await _ask(health, place, target)
        if not health.follow_redirects or not (300 <= status < 400 and location):
            return _judge(health, status, body)
        moved = urllib.parse.urlsplit(urllib.parse.urljoin(f"http://{place.name}{target}", location))
        if moved.netloc != place.name:
            raise UnhealthyError("redirects to another host")
        target = urllib.parse.urlunsplit(("", "", moved.path or "/", moved.query, ""))
    raise UnhealthyError("redirects without end")


async def _ask(health: pb.ActiveHealth, place: Place, target: str) -> tuple[int, str, bytes]:
    body_bytes_max = ANSWER_BYTES_MAX if health.body_regexp else 0
    reader, writer, http2 = await connect(place)
    try:
        if http2:
            scheme = "https" if place.tls is not None else "http"
            answer = await _ask_http2(reader, writer, health, (scheme, place.name, target), body_bytes_max)
        else:
            writer.write(encode_request(health, place.name, target))
            answer = await read_answer(reader, health.method, body_bytes_max)
    finally:
        writer.close()
    return answer.status, answer.fields.get("Location", ""), answer.body


async def _ask_http2(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    health: pb.ActiveHealth,
    address: tuple[str, str, str],
    body_bytes_max: int,
) -> Answer:
    """`address`: scheme, authority and target."""
    # Loaded for those who need it.
    from zeroserve_dataplane.agent.requesting_http2 import exchange_http2  # noqa: PLC0415

    scheme, name, target = address
    host, *fields = _list_fields(health, name)
    pseudo = [(":method", health.method), (":scheme", scheme), (":authority", host[1]), (":path", target)]
    asked = [*pseudo, *((key.lower(), value) for key, value in fields)]
    return await exchange_http2(reader, writer, asked, health.body.encode(), body_bytes_max)


def encode_request(health: pb.ActiveHealth, name: str, target: str) -> bytes:
    """Return a probe's request. ValueError where a field would break out of its line."""
    fields = [*_list_fields(health, name), ("Connection", "close")]
    lines = [f"{health.method} {target} HTTP/1.1", *(f"{key}: {value}" for key, value in fields)]
    _refuse_breaks(lines)
    return "\r\n".join([*lines, "", ""]).encode() + health.body.encode()


def _list_fields(health: pb.ActiveHealth, name: str) -> list[tuple[str, str]]:
    """Return the fields of a probe, Host first."""
    given = [(header.key, value) for header in health.headers for value in header.values]
    replaced = {key.lower() for key, _ in given}
    fields = [("Host", next((value for key, value in given if key.lower() == "host"), name))]
    if "user-agent" not in replaced:
        fields.append(("User-Agent", "zeroserve-health"))
    fields += [(key, value) for key, value in given if key.lower() not in ("host", "connection")]
    if health.body:
        fields.append(("Content-Length", str(len(health.body.encode()))))
    _refuse_breaks(text for pair in fields for text in pair)
    return fields


def _refuse_breaks(texts: Iterable[str]) -> None:
    if any(char in text for text in texts for char in "\r\n\0"):
        raise ValueError("a line break in a field of the probe")


def _judge(health: pb.ActiveHealth, status: int, body: bytes) -> None:
    """Caddy's rules: the status asked for, or any of 2xx (healthchecks.go)."""
    if health.status:
        fits = status == health.status or (health.status < 100 and status // 100 == health.status)
    else:
        fits = 200 <= status < 300
    if not fits:
        raise UnhealthyError(f"status {status}")
    if health.body_regexp and not re2.search(health.body_regexp.encode(), body):
        raise UnhealthyError("the body does not match")
