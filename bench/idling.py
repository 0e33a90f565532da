"""What an idle TLS connection costs: the engine's memory before and after many of them, by their number.

In: how many, of which protocols. Out: KiB of each, of the engine's own memory. Called by the command line.
Rules: each connection has a request behind it, proxied; those of the warm-up, which fill the engine's pools,
are counted on both sides. The kernel's sockets and the client are not the engine's: the kernel's share is
named beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import resource
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpack import Encoder
from hyperframe.frame import DataFrame, Frame, HeadersFrame, SettingsFrame

from bench.answering import answering
from bench.clients import FRAME_HEAD_BYTES, PREFACE
from bench.guarding import require_free_port
from bench.nodes import Node, running
from bench.recording import write_json
from bench.scenes import LOOPBACK, Certificate, host_names

PROTOCOLS = {"h1": "http/1.1", "h2": "h2"}
KIB_MAX = 6.0
"""What is promised of each protocol."""
WARM_UP_CONNECTIONS = 500
DESCRIPTORS_SPARE = 256
PATIENCE_S = 60.0
REST_S = 12.0
"""The engine looks for idle connections when their first deadlines, of 5 and 10 seconds, have passed."""
KIB_PER_MIB = 1024
ANSWER_BYTES_MAX = 1 << 16


@dataclass(frozen=True, slots=True)
class Footprint:
    """The engine's anonymous memory, which is all that connections take, and the kernel's for objects."""

    engine_mib: float
    kernel_mib: float


@dataclass(frozen=True, slots=True)
class IdleReport:
    """What one protocol's connections took."""

    protocol: str
    connections: int
    before_mib: float
    after_mib: float
    kernel_kib_each: float

    def kib_each(self) -> float:
        """KiB of one connection."""
        return (self.after_mib - self.before_mib) * KIB_PER_MIB / self.connections


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `idle`."""
    parser.add_argument("--count", type=int, default=10_000, help="connections of each protocol")
    parser.add_argument("--json", type=Path)


def run(
    options: argparse.Namespace, cache: Path, certificate: Certificate, say: Callable[[str], None]
) -> int:
    """Measure and print; 0 when every connection answered and costs no more than is promised."""
    for port in (options.port, options.port + 1, options.port + 2):
        require_free_port(port)
    _allow_descriptors(options.count + WARM_UP_CONNECTIONS + DESCRIPTORS_SPARE)
    measure = _measure(options, cache / "run" / "idle", certificate, say)
    reports = asyncio.run(measure)
    print(render(reports))
    write_json(options.json, reports)
    return 0 if all(one.kib_each() <= KIB_MAX for one in reports) else 1


async def _measure(
    options: argparse.Namespace, directory: Path, certificate: Certificate, say: Callable[[str], None]
) -> list[IdleReport]:
    (host,) = host_names(1)
    site = (
        "{\n\tadmin off\n\tauto_https off\n\tservers {\n\t\ttimeouts {\n\t\t\tidle 1h\n\t\t}\n\t}\n}\n"
        f"https://{host}:{options.port} {{\n\tbind {LOOPBACK}\n"
        f"\ttls {certificate.certificate} {certificate.key}\n\treverse_proxy {LOOPBACK}:{options.port + 1}\n"
        "}\n"
    )
    reports = []
    async with answering((options.port + 1,), options.port + 2):
        for protocol in PROTOCOLS:
            say(f"{protocol}: {options.count:,} connections")
            # A node for each: memory that one protocol gave back is not counted for the other.
            async with running(directory, site, options.port, 1) as node:
                reports.append(
                    await _count(node, Clients(options.port, host, certificate, protocol), options)
                )
    return reports


async def _count(node: Node, clients: Clients, options: argparse.Namespace) -> IdleReport:
    with clients:
        await asyncio.to_thread(clients.open, WARM_UP_CONNECTIONS)
        before = await _settled(node)
        await asyncio.to_thread(clients.open, options.count)
        after = await _settled(node)
        return IdleReport(
            protocol=clients.protocol,
            connections=options.count,
            before_mib=before.engine_mib,
            after_mib=after.engine_mib,
            # A connection on loopback has both its ends here.
            kernel_kib_each=(after.kernel_mib - before.kernel_mib) * KIB_PER_MIB / options.count / 2,
        )


async def _settled(node: Node) -> Footprint:
    await asyncio.sleep(REST_S)
    engine = await node.engine()
    return Footprint(read_anonymous_mib(Path(f"/proc/{engine.pid}/smaps_rollup").read_text()), _kernel_mib())


def read_anonymous_mib(smaps_rollup: str) -> float:
    """`Pss_Anon` of `/proc/PID/smaps_rollup` (proc_pid_smaps(5)), what is shared by its share."""
    for line in smaps_rollup.splitlines():
        if line.startswith("Pss_Anon:"):
            return int(line.split()[1]) / KIB_PER_MIB
    raise ValueError("no Pss_Anon")


def _kernel_mib() -> float:
    """The kernel's memory for objects (`Slab` of proc_meminfo(5)), sockets among them."""
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return int(lines["Slab"].split()[0]) / KIB_PER_MIB


class Clients:
    """Connections of one protocol, kept open until left."""

    def __init__(self, port: int, host: str, certificate: Certificate, protocol: str) -> None:
        self.protocol = protocol
        self._port = port
        self._host = host
        self._context = ssl.create_default_context(cafile=certificate.certificate)
        self._context.set_alpn_protocols([PROTOCOLS[protocol]])
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Clients:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._held.close()

    def open(self, count: int) -> None:
        """Open so many, one after the other, with a request each. ValueError when one is answered wrong."""
        for _ in range(count):
            plain = socket.create_connection((LOOPBACK, self._port), timeout=PATIENCE_S)
            connection = self._context.wrap_socket(plain, server_hostname=self._host)
            self._held.enter_context(connection)
            if self.protocol == "h2":
                _ask_http2(connection, self._host)
            else:
                _ask_http1(connection, self._host)


def _ask_http1(connection: ssl.SSLSocket, host: str) -> None:
    connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer or not answer.endswith(b"\n"):
        answer += _read(connection)
    if not answer.startswith(b"HTTP/1.1 200"):
        raise ValueError(f"not answered: {answer[:80]!r}")


def _ask_http2(connection: ssl.SSLSocket, host: str) -> None:
    fields = [(":method", "GET"), (":scheme", "https"), (":authority", host), (":path", "/")]
    head = HeadersFrame(1, Encoder().encode(fields), flags=["END_HEADERS", "END_STREAM"])
    acknowledgement = SettingsFrame(0, flags=["ACK"])
    connection.sendall(
        PREFACE + SettingsFrame(0).serialize() + head.serialize() + acknowledgement.serialize()
    )
    received = b""
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        received += _read(connection)
        while len(received) >= FRAME_HEAD_BYTES:
            frame, length = Frame.parse_frame_header(memoryview(received)[:FRAME_HEAD_BYTES])
            if len(received) < FRAME_HEAD_BYTES + length:
                break
            received = received[FRAME_HEAD_BYTES + length :]
            if isinstance(frame, DataFrame) and "END_STREAM" in frame.flags:
                return
    raise ValueError("not answered")


def _read(connection: ssl.SSLSocket) -> bytes:
    if piece := connection.recv(ANSWER_BYTES_MAX):
        return piece
    raise ValueError("the engine closed a connection")


def _allow_descriptors(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


def render(reports: Sequence[IdleReport]) -> str:
    """The table for people."""
    lines = [
        "| protocol | connections | engine before, MiB | after, MiB | KiB each | kernel besides, KiB |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {one.protocol} | {one.connections:,} | {one.before_mib:.1f} | {one.after_mib:.1f} "
        f"| {one.kib_each():.2f} | {one.kernel_kib_each:.1f} |"
        for one in reports
    ]
    return "\n".join(lines)
