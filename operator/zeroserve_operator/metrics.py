"""Metrics of the operator, and the probes beside them.

In: counts and times from the running operator. Out: `/metrics`, `/healthz`, `/readyz` on one port.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest

OBJECTS = Gauge("zeroserve_operator_objects", "Objects known, by kind.", ["kind"])
CHANGES = Counter("zeroserve_operator_changes_total", "Changes seen, by what they ask for.", ["effect"])
BUILDS = Counter("zeroserve_operator_builds_total", "Builds, by outcome.", ["outcome"])
BUILD_SECONDS = Histogram(
    "zeroserve_operator_build_seconds",
    "Time from taking changes to having the snapshot.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
RESOURCES = Gauge("zeroserve_operator_resources", "Resources of the snapshot.")
DIAGNOSTICS = Gauge("zeroserve_operator_diagnostics", "Findings in users' objects, by code.", ["code"])
LEADING = Gauge("zeroserve_operator_leading", "Whether this replica holds the Lease.")
WATCH_MISSED = Counter(
    "zeroserve_operator_watch_missed_total", "Changes that no watch told, by kind.", ["kind"]
)
WATCH_STALENESS = Gauge(
    "zeroserve_operator_watch_staleness_seconds",
    "For how long a watch may have been deaf; 0 while it tells all changes.",
    ["kind"],
)
STATUS_WRITES = Counter("zeroserve_operator_status_writes_total", "Statuses and Events written.", ["outcome"])


class Probes:
    """Serves metrics and probes in a thread of its own, so that a busy loop shows as late, not as dead."""

    def __init__(self, port: int, is_alive: Callable[[], bool], is_ready: Callable[[], bool]) -> None:
        checks = {"/healthz": is_alive, "/readyz": is_ready}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/metrics":
                    self._answer(200, generate_latest(), CONTENT_TYPE_LATEST)
                elif self.path in checks:
                    good = checks[self.path]()
                    self._answer(200 if good else 503, b"ok\n" if good else b"not ready\n", "text/plain")
                else:
                    self._answer(404, b"not found\n", "text/plain")

            def _answer(self, status: int, body: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing: probes come each second."""

        self._server = ThreadingHTTPServer(("", port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="probes", daemon=True)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """End serving."""
        self._server.shutdown()
        self._server.server_close()
