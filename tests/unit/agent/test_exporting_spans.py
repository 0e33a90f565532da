"""Spans on their way to a collector: what is read, what is bounded, what is lost."""

import json
import threading

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace.status import StatusCode
from zeroserve_dataplane.agent import exporting_spans
from zeroserve_dataplane.agent.exporting_spans import SpanSink, read_span

PATIENCE_S = 60
RESOURCE = Resource({})
LINE = {
    "trace": "4bf92f3577b34da6a3ce929d0e0e4736",
    "span": "00f067aa0ba902b7",
    "parent": None,
    "state": "",
    "name": "handler",
    "start_ns": 1,
    "end_ns": 2,
    "failed": False,
    "attributes": {"server.port": 80},
}


def line(**more):
    return json.dumps(LINE | more).encode()


class Stalled:
    """A collector that takes nothing until it is let go."""

    def __init__(self, result=SpanExportResult.SUCCESS):
        self.result = result
        self.names = []
        self.begun = threading.Event()
        self.free = threading.Event()

    def export(self, spans):
        self.names += [span.name for span in spans]
        self.begun.set()
        assert self.free.wait(PATIENCE_S)
        return self.result

    def shutdown(self):
        pass


def open_sink(monkeypatch, exporter, **environment):
    monkeypatch.setattr(exporting_spans, "make_exporter", lambda _: exporter)
    return SpanSink({"OTEL_BSP_SCHEDULE_DELAY": "1"} | environment)


def test_a_full_queue_drops_and_counts(monkeypatch):
    exporter = Stalled()
    sink = open_sink(monkeypatch, exporter, OTEL_BSP_MAX_QUEUE_SIZE="2")
    sink.write(line(name="first"))
    assert exporter.begun.wait(PATIENCE_S)
    sink.write(b"\n".join(line(name=f"next {index}") for index in range(5)))
    assert sink.dropped == 3
    exporter.free.set()
    sink.close(PATIENCE_S)
    assert exporter.names == ["first", "next 0", "next 1"]
    assert (sink.exported, sink.dropped) == (3, 3)


def test_what_does_not_arrive_is_counted_with_what_is_no_span(monkeypatch):
    exporter = Stalled(SpanExportResult.FAILURE)
    exporter.free.set()
    sink = open_sink(monkeypatch, exporter)
    sink.write(b"no span\n" + line())
    sink.close(PATIENCE_S)
    assert (sink.exported, sink.dropped) == (0, 2)


def test_nothing_is_sent_where_the_environment_says_so(monkeypatch):
    exporter = Stalled()
    for environment in ({"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}):
        sink = open_sink(monkeypatch, exporter, **environment)
        sink.write(line())
        sink.close(PATIENCE_S)
        assert (exporter.names, sink.dropped) == ([], 0)


def test_a_failed_answer_is_a_failed_span():
    assert read_span(line(failed=True), RESOURCE).status.status_code is StatusCode.ERROR


@given(
    st.binary()
    | st.dictionaries(st.sampled_from(sorted(LINE)), st.integers() | st.text()).map(lambda d: line(**d))
)
def test_any_line_is_a_span_or_none(text):
    span = read_span(text, RESOURCE)
    assert span is None or encode_spans([span]).resource_spans
