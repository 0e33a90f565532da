"""`zeroserve explain`: which site, route and matchers decide about a request, and why the others do not.

In: a Caddyfile and a request line. Out: text. The engine decides, by the site's own program lowered to report
its steps; nothing is sent anywhere.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from urllib.parse import urlsplit

from zeroserve_dataplane.jit.inspecting import ExecutionError, execute
from zeroserve_dataplane.marking import mark_loads
from zeroserve_dataplane.verifier import Refused, verify
from zeroserve_engine import find_binary
from zeroserve_ir import tree
from zeroserve_ir._pb import execution_pb2, resources_pb2
from zeroserve_ir.caddyfile.loading import load_configuration
from zeroserve_ir.diagnostics import Diagnostic, Severity
from zeroserve_ir.drafting_explained import lower_explained
from zeroserve_ir.drafting_plugins import draft_plugins, list_plugins, resolve_plugin
from zeroserve_ir.drafting_sites import find_site
from zeroserve_ir.host_names import spell_host
from zeroserve_ir.plugins.attaching import find_attachments, replace_calls, watch_errors
from zeroserve_ir.program import abi
from zeroserve_ir.program.lowering import LoweredSite, lower_site
from zeroserve_ir.program.steps import Step, StepKind, describe

from zeroserve_cli.main import EXIT_FAILED
from zeroserve_cli.reporting import print_diagnostics
from zeroserve_cli.signing import FIELD, ExplainKeyError, read_explain_key, sign_request

_DEFAULT_PORTS = {"http": 80, "https": 443}
UNTRIED_SHOWN_MAX = 20
"""More routes in a row that were not tried are told in one line."""
_PASSES_ON = "goes on"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked about."""

    method: str
    scheme: str
    authority: str
    port: int
    target: str
    fields: tuple[tuple[str, str], ...]
    peer: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the Caddyfile and the request."""
    parser.add_argument("config", type=Path, nargs="?", help="Caddyfile")
    parser.add_argument("request", nargs="*", help="[METHOD] URL, for example GET https://example.com/a?b=c")
    parser.add_argument(
        "-H", "--header", action="append", default=[], metavar="FIELD: VALUE", help="header field; repeatable"
    )
    parser.add_argument(
        "--sign",
        metavar="HOST",
        help="print a header that makes `zeroserve run --explain-key FILE` tell in its answer",
    )
    parser.add_argument("--key", type=Path, metavar="FILE", help="the key to sign with")
    parser.add_argument("--valid-for", type=int, default=600, metavar="SECONDS", help="a day at most")
    parser.add_argument("--peer", default="127.0.0.1:1", help="client's address and port")


def run(arguments: argparse.Namespace) -> int:
    """Explain one request, or sign a header that asks a running server to."""
    if arguments.sign:
        return _sign(arguments)
    if arguments.config is None or not arguments.request:
        print("zeroserve: name a Caddyfile and a request", file=sys.stderr)
        return EXIT_FAILED
    request = _read_request(arguments)
    if isinstance(request, str):
        print(f"zeroserve: {request}", file=sys.stderr)
        return EXIT_FAILED
    read = load_configuration(arguments.config, os.environ)
    print_diagnostics(read.diagnostics, read.texts)
    if any(one.severity is Severity.ERROR for one in read.diagnostics):
        return EXIT_FAILED
    print(f"{request.method} {request.scheme}://{request.authority}{request.target}\n")
    host = request.authority.rpartition(":")[0] or request.authority
    host = host if request.authority.endswith(f":{request.port}") else request.authority
    site = find_site(read.configuration, request.scheme, host.lower(), request.port)
    if site is None:
        print(f"no site takes {host} by {request.scheme} on port {request.port}: answered with 404")
        _print_other_sites(read.configuration)
        return 0
    print(f"site {_name_site(site)}  ({site.span.file}:{site.span.line})")
    site, plugins = _load_plugins(site, read.configuration.options)
    lowered = lower_explained(site) or lower_site(site)
    execution = _make_execution(lowered, request)
    execution.plugins.extend(plugins)
    try:
        (outcome,) = execute([str(find_binary())], [execution])
    except ExecutionError as error:
        print(f"zeroserve: {error}", file=sys.stderr)
        return EXIT_FAILED
    if lowered.steps:
        for line in _tell_routes(site.routes, _Reached.of(lowered, outcome.steps), 1):
            print(line)
    elif site.routes:
        print("  its routes are too many to tell what became of each")
    print(f"\n{_tell_answer(outcome)}")
    return 0


def _load_plugins(
    site: tree.Site, options: tree.Options
) -> tuple[tree.Site, list[execution_pb2.ExecutedPlugin]]:
    """Return the site with the hooks of its plugins as calls, and the plugins that nodes would run."""
    findings: list[Diagnostic] = []
    drafted = draft_plugins(options, lambda path: Path(path).read_bytes(), findings.append)
    entries = list_plugins(options)

    def resolve(handler: tree.CallPlugin | tree.AttachPlugin) -> tree.CallPlugin | tree.Subroute:
        return resolve_plugin(handler, entries, drafted, findings.append, site.span)

    routes, errors = replace_calls(site.routes, resolve), replace_calls(site.errors, resolve)
    errors = watch_errors(find_attachments(site.routes, routes), errors)
    loaded = []
    for plugin in drafted.values():
        found = {item.type: item.payload for item in plugin.resources}
        program = resources_pb2.Program.FromString(found[resources_pb2.PROGRAM])
        verdict = verify(program.code, 0)
        if isinstance(verdict, Refused):
            continue
        image = resources_pb2.Image(name=program.name, abi=abi.ABI_VERSION, target="ebpf")
        message = resources_pb2.Plugin.FromString(found[resources_pb2.PLUGIN])
        # Nothing is sent anywhere: requests of plugins get no answer.
        del message.upstreams[:]
        loaded.append(execution_pb2.ExecutedPlugin(plugin=message, image=image, code=mark_loads(verdict)))
    print_diagnostics(findings, {})
    return replace(site, routes=routes, errors=errors), loaded


def _sign(arguments: argparse.Namespace) -> int:
    if arguments.key is None:
        print("zeroserve: --sign needs --key FILE", file=sys.stderr)
        return EXIT_FAILED
    try:
        key = read_explain_key(arguments.key)
    except ExplainKeyError as error:
        print(f"zeroserve: {error}", file=sys.stderr)
        return EXIT_FAILED
    print(f"{FIELD}: {sign_request(arguments.sign, key, int(time.time()) + arguments.valid_for)}")
    return 0


def _read_request(arguments: argparse.Namespace) -> Request | str:
    *method, url = arguments.request
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"{url!r} is no URL: {error}"
    if len(method) > 1 or parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        return f"{' '.join(arguments.request)!r} is no request: write [METHOD] http://HOST/PATH"
    fields = [tuple(part.strip() for part in field.split(":", 1)) for field in arguments.header]
    if wrong := next((field for field in fields if len(field) != 2), None):
        return f"{wrong[0]!r} is no header field: write 'Accept: text/html'"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    authority = parts.netloc.rpartition("@")[2]
    if not authority.isascii():
        authority = spell_host(parts.hostname) + (f":{port}" if port else "")
    return Request(
        method=(method or ["GET"])[0],
        scheme=parts.scheme,
        authority=authority,
        port=port or _DEFAULT_PORTS[parts.scheme],
        target=target,
        fields=tuple((field[0], field[1]) for field in fields),
        peer=arguments.peer,
    )


def _make_execution(lowered: LoweredSite, request: Request) -> execution_pb2.Execution:
    fields = (("Host", request.authority), *request.fields)
    return execution_pb2.Execution(
        image=resources_pb2.Image(
            name="explained",
            abi=abi.ABI_VERSION,
            target="ebpf",
            constants_bytes=len(lowered.constants),
            reads_folded_path=lowered.program.reads_folded_path,
        ),
        code=lowered.code,
        constants=lowered.constants,
        tables=lowered.tables,
        request=execution_pb2.RequestHead(
            method=request.method,
            target=request.target,
            scheme=request.scheme,
            fields=[execution_pb2.Field(name=name, value=value.encode()) for name, value in fields],
            peer=request.peer,
            http_minor=1,
        ),
    )


@dataclass(frozen=True, slots=True)
class _Reached:
    """Steps that were reached, by what they are about."""

    kinds: dict[int, set[StepKind]]
    last_compared: dict[int, tree.Matcher]
    """By route: the matcher asked last."""
    deciding: int
    """The handler reached last."""

    @staticmethod
    def of(lowered: LoweredSite, rows: Sequence[int]) -> _Reached:
        kinds: dict[int, set[StepKind]] = {}
        last_compared: dict[int, tree.Matcher] = {}
        route: tree.Route | None = None
        deciding = 0
        for step in (lowered.steps[row] for row in rows):
            kinds.setdefault(id(step.subject), set()).add(step.kind)
            route = (
                step.subject
                if step.kind is StepKind.TRIED and isinstance(step.subject, tree.Route)
                else route
            )
            if step.kind is StepKind.COMPARED and route is not None:
                last_compared[id(route)] = _matcher_of(step)
            if step.kind is StepKind.HANDLED and not isinstance(step.subject, tree.Subroute):
                deciding = id(step.subject)
        return _Reached(kinds, last_compared, deciding)

    def has(self, subject: object, kind: StepKind) -> bool:
        return kind in self.kinds.get(id(subject), ())

    def tells_of(self, route: tree.Route) -> bool:
        return id(route) in self.kinds


def _matcher_of(step: Step) -> tree.Matcher:
    assert not isinstance(step.subject, tree.Route | tree.Handler)
    return step.subject


def _tell_routes(routes: Sequence[tree.Route], reached: _Reached, depth: int) -> Iterator[str]:
    """Yield a line for each route and handler: what became of it; of many routes that were not tried, one."""
    for is_tried, some in groupby(routes, reached.tells_of):
        alike = list(some)
        if not is_tried and len(alike) > UNTRIED_SHOWN_MAX:
            lines = sorted(route.span.line for route in alike)
            text = f"{len(alike):,} routes, to line {lines[-1]}"
            yield _line(lines[0], depth, text, "not tried: their paths do not fit, or another route decided")
            continue
        for route in alike:
            yield from _tell_route(route, reached, depth)


def _tell_route(route: tree.Route, reached: _Reached, depth: int) -> Iterator[str]:
    if reached.has(route, StepKind.APPLIES):
        verdict = "applies"
    elif reached.has(route, StepKind.TRIED):
        failed = reached.last_compared.get(id(route))
        verdict = f"does not apply: {describe(failed)}" if failed else "does not apply"
    else:
        verdict = "not tried: another route decided"
    yield _line(route.span.line, depth, describe(route), verdict)
    for handler in route.handlers if verdict == "applies" else ():
        if isinstance(handler, tree.Subroute):
            yield from _tell_routes(handler.routes, reached, depth + 1)
            continue
        if not reached.has(handler, StepKind.HANDLED):
            told = "not reached"
        else:
            told = "decides" if reached.deciding == id(handler) else _PASSES_ON
        yield _line(route.span.line, depth + 1, describe(handler), told)


def _line(line: int, depth: int, text: str, verdict: str) -> str:
    return f"  {f'line {line}':<10}{'  ' * depth}{text:<{52 - 2 * depth}}  {verdict}"


def _tell_answer(outcome: execution_pb2.Outcome) -> str:
    if outcome.trapped:
        return f"answer: 500, the program was stopped: {outcome.trap}"
    action = abi.Action(outcome.result & 0xFF)
    if action is abi.Action.PROXY:
        return f"answer: from an upstream of {outcome.cluster}, asked for {outcome.method} {outcome.uri}"
    if action is abi.Action.ABORT:
        return "answer: none, the connection is closed"
    if action is abi.Action.SUSPEND:
        operation = abi.Operation(outcome.result >> 32 & 0xFF)
        waited = operation.name.lower().replace("_", " ")
        return f"answer: known only when the running server did this: {waited}"
    if action is abi.Action.FILE:
        return f"answer: a file for {outcome.uri}"
    return f"answer: {outcome.status}" + (f", {len(outcome.body)} bytes of body" if outcome.body else "")


def _name_site(site: tree.Site) -> str:
    return ", ".join(f"{one.scheme.value}://{one.host or '*'}:{one.port}{one.path}" for one in site.addresses)


def _print_other_sites(configuration: tree.Configuration) -> None:
    for site in configuration.sites:
        print(f"  line {site.span.line:<5} {_name_site(site)}")
