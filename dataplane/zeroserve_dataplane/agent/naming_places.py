"""Addresses of a name by the system's resolver (hosts file, DNS), which may take long for one name.

In: names. Out: what getaddrinfo(3) says. Who calls: `resolving`, `looking_up` and `asking_responders`. Rule:
names that nobody answers for hold threads of their own, and none that the agent's other work waits for.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

LOOKUPS_AT_ONCE_MAX = 16
"""More wait: a name that times out holds its thread as long as the system's resolver tries."""

DISCARDED = ipaddress.ip_network("100::/64")
"""Nobody is there (RFC 6666), and the engine refuses endpoints of it: they stand for Unix sockets there."""


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(LOOKUPS_AT_ONCE_MAX, thread_name_prefix="names")


async def find_places(name: str, port: int | None = None) -> list[tuple[Any, ...]]:
    """Return entries whose last is (address, port, …), for TCP. OSError, UnicodeError."""
    asked = functools.partial(socket.getaddrinfo, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_threads(), functools.partial(asked, name, port))


def is_somewhere(literal: str) -> bool:
    """Say whether an address of an answer may be an endpoint's; who answers may be a stranger."""
    return ipaddress.ip_address(literal) not in DISCARDED


def is_socket(address: str) -> bool:
    """Say whether an endpoint's address is the path of a Unix socket, or its abstract name (`@…`)."""
    return address.startswith(("/", "@"))
