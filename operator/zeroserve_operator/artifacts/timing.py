"""Connections to registries of which every byte comes by one deadline: heads too, and however they drip.

In: a deadline. Out: a pool of urllib3 whose reads end by it, with TimeoutError. Called by `registries`. The
timeouts of sockets bound each read alone, and a head of a byte every few seconds is read for days.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


def make_pool(context: ssl.SSLContext, ends_s: float, read_s: float) -> urllib3.PoolManager:
    """Return a pool; `ends_s` is of `time.monotonic`, `read_s` the longest silence."""

    class Response(http.client.HTTPResponse):
        def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
            super().__init__(sock, *arguments, **options)
            self.fp.close()
            self.fp = io.BufferedReader(TimedReader(sock, ends_s, read_s))

    class Plain(HTTPConnection):
        response_class = Response

    class Secure(HTTPSConnection):
        response_class = Response

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Secure

    manager = urllib3.PoolManager(ssl_context=context, retries=False)
    manager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
    return manager


class TimedReader(io.RawIOBase):
    """What a socket receives, until a deadline."""

    def __init__(self, sock: socket.socket, ends_s: float, read_s: float) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._ends_s = ends_s
        self._read_s = read_s

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, room: WriteableBuffer) -> int | None:
        """Receive once; raises TimeoutError past the deadline."""
        left_s = self._ends_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the deadline is over")
        self._sock.settimeout(min(self._read_s, left_s))
        return self._raw.readinto(room)

    def close(self) -> None:
        """Give up this hold of the socket."""
        self._raw.close()
        super().close()
