"""Spans of `tracing`, sent to a collector by OTLP (Caddy: caddyhttp/tracing).

In: lines of the engine's span sink (engine: access_log/spans.rs), and what the environment says as for any
OpenTelemetry program (OTEL_EXPORTER_OTLP_*, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_BSP_*,
OTEL_TRACES_EXPORTER, OTEL_SDK_DISABLED). Out: batches, by gRPC or HTTP. Who calls: `receiving_logs`. Rules: a
collector that is slow or away costs spans, which are counted, and nothing else; OpenTelemetry is loaded with
the first span.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from zeroserve_dataplane.settings import find_version

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

logger = logging.getLogger(__name__)

SINK = "spans"
"""What the engine calls the sink of spans in its frames."""
QUEUE_MAX = 2048
BATCH_MAX = 512
DELAY_MS = 5000
"""OpenTelemetry's own numbers for OTEL_BSP_MAX_QUEUE_SIZE, _MAX_EXPORT_BATCH_SIZE and _SCHEDULE_DELAY."""


class Exporter(Protocol):
    """What OpenTelemetry's exporters do."""

    def export(self, spans: Sequence[ReadableSpan]) -> Any:
        """Send a batch; the result's name is SUCCESS where it arrived."""

    def shutdown(self) -> None:
        """End, also where a batch is being sent."""


class SpanSink:
    """A bounded queue and a thread that empties it, started by the first span."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self.exported = 0
        self.dropped = 0
        self._environment = environment
        self._queue_max = _number(environment, "OTEL_BSP_MAX_QUEUE_SIZE", QUEUE_MAX)
        self._batch_max = _number(environment, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", BATCH_MAX)
        self._delay_s = _number(environment, "OTEL_BSP_SCHEDULE_DELAY", DELAY_MS) / 1000
        disabled = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
        self._is_off = disabled or environment.get("OTEL_TRACES_EXPORTER", "otlp").lower() == "none"
        self._waiting: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def write(self, lines: bytes) -> None:
        """Queue spans; what finds no room is dropped."""
        if self._is_off:
            return
        with self._changed:
            for line in lines.splitlines():
                if len(self._waiting) >= self._queue_max:
                    self.dropped += 1
                else:
                    self._waiting.append(line)
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="span-exporter", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self, timeout_s: float) -> None:
        """Send what waits, as far as the time allows."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        resource = find_resource()
        exporter = make_exporter(self._environment)
        while batch := self._take_batch():
            spans = [span for line in batch if (span := read_span(line, resource))]
            sent = bool(spans) and exporter.export(spans).name == "SUCCESS"
            self.exported += len(spans) if sent else 0
            lost = len(batch) if not sent else len(batch) - len(spans)
            self.dropped += lost
            if lost:
                logger.error("%d spans are lost, %d in all", lost, self.dropped)
        exporter.shutdown()

    def _take_batch(self) -> list[bytes]:
        """Wait for spans, then for more of them; nothing once the sink is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            due = time.monotonic() + self._delay_s
            while len(self._waiting) < self._batch_max and not self._closed:
                if not self._changed.wait(max(0.0, due - time.monotonic())):
                    break
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), self._batch_max))]


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and int(text) > 0 else default


def make_exporter(environment: Mapping[str, str]) -> Exporter:
    """Return OpenTelemetry's exporter for the protocol that is asked for; it reads the rest by itself."""
    asked = environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
    if (asked or environment.get("OTEL_EXPORTER_OTLP_PROTOCOL")) == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415  # loaded on demand
            OTLPSpanExporter as GrpcExporter,
        )

        return GrpcExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415  # loaded on demand
        OTLPSpanExporter as HttpExporter,
    )

    return HttpExporter()


def find_resource() -> Resource:
    """Return who sends the spans: what the environment says, and the server's name and version."""
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415  # loaded on demand

    own = {"webengine.name": "zeroserve", "webengine.version": find_version()}
    resource = Resource.create(own)
    if str(resource.attributes.get("service.name", "")).startswith("unknown_service"):
        return resource.merge(Resource({"service.name": "unknown_service:zeroserve"}))
    return resource


def read_span(line: bytes, resource: Resource) -> ReadableSpan | None:
    """Return the span that a line of the engine says; None where it says none."""
    from opentelemetry.sdk.trace import ReadableSpan  # noqa: PLC0415  # loaded on demand
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415
    from opentelemetry.trace import SpanContext, SpanKind, TraceFlags, TraceState  # noqa: PLC0415
    from opentelemetry.trace.status import Status, StatusCode  # noqa: PLC0415

    try:
        told = json.loads(line)
        _check(told)
        trace = int(told["trace"], 16)
        state = TraceState.from_header([told["state"]])
        flags = TraceFlags(TraceFlags.SAMPLED)
        parent = told["parent"]
        return ReadableSpan(
            name=told["name"],
            context=SpanContext(trace, int(told["span"], 16), False, flags, state),
            # Of a handler within another too: both come by way of the field Traceparent, as in Caddy.
            parent=SpanContext(trace, int(parent, 16), True, flags) if parent else None,
            resource=resource,
            attributes=told["attributes"],
            kind=SpanKind.SERVER,
            status=Status(StatusCode.ERROR if told["failed"] else StatusCode.UNSET),
            start_time=told["start_ns"],
            end_time=told["end_ns"],
            instrumentation_scope=InstrumentationScope("zeroserve", find_version()),
        )
    except ValueError as error:
        logger.error("a line of the engine is no span: %s", error)
        return None


_TYPES: Mapping[str, Any] = {
    "trace": str,
    "span": str,
    "parent": str | None,
    "state": str,
    "name": str,
    "start_ns": int,
    "end_ns": int,
    "failed": bool,
    "attributes": dict,
}
_IDS = {"trace": re.compile("[0-9a-f]{32}"), "span": re.compile("[0-9a-f]{16}")}


def _check(told: Any) -> None:
    """Raise ValueError where a line does not say what a span needs, or what no message could carry."""
    if not isinstance(told, dict):
        raise ValueError("it is no object")
    for name, kind in _TYPES.items():
        if not isinstance(told.get(name), kind):
            raise ValueError(f"{name} is {told.get(name)!r}")
    ids = {"trace": told["trace"], "span": told["span"]}
    if not all(pattern.fullmatch(ids[name]) for name, pattern in _IDS.items()):
        raise ValueError(f"{ids} are no ids")
    if told["parent"] is not None and not _IDS["span"].fullmatch(told["parent"]):
        raise ValueError(f"the parent is {told['parent']!r}")
    if not 0 <= told["start_ns"] <= told["end_ns"] < 1 << 63:
        raise ValueError("it does not end after its begin")
