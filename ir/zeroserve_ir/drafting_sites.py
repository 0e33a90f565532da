"""Sites of a Caddyfile to a snapshot draft, without Kubernetes.

In: `tree.Configuration`, a reader of files, a local authority, the time. Out: the
draft and findings. Who calls: `zeroserve run`, `reload`, `compile` and the benchmarks. Rules: pure but for
`read_file`; a site that cannot be built is published as closed (503), its neighbours are served.

A virtual host is one host name on one set of listeners. Where sites share a host by paths in their
addresses, or by wildcards, its routes are those of each site that may answer, most specific first, as Caddy
orders them.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from zeroserve_ir import tree
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.caddyfile.believing import add_trusts
from zeroserve_ir.caddyfile.connecting import PLACE_CURE, bound_listener, find_server_fields, make_listener
from zeroserve_ir.caddyfile.invoking import expand_named_routes
from zeroserve_ir.caddyfile.listening import Server, listen_address, pair_sites
from zeroserve_ir.caddyfile.redirecting import add_redirects
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic, DiagnosticError, Severity
from zeroserve_ir.drafting import SnapshotDraft, make_resource
from zeroserve_ir.drafting_bodies import AnsweringSites, Places, is_sifted, join_sites, number_groups
from zeroserve_ir.drafting_certificates import (
    CertificateServer,
    gather_certificates,
    has_addresses,
    place_certificates,
)
from zeroserve_ir.drafting_endpoints import make_endpoints
from zeroserve_ir.drafting_environment import fill_matchers, fill_sites, find_unset, find_wrong_ranges
from zeroserve_ir.drafting_explained import lower_explained, make_explained_host
from zeroserve_ir.drafting_files import FileTexts, expand_environment
from zeroserve_ir.drafting_logs import add_loggers
from zeroserve_ir.drafting_plugins import draft_plugins, list_plugins, resolve_plugin
from zeroserve_ir.drafting_roots import find_roots, resolve_roots
from zeroserve_ir.drafting_upstream_tls import read_upstream_tls
from zeroserve_ir.host_names import spell_authority, spell_host, spell_hosts
from zeroserve_ir.plugins.attaching import find_attachments, watch_errors
from zeroserve_ir.program.fitting import fit
from zeroserve_ir.program.lowering import LoweredSite, lower_site
from zeroserve_ir.sampling import ARGUMENT_VARIABLE, SAMPLER_VARIABLE, read_sampling
from zeroserve_ir.site_certificates import (
    LocalCertificates,
    ReadFile,
    find_local_certificates,
    make_local_certificate,
    read_certificate,
)
from zeroserve_ir.site_policies import HostPolicy, SitePolicies
from zeroserve_ir.sources import Span
from zeroserve_ir.stream_sites import list_streams

DEFAULT_CERTIFICATE = "default"
MARKER_LENGTH = 12


class DraftedSites(NamedTuple):
    """What can be served of a configuration, and what is wrong with the rest."""

    draft: SnapshotDraft
    diagnostics: tuple[Diagnostic, ...]


def draft_sites(
    configuration: tree.Configuration,
    read_file: ReadFile | None = None,
    certificates: LocalCertificates | None = None,
    now: datetime.datetime | None = None,
    environment: Mapping[str, str] | None = None,
    *,
    explain_key: bytes = b"",
) -> DraftedSites:
    """Draft all sites, with the redirects that Caddy adds.

    `now` is aware, in UTC; `read_file` raises OSError; `environment` is what `{env.*}` stands for. Left out,
    they are this machine's clock and files, the authority kept for this user, and no variables.
    """
    environment = environment or {}
    configuration = spell_hosts(fill_sites(configuration, environment))
    drafting = _Drafting(
        add_redirects(expand_named_routes(configuration)),
        configuration,
        read_file or _read_local_file,
        certificates or find_local_certificates(),
        now or datetime.datetime.now(datetime.UTC),
        environment=environment,
        explain_key=explain_key,
    )
    drafting.add_listeners()
    for server in drafting.servers:
        drafting.add_server(server)
    drafting.add_streams()
    drafting.add_certificates()
    drafting.add_plugins()
    drafting.add_settings()
    drafting.finish_listeners()
    return DraftedSites(SnapshotDraft.of(drafting.resources), tuple(dict.fromkeys(drafting.diagnostics)))


def find_site(configuration: tree.Configuration, scheme: str, host: str, port: int) -> tree.Site | None:
    """Return what answers for a host, several sites as one, by name or else by the site for any host."""
    sites = add_redirects(spell_hosts(configuration)).sites
    for server in pair_sites(sites):
        served = {one.scheme.value for site in server.sites for one in site.addresses if one.port == port}
        answering = AnsweringSites(server, sites)
        if scheme in served and (body := answering.find(spell_host(host))):
            return join_sites(sites, body, answering.find_errors(spell_host(host)))
    return None


@dataclass(slots=True)
class _Body:
    """Routes that are lowered, and what is published of them by now."""

    lowered: LoweredSite
    program: str = ""
    """Its name, once what the hosts share is added."""
    dialled: bool = False
    """All endpoints are added, and nothing was wrong with them."""


class _Drafting:
    def __init__(
        self,
        configuration: tree.Configuration,
        written: tree.Configuration,
        read_file: ReadFile,
        certificates: LocalCertificates,
        now: datetime.datetime,
        *,
        environment: Mapping[str, str],
        explain_key: bytes,
    ) -> None:
        self.diagnostics: list[Diagnostic] = []
        self.resources: list[pb.Resource] = []
        self.read_file = read_file
        self.certificates = certificates
        self.now = now
        self.options = configuration.options
        self.environment = environment
        self.explain_key = explain_key
        self.written = written
        self.plugins = draft_plugins(self.options, read_file, self.diagnostics.append)
        self.plugin_entries = list_plugins(self.options)
        self.roots = find_roots(configuration.sites)
        self.sites = tuple(self._read_site(site) for site in configuration.sites)
        self.servers = pair_sites(self.sites)
        self.policies = SitePolicies(configuration.options, self.sites, read_file, certificates)
        self.listener_names: dict[str, str] = {}
        self.server_fields = {
            listen: fields for server, fields in find_server_fields(written) for listen in server.listen
        }
        """By listener: what the option `servers` says of it."""
        self.terminated: set[str] = set()
        """Names of streams whose TLS ends here."""
        self.bare_streams: list[str] = []
        """Listeners of those that have none."""
        self.opened: list[pb.Listener] = []
        self.tells_local = False
        """Whether scripts or pages may ask for the address that a client came to."""
        self.placed: list[pb.Certificate] = []
        servers: list[dict[str, Any]] = configuration.options.others.value().get("servers", [])
        self.clear_http2 = {one["listener"] for one in servers if "h2c" in one["server"].get("protocols", ())}
        """Listeners whose clients may begin with HTTP/2; "" is all."""
        self.certificates_by_name: dict[str, pb.Certificate] = {}
        self.bodies: dict[tuple[tuple[tree.Route, ...], tuple[tree.Route, ...]], _Body] = {}
        """By routes and error routes: sites that differ in nothing but their names are lowered once."""

    def add_listeners(self) -> None:
        """Add a Listener for each address; TLS where its sites are https."""
        schemes: dict[str, tuple[tree.Scheme, tree.Site]] = {}
        for site in self.sites:
            for address in site.addresses:
                if unset := find_unset(address.host, self.environment):
                    finding = Diagnostic(
                        Code.ZS0107, f"{{env.{unset[0]}}} of an address is not set", site.span
                    )
                    self.diagnostics.append(replace(finding, help="set the variable"))
                for bind in site.bind or ("",):
                    listen = listen_address(bind, address.port)
                    scheme, first = schemes.setdefault(listen, (address.scheme, site))
                    if scheme is not address.scheme:
                        message = f"port {address.port} is http for one site and https for another"
                        cure = f"give one of them another port (the other site: line {first.span.line})"
                        self.diagnostics.append(Diagnostic(Code.ZS0107, message, site.span, help=cure))
                    self._add_listener(listen, bind, address.port, scheme, site)

    def _add_listener(self, listen: str, bind: str, port: int, scheme: tree.Scheme, site: tree.Site) -> None:
        if listen in self.listener_names:
            return
        try:
            listener = make_listener(bind, port, scheme)
        except ValueError as error:
            self.diagnostics.append(Diagnostic(Code.ZS0110, str(error), site.span, help=PLACE_CURE))
            return
        self.listener_names[listen] = listener.name
        if not listener.tls and self.clear_http2 & {"", listen}:
            listener.http2 = True
        bound_listener(listener, self.server_fields.get(listen, {}))
        self.opened.append(listener)

    def add_server(self, server: Server) -> None:
        """Add the virtual hosts of one set of listeners; equal bodies share a virtual host."""
        listeners = list(self._name_listeners(server))
        hosts = dict.fromkeys(address.host for served in server.sites for address in served.addresses)
        by_body: dict[tuple[Places, Places, bytes], list[str]] = {}
        policies = self.policies.read(server)
        by_key: dict[bytes, HostPolicy] = {}
        answering = AnsweringSites(server, self.sites)
        for host in dict.fromkeys("" if is_sifted(host) else host for host in hosts):
            policy = policies.find(host) if host else policies.find_other(filter(is_sifted, hosts))
            by_key[policy.key] = policy
            body = answering.find(host), answering.find_errors(host), policy.key
            by_body.setdefault(body, []).append(host)
        for (places, erring, key), names in by_body.items():
            self._add_host(join_sites(self.sites, places, erring), names, listeners, by_key[key])

    def _name_listeners(self, server: Server) -> tuple[str, ...]:
        return tuple(self.listener_names[one] for one in server.listen if one in self.listener_names)

    def add_streams(self) -> None:
        """Add the virtual hosts of `layer4`, and the listeners that no site has."""
        options = self.options.others
        for route in list_streams(options.value().get("layer4", {}), options.span):
            listener = self.listener_names.get(route.listen)
            if listener is None:
                kind = "datagrams" if route.datagrams else "stream"
                listener = f"{kind}-{route.port}" + (f"-{route.address}" if route.address else "")
                self.listener_names[route.listen] = listener
                opened = pb.Listener(name=listener, address=route.address, port=route.port)
                opened.tls, opened.transport = route.reads_tls, pb.UDP if route.datagrams else pb.TCP
                opened.idle_timeout_ms = route.idle_timeout_ms
                self.resources.append(make_resource(opened))
            elif not listener.startswith(("https-", "stream-", "datagrams-")) or (
                "" in route.names and listener.startswith("https-")
            ):
                message = f"layer4 takes connections to {route.listen} from the sites there"
                cure = "name the servers with `@name tls sni …`, or take another port"
                self.diagnostics.append(Diagnostic(Code.ZS0107, message, options.span, help=cure))
                continue
            host = pb.VirtualHost(
                name=f"stream://{route.names[0] or '*'}@{listener}", hosts=route.names, listeners=[listener]
            )
            host.stream = pb.TERMINATE if route.terminates else pb.PASS_THROUGH
            host.judges_streams = True
            if route.terminates:
                self.terminated.update(route.names)
                if "" in route.names:
                    self.bare_streams.append(listener)
            body = self._lower(route.site)
            self._add_lowered(host, body)
            self._add_endpoints(body, route.site.span)

    def add_certificates(self) -> None:
        """Add what sites name, and one of the local authority for other https names, where each is served."""
        known, unmet = gather_certificates(
            self.sites,
            self._read_certificates,
            self.options,
            local=lambda host: make_local_certificate(f"local/{host}", [host], self.certificates, self.now),
            names=self.terminated,
        )
        stand_in = make_local_certificate(DEFAULT_CERTIFICATE, (), self.certificates, self.now)
        servers = []
        for server in self.servers:
            addresses = [address for served in server.sites for address in served.addresses]
            if any(address.scheme is tree.Scheme.HTTPS for address in addresses):
                needed = any(served.index in unmet for served in server.sites)
                servers.append(
                    CertificateServer(
                        self._name_listeners(server),
                        self.policies.list_written(server),
                        stand_in if needed else None,
                    )
                )
        if self.bare_streams:
            servers.append(CertificateServer(tuple(self.bare_streams), (), stand_in))
        self.placed = place_certificates(known, servers)
        self.resources += [make_resource(certificate) for certificate in self.placed]

    def _read_certificates(
        self, site: tree.Site, known: dict[tree.CertificateFiles, pb.Certificate]
    ) -> Iterator[tuple[str, pb.Certificate]]:
        """Yield what a site's `tls` names, by path as written; sites that share files share it."""
        if site.tls is None:
            return
        for named in site.tls.files:
            pair = replace(named, certificate=self._expand(named.certificate), key=self._expand(named.key))
            if pair not in known:
                found = read_certificate(pair, self.read_file, site.span, self.now)
                if isinstance(found, Diagnostic):
                    self.diagnostics.append(found)
                    continue
                known[pair] = self.certificates_by_name.setdefault(found.name, found)
            yield named.certificate, known[pair]

    def add_plugins(self) -> None:
        """Add what the global option `plugins` names."""
        for made in self.plugins.values():
            self.resources += made.resources
            for source in made.endpoints:
                endpoints = make_endpoints(source, self.options.others.span, self.diagnostics.append)
                self.resources.append(make_resource(endpoints))

    def add_settings(self) -> None:
        """Add the Settings."""
        options = self.options
        settings = pb.Settings(
            access_log=options.access_log,
            drain_timeout_ms=fit(options.grace_period_ms),
            explain_key=self.explain_key,
            as_caddy=True,
            exports_spans=True,
            trace_sampling=self._read_sampling(),
            ocsp_off="ocsp_stapling" in options.others.value(),
        )
        add_loggers(settings, self.written, self.listener_names)
        add_trusts(settings, self.written, self.listener_names)
        self.resources.append(make_resource(settings))

    def _read_sampling(self) -> pb.TraceSampling | None:
        sampler, argument = (self.environment.get(name, "") for name in (SAMPLER_VARIABLE, ARGUMENT_VARIABLE))
        try:
            sampling = read_sampling(sampler, argument)
            return sampling.to_message() if sampling else None
        except ValueError as error:
            message = f"the environment's {SAMPLER_VARIABLE} and {ARGUMENT_VARIABLE}: {error}"
            finding = Diagnostic(
                Code.ZS0103, message, severity=Severity.WARNING, help="all traces are sampled"
            )
            self.diagnostics.append(finding)
            return None

    def finish_listeners(self) -> None:
        """Add the listeners of sites, which learn whether it matters to which address a client came."""
        asked = any(b"http.request.local" in one.payload for one in self.resources)
        for listener in self.opened:
            listener.reads_local = asked or self.tells_local or (listener.tls and has_addresses(self.placed))
            self.resources.append(make_resource(listener))

    def _add_host(self, site: tree.Site, hosts: list[str], listeners: list[str], policy: HostPolicy) -> None:
        scheme = site.addresses[0].scheme.value
        readable = sorted(hosts)[0] or "*"
        host = pb.VirtualHost(
            name=f"{scheme}://{readable}@{','.join(listeners)}",
            hosts=sorted(map(spell_authority, hosts)),
            listeners=listeners,
            tls=policy.message,
            strict_sni_host=policy.strict_sni_host,
        )
        try:
            policy.check(site.span)
            body = self._lower(site)
        except DiagnosticError as error:
            self.diagnostics += error.diagnostics
            host.deny = True
            host.deny_reason = error.diagnostics[0].render_short()
            self.resources.append(make_resource(host))
            return
        self._add_lowered(host, body)
        if self.explain_key:
            self._add_explained(host, site)
        self._add_endpoints(body, site.span)

    def _place_files(self, lowered: LoweredSite, site: tree.Site) -> None:
        warn = partial(self._warn, span=site.span)
        FileTexts(self.read_file, self.environment, warn).place(lowered.tables)

    def _add_explained(self, host: pb.VirtualHost, site: tree.Site) -> None:
        if lowered := lower_explained(site):
            self._place_files(lowered, site)
            self._add_lowered(make_explained_host(host), _Body(lowered))

    def _lower(self, site: tree.Site) -> _Body:
        names: dict[str, str] = {"": ""}
        key = number_groups(site.routes, names), number_groups(site.errors, names)
        body = self.bodies.get(key)
        if body is None:
            body = self.bodies[key] = _Body(lower_site(site))
            self._place_files(body.lowered, site)
        return body

    def _warn(self, message: str, span: Span) -> None:
        finding = Diagnostic(
            Code.ZS0111, message, span, help="check path and permissions", severity=Severity.WARNING
        )
        self.diagnostics.append(finding)

    def _add_lowered(self, host: pb.VirtualHost, body: _Body) -> None:
        lowered = body.lowered
        if not body.program:
            body.program = self._add_shared(lowered)
        host.program = body.program
        host.constants = lowered.constants
        host.tables = lowered.tables.name
        host.error_entry = lowered.error_entry
        digest = hashlib.sha256(host.SerializeToString(deterministic=True))
        host.marker = digest.hexdigest()[:MARKER_LENGTH]
        self.resources.append(make_resource(host))

    def _add_shared(self, lowered: LoweredSite) -> str:
        """Add what all hosts of a body refer to; returns the program's name."""
        program = lowered.make_program()
        scripts = (one for one in lowered.tables.proxies if one.HasField("fastcgi"))
        self.tells_local |= bool(lowered.tables.templates) or any(scripts)
        self.resources.append(make_resource(program))
        if lowered.tables.name:
            self.resources.append(make_resource(lowered.tables))
        self.resources += [make_resource(cluster) for cluster in lowered.clusters]
        return program.name

    def _add_endpoints(self, body: _Body, span: Span) -> None:
        """Add the endpoints of a body once, and name every site whose upstreams cannot be dialled."""
        if body.dialled:
            return
        known = len(self.diagnostics)
        for source in body.lowered.endpoints:
            self.resources.append(make_resource(make_endpoints(source, span, self.diagnostics.append)))
        body.dialled = len(self.diagnostics) == known

    # Files that handlers name

    def _read_site(self, site: tree.Site) -> tree.Site:
        routes, errors = self._read_routes(site.routes), self._read_routes(site.errors)
        return replace(
            site, routes=routes, errors=watch_errors(find_attachments(site.routes, routes), errors)
        )

    def _expand(self, text: str) -> str:
        return expand_environment(text, self.environment)

    def _read_routes(self, routes: Iterable[tree.Route]) -> tuple[tree.Route, ...]:
        return tuple(self._read_route(route) for route in routes)

    def _read_route(self, route: tree.Route) -> tree.Route:
        handlers = tuple(self._read_handler(handler, route) for handler in route.handlers)
        matchers = fill_matchers(route.matchers, self.environment)
        for message, cure in find_wrong_ranges(matchers, self.environment):
            self.diagnostics.append(Diagnostic(Code.ZS0103, message, route.span, help=cure))
        if handlers == route.handlers and matchers == route.matchers:
            return route
        return replace(route, handlers=handlers, matchers=matchers)

    def _read_answers(self, handlers: Iterable[tree.ResponseHandler]) -> tuple[tree.ResponseHandler, ...]:
        return tuple(replace(one, routes=self._read_routes(one.routes)) for one in handlers)

    def _read_handler(self, handler: tree.Handler, route: tree.Route) -> tree.Handler:
        if isinstance(handler, tree.CallPlugin | tree.AttachPlugin):
            return resolve_plugin(
                handler, self.plugin_entries, self.plugins, self.diagnostics.append, route.span
            )
        if isinstance(handler, tree.Subroute):
            return tree.Subroute(self._read_routes(handler.routes), self._read_routes(handler.errors))
        if isinstance(handler, tree.Intercept):
            return replace(handler, handlers=self._read_answers(handler.handlers))
        if isinstance(handler, tree.BasicAuth):
            accounts = tuple((self._expand(name), self._expand(hashed)) for name, hashed in handler.accounts)
            return replace(handler, accounts=accounts)
        if not isinstance(handler, tree.ReverseProxy):
            return handler
        if handler.response_handlers:
            handler = replace(handler, response_handlers=self._read_answers(handler.response_handlers))
        if any("{env." in upstream.dial for upstream in handler.upstreams):
            upstreams = tuple(replace(one, dial=self._expand(one.dial)) for one in handler.upstreams)
            handler = replace(handler, upstreams=upstreams)
        if handler.fastcgi is not None and handler.fastcgi.resolve_root_symlink:
            return replace(handler, fastcgi=resolve_roots(handler.fastcgi, self.roots))
        if handler.transport.tls is None:
            return handler
        try:
            tls = read_upstream_tls(handler.transport.tls, self.read_file)
        except (OSError, UnicodeDecodeError) as error:
            named = getattr(error, "filename", None) or "a file of the upstream's TLS"
            message = f"cannot read {named}: {getattr(error, 'strerror', None) or 'not PEM'}"
            self.diagnostics.append(Diagnostic(Code.ZS0111, message, route.span))
            # Without its authority nothing may be trusted: the handler fails closed.
            return tree.RaiseError("502", "the upstream's authority cannot be read")
        pool = tls.trust_pool
        if pool is not None and pool.provider != "system" and not (pool.certificates or tls.trusted_ca_pem):
            # Caddy's JSON names pools that a Caddyfile here cannot; the system's roots are not what is meant.
            message = f"trust pool {pool.provider} gives no certificate"
            cure = "write tls_trust_pool file, inline or system"
            self.diagnostics.append(Diagnostic(Code.ZS0110, message, route.span, help=cure))
            return tree.RaiseError("502", "the upstream's authority is not known")
        return replace(handler, transport=replace(handler.transport, tls=tls))


def _read_local_file(path: str) -> bytes:
    return Path(path).read_bytes()
