"""Caddy's JSON, read: the inverse of what `adapt` prints.

In: text of a JSON file. Out: an `AdaptedConfiguration` that encodes to the same JSON, and findings that
name the path in it. Called by `loading`; `settling` makes of it what is run.
"""

from __future__ import annotations

import json
from typing import Any

from zeroserve_ir.caddyfile.decoding_handlers import decode_handler, decode_set
from zeroserve_ir.caddyfile.encoding import encode_route, encode_routes
from zeroserve_ir.caddyfile.limits import DEPTH_MAX
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic
from zeroserve_ir.sources import Origin, Span
from zeroserve_ir.tree import Handler, NamedRoute, Route, Subroute
from zeroserve_ir.tree_carried import Carried, CarriedHandler, Json
from zeroserve_ir.tree_servers import AdaptedConfiguration, AdaptedServer


def decode_configuration(text: str, file: str) -> tuple[AdaptedConfiguration, list[Diagnostic]]:
    """Decode a whole configuration; with an error among the findings it is not whole."""
    decoder = _Decoder(file)
    try:
        value = json.loads(text, object_pairs_hook=_without_id)
    except json.JSONDecodeError as error:
        span = Span(file, error.lineno, error.colno, error.colno + 1)
        return AdaptedConfiguration(()), [Diagnostic(Code.ZS0001, f"no JSON: {error.msg.lower()}", span)]
    except RecursionError:
        return AdaptedConfiguration(()), [
            Diagnostic(Code.ZS0202, "the JSON is nested too deeply", Span(file, 1, 1, 2))
        ]
    if not isinstance(value, dict):
        decoder.refuse("", "an object", value)
        return AdaptedConfiguration(()), decoder.diagnostics
    return decoder.configuration(value), decoder.diagnostics


def encode_configuration(configuration: AdaptedConfiguration) -> Json:
    """Return the JSON that a configuration was decoded from."""
    encoded: Json = configuration.others.value()
    if "servers" in encoded.get("apps", {}).get("http", {}):
        encoded["apps"]["http"]["servers"] = {one.name: _encode_server(one) for one in configuration.servers}
    return encoded


def _encode_server(server: AdaptedServer) -> Json:
    encoded: Json = server.others.value()
    if server.listen:
        encoded["listen"] = list(server.listen)
    if server.routes:
        encoded["routes"] = encode_routes(server.routes)
    if server.errors:
        encoded["errors"] = {"routes": encode_routes(server.errors)}
    if server.named_routes:
        encoded["named_routes"] = {one.name: encode_route(one.routes[0]) for one in server.named_routes}
    return encoded


def _without_id(pairs: list[tuple[str, Any]]) -> Json:
    """Leave out an object's name for Caddy's admin API (Caddy: RemoveMetaFields)."""
    return {key: value for key, value in pairs if key != "@id" or type(value) not in (str, int, float)}


class _Decoder:
    def __init__(self, file: str) -> None:
        self.file = file
        self.diagnostics: list[Diagnostic] = []

    def span(self, path: str) -> Span:
        return Span(self.file, 0, 0, 0, origin=Origin("Caddy JSON", "", self.file, path))

    def refuse(self, path: str, wanted: str, found: Any) -> None:
        """Record a value of the wrong kind."""
        kinds = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
        message = f"{kinds.get(type(found), 'a number')} where {wanted} is expected"
        cure = f"write {wanted} at {path or 'the top'}"
        self.diagnostics.append(Diagnostic(Code.ZS0103, message, self.span(path), help=cure))

    def take(self, owner: Json, key: str, path: str, kind: type, wanted: str) -> Any:
        """Take a value out of an object; an empty one where it is missing or of the wrong kind."""
        if key not in owner:
            return kind()
        value = owner.pop(key)
        if isinstance(value, kind):
            return value
        self.refuse(f"{path}.{key}", wanted, value)
        return kind()

    def configuration(self, value: Json) -> AdaptedConfiguration:
        apps = value.get("apps", {})
        http = apps.get("http", {}) if isinstance(apps, dict) else {}
        if not isinstance(apps, dict) or not isinstance(http, dict):
            self.refuse("apps" if not isinstance(apps, dict) else "apps.http", "an object", apps)
            return AdaptedConfiguration(())
        servers = http.get("servers", {})
        if not isinstance(servers, dict):
            self.refuse("apps.http.servers", "an object", servers)
            return AdaptedConfiguration(())
        decoded = tuple(
            self.server(name, server, f"apps.http.servers.{name}") for name, server in servers.items()
        )
        if "servers" in http:
            http["servers"] = {}
        return AdaptedConfiguration(decoded, Carried.of(value, span=self.span("")))

    def server(self, name: str, server: Any, path: str) -> AdaptedServer:
        if not isinstance(server, dict):
            self.refuse(path, "an object", server)
            return AdaptedServer(name)
        server = dict(server)
        listen = self.take(server, "listen", path, list, "an array")
        for index, one in enumerate(listen):
            if not isinstance(one, str):
                self.refuse(f"{path}.listen[{index}]", "a string", one)
        routes = self.take(server, "routes", path, list, "an array")
        named = self.take(server, "named_routes", path, dict, "an object")
        errors: list[Any] = []
        if isinstance(server.get("errors"), dict) and set(server["errors"]) == {"routes"}:
            errors = self.take(server.pop("errors"), "routes", f"{path}.errors", list, "an array")
        return AdaptedServer(
            name,
            tuple(str(one) for one in listen),
            self.routes(routes, f"{path}.routes"),
            self.routes(errors, f"{path}.errors.routes"),
            tuple(
                NamedRoute(one, self.routes([route], f"{path}.named_routes.{one}"))
                for one, route in named.items()
            ),
            Carried.of(server, span=self.span(path)),
        )

    def routes(self, routes: list[Any], path: str, depth: int = 0) -> tuple[Route, ...]:
        if depth > DEPTH_MAX:
            message = f"routes are nested deeper than {DEPTH_MAX}"
            self.diagnostics.append(Diagnostic(Code.ZS0202, message, self.span(path), help="flatten them"))
            return ()
        return tuple(self.route(route, f"{path}[{index}]", depth) for index, route in enumerate(routes))

    def route(self, route: Any, path: str, depth: int) -> Route:
        if not isinstance(route, dict):
            self.refuse(path, "an object", route)
            return Route(())
        found = dict(route)
        sets = self.take(found, "match", path, list, "an array")
        handlers = self.take(found, "handle", path, list, "an array")
        decoded = Route(
            tuple(self.handler(one, f"{path}.handle[{at}]", depth) for at, one in enumerate(handlers)),
            tuple(self.matchers(one, f"{path}.match[{at}]") for at, one in enumerate(sets)),
            self.take(found, "group", path, str, "a string"),
            self.take(found, "terminal", path, bool, "a boolean"),
            self.span(path),
        )
        for key in found:
            message = f"unknown field {key} of a route"
            self.diagnostics.append(
                Diagnostic(Code.ZS0109, message, self.span(f"{path}.{key}"), help="remove it")
            )
        return decoded

    def matchers(self, one: Any, path: str) -> Any:
        if not isinstance(one, dict):
            self.refuse(path, "an object", one)
            return ()
        return decode_set(one, self.span(path))

    def handler(self, handler: Any, path: str, depth: int) -> Handler:
        if not isinstance(handler, dict) or not isinstance(handler.get("handler"), str):
            self.refuse(path, 'an object with a "handler"', handler)
            return CarriedHandler("unknown", Carried.of(handler, span=self.span(path)))
        if handler["handler"] == "subroute" and set(handler) <= {"handler", "routes", "errors"}:
            found = dict(handler)
            routes = self.take(found, "routes", path, list, "an array")
            errors: list[Any] = []
            if "errors" in found:
                inner = dict(self.take(found, "errors", path, dict, "an object"))
                errors = self.take(inner, "routes", f"{path}.errors", list, "an array")
            return Subroute(
                self.routes(routes, f"{path}.routes", depth + 1),
                self.routes(errors, f"{path}.errors.routes", depth + 1),
            )
        return decode_handler(
            handler,
            self.span(path),
            lambda routes, below: self.routes(routes, f"{path}.{below}", depth + 1),
        )
