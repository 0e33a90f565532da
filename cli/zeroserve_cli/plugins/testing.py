"""`zeroserve plugin test` and `bench`: a plugin's functions in the engine, on requests of `*.test` files.

In: TOML files beside plugin.toml. Out: what differs from what they expect; nanoseconds and instructions of a
call. The rule: what runs is the engine's own code, sandbox and helpers; nothing is sent anywhere.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from zeroserve_dataplane.jit.emitting import emit
from zeroserve_dataplane.jit.inspecting import ExecutionError, execute
from zeroserve_dataplane.jit.targets import Tier, find_host_target
from zeroserve_dataplane.jit.translating import translate
from zeroserve_dataplane.marking import mark_loads
from zeroserve_dataplane.verifier import Verified, verify
from zeroserve_engine import find_binary
from zeroserve_ir import tree
from zeroserve_ir._pb import execution_pb2, resources_pb2
from zeroserve_ir.plugins.granting import GrantedSecret, GrantedUpstream, Grants, draft_plugin
from zeroserve_ir.plugins.modules import Hook, PluginModule
from zeroserve_ir.program import abi
from zeroserve_ir.program.clusters import build_cluster
from zeroserve_ir.program.lowering import LoweredSite, lower_site

from zeroserve_cli.main import EXIT_FAILED
from zeroserve_cli.plugins.cases import Case, read_cases
from zeroserve_cli.plugins.projects import Project, ProjectError

FIRST_PORT: Final = 10
"""Of the upstreams that a plugin may ask; the one before is the route's own."""


def test(project: Project, module: PluginModule) -> int:
    """Run all cases; prints each that fails, returns the exit code."""
    cases = read_cases(project, module)
    outcomes = _execute(cases, [make_execution(project, module, case) for case in cases])
    failed = 0
    for case, outcome in zip(cases, outcomes, strict=True):
        faults = list(judge(case, outcome))
        failed += bool(faults)
        print(f"{'FAILED' if faults else 'passed'}  {case.file.name}: {case.name}")
        for fault in faults:
            print(f"        {fault}")
        if faults and outcome.plugin_failure:
            print(f"        the call of {case.function} failed: {outcome.plugin_failure}")
    print(f"{len(cases) - failed} of {len(cases)} passed")
    return EXIT_FAILED if failed else 0


def bench(project: Project, module: PluginModule, requests: int) -> int:
    """Measure the first case of each function; prints a line for each."""
    firsts = {case.function: case for case in reversed(read_cases(project, module))}
    _execute(list(firsts.values()), [make_execution(project, module, case) for case in firsts.values()])
    for function, case in sorted(firsts.items()):
        called = _measure([make_execution(project, module, case)] * requests)
        bare = _measure([make_execution(project, module, case, calls=False)] * requests)
        fuel = find_fuel(make_execution(project, module, case))
        print(
            f"{function}: {max(called - bare, 0):.0f} ns a call, {fuel} fuel "
            f"(median of {requests}; {case.file.name}: {case.name})"
        )
    return 0


def _execute(
    cases: Sequence[Case], executions: Sequence[execution_pb2.Execution]
) -> tuple[execution_pb2.Outcome, ...]:
    """Run all; raises ProjectError that names the case whose request is none."""
    engine = [str(find_binary())]
    try:
        return execute(engine, executions)
    except ExecutionError:
        for case, execution in zip(cases, executions, strict=True):
            try:
                execute(engine, [execution])
            except ExecutionError as error:
                raise ProjectError(f"{case.file}: {case.name}: {error}") from error
        raise


def find_fuel(execution: execution_pb2.Execution) -> int:
    """Return the smallest budget with which the plugin does what it does with the default one."""
    wanted = _decide(execution, abi.FUEL_DEFAULT)
    low, high = 1, abi.FUEL_DEFAULT
    while low < high:
        middle = (low + high) // 2
        if _decide(execution, middle) == wanted:
            high = middle
        else:
            low = middle + 1
    return low


def _decide(execution: execution_pb2.Execution, fuel: int) -> tuple[bool, int, bytes, str]:
    limited = execution_pb2.Execution()
    limited.CopyFrom(execution)
    for one in limited.plugins:
        one.plugin.fuel = fuel
    (outcome,) = execute([str(find_binary())], [limited])
    return outcome.trapped, outcome.status, outcome.body, outcome.cluster


def _measure(executions: list[execution_pb2.Execution]) -> float:
    outcomes = execute([str(find_binary())], executions)
    return statistics.median(outcome.nanoseconds for outcome in outcomes)


def make_execution(
    project: Project, module: PluginModule, case: Case, *, calls: bool = True
) -> execution_pb2.Execution:
    """Return the execution of a route that calls the function and then proxies."""
    lowered = _lower(project.name, case, calls=calls)
    secrets = tuple(GrantedSecret(name, value.encode()) for name, value in case.secrets.items())
    upstreams = tuple(GrantedUpstream(name, cluster, name) for name, cluster in _name_clusters(case))
    grants = Grants(project.capabilities, secrets=secrets, upstreams=upstreams)
    _, plugin = draft_plugin(project.name, "", module, grants)
    image, code = _compile(project.name, module)
    request = case.request
    fields = {"Host": "example.com"} | dict(request.get("headers", {}))
    return execution_pb2.Execution(
        image=_image(project.name, len(lowered.constants)),
        code=lowered.code,
        constants=lowered.constants,
        tables=lowered.tables,
        request=execution_pb2.RequestHead(
            method=request.get("method", "GET"),
            target=request.get("target", "/"),
            scheme="http",
            fields=list(_fields(fields)),
            peer=request.get("peer", "192.0.2.1:1"),
            http_minor=1,
            body=request.get("body", "").encode(),
        ),
        plugins=[
            execution_pb2.ExecutedPlugin(
                plugin=resources_pb2.Plugin.FromString(plugin.payload),
                image=image,
                code=code,
            )
        ],
        answers=[_make_answer(answer) for answer in case.answers],
        answered=_make_answer(case.answer) if case.hook is Hook.RESPONSE else None,
        unix_s=case.time_s,
    )


def _make_answer(answer: Mapping[str, Any]) -> execution_pb2.FetchedAnswer:
    return execution_pb2.FetchedAnswer(
        status=answer.get("status", 200),
        fields=list(_fields(answer.get("headers", {}))),
        body=answer.get("body", "").encode(),
    )


def _name_clusters(case: Case) -> Iterator[tuple[str, str]]:
    for name, upstream in _list_upstreams(case):
        yield name, build_cluster(tree.ReverseProxy((upstream,))).name


def _list_upstreams(case: Case) -> tuple[tuple[str, tree.Upstream], ...]:
    """Return an upstream for each name, each of a port of its own; nothing is sent there."""
    ports = range(FIRST_PORT, FIRST_PORT + len(case.upstreams))
    return tuple(
        (name, tree.Upstream(f"127.0.0.1:{port}")) for name, port in zip(case.upstreams, ports, strict=True)
    )


def judge(case: Case, outcome: execution_pb2.Outcome) -> Iterator[str]:
    """Yield how an outcome differs from what was expected."""
    found: dict[str, Any] = {
        "forwarded": bool(outcome.cluster),
        "status": outcome.status,
        "body": outcome.body.decode(errors="replace"),
        "uri": outcome.uri,
        "method": outcome.method,
        "trapped": outcome.trapped,
        "upstream": next((name for name, cluster in _name_clusters(case) if cluster == outcome.cluster), ""),
    }
    for key, wanted in case.expect.items():
        if key in found and found[key] != wanted:
            yield f"{key} is {found[key]!r}, not {wanted!r}"
    for key, fields in (
        ("headers", outcome.response_fields),
        ("request_headers", outcome.request_fields),
    ):
        values: dict[str, list[str]] = {}
        for field in fields:
            values.setdefault(field.name.lower(), []).append(field.value.decode(errors="replace"))
        for name, wanted in case.expect.get(key, {}).items():
            given = ", ".join(values.get(name.lower(), []))
            if wanted is False and name.lower() in values:
                yield f"{key}.{name} is {given!r}, and should not be there"
            elif wanted is not False and given != wanted:
                yield f"{key}.{name} is {given!r}, not {wanted!r}"


def _lower(name: str, case: Case, *, calls: bool) -> LoweredSite:
    config = json.dumps(case.config, separators=(",", ":"))
    called: tree.Handler = tree.CallPlugin(name, case.function, config, _list_upstreams(case))
    if case.hook is Hook.RESPONSE:
        called = tree.Intercept((tree.ResponseHandler(routes=(tree.Route((called,)),)),))
    proxy = tree.Route((tree.ReverseProxy((tree.Upstream(f"127.0.0.1:{FIRST_PORT - 1}"),)),))
    address = tree.SiteAddress(tree.Scheme.HTTP, "", 80)
    return lower_site(tree.Site((address,), (tree.Route((called,)), proxy) if calls else (proxy,)))


@lru_cache(4)
def _compile(name: str, module: PluginModule) -> tuple[resources_pb2.Image, bytes]:
    """Return native code for this machine, as a node would run it."""
    verified = verify(module.code, 0)
    assert isinstance(verified, Verified), "`build` has verified it"
    target = find_host_target()
    if target is None:
        return _image(name, 0), mark_loads(verified)
    made = emit(translate(verified), target, Tier.OPTIMISED)
    image = resources_pb2.Image(
        name=name,
        abi=abi.ABI_VERSION,
        target=target.value,
        entry=made.entry,
        code_bytes=len(made.text),
    )
    return image, made.text


def _image(name: str, constants_bytes: int) -> resources_pb2.Image:
    return resources_pb2.Image(name=name, abi=abi.ABI_VERSION, target="ebpf", constants_bytes=constants_bytes)


def _fields(fields: Mapping[str, Any]) -> Iterator[execution_pb2.Field]:
    for name, value in fields.items():
        for one in value if isinstance(value, list) else [value]:
            yield execution_pb2.Field(name=name, value=str(one).encode())
