"""Requests to the API server on one connection, so that the time of its acknowledgement is known.

Comes in: a cluster that is up. Goes out: decoded answers, or CommandError. Rule: to be made and used inside
`Client.in_network`, in one thread.
"""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Any
from urllib.parse import urlsplit

from .clients import CommandError
from .places import Places

TIMEOUT_SECONDS = 30


class Requests:
    """One connection with the administrator's certificate."""

    def __init__(self, places: Places) -> None:
        context = ssl.create_default_context(cafile=str(places.pki / "ca.crt"))
        context.load_cert_chain(places.pki / "admin.crt", places.pki / "admin.key")
        host = urlsplit(places.api_url).netloc
        self._connection = http.client.HTTPSConnection(host, context=context, timeout=TIMEOUT_SECONDS)

    def send(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json"
    ) -> dict[str, Any]:
        """Send one request and return the decoded answer."""
        self._connection.request(method, path, json.dumps(body), {"Content-Type": content_type})
        answer = self._connection.getresponse()
        data = answer.read()
        if answer.status >= 300:
            raise CommandError(f"{method} {path}: {answer.status} {data[:300]!r}")
        found = json.loads(data)
        assert isinstance(found, dict)
        return found

    def merge(self, path: str, patch: dict[str, Any]) -> dict[str, Any]:
        """Send a merge patch."""
        return self.send("PATCH", path, patch, "application/merge-patch+json")

    def close(self) -> None:
        """End the connection."""
        self._connection.close()
