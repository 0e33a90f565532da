"""Keeps the operator's certificate authority in the cluster.

In: a client, the name that Secret and ConfigMap share, the time. Out: the `TrustState` that all replicas use;
the bundle, in the ConfigMap that agents mount. Rule: the Secret's resourceVersion decides between replicas
that rotate at once: the slower one reads what the faster one wrote.
"""

from __future__ import annotations

import base64
import datetime
from dataclasses import dataclass
from typing import Any

from zeroserve_operator.cluster_client import ClusterError, Requests
from zeroserve_operator.publishing.trusting import TrustState

STATE_KEY = "state"
BUNDLE_KEY = "ca.crt"
ATTEMPTS_MAX = 5
"""Each loss against another replica means that it wrote; two replicas need two rounds."""
NOT_FOUND, CONFLICT = 404, 409


@dataclass(frozen=True, slots=True)
class TrustKeeper:
    """Reads, makes and rotates the authority."""

    client: Requests
    namespace: str
    name: str

    def refresh(self, now: datetime.datetime) -> TrustState:
        """Return the state at `now`, written back where it changed; raises ClusterError."""
        for _ in range(ATTEMPTS_MAX):
            secret = self._read("secrets")
            before = _load(secret)
            state = before.rotate(now) if before is not None else TrustState.create(now)
            if (before is not None and state.dump() == before.dump()) or self._write_state(secret, state):
                self._publish_bundle(state)
                return state
        raise ClusterError(CONFLICT, f"Secret {self.namespace}/{self.name} is changed by others all the time")

    def _write_state(self, secret: dict[str, Any] | None, state: TrustState) -> bool:
        data = {STATE_KEY: base64.b64encode(state.dump()).decode()}
        return self._write("secrets", secret, {"kind": "Secret", "type": "Opaque", "data": data})

    def _publish_bundle(self, state: TrustState) -> None:
        found = self._read("configmaps")
        data = {BUNDLE_KEY: state.bundle_pem.decode()}
        if found is None or found.get("data") != data:
            self._write("configmaps", found, {"kind": "ConfigMap", "data": data})

    def _read(self, collection: str) -> dict[str, Any] | None:
        try:
            return self.client.request("GET", f"{self._path(collection)}/{self.name}")
        except ClusterError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    def _write(self, collection: str, found: dict[str, Any] | None, content: dict[str, Any]) -> bool:
        """Create or replace; False when another replica was faster."""
        metadata = {"name": self.name, "namespace": self.namespace}
        if found is not None:
            metadata = found["metadata"]
        body = {"apiVersion": "v1", "metadata": metadata, **content}
        path = self._path(collection) if found is None else f"{self._path(collection)}/{self.name}"
        try:
            self.client.request("POST" if found is None else "PUT", path, body)
        except ClusterError as error:
            if error.status == CONFLICT:
                return False
            raise
        return True

    def _path(self, collection: str) -> str:
        return f"/api/v1/namespaces/{self.namespace}/{collection}"


def _load(secret: dict[str, Any] | None) -> TrustState | None:
    """Return the kept state; None where there is none, or none that can be read."""
    content = ((secret or {}).get("data") or {}).get(STATE_KEY)
    if not content:
        return None
    try:
        return TrustState.load(base64.b64decode(content))
    except ValueError:
        return None
