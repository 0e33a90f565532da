"""Arguments for ports of TCP and UDP that lead to Services: of `zeroserve operator` and `zeroserve dev`."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable

from zeroserve_operator.building.streams import read_stream
from zeroserve_operator.settings import ListenerSettings, StreamSettings


def add_stream_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--tcp-service` and `--udp-service`."""
    for protocol in ("tcp", "udp"):
        parser.add_argument(
            f"--{protocol}-service",
            action="append",
            default=[],
            metavar="PORT=NAMESPACE/SERVICE:PORT",
            help=f"port of {protocol.upper()} that leads to a Service, unread",
        )


def read_streams(
    arguments: argparse.Namespace, listeners: Iterable[ListenerSettings], *, local: bool = False
) -> tuple[StreamSettings, ...]:
    """Return the ports that lead to Services; exits where one cannot be read, or is taken."""
    try:
        found = [read_stream(text, datagrams=False, local=local) for text in arguments.tcp_service]
        found += [read_stream(text, datagrams=True, local=local) for text in arguments.udp_service]
    except ValueError as error:
        raise SystemExit(f"zeroserve: {error}") from error
    bound = Counter((one.datagrams, one.bound_port) for one in found)
    bound.update((False, item.port) for item in listeners)
    taken = [port for (_, port), count in bound.items() if count > 1]
    if taken:
        raise SystemExit(f"zeroserve: port {taken[0]} cannot lead to two Services, or be that of HTTP")
    return tuple(found)
