"""Spans of nodes: a supervisor with its engine, and an agent that sends what they tell to a collector."""

import contextlib
import dataclasses
import http.client
import time
import urllib.request

import pytest
from ports import free_ports
from span_collectors import Collector, read_attributes
from starting import ZEROSERVE, apart, started
from zeroserve_dataplane.agent.embedding import find_engine
from zeroserve_dataplane.last_good import LastGood
from zeroserve_ir.sampling import read_sampling
from zeroserve_operator.pipeline import DEV_SETTINGS, Pipeline
from zeroserve_operator.settings import ListenerSettings, TracedHosts, TracingSettings

PATIENCE_S = 120
ROUTES = """apiVersion: zeroserve.dev/v1alpha1
kind: ZeroserveRoute
metadata: {name: plain, namespace: default}
spec:
  hosts: [plain.test]
  caddyfile: |
    respond "{header.Traceparent}"
---
apiVersion: zeroserve.dev/v1alpha1
kind: ZeroserveRoute
metadata: {name: marked, namespace: default}
spec:
  hosts: [marked.test]
  caddyfile: |
    tracing {
      span marked
    }
    respond "{header.Traceparent}"
"""
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture
def collector():
    found = Collector("grpc")
    yield found
    found.close()


@contextlib.contextmanager
def engine(folder):
    """A supervisor as the chart starts it, which outlives its agents."""
    (folder / "engine").mkdir()
    command = [find_engine(), "supervise", f"--socket={folder}/control", "--workers=1"]
    with started([*command, f"--log-socket={folder}/log.sock"], folder / "engine", folder / "control"):
        yield


@contextlib.contextmanager
def agent(folder, port, collector, tracing):
    """An agent of a cluster that finds what its operator said last; yields its metrics' port."""
    (folder / "manifests").mkdir(exist_ok=True)
    (folder / "manifests" / "routes.yaml").write_text(ROUTES)
    listeners = (ListenerSettings("http", port, 80, tls=False, address="127.0.0.1"),)
    settings = dataclasses.replace(DEV_SETTINGS, listeners=listeners, tracing=tracing)
    (folder / "state").mkdir(exist_ok=True)
    LastGood(folder / "state", allow_disk=True).save(
        Pipeline(settings).load_directory(folder / "manifests").draft
    )
    (metrics,) = free_ports(1)
    command = [ZEROSERVE, "agent", "--operator", "127.0.0.1:1", "--insecure", "--node", "here"]
    command += ["--engine-socket", f"{folder}/control", "--state", f"{folder}/state", "--allow-state-on-disk"]
    command += [
        "--cache",
        f"{folder}/cache",
        "--metrics-address",
        "127.0.0.1",
        "--metrics-port",
        str(metrics),
    ]
    environment = apart(
        folder,
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{collector.port}",
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        OTEL_SERVICE_NAME="edge",
        OTEL_BSP_SCHEDULE_DELAY="100",
    )
    with started(command, folder, metrics, port, folder / "log.sock", environment=environment):
        yield metrics


def ask(port, host, parent=""):
    """Return the trace parent that a host's upstream would see."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    connection.request("GET", "/x", headers={"Host": host, **({"Traceparent": parent} if parent else {})})
    text = connection.getresponse().read().decode()
    connection.close()
    return text


def list_spans(collector, count):
    return sorted(
        (span.name, read_attributes(span.attributes)["server.address"]) for span, _ in collector.wait(count)
    )


def test_nodes_send_spans_of_all_hosts_or_of_those_that_ask(tmp_path, collector):
    (port,) = free_ports(1)
    with engine(tmp_path):
        with agent(tmp_path, port, collector, TracingSettings(TracedHosts.ALL)) as metrics:
            seen = ask(port, "plain.test", PARENT)
            ask(port, "marked.test")
            expected = [("GET", "marked.test"), ("GET", "plain.test"), ("marked", "marked.test")]
            assert list_spans(collector, 3) == expected
            spans = {
                read_attributes(span.attributes)["server.address"]: span for span, _ in collector.received
            }
            assert spans["plain.test"].trace_id.hex() == TRACE
            assert seen == f"00-{TRACE}-{spans['plain.test'].span_id.hex()}-01"
            assert all(resource["service.name"] == "edge" for _, resource in collector.received)
            wait_for_metric(metrics, "zeroserve_agent_spans_exported_total 3.0")
        with agent(tmp_path, port, collector, TracingSettings(TracedHosts.MARKED)):
            deadline = time.monotonic() + PATIENCE_S
            while ask(port, "plain.test", PARENT) != PARENT:
                assert time.monotonic() < deadline
            collector.received.clear()
            # What the engine first tells its new agent goes to where the former one was.
            while not collector.received and time.monotonic() < deadline:
                ask(port, "marked.test")
                time.sleep(0.2)
            assert "marked" in {name for name, _ in list_spans(collector, 1)}


def test_a_sampler_decides_what_is_sent_and_told_to_upstreams(tmp_path, collector):
    (port,) = free_ports(1)
    tracing = TracingSettings(TracedHosts.ALL, read_sampling("parentbased_traceidratio", "0"))
    with engine(tmp_path), agent(tmp_path, port, collector, tracing):
        assert ask(port, "plain.test").endswith("-00")
        assert ask(port, "plain.test", PARENT).endswith("-01")
        collector.wait(1)
        assert [span.trace_id.hex() for span, _ in collector.received] == [TRACE]


def wait_for_metric(port, line):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S) as answer:
            text = answer.read().decode()
        if line in text:
            return
        time.sleep(0.1)
    raise AssertionError(text)
