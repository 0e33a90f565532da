"""Metrics: the engine's shared memory as Prometheus reads it, and the probes."""

import os
import struct
import urllib.error
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from zeroserve_dataplane.agent.applying import Node
from zeroserve_dataplane.agent.images import ImageStore
from zeroserve_dataplane.agent.resolving import Resolver
from zeroserve_dataplane.enginelink.linking import SharedCounters
from zeroserve_dataplane.jit.compiling import Compiler
from zeroserve_dataplane.metrics import CountersError, MetricsServer, NodeCollector, SharedCounterReader
from zeroserve_ir._pb import control_pb2 as control

REQUESTS = "zeroserve_engine_requests_total"
REGION = control.MetricsRegion(
    workers=2,
    block_bytes=128,
    metrics=[
        control.Metric(name=REQUESTS, help="by class", labels={"class": "2xx"}, offset_bytes=0),
        control.Metric(name=REQUESTS, help="by class", labels={"class": "5xx"}, offset_bytes=8),
        control.Metric(name="zeroserve_engine_open", help="now", kind=control.GAUGE, offset_bytes=16),
        control.Metric(
            name="zeroserve_engine_request_duration_seconds",
            help="head to end",
            kind=control.HISTOGRAM,
            offset_bytes=64,
            buckets=[1_000_000, 10_000_000],
            scale=1e-9,
        ),
    ],
)


@pytest.fixture
def counters():
    descriptor = os.memfd_create("metrics")
    os.ftruncate(descriptor, 256)
    for worker in (0, 1):
        os.pwrite(descriptor, struct.pack("<3Q", 10 + worker, 1, 5), worker * 128)
        os.pwrite(descriptor, struct.pack("<4Q", 3, 2, 1, 2_000_000_000), worker * 128 + 64)
    yield SharedCounters(REGION, descriptor)
    os.close(descriptor)


def scrape(reader):
    registry = CollectorRegistry()
    registry.register(reader)
    text = generate_latest(registry).decode()
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_counters_are_summed_over_the_workers_by_label(counters):
    samples = scrape(SharedCounterReader(counters))
    assert samples[REQUESTS, "2xx"] == 21
    assert samples[REQUESTS, "5xx"] == 2
    assert samples["zeroserve_engine_open",] == 10


def test_histograms_are_cumulative_and_in_seconds(counters):
    samples = scrape(SharedCounterReader(counters))
    name = "zeroserve_engine_request_duration_seconds"
    assert [samples[f"{name}_bucket", bound] for bound in ("0.001", "0.01", "+Inf")] == [6, 10, 12]
    assert samples[f"{name}_count",] == 12
    assert samples[f"{name}_sum",] == 4


def test_a_later_scrape_sees_what_the_engine_has_counted_since(counters):
    reader = SharedCounterReader(counters)
    before = scrape(reader)[REQUESTS, "2xx"]
    os.pwrite(counters.descriptor, struct.pack("<Q", 100), 0)
    assert scrape(reader)[REQUESTS, "2xx"] == before + 90


@pytest.mark.parametrize("offset", [124, 128, 121, 4])
def test_a_layout_that_leaves_its_block_is_refused(counters, offset):
    region = control.MetricsRegion(workers=2, block_bytes=128)
    region.metrics.add(name="x", offset_bytes=offset)
    with pytest.raises(CountersError):
        SharedCounterReader(SharedCounters(region, counters.descriptor))


def fetch(server, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}") as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture
def served(tmp_path, counters):
    node = Node(tmp_path / "none.sock", "test", ImageStore(Compiler(None, 1), None), Resolver())
    node.counters = counters
    server = MetricsServer("127.0.0.1", 0, NodeCollector(node))
    yield node, server
    server.close()


def test_a_node_is_ready_when_its_engine_serves_a_snapshot(served):
    node, server = served
    assert fetch(server, "/readyz")[0] == 503
    node.state.linked = True
    node.state.engine.running = True
    node.state.served_version = "1"
    assert fetch(server, "/readyz")[0] == 200


def test_a_node_is_alive_while_its_loop_turns(served, monkeypatch):
    _, server = served
    server.beat()
    assert fetch(server, "/healthz")[0] == 200
    server._beat -= 60
    assert fetch(server, "/healthz")[0] == 503


def test_a_scrape_holds_the_engines_and_the_agents_figures(served):
    status, text = fetch(served[1], "/metrics")
    assert status == 200
    assert f'{REQUESTS}{{class="2xx"}} 21.0' in text
    assert "zeroserve_agent_ready 0.0" in text


def test_other_paths_are_not_found(served):
    assert fetch(served[1], "/")[0] == 404
