"""Spans that the running product and stock Caddy send to a collector: names, kinds, parents, attributes."""

import http.client

import pytest
from opentelemetry.proto.trace.v1 import trace_pb2 as trace
from ports import free_ports
from span_collectors import Collector, read_attributes
from starting import STOCK_CADDY, apart, ours, started

PATIENCE_S = 60
SITE = """{
	admin off
	auto_https off
}
http://127.0.0.1:{$PORT} {
	handle /named/* {
		tracing {
			span "{method} {path}"
			span_attributes {
				"own.name" "is {method}"
				early "{http.response.status}"
			}
		}
		respond "named"
	}
	handle /twice {
		route {
			tracing
			tracing {
				span inner
			}
			respond "twice"
		}
	}
	handle /rewritten {
		route {
			rewrite /elsewhere
			tracing
			respond "gone" 404
		}
	}
	handle /failing {
		tracing
		respond "failing" 503
	}
	handle {
		tracing
		respond "{header.Traceparent}"
	}
}
"""
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0"
REQUESTS = {
    "/plain?q=1": ("GET", {"User-Agent": "agent"}),
    "/parent": ("GET", {"Traceparent": PARENT + "1", "Tracestate": "a=b,c=d"}),
    "/unsampled": ("GET", {"Traceparent": PARENT + "0"}),
    "/malformed": ("GET", {"Traceparent": "00-x-y-01"}),
    "/named/a%20b": ("POST", {}),
    "/twice": ("GET", {}),
    "/rewritten": ("GET", {}),
    "/failing": ("GET", {}),
    "/odd": ("ODD", {}),
}
SPANS = len(REQUESTS)
"""One of each, none of the unsampled one, two of `/twice`."""


def ask(port, target):
    method, fields = REQUESTS[target]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    connection.request(method, target, headers=fields)
    answer = connection.getresponse().read()
    connection.close()
    return answer


def collect(tmp_path, name, protocol):
    """Return the collector of a server that was asked everything."""
    folder = tmp_path / name
    folder.mkdir()
    collector = Collector(protocol)
    (port,) = free_ports(1)
    (folder / "Caddyfile").write_text(SITE.replace("{$PORT}", str(port)))
    environment = apart(
        folder,
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{collector.port}",
        OTEL_EXPORTER_OTLP_HEADERS="x-key=some%20value",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test",
        OTEL_SERVICE_NAME="edge",
        OTEL_BSP_SCHEDULE_DELAY="100",
        **({"OTEL_EXPORTER_OTLP_PROTOCOL": protocol} if protocol == "grpc" else {}),
    )
    command = STOCK_CADDY if name == "caddy" else ours()
    with started(command, folder, port, environment=environment):
        for target in REQUESTS:
            ask(port, target)
        collector.wait(SPANS)
    collector.close()
    return collector


VARYING = {"server.port", "network.peer.port"}


def show(span):
    """Return what both servers' spans have alike, as text that names differences."""
    attributes = read_attributes(span.attributes)
    assert attributes.keys() >= VARYING
    flags = trace.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK | trace.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
    return [
        f"name {span.name}",
        f"kind {trace.Span.SpanKind.Name(span.kind)}",
        f"parent {bool(span.parent_span_id)} remote {span.flags & flags}",
        f"state {span.trace_state}",
        f"status {span.status.code}",
        *(f"{name} {value!r}" for name, value in sorted(attributes.items()) if name not in VARYING),
    ]


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_spans_are_those_of_caddy(tmp_path, protocol):
    caddy, ours = (collect(tmp_path, name, protocol) for name in ("caddy", "zeroserve"))
    shown = [sorted(show(span) for span, _ in one.received) for one in (caddy, ours)]
    assert shown[1] == shown[0]
    for collector in (caddy, ours):
        assert collector.fields["x-key"] == "some value"
        spans = {
            (span.name, read_attributes(span.attributes)["url.path"]): span for span, _ in collector.received
        }
        outer, inner = spans["handler", "/twice"], spans["inner", "/twice"]
        assert (inner.parent_span_id, inner.trace_id) == (outer.span_id, outer.trace_id)
        parent = spans["handler", "/parent"]
        assert parent.trace_id.hex() == "4bf92f3577b34da6a3ce929d0e0e4736"
        assert parent.parent_span_id.hex() == "00f067aa0ba902b7"
        assert all(span.start_time_unix_nano < span.end_time_unix_nano for span in spans.values())
        assert all(
            resource["service.name"] == "edge" and resource["deployment.environment.name"] == "test"
            for _, resource in collector.received
        )


SAMPLERS = [
    ("always_off", ""),
    ("traceidratio", "0.5"),
    ("traceidratio", ""),
    ("parentbased_always_off", ""),
    ("parentbased_traceidratio", "0.25"),
]
TRACES = [f"{number * 0x9E3779B97F4A7C15 % (1 << 128) | 1:032x}" for number in range(1, 41)]


@pytest.mark.parametrize(("sampler", "argument"), SAMPLERS)
def test_samplers_choose_the_traces_that_caddys_choose(tmp_path, sampler, argument):
    chosen = []
    for name, command in (("caddy", STOCK_CADDY), ("zeroserve", ours())):
        folder = tmp_path / name
        folder.mkdir()
        (port,) = free_ports(1)
        (folder / "Caddyfile").write_text(SITE.replace("{$PORT}", str(port)))
        variables = {"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument}
        environment = apart(folder, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1", **variables)
        with started(command, folder, port, environment=environment):
            chosen.append([_find_flag(port, trace, flag) for trace in TRACES for flag in "01"])
    assert chosen[1] == chosen[0]


def _find_flag(port, trace, flag):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    connection.request("GET", "/", headers={"Traceparent": f"00-{trace}-00f067aa0ba902b7-0{flag}"})
    answer = connection.getresponse().read().decode()
    connection.close()
    assert trace in answer
    return answer[-2:]
