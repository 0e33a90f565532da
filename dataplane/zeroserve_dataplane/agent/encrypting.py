"""Connections to a store by TLS (`rediss`): whom to believe, which name to expect, what to show.

In: the parameters of the store's address, as redis-py hands them on. Out: connections. Who calls: `leasing`.
Rules: with `ssl_ca_certs` its authorities alone are believed, not the system's; the name is always checked;
files are read again for each connection, so that rotated ones hold from the next connection on.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from redis.asyncio.connection import Connection


class EncryptedConnection(Connection):
    """In the place of redis-py's: that one believes the system's authorities too, and knows no other name."""

    def __init__(
        self,
        *,
        ssl_ca_certs: str | None = None,
        ssl_certfile: str | None = None,
        ssl_keyfile: str | None = None,
        ssl_server_name: str | None = None,
        **arguments: Any,
    ) -> None:
        self._authorities = ssl_ca_certs
        self._certificate = (ssl_certfile, ssl_keyfile)
        self._server_name = ssl_server_name
        super().__init__(**arguments)

    def _connection_arguments(self) -> Mapping[str, Any]:
        """Return what a socket is opened with. OSError: a file is not there, or not what it should be."""
        context = ssl.create_default_context(cafile=self._authorities)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        certificate, key = self._certificate
        if certificate:
            context.load_cert_chain(certificate, key)
        name = self._server_name or self.host
        return {**super()._connection_arguments(), "ssl": context, "server_hostname": name}
