"""A collector of spans: OpenTelemetry's own messages, by gRPC or HTTP."""

import http.server
import threading
from concurrent import futures

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service

PATIENCE_S = 60


class Collector:
    """Keeps the spans that come by gRPC or HTTP, with their resource."""

    def __init__(self, protocol):
        self.received = []
        self.fields = {}
        self._changed = threading.Condition()
        if protocol == "grpc":
            self._server = grpc.server(futures.ThreadPoolExecutor(2))
            name = "opentelemetry.proto.collector.trace.v1.TraceService"
            method = grpc.unary_unary_rpc_method_handler(
                self._export,
                request_deserializer=service.ExportTraceServiceRequest.FromString,
                response_serializer=service.ExportTraceServiceResponse.SerializeToString,
            )
            handler = grpc.method_handlers_generic_handler(name, {"Export": method})
            self._server.add_generic_rpc_handlers((handler,))
            self.port = self._server.add_insecure_port("127.0.0.1:0")
            self._server.start()
            self.close = lambda: self._server.stop(None).wait()
        else:
            self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._make_handler())
            self.port = self._server.server_address[1]
            threading.Thread(target=self._server.serve_forever, daemon=True).start()
            self.close = self._server.shutdown

    def wait(self, count):
        """Return spans by name and path, once so many are here; each with its resource's attributes."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.received) >= count, PATIENCE_S), self.received
            return list(self.received)

    def _export(self, request, context):
        self._take(request, {item.key: item.value for item in context.invocation_metadata()})
        return service.ExportTraceServiceResponse()

    def _take(self, request, fields):
        with self._changed:
            self.fields = fields
            for group in request.resource_spans:
                resource = read_attributes(group.resource.attributes)
                self.received += [(span, resource) for scope in group.scope_spans for span in scope.spans]
            self._changed.notify_all()

    def _make_handler(self):
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.path == "/v1/traces"
                fields = {name.lower(): value for name, value in self.headers.items()}
                collector._take(service.ExportTraceServiceRequest.FromString(body), fields)
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.end_headers()

            def log_message(self, *_):
                pass

        return Handler


def read_attributes(attributes):
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
