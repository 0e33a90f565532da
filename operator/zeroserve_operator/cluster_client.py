"""Requests to the API server, as plain JSON.

In: method, path, body. Out: decoded answers, or `ClusterError`. The only module that names the `kubernetes`
client, which knows where the cluster is and who we are. Synchronous: callers are in threads.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import kubernetes.client
import kubernetes.config
import urllib3.exceptions

TIMEOUT_S = (5.0, 30.0)
"""To connect, and to answer."""
PAGE_ITEMS = 500


class ClusterError(Exception):
    """The API server refused, or could not be reached (status 0)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}" if status else message)
        self.status = status


class Requests(Protocol):
    """What most of its users need of `ClusterClient`."""

    def request(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """Send one request; raises `ClusterError`."""
        ...


class ClusterClient:
    """Speaks to the API server of this Pod, or of the current kubeconfig."""

    def __init__(self) -> None:
        try:
            kubernetes.config.load_incluster_config()  # type: ignore[no-untyped-call]
        except kubernetes.config.ConfigException:
            kubernetes.config.load_kube_config()  # type: ignore[no-untyped-call]
        self._api = kubernetes.client.ApiClient()

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> dict[str, Any]:
        """Send one request; raises `ClusterError`."""
        headers = {"Accept": accept, "Content-Type": content_type}
        try:
            prepared = self._api.param_serialize(
                method,
                path,
                query_params=list((query or {}).items()),
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
            )
            answer = self._api.call_api(*prepared, _request_timeout=TIMEOUT_S)
            data: bytes = answer.read()  # type: ignore[no-untyped-call]
        except kubernetes.client.ApiException as error:
            raise ClusterError(error.status or 0, error.reason or str(error)) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ClusterError(0, f"API server cannot be reached: {error}") from error
        if answer.status >= 300:
            raise ClusterError(answer.status, data[:300].decode("utf-8", "replace"))
        decoded = json.loads(data)
        return decoded if isinstance(decoded, dict) else {}

    def watch(self, path: str, query: Mapping[str, str], timeout_s: int) -> Iterator[dict[str, Any]]:
        """Yield the events of a watch until the API server ends it after `timeout_s`; ClusterError."""
        asked = {**query, "watch": "true", "timeoutSeconds": str(timeout_s)}
        prepared = self._api.param_serialize(
            "GET", path, query_params=list(asked.items()), auth_settings=["BearerToken"]
        )
        try:
            answer = self._api.call_api(*prepared, _request_timeout=(TIMEOUT_S[0], timeout_s + TIMEOUT_S[1]))
            response = answer.response
            try:
                if answer.status >= 300:
                    raise ClusterError(answer.status, response.read(300).decode("utf-8", "replace"))
                yield from (json.loads(line) for line in _read_lines(response.stream(1 << 16)))
            finally:
                response.close()
        except kubernetes.client.ApiException as error:
            raise ClusterError(error.status or 0, error.reason or str(error)) from error
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise ClusterError(0, f"the watch broke off: {error}") from error

    def list_items(
        self, path: str, *, field_selector: str = "", accept: str = "application/json"
    ) -> Iterator[dict[str, Any]]:
        """Yield all items of a collection, page by page."""
        query = {"limit": str(PAGE_ITEMS)}
        if field_selector:
            query["fieldSelector"] = field_selector
        while True:
            page = self.request("GET", path, query=query, accept=accept)
            yield from page.get("items") or ()
            following = (page.get("metadata") or {}).get("continue")
            if not following:
                return
            query["continue"] = following


def _read_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield whole lines, each as soon as it is there."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line for line in lines if line)
