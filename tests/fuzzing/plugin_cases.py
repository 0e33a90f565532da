"""Runs of plugins' functions: what they are granted, the request, and how the two are told to the engine.

Rule: the reference and the engine get the same grants and request, from one place: here.
"""

from dataclasses import dataclass, field

from zeroserve_ir._pb import execution_pb2, resources_pb2
from zeroserve_ir.program.abi import Capability

from fuzzing.plugin_helpers import Granted, Request

EVERYTHING = Capability((1 << len(Capability)) - 1)
SECRETS = {b"token": b"s3cret", b"empty": b""}
UPSTREAMS = (b"store", b"other")
REQUEST = Request(
    method=b"POST",
    path=b"/a/b",
    query=b"name=moon&x=%41+b&x=2&;=1&empty&bad=%zz",
    fields=[
        (b"X-One", b"1"),
        (b"Cookie", b"id=7; theme = dark;flag"),
        (b"x-one", b"second"),
        (b"Accept", b"*/*"),
        (b"Cookie", b"more=;id=8"),
    ],
)


@dataclass(frozen=True)
class Call:
    """How a program is run as a plugin's function."""

    granted: Granted
    request: Request = field(default_factory=lambda: REQUEST)
    data: bytes = b""
    entry: int = 1
    calls_itself: bool = False
    """The plugin is in the index of plugins, as `NAME f`."""
    namespace: str = ""
    """Of its own for each run of a process: fuel is counted by namespace. Default: the name."""


def grant(name, capabilities=EVERYTHING):
    """Return what the plugins of these runs are granted; `name` keeps their values apart."""
    return Granted(name, capabilities, SECRETS, UPSTREAMS, now_s=1_440_938_160)


def describe_plugin(call, constants, fuel):
    """Return the Plugin resource."""
    return resources_pb2.Plugin(
        name=call.granted.name,
        namespace=call.namespace or call.granted.name,
        constants=constants,
        data=call.data,
        functions=[resources_pb2.PluginFunction(name="f", entry=call.entry)],
        capabilities=int(call.granted.capabilities),
        fuel=fuel,
        secrets=[resources_pb2.PluginSecret(name=name, value=value) for name, value in SECRETS.items()],
        upstreams=[resources_pb2.PluginUpstream(name=name, cluster=name) for name in UPSTREAMS],
    )


def describe_execution(case, code, image):
    """Return the Execution of a case with a call."""
    call, request = case.call, case.call.request
    plugin = describe_plugin(call, case.constants, case.fuel)
    target = request.path + (b"" if request.query is None else b"?" + request.query)
    nested = [execution_pb2.ExecutedPlugin(plugin=plugin, image=image, code=code)]
    return execution_pb2.Execution(
        image=image,
        code=code,
        constants=case.constants,
        memory=case.memory,
        entry=call.entry,
        called=plugin,
        plugins=nested if call.calls_itself else [],
        unix_s=call.granted.now_s,
        request=execution_pb2.RequestHead(
            method=request.method.decode(),
            target=target.decode(),
            scheme="http",
            http_minor=1,
            fields=[
                execution_pb2.Field(name="Host", value=request.host),
                *(execution_pb2.Field(name=name.decode(), value=value) for name, value in request.fields),
            ],
        ),
    )


def observe(request):
    """Return what the engine shows of a request that the reference changed."""
    uri = request.path if request.query is None else request.path + b"?" + request.query
    return (
        request.method.decode(),
        uri.decode(),
        [(name.decode(), value) for name, value in request.fields],
        [(name.decode(), value) for name, value in request.answer],
        [(name.decode(errors="replace"), value) for name, value in request.variables],
        request.status,
        request.body,
    )


def observe_outcome(outcome):
    """Return the same of an outcome of the engine."""
    fields = ([(one.name, one.value) for one in group] for group in _groups(outcome))
    return (outcome.method, outcome.uri, *fields, outcome.status, outcome.body)


def _groups(outcome):
    return outcome.request_fields, outcome.response_fields, outcome.variables
