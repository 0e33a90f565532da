"""The workloads of the comparison, as data. Read by `comparing`; each row is one table of the report."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of traffic. `paths`: path and the mark (backend number from 1) its answer must bear.

    `serves_files`: the proxy answers from `FILES` on its disk, with mark 1, and asks no backend.
    `grpc`: unary calls of gRPC over HTTP/2 on both sides, several at a time on each connection.
    """

    name: str
    title: str
    tls: bool
    hosts: int
    connections: int
    handshake_per_request: bool
    paths: tuple[tuple[str, int], ...]
    serves_files: bool = False
    grpc: bool = False


ONE_PATH = (("/a/x", 1),)
FOUR_PATHS = (("/a/x", 1), ("/b/x", 2), ("/c/x", 3), ("/x", 4))

# Name and length in bytes of each file that a scene with files has.
FILES = {"1k": 1024, "100k": 100 * 1024, "10m": 10 * 1024 * 1024}
FILE_PATHS = tuple((f"/{name}", 1) for name in FILES)


def _file_workload(name: str, tls: bool, connections: int) -> Workload:
    protocol, suffix = ("HTTPS", "-https") if tls else ("plain HTTP", "-http")
    title = f"files of {FILES[name]:,} bytes, {protocol}, keep-alive, {connections} connections"
    return Workload(
        f"file-{name}{suffix}", title, tls, 1, connections, False, ((f"/{name}", 1),), serves_files=True
    )


WORKLOADS = (
    Workload("https", "HTTPS, keep-alive, 64 connections", True, 1, 64, False, ONE_PATH),
    Workload("http", "plain HTTP, keep-alive, 64 connections", False, 1, 64, False, ONE_PATH),
    Workload("handshake", "full TLS 1.3 handshake per request, 32 at a time", True, 1, 32, True, ONE_PATH),
    Workload("hosts-1", "HTTPS, keep-alive, 1 host of 4 paths", True, 1, 64, False, FOUR_PATHS),
    Workload(
        "hosts-10000", "HTTPS, keep-alive, 10,000 hosts of 4 paths", True, 10_000, 64, False, FOUR_PATHS
    ),
    Workload("grpc", "unary gRPC, TLS, 8 connections of 16 calls", True, 1, 8, False, ONE_PATH, grpc=True),
    _file_workload("1k", False, 64),
    _file_workload("1k", True, 64),
    _file_workload("100k", False, 64),
    _file_workload("100k", True, 64),
    _file_workload("10m", False, 16),
    _file_workload("10m", True, 16),
)


def workload_named(name: str) -> Workload:
    """The workload of that name; ValueError names those that exist."""
    for workload in WORKLOADS:
        if workload.name == name:
            return workload
    raise ValueError(f"no workload `{name}`; there are {', '.join(known.name for known in WORKLOADS)}")
