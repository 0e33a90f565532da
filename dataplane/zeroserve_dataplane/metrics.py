"""Metrics and probes of a node, over HTTP.

In: the counters that the engine shares (control.proto, MetricsRegion), the node's state. Out: `/metrics`
for Prometheus, `/healthz` (the agent's loop turns), `/readyz` (the engine serves a snapshot). Rule: a
scrape reads shared memory and costs the engine nothing; it runs in a thread of its own, so a long build
never fails a probe.
"""

from __future__ import annotations

import contextlib
import mmap
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.registry import Collector
from zeroserve_ir._pb import control_pb2 as control

if TYPE_CHECKING:
    from zeroserve_dataplane.agent.applying import Node
    from zeroserve_dataplane.agent.exporting_spans import SpanSink
    from zeroserve_dataplane.agent.granting import TokenServer
    from zeroserve_dataplane.enginelink.linking import SharedCounters
    from zeroserve_dataplane.subscribing import StreamState

HEARTBEAT_MAX_S = 30.0
"""A loop that did not turn for so long is stuck: liveness fails."""


NO_PLUGINS: Mapping[int, str] = MappingProxyType({})


class CountersError(Exception):
    """The region's layout does not fit its memory."""


class SharedCounterReader:
    """Reads the engine's counters where they lie."""

    def __init__(self, counters: SharedCounters) -> None:
        """Map the region; the descriptor may be closed afterwards. CountersError, OSError."""
        region = counters.region
        size = region.workers * region.block_bytes
        check_layout(region)
        self._region = region
        self._memory = mmap.mmap(counters.descriptor, size, mmap.MAP_SHARED, mmap.PROT_READ) if size else None

    def collect(self, plugins: Mapping[int, str] = NO_PLUGINS) -> Iterator[Metric]:
        """Yield one family for each metric name, summed over the workers; `plugins` are names by slot."""
        families: dict[str, list[control.Metric]] = {}
        for metric in _name_plugins(self._region.metrics, plugins):
            families.setdefault(metric.name, []).append(metric)
        for members in families.values():
            yield self._make_family(members)

    def close(self) -> None:
        """Unmap the region."""
        if self._memory is not None:
            self._memory.close()

    def _make_family(self, members: list[control.Metric]) -> Metric:
        first = members[0]
        labels = sorted({label for member in members for label in member.labels})
        if first.kind == control.HISTOGRAM:
            histogram = HistogramMetricFamily(first.name, first.help, labels=labels)
            for member in members:
                buckets, total = self._read_histogram(member)
                histogram.add_metric([member.labels[label] for label in labels], buckets, total)
            return histogram
        family_type = GaugeMetricFamily if first.kind == control.GAUGE else CounterMetricFamily
        family = family_type(first.name, first.help, labels=labels)
        for member in members:
            value = self._sum(member.offset_bytes) * (member.scale or 1.0)
            family.add_metric([member.labels[label] for label in labels], value)
        return family

    def _read_histogram(self, metric: control.Metric) -> tuple[list[tuple[str, float]], float]:
        scale = metric.scale or 1.0
        bounds = [f"{bound * scale:g}" for bound in metric.buckets] + ["+Inf"]
        cumulative, buckets = 0, []
        for index, bound in enumerate(bounds):
            cumulative += self._sum(metric.offset_bytes + 8 * index)
            buckets.append((bound, float(cumulative)))
        return buckets, self._sum(metric.offset_bytes + 8 * len(bounds)) * scale

    def _sum(self, offset: int) -> int:
        if self._memory is None:
            return 0
        region = self._region
        starts = (worker * region.block_bytes + offset for worker in range(region.workers))
        return sum(struct.unpack_from("<Q", self._memory, start)[0] for start in starts)


def _name_plugins(metrics: Iterable[control.Metric], plugins: Mapping[int, str]) -> Iterator[control.Metric]:
    """Yield metrics, those of slots with the plugin's name; slots without a plugin are left out."""
    for metric in metrics:
        if "slot" not in metric.labels:
            yield metric
        elif int(metric.labels["slot"]) in plugins:
            named = control.Metric()
            named.CopyFrom(metric)
            del named.labels["slot"]
            named.labels["plugin"] = plugins[int(metric.labels["slot"])]
            yield named


def check_layout(region: control.MetricsRegion) -> None:
    """Raise CountersError unless every metric lies in its block, aligned."""
    for metric in region.metrics:
        words = len(metric.buckets) + 2 if metric.kind == control.HISTOGRAM else 1
        end = metric.offset_bytes + 8 * words
        if metric.offset_bytes % 8 or end > region.block_bytes:
            raise CountersError(f"{metric.name} at {metric.offset_bytes} leaves {region.block_bytes} bytes")


class NodeCollector(Collector):
    """Collects the engine's counters and the agent's own figures."""

    def __init__(
        self,
        node: Node,
        stream: StreamState | None = None,
        tokens: TokenServer | None = None,
        spans: SpanSink | None = None,
    ) -> None:
        self._node = node
        self._spans = spans
        self._tokens = tokens
        self._stream = stream
        self._reader: SharedCounterReader | None = None
        self._counters: SharedCounters | None = None
        self._reading = threading.Lock()
        self.save_failures = 0
        """Last good snapshots that could not be written."""

    @property
    def is_ready(self) -> bool:
        """Whether traffic may come to this node."""
        return self._node.state.ready

    def collect(self) -> Iterable[Metric]:
        """Return all families, read now."""
        with self._reading:
            reader = self._find_reader()
            families = list(reader.collect(self._node.slots.names)) if reader is not None else []
        return [*families, *self._collect_agent()]

    def _find_reader(self) -> SharedCounterReader | None:
        counters = self._node.counters
        if counters is not self._counters and counters is not None:
            if self._reader is not None:
                self._reader.close()
            self._reader, self._counters = SharedCounterReader(counters), counters
        return self._reader

    def _collect_agent(self) -> Iterator[Metric]:
        state, images = self._node.state, self._node.images
        yield _gauge("zeroserve_agent_ready", "1 when the engine serves a snapshot", state.ready)
        yield _gauge("zeroserve_agent_engine_up", "1 when the engine runs", state.engine.running)
        yield _counter("zeroserve_agent_engine_restarts", "Engines replaced", state.engine.restarts)
        yield _counter("zeroserve_agent_commits", "Changes that the engine took", state.commits)
        yield _gauge("zeroserve_agent_apply_seconds", "Duration of the last change", state.apply_seconds)
        yield _gauge("zeroserve_agent_snapshot_timestamp_seconds", "When it was applied", state.served_at)
        resources = len(self._node.good.resources)
        yield _gauge("zeroserve_agent_resources", "Resources that are served", resources)
        yield _counter(
            "zeroserve_agent_program_defects", "Programs without native code", images.counts.defects
        )
        yield _counter(
            "zeroserve_native_compilations", "Programs compiled to native code", images.native_compilations
        )
        yield _counter("zeroserve_agent_programs_refused", "Programs refused", images.counts.refused)
        tiers = GaugeMetricFamily("zeroserve_agent_images", "Images by tier", labels=["tier"])
        for tier, count in images.tiers.items():
            tiers.add_metric([tier], count)
        yield tiers
        yield _counter("zeroserve_agent_last_good_failures", "Snapshots not saved", self.save_failures)
        if self._stream is not None:
            yield _gauge("zeroserve_agent_stream_up", "1 when the operator answers", self._stream.connected)
            yield _counter("zeroserve_agent_stream_reconnects", "Streams lost", self._stream.reconnects)
            yield _counter("zeroserve_agent_refusals", "Resources refused", self._stream.refusals)
        if self._spans is not None:
            yield _counter(
                "zeroserve_agent_spans_exported", "Spans sent to a collector", self._spans.exported
            )
            yield _counter("zeroserve_agent_spans_dropped", "Spans that are lost", self._spans.dropped)
        if self._tokens is not None and (counts := self._tokens.counts) is not None:
            yield _gauge("zeroserve_agent_token_store_up", "1 when the store answers", self._tokens.up)
            yield _counter("zeroserve_agent_token_store_failures", "Times it did not", counts.failures)
            yield _counter("zeroserve_agent_token_leases", "Leases of tokens, by key", counts.leases)
            yield _counter("zeroserve_agent_token_requests", "Requests to the store", counts.requests)
            yield _counter("zeroserve_agent_token_request_seconds", "Time that they took", counts.seconds)
            yield _counter("zeroserve_agent_tokens_granted", "Tokens leased", counts.granted)
            yield _counter("zeroserve_agent_tokens_returned", "Tokens given back", counts.returned)


class MetricsServer:
    """Serves metrics and probes from a thread."""

    def __init__(self, address: str | Path, port: int, collector: NodeCollector) -> None:
        """Listen at once; "" is all addresses, port 0 any free one, a path a socket. OSError when taken."""
        registry = CollectorRegistry()
        registry.register(_Once(collector))
        self._collector = collector
        self._metrics = make_wsgi_app(registry)
        self._beat = time.monotonic()
        self._server = _listen(address, port)
        self._server.set_app(self._answer)
        self.port = int(self._server.server_port)
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def beat(self) -> None:
        """Note that the event loop turns; liveness is judged from the first beat on."""
        self._beat = time.monotonic()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            answer: Iterable[bytes] = self._metrics(environ, start_response)
            return answer
        if path == "/healthz":
            return _say(start_response, time.monotonic() - self._beat < HEARTBEAT_MAX_S)
        if path == "/readyz":
            return _say(start_response, self._collector.is_ready)
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"see /metrics, /healthz, /readyz\n"]


class _Once(Collector):
    """Keeps the registry from collecting at registration."""

    def __init__(self, collector: NodeCollector) -> None:
        self._collector = collector

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        return self._collector.collect()


class _Server(ThreadingWSGIServer):
    """IPv4, or what the address says."""

    daemon_threads = True


class _UnixServer(_Server):
    """A socket of the file system."""

    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", 0
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        return self.socket.accept()[0], ("local", 0)


def _listen(address: str | Path, port: int) -> _Server:
    if isinstance(address, Path):
        return _UnixServer(str(address), _QuietHandler)  # type: ignore[arg-type]
    server_class = _dual_stack_server() if not address and socket.has_dualstack_ipv6() else _Server
    host = address or ("::" if server_class is not _Server else "0.0.0.0")
    return server_class((host, port), _QuietHandler)


def _dual_stack_server() -> type[_Server]:
    class DualStackServer(_Server):
        """IPv6 and IPv4 on one socket."""

        address_family = socket.AF_INET6

        def server_bind(self) -> None:
            with contextlib.suppress(OSError):
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            super().server_bind()

    return DualStackServer


class _QuietHandler(WSGIRequestHandler):
    """Probes come every second: no line for each."""

    timeout = 10

    def log_message(self, *_: Any) -> None:
        pass


def _say(start_response: Callable[..., Any], good: bool) -> Iterable[bytes]:
    start_response("200 OK" if good else "503 Service Unavailable", [("Content-Type", "text/plain")])
    return [b"ok\n" if good else b"not ready\n"]


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_text, value=float(value))


def _counter(name: str, help_text: str, value: float) -> Metric:
    return CounterMetricFamily(name, help_text, value=float(value))
