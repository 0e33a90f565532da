"""What a proxy is given to serve: addresses, hosts, routes, backends. Built by the measurements, read by
each proxy.

Rule: every proxy gets the same scene; how it is written down is the proxy's own affair.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

LOOPBACK = "127.0.0.1"
HOST_PATTERN = "h{}.bench.test"


@dataclass(frozen=True, slots=True)
class Route:
    """Paths that start with `prefix` (it ends in a slash) go to backend `backend` (counted from 0)."""

    prefix: str
    backend: int


# Four prefixes to four backends: the shape of an ordinary site, and a wrong match gives a wrong mark.
ROUTES = (Route("/a/", 0), Route("/b/", 1), Route("/c/", 2), Route("/", 3))


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files of the one certificate that all proxies present."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Scene:
    """One proxy's task; the proxy listens on the loopback address only.

    `files`: None, or the directory that every host serves in place of `routes`, with `X-Backend: 1` added.
    `grpc`: HTTP/2 to the client, and to the backends without TLS.
    `access_log`: each request is a line of JSON on standard error, as by `log` alone, sent to a file.
    """

    directory: Path
    tls: bool
    port: int
    admin_port: int
    hosts: tuple[str, ...]
    routes: tuple[Route, ...]
    backend_ports: tuple[int, ...]
    certificate: Certificate
    files: Path | None = None
    grpc: bool = False
    access_log: bool = False

    def upstream(self, route: Route) -> str:
        """The `ip:port` that answers this route."""
        return f"{LOOPBACK}:{self.backend_ports[route.backend]}"


def host_names(count: int) -> tuple[str, ...]:
    """The names of hosts 0 to `count` - 1, as the load generator forms them."""
    return tuple(HOST_PATTERN.format(number) for number in range(count))
