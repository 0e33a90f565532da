"""Virtual hosts: the parts of all objects for one host, merged.

In: the parts, oldest first, and the Secrets that they name. Out: `BuiltHost`: the host's model, who uses
which Service, diagnostics. Rule: the oldest object has a host and path; whoever comes later loses that path
only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from zeroserve_ir import tree
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic, Severity
from zeroserve_ir.model import Canary, Denial, PasswordFile, PathKind, PathRoute, PathRule, VirtualHost
from zeroserve_ir.plugins.attaching import find_attachments, watch_errors
from zeroserve_ir.sources import Origin
from zeroserve_ir.tree import ServiceReference

from zeroserve_operator.annotations.accounts import read_accounts
from zeroserve_operator.annotations.header_edits import SERVER_SNIPPET
from zeroserve_operator.annotations.names import PLUGINS, PREFIX
from zeroserve_operator.annotations.policies import Policy
from zeroserve_operator.building.clients import ClientPolicies, FindSecret, make_check
from zeroserve_operator.building.external_auth import make_external_auth, resolve_external_auth
from zeroserve_operator.building.paths import (
    PathError,
    looks_like_pattern,
    make_covering_rule,
    make_rule,
    order_of,
)
from zeroserve_operator.building.planning import HostPart, conflict, describe_conflict
from zeroserve_operator.building.plugins import FindPlugin, check_calls, resolve_calls
from zeroserve_operator.building.service_tls import ServiceTlsPolicies
from zeroserve_operator.building.site_bodies import read_body
from zeroserve_operator.resources.ingresses import BackendReference, IngressPath, PathType
from zeroserve_operator.resources.objects import Kind, ObjectKey
from zeroserve_operator.settings import BuildSettings


@dataclass(frozen=True, slots=True)
class BuiltHost:
    """The model of one host, and what else its parts led to."""

    host: VirtualHost | None
    """None where no part could be served."""
    users: tuple[tuple[ServiceReference, Origin], ...]
    """Services, and the fields that name them."""
    diagnostics: tuple[Diagnostic, ...]
    served: frozenset[ObjectKey]
    """Objects that have at least one route here."""


def secrets_of(parts: Sequence[HostPart]) -> list[ObjectKey]:
    """Return the Secrets whose content a host depends on, beside certificates."""
    policies = [part.policy for part in parts]
    asked = (item for one in policies for item in (one.passwords, one.clients, one.service_tls))
    return [ObjectKey(Kind.SECRET, item.namespace, item.secret) for item in asked if item and item.secret]


def build_host(
    host: str,
    parts: Sequence[HostPart],
    find_secret: FindSecret,
    settings: BuildSettings,
    find_plugin: FindPlugin = lambda _namespace, _name: None,
) -> BuiltHost:
    """Merge the parts of one host, oldest first."""
    return _HostBuilding(host, parts, find_secret, settings, find_plugin).build()


class _HostBuilding:
    """The merge of one host while it goes on."""

    def __init__(
        self,
        host: str,
        parts: Sequence[HostPart],
        find_secret: FindSecret,
        settings: BuildSettings,
        find_plugin: FindPlugin,
    ) -> None:
        self.host = host
        # Other names of hosts (`server-alias`) count where no object has that host.
        given = [part for part in parts if not part.yields] or list(parts)
        self.yielding = [part for part in parts if part not in given]
        # A canary has no access control of its own: beside the Ingress that has, it must own no path.
        mains = [part for part in given if part.policy.canary is None]
        self.parts = mains or given
        self.canaries = [part for part in given if part not in self.parts]
        self.find_secret = find_secret
        self.clients = ClientPolicies(self.parts, find_secret, self._note_once)
        self.service_tls = ServiceTlsPolicies(self.parts, find_secret, self._note_once)
        self.settings = settings
        self.find_plugin = find_plugin
        self.findings: list[Diagnostic] = []
        self.routes: dict[tuple[PathKind, str], tuple[PathRoute, HostPart]] = {}
        self.written: dict[str, str] = {}
        """Of a path that closes in the place of an unusable one: what that is, which gives its rank."""
        self.by_regexp = any(_asks_for_regexp(part) for part in self.parts)
        self.canary_parts: dict[ObjectKey, HostPart] = {}
        self.canary_users: list[tuple[ServiceReference, Origin]] = []

    def build(self) -> BuiltHost:
        owner = next((part for part in self.parts if part.route is not None or part.paths), None)
        if owner is not None and owner.route is not None:
            return self._build_body(owner)
        for part in self.parts:
            if part.route is not None and owner is not None:
                self.findings.append(conflict(part, owner, self.host, "/", part.field))
                continue
            template = self._make_template(part)
            for path in part.paths:
                self._add_path(part, path, template)
        self._tell_server_edits()
        self._add_defaults()
        self._resolve_external_auth()
        for part in self.canaries:
            for path in part.paths:
                self._add_canary(part, path)
        self._tell_yielding()
        return self._finish()

    def _build_body(self, owner: HostPart) -> BuiltHost:
        """Serve the site body of a ZeroserveRoute: it has the whole host."""
        self._tell_yielding()
        for part in (*self.parts, *self.canaries):
            if part is not owner and (part.route is not None or part.paths):
                self.findings.append(conflict(part, owner, self.host, "/", part.field))
        assert owner.route is not None
        body, space = read_body(owner.route), owner.meta.key.namespace
        routes = (body.routes, body.errors)
        # The body is read for all hosts of the object: one of them tells what was found.
        if owner.field == "spec.hosts[0]" or self.host == sorted(owner.route.hosts)[0].lower():
            self.findings.extend(body.diagnostics)
            self.findings.extend(
                check_calls(routes, space, owner.route.meta.key.origin.at("spec.caddyfile"), self.find_plugin)
            )
        resolved, errors = (resolve_calls(part, space, self.find_plugin) for part in routes)
        host = VirtualHost(
            self.host,
            routes=() if body.sound else (_closed_route(owner),),
            body=resolved if body.sound else (),
            errors=watch_errors(find_attachments(body.routes, resolved), errors) if body.sound else (),
            tls=owner.tls,
            certificates=owner.certificates,
            origins=(owner.meta.key.origin,),
        )
        served = frozenset({owner.meta.key}) if body.sound else frozenset()
        return BuiltHost(host, body.users if body.sound else (), tuple(self.findings), served)

    def _add_path(self, part: HostPart, path: IngressPath, template: PathRoute) -> None:
        origin = part.meta.key.origin.at(f"{path.field}.path")
        try:
            if path.problem:
                raise PathError(path.problem)
            rule = make_rule(path.path, path.path_type, self.by_regexp)
        except PathError as error:
            self._add_unusable(part, path, template, str(error))
            return
        if rule.kind is not PathKind.REGEXP and looks_like_pattern(path.path):
            message = f"path `{path.path}` is compared literally, not as a pattern"
            cure = f'set {PREFIX}use-regex: "true" where it is a regular expression'
            self._warn(Code.ZS0306, message, origin, cure)
        backend = _refer(part, path.backend)
        rewrite = template.rewrite if _is_rewritten(template.rewrite, path.path) else None
        denial = template.denial
        if denial is None and backend is None and template.moved is None:
            denial = Denial("ZS0301: the backend is malformed")
        route = replace(
            template,
            rule=rule,
            backend=backend,
            rewrite=rewrite,
            denial=denial,
            origin=part.meta.key.origin.at(path.field),
        )
        self._claim(rule, route, part, path)

    def _claim(self, rule: PathRule, route: PathRoute, part: HostPart, path: IngressPath) -> None:
        key = (rule.kind, rule.path)
        if key in self.routes:
            known, winner = self.routes[key]
            if route.moved is not None and known.moved == route.moved:
                return
            self.findings.append(conflict(part, winner, self.host, path.path, f"{path.field}.path"))
            return
        self.routes[key] = (route, part)

    def _resolve_external_auth(self) -> None:
        """Find the Services behind paths of the host itself (`auth-url: https://$host/…`)."""
        known = {key: (route, part.meta.key.namespace) for key, (route, part) in self.routes.items()}
        ordered = sorted(known.values(), key=lambda item: self._order_of(item[0]))
        for key, (route, part) in self.routes.items():
            request = part.policy.external
            if request is not None and route.external_pending and route.denial is None:
                namespace = part.meta.key.namespace
                others = [other for other, space in ordered if space == namespace or self._is_shared(other)]
                resolved, finding = resolve_external_auth(
                    self.host, route, request, others, part.meta.key.origin
                )
                self.routes[key] = (resolved, part)
                if finding is not None:
                    self._note_once(finding)

    def _is_shared(self, route: PathRoute) -> bool:
        shared = self.settings.shared_auth_services
        return route.backend is not None and any(one.covers(route.backend) for one in shared)

    def _add_canary(self, part: HostPart, path: IngressPath) -> None:
        """Send some requests of a path to a canary's Service (controller.go, mergeAlternativeBackends)."""
        try:
            rule = make_rule(path.path, path.path_type, self.by_regexp)
        except PathError:
            rule = None
        found = self.routes.get((rule.kind, rule.path)) if rule is not None else None
        problem = _find_obstacle(part, path, found)
        if problem or rule is None or found is None or part.policy.canary is None:
            message = f"canary of {self.host or 'any host'}{path.path} gets no request: {problem}"
            place = part.meta.key.origin.at(f"{path.field}.path")
            self._warn(Code.ZS0404, message, place, "see docs/annotations.md")
            return
        backend = _refer(part, path.backend)
        assert backend is not None
        route, main = found
        self.routes[rule.kind, rule.path] = (replace(route, canary=Canary(part.policy.canary, backend)), main)
        self.canary_users.append((backend, part.meta.key.origin.at(path.field)))
        self.canary_parts[part.meta.key] = part

    def _tell_server_edits(self) -> None:
        for part in self.parts if len(self.parts) > 1 else ():
            if part.policy.edits_server:
                key = f"metadata.annotations[{PREFIX}{SERVER_SNIPPET}]"
                host = self.host or "any host"
                message = f"{PREFIX}{SERVER_SNIPPET} holds for the paths of its own Ingress on {host}"
                cure = "write it into the other Ingresses of the host, too"
                self._warn(Code.ZS0401, message, part.meta.key.origin.at(key), cure)

    def _tell_yielding(self) -> None:
        for part in self.yielding:
            if any(other.meta.key == part.meta.key for other in (*self.parts, *self.canaries)):
                continue
            owner = (*self.parts, *self.canaries)[0].meta
            message = describe_conflict(owner, self.host, "") + ", or names it in a rule"
            self._warn(Code.ZS0304, message, part.meta.key.origin.at(part.field), "remove the other name")

    def _add_unusable(self, part: HostPart, path: IngressPath, template: PathRoute, problem: str) -> None:
        """Withhold a path; with access control, close what it may have covered instead."""
        restricted = template.denial or part.policy.restricts or template.plugins
        origin = part.meta.key.origin.at(f"{path.field}.path")
        closed = ": what it may cover answers 503" if restricted else ""
        if restricted or not path.problem:
            self.findings.append(Diagnostic(Code.ZS0306, problem + closed, origin=origin))
        if restricted:
            rule = make_covering_rule(path.path)
            route = replace(
                template, rule=rule, backend=None, denial=Denial(f"ZS0306: {problem}"), origin=origin
            )
            self.routes.setdefault((rule.kind, rule.path), (route, part))
            self.written.setdefault(rule.path, path.path)

    def _add_defaults(self) -> None:
        """Add `spec.defaultBackend` of the oldest object that has one, below all paths."""
        having = [part for part in self.parts if part.default_backend is not None]
        everything = make_rule("/", PathType.PREFIX, self.by_regexp)
        for index, part in enumerate(having):
            path = IngressPath("/", PathType.PREFIX, part.default_backend, "spec.defaultBackend")
            owner = self.routes.get((everything.kind, "/"))
            if index == 0 and owner is None:
                self._add_path(part, path, self._make_template(part))
            elif self.host == "" and owner is not None and owner[1].meta.key != part.meta.key:
                self.findings.append(conflict(part, owner[1], "", "/", "spec.defaultBackend"))

    def _make_template(self, part: HostPart) -> PathRoute:
        """Return what all routes of a part have in common."""
        policy = part.policy
        denial, passwords, external, service_tls = policy.denial, None, None, None
        if denial is None:
            service_tls, denial = self.service_tls.find(part)
        if policy.clients is not None and denial is None:
            denial = self.clients.take(part, policy.clients)
        if policy.passwords is not None and denial is None:
            passwords, denial = self._read_passwords(part)
        if policy.external is not None and denial is None:
            external = make_external_auth(policy.external, service_tls)
        return PathRoute(
            rule=PathRule(PathKind.PREFIX, "/"),
            backend=None,
            protocol=policy.protocol,
            service_tls=service_tls,
            timeouts=policy.timeouts,
            redirect=policy.redirect,
            rewrite=policy.rewrite,
            body_bytes_max=policy.body_bytes_max,
            allowed=policy.allowed,
            denied=policy.denied,
            passwords=passwords,
            any_suffices=policy.any_suffices,
            external=external,
            external_pending=policy.external is not None and external is None,
            client=make_check(policy.clients) if denial is None else None,
            limits=policy.limits,
            moved=policy.moved,
            root=policy.root,
            forwarding=policy.forwarding,
            error_pages=policy.error_pages,
            logged=policy.logged,
            header_edits=policy.header_edits,
            cross_origin=policy.cross_origin,
            plugins=self._attach_plugins(part),
            denial=denial,
        )

    def _attach_plugins(self, part: HostPart) -> tuple[tree.Handler, ...]:
        space = part.meta.key.namespace
        origin = part.meta.key.origin.at(f"metadata.annotations[{PLUGINS}]")
        for finding in check_calls(part.policy.plugins, space, origin, self.find_plugin):
            self._note_once(finding)
        return resolve_calls(part.policy.plugins, space, self.find_plugin)

    def _read_passwords(self, part: HostPart) -> tuple[PasswordFile | None, Denial | None]:
        request = part.policy.passwords
        assert request is not None
        origin = part.meta.key.origin.at(f"metadata.annotations[{PREFIX}auth-secret]")
        secret = self.find_secret(ObjectKey(Kind.SECRET, request.namespace, request.secret))
        if secret is None:
            message = f"Secret {request.namespace}/{request.secret} is not there: its routes answer 503"
            self._note_once(Diagnostic(Code.ZS0501, message, origin=origin))
            return None, Denial(f"ZS0501: {message}")
        accounts = read_accounts(secret, request.format, origin)
        for finding in accounts.diagnostics:
            self._note_once(finding)
        if not accounts.pairs:
            return None, Denial("ZS0502: no account can be read")
        return PasswordFile(request.realm, accounts.pairs), None

    def _note_once(self, diagnostic: Diagnostic) -> None:
        if diagnostic not in self.findings:
            self.findings.append(diagnostic)

    def _finish(self) -> BuiltHost:
        ordered = [route for route, _ in self.routes.values()]
        if self.by_regexp:
            ordered.sort(key=lambda route: route.rule.path, reverse=True)
        ordered.sort(key=self._order_of)
        certificates = dict.fromkeys(name for part in self.parts for name in part.certificates)
        parts = {part.meta.key: part for _, part in self.routes.values()} | self.canary_parts
        model = VirtualHost(
            self.host,
            tuple(ordered),
            passthrough=self._find_passthrough(),
            tls=any(part.tls for part in self.parts),
            certificates=tuple(certificates),
            clients=self.clients.agreed,
            origins=tuple(key.origin for key in parts),
        )
        open_routes = (route for route in ordered if route.denial is None)
        asked = [route for route in open_routes if route.moved is None]
        users = [(route.backend, route.origin) for route in asked if route.backend is not None]
        users += [*_list_named(asked), *self.canary_users]
        return BuiltHost(model if ordered else None, tuple(users), tuple(self.findings), frozenset(parts))

    def _order_of(self, route: PathRoute) -> tuple[int, int, str]:
        if self.by_regexp:
            # ingress-nginx: controller.go sorts by path descending, then stably by length.
            return (-len(self.written.get(route.rule.path, route.rule.path)), 0, "")
        return order_of(route.rule)

    def _find_passthrough(self) -> ServiceReference | None:
        """Return the Service of the path `/`, where its object lets TLS pass (`ssl-passthrough`)."""
        for (kind, path), (route, part) in self.routes.items():
            if path == "/" and kind is not PathKind.EXACT and part.policy.passthrough:
                return None if route.denial else route.backend
        return None

    def _warn(self, code: Code, message: str, origin: Origin, cure: str) -> None:
        self.findings.append(Diagnostic(code, message, origin=origin, help=cure, severity=Severity.WARNING))


def _list_named(routes: Sequence[PathRoute]) -> Iterator[tuple[ServiceReference, Origin]]:
    """Yield the Services that annotations of routes name, and where."""
    for route in routes:
        if route.external is not None:
            yield route.external.service, route.origin.at(f"metadata.annotations[{PREFIX}auth-url]")
        if route.forwarding.mirror is not None:
            yield route.forwarding.mirror, route.origin.at(f"metadata.annotations[{PREFIX}mirror-target]")
        if route.error_pages is not None:
            yield route.error_pages.service, route.origin.at(f"metadata.annotations[{PREFIX}default-backend]")


def _refer(part: HostPart, backend: BackendReference | None) -> ServiceReference | None:
    if backend is None:
        return None
    return ServiceReference(part.meta.key.namespace, backend.service, backend.port)


def _asks_for_regexp(part: HostPart) -> bool:
    """location.go, needsRewrite: a rewrite to the path itself is none, and asks for no expressions."""
    policy = part.policy
    return policy.use_regex or any(
        _is_rewritten(policy.rewrite, path.path) for path in part.paths if not path.problem
    )


def _is_rewritten(target: str | None, path: str) -> bool:
    return target is not None and target != (path or "/")


def _find_obstacle(part: HostPart, path: IngressPath, found: tuple[PathRoute, HostPart] | None) -> str:
    """Say why a canary gets no request of a path; "" where it does."""
    if found is None or path.problem:
        return "no other Ingress has this path"
    route, main = found
    if main.meta.key.namespace != part.meta.key.namespace:
        return f"the path is that of {main.meta.key.namespace}/{main.meta.key.name}, of another namespace"
    if path.backend is None:
        return "its backend is malformed"
    if route.canary is not None:
        return "the path has a canary already"
    own, of_main = (_list_restrictions(one.policy) for one in (part, main))
    # What a canary's own annotations restrict is not asked: the main one's count (ingress-nginx).
    if part.policy.denial or (part.policy.restricts and own != of_main):
        return "it restricts access otherwise than the Ingress of the path"
    asked = part.policy.service_tls
    if asked is not None and asked.verifies and part.policy.protocol.secure and not _is_verified(route):
        return "it has its Service verified, and the Ingress of the path does not"
    return ""


def _is_verified(route: PathRoute) -> bool:
    return route.protocol.secure and route.service_tls is not None and bool(route.service_tls.authorities)


def _list_restrictions(policy: Policy) -> tuple[object, ...]:
    checked = (policy.passwords, policy.external, policy.any_suffices, policy.clients)
    return (policy.allowed, policy.denied, *checked)


def _closed_route(owner: HostPart) -> PathRoute:
    denial = Denial("ZS0101: the Caddyfile of this host has errors")
    return PathRoute(PathRule(PathKind.PREFIX, "/"), None, denial=denial, origin=owner.meta.key.origin)
