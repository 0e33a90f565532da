"""The route tree: what a site does with a request, in the shape of Caddy's adapted JSON.

In: the adapter (`caddyfile.meaning`) from Caddyfile text, or the operator's rendering from the model.
Out: lowering (`program.lowering`) to a route program; the printer, to a Caddyfile that stock Caddy
accepts; `adapt`, to Caddy's JSON. Strings that may hold placeholders are kept as written in the long
form (`{http.request.uri}`); every type is frozen, and equal trees are equal values.

A route applies when any of its matcher sets does (none: always); a matcher set when all its matchers
do. Handlers run in order until one answers. Of the routes that share a `group`, the first that applies
runs alone. `terminal` stops the list after the route (Caddy: routes.go).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from zeroserve_ir.sources import NOWHERE, Origin, Span
from zeroserve_ir.tree_answers import CopyResponse as CopyResponse
from zeroserve_ir.tree_answers import CopyResponseHeaders as CopyResponseHeaders
from zeroserve_ir.tree_answers import Intercept as Intercept
from zeroserve_ir.tree_answers import MatchErrorStatus as MatchErrorStatus
from zeroserve_ir.tree_answers import ResponseHandler as ResponseHandler
from zeroserve_ir.tree_answers import ResponseMatch as ResponseMatch
from zeroserve_ir.tree_carried import NOTHING_CARRIED, Carried, CarriedHandler, CarriedMatcher
from zeroserve_ir.tree_encode import Encode
from zeroserve_ir.tree_fastcgi import FastCgi
from zeroserve_ir.tree_files import FileServer, MatchFile
from zeroserve_ir.tree_logging import Logger
from zeroserve_ir.tree_requests import AppendLog as AppendLog
from zeroserve_ir.tree_requests import AttachPlugin as AttachPlugin
from zeroserve_ir.tree_requests import CallPlugin as CallPlugin
from zeroserve_ir.tree_requests import LimitRate as LimitRate
from zeroserve_ir.tree_requests import Mapping as Mapping
from zeroserve_ir.tree_requests import MapValues as MapValues
from zeroserve_ir.tree_requests import MatchExpression as MatchExpression
from zeroserve_ir.tree_requests import MatchVarsRegexp as MatchVarsRegexp
from zeroserve_ir.tree_requests import NameLoggers as NameLoggers
from zeroserve_ir.tree_requests import RateZone as RateZone
from zeroserve_ir.tree_requests import Trace as Trace
from zeroserve_ir.tree_templates import Templates
from zeroserve_ir.tree_traffic import Shaping
from zeroserve_ir.tree_upstreams import DEFAULT_TRANSPORT as DEFAULT_TRANSPORT
from zeroserve_ir.tree_upstreams import NO_RESILIENCE as NO_RESILIENCE
from zeroserve_ir.tree_upstreams import RANDOM_SELECTION as RANDOM_SELECTION
from zeroserve_ir.tree_upstreams import ActiveHealth as ActiveHealth
from zeroserve_ir.tree_upstreams import HttpTransport as HttpTransport
from zeroserve_ir.tree_upstreams import Mirror as Mirror
from zeroserve_ir.tree_upstreams import OutlierEjection as OutlierEjection
from zeroserve_ir.tree_upstreams import PassiveHealth as PassiveHealth
from zeroserve_ir.tree_upstreams import Resilience as Resilience
from zeroserve_ir.tree_upstreams import Selection as Selection
from zeroserve_ir.tree_upstreams import SelectionPolicy as SelectionPolicy
from zeroserve_ir.tree_upstreams import ServiceReference as ServiceReference
from zeroserve_ir.tree_upstreams import SourceKind as SourceKind
from zeroserve_ir.tree_upstreams import TrustPool as TrustPool
from zeroserve_ir.tree_upstreams import Upstream as Upstream
from zeroserve_ir.tree_upstreams import UpstreamSource as UpstreamSource
from zeroserve_ir.tree_upstreams import UpstreamTls as UpstreamTls


class Scheme(Enum):
    """How a site is reached."""

    HTTP = "http"
    HTTPS = "https"


@dataclass(frozen=True, slots=True)
class SiteAddress:
    """A site's address after defaults: `host` is lower case, `*.` for a wildcard label, "" for any."""

    scheme: Scheme
    host: str
    port: int
    path: str = ""
    bare: bool = field(default=False, compare=False)
    """Written as `https://`: its port is not a site's own, so Caddy makes no policy for it when it starts."""


# Matchers (Caddy: modules http.matchers.*)


@dataclass(frozen=True, slots=True)
class MatchPath:
    """`path`: case-insensitive patterns on the decoded, cleaned path; `*` as Caddy has it."""

    patterns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MatchPathRegexp:
    """`path_regexp`: RE2 pattern on the decoded, cleaned path; captures as `{http.regexp.name.1}`."""

    pattern: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class MatchHost:
    """`host`: names, `*` for one label."""

    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MatchMethod:
    """`method`: upper-case names."""

    methods: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MatchHeader:
    """`header`: by field, values with `*` at either end; None asks that the field is absent."""

    fields: tuple[tuple[str, tuple[str, ...] | None], ...]


@dataclass(frozen=True, slots=True)
class MatchHeaderRegexp:
    """`header_regexp`: RE2 pattern on the values of one field."""

    field: str
    pattern: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class MatchQuery:
    """`query`: by key, values with `*` for any."""

    keys: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class MatchProtocol:
    """`protocol`: http, https, grpc, http/1.0, http/1.1, http/2 and their `+` forms."""

    protocol: str


@dataclass(frozen=True, slots=True)
class MatchRemoteIp:
    """`remote_ip`: CIDRs of the connection's peer (after PROXY protocol)."""

    ranges: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MatchClientIp:
    """`client_ip`: CIDRs of the client as trusted proxies report it."""

    ranges: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MatchVars:
    """`vars`: by variable or placeholder, any of the values."""

    variables: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class MatchNot:
    """`not`: applies when none of the sets does."""

    sets: tuple[MatcherSet, ...]


@dataclass(frozen=True, slots=True)
class MatchPathExact:
    """Ingress `Exact`: the normalised path, case-sensitive. Prints as an anchored `path_regexp`."""

    path: str


@dataclass(frozen=True, slots=True)
class MatchPathPrefix:
    """Ingress `Prefix`: element-wise on the normalised path, case-sensitive; "/" matches all.

    Prints as an anchored `path_regexp`. `path` ends without a slash, except "/".
    """

    path: str


Matcher = (
    MatchPath
    | MatchPathRegexp
    | MatchHost
    | MatchMethod
    | MatchHeader
    | MatchHeaderRegexp
    | MatchQuery
    | MatchProtocol
    | MatchRemoteIp
    | MatchClientIp
    | MatchVars
    | MatchVarsRegexp
    | MatchExpression
    | MatchNot
    | MatchFile
    | MatchErrorStatus
    | MatchPathExact
    | MatchPathPrefix
    | CarriedMatcher
)
MatcherSet = tuple[Matcher, ...]


# Handlers (Caddy: modules http.handlers.*)


@dataclass(frozen=True, slots=True)
class HeaderReplacement:
    """Substring or regular expression replaced in the values of a field (`header Field find with`)."""

    field: str
    search: str
    replace: str
    regexp: bool = True


@dataclass(frozen=True, slots=True)
class HeaderOperations:
    """Changes of header fields, applied in the order add, set, delete, default, replace (Caddy: headers.go).

    Values may hold placeholders; `*` at an end of a name in `delete` stands for any text (Caddy: headers.go).
    """

    add: tuple[tuple[str, str], ...] = ()
    set: tuple[tuple[str, str], ...] = ()
    default: tuple[tuple[str, str], ...] = ()
    """`?Field value`: set where the answer has none of the fields named here (Caddy: `require`)."""
    delete: tuple[str, ...] = ()
    replace: tuple[HeaderReplacement, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.add or self.set or self.default or self.delete or self.replace)


NO_HEADER_OPERATIONS = HeaderOperations()


@dataclass(frozen=True, slots=True)
class Headers:
    """`header` and `request_header`; `deferred` applies the response part when the answer is written."""

    request: HeaderOperations = NO_HEADER_OPERATIONS
    response: HeaderOperations = NO_HEADER_OPERATIONS
    deferred: bool = False
    require: ResponseMatch | None = None
    """`match`: the response part is applied when the answer is written, where it fits."""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """`rewrite`, `uri` and `method`; steps in the order of the fields (Caddy: rewrite.go)."""

    method: str = ""
    uri: str = ""
    strip_path_prefix: str = ""
    strip_path_suffix: str = ""
    substring: tuple[tuple[str, str, int], ...] = ()
    """(find, replace, limit) on path and query; limit 0 is all."""
    path_regexp: tuple[tuple[str, str], ...] = ()
    """(find, replace) on the path; `$1` and `${name}` are captures."""
    query: tuple[tuple[str, str, str], ...] = ()
    """(operation, key, value): rename, set, add, delete; Caddy applies them in that order."""
    query_replace: tuple[HeaderReplacement, ...] = ()
    """In the values of the key that is each one's `field`, `*` for all; before keys are deleted."""


@dataclass(frozen=True, slots=True)
class StaticResponse:
    """`respond`, `redir` and `abort`: `status` may be a placeholder; `abort` drops the connection."""

    status: str = ""
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    close: bool = False
    abort: bool = False


@dataclass(frozen=True, slots=True)
class RaiseError:
    """`error`: hands over to the site's error routes."""

    status: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class RequestBody:
    """`request_body`: answers 413 past the limit. Bytes; 0 is no limit."""

    size_bytes_max: int = 0
    content: str = ""
    """`set`: what the body is replaced by; may hold placeholders."""


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """`basic_auth`: 401 unless name and password are among the accounts."""

    accounts: tuple[tuple[str, str], ...]
    """(name, password hash): bcrypt `$2…`, argon2id `$argon2id$…`, and from htpasswd files also
    `$apr1$…` and `{SHA}…` (Kubernetes only; stock Caddy has no such hashes)."""
    realm: str = "restricted"


@dataclass(frozen=True, slots=True)
class SetVariables:
    """`vars`: names and values for `{http.vars.name}`."""

    variables: tuple[tuple[str, str], ...]
    literals: tuple[str, ...] = ()
    """Names whose unquoted values are numbers or booleans in Caddy's JSON; the same text at run time."""


@dataclass(frozen=True, slots=True)
class ReverseProxy:
    """`reverse_proxy`."""

    upstreams: tuple[Upstream, ...]
    selection: SelectionPolicy | None = None
    """None is random."""
    transport: HttpTransport = DEFAULT_TRANSPORT
    fastcgi: FastCgi | None = None
    """The upstreams speak FastCGI; of `transport`, the timeouts count."""
    request_headers: HeaderOperations = NO_HEADER_OPERATIONS
    """`header_up`, applied after the forwarding headers were set."""
    response_headers: HeaderOperations = NO_HEADER_OPERATIONS
    """`header_down`."""
    rewrite: Rewrite | None = None
    retries: int = 0
    try_duration_ms: int = 0
    try_interval_ms: int = 0
    retry_match: tuple[MatcherSet, ...] = ()
    """Requests that may be repeated although an upstream may have acted on them; none: GET alone."""
    dynamic: UpstreamSource | None = None
    active_health: ActiveHealth | None = None
    passive_health: PassiveHealth | None = None
    request_buffers_bytes: int = 0
    response_buffers_bytes: int = 0
    stream_buffer_bytes: int = 0
    """-1 is without limit."""
    stream_timeout_ms: int = 0
    stream_close_delay_ms: int = 0
    verbose_logs: bool = False
    flush_interval_ms: int = 0
    """-1 flushes after every write."""
    trusted_proxies: tuple[str, ...] = ()
    response_handlers: tuple[ResponseHandler, ...] = ()
    """`handle_response` and `replace_status`, in the order in which they are asked."""
    resilience: Resilience = NO_RESILIENCE


@dataclass(frozen=True, slots=True)
class Subroute:
    """`handle`, `route` and the like: a nested list of routes."""

    routes: tuple[Route, ...]
    errors: tuple[Route, ...] = ()


@dataclass(frozen=True, slots=True)
class Invoke:
    """`invoke`: runs a named route of the configuration."""

    name: str


Handler = (
    Subroute
    | StaticResponse
    | RaiseError
    | ReverseProxy
    | Rewrite
    | Headers
    | RequestBody
    | BasicAuth
    | SetVariables
    | FileServer
    | MapValues
    | AppendLog
    | NameLoggers
    | Trace
    | LimitRate
    | Shaping
    | CallPlugin
    | AttachPlugin
    | Invoke
    | CarriedHandler
    | Encode
    | Templates
    | Intercept
    | CopyResponse
    | CopyResponseHeaders
)


@dataclass(frozen=True, slots=True)
class Route:
    """Matcher sets and what is done where one applies."""

    handlers: tuple[Handler, ...]
    matchers: tuple[MatcherSet, ...] = ()
    group: str = ""
    terminal: bool = False
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """`tls cert key`: PEM files, read when the site is built."""

    certificate: str
    key: str


@dataclass(frozen=True, slots=True)
class SiteTls:
    """`tls`: where certificates come from, and the versions allowed ("" is the default)."""

    files: tuple[CertificateFiles, ...] = ()
    secrets: tuple[str, ...] = ()
    """Certificate resources by name (`namespace/secret`), for sites of Kubernetes objects."""
    internal: bool = False
    protocol_min: str = ""
    protocol_max: str = ""
    client_depth: int = 0
    """Of clients' chains, for sites of Kubernetes objects; 0 is any."""
    directives: tuple[Carried, ...] = ()
    """One object for each `tls`, where the fields above do not say all (`caddyfile.meaning.securing`)."""


@dataclass(frozen=True, slots=True)
class Site:
    """One site: its addresses, its routes, its error routes (Caddyfile: a site block)."""

    addresses: tuple[SiteAddress, ...]
    routes: tuple[Route, ...]
    errors: tuple[Route, ...] = ()
    tls: SiteTls | None = None
    bind: tuple[str, ...] = ()
    """Addresses to listen on; none is all."""
    protocols: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """`bind … { protocols … }`: addresses of `bind` with their protocols, where these are named."""
    access_log: bool = False
    """`log`: whether requests to this site are logged."""
    loggers: tuple[Logger, ...] = ()
    """One for each `log`; none where `access_log` came from elsewhere."""
    passthrough: bool = False
    """TLS passes through to the upstreams of the only handler (sites of Kubernetes objects)."""
    origins: tuple[Origin, ...] = field(default=(), compare=False)
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Options:
    """Global options that the engine or the agent acts on; 0, "" and None are Caddy's defaults."""

    http_port: int = 80
    https_port: int = 443
    auto_https: bool = True
    redirects: bool = True
    """Whether http is redirected to https for sites with TLS (`auto_https disable_redirects` clears it)."""
    admin: str = "localhost:2019"
    grace_period_ms: int = 0
    trusted_proxies: tuple[str, ...] = ()
    access_log: bool = False
    debug: bool = False
    loggers: tuple[Logger, ...] = ()
    others: Carried = NOTHING_CARRIED
    """Options that are adapted and not acted upon: an object by name, in the shapes of Caddy's JSON."""
    plugin_spans: tuple[tuple[str, Span], ...] = field(default=(), compare=False)
    """Where the entries of the option `plugins` stand, by name."""


DEFAULT_OPTIONS = Options()


@dataclass(frozen=True, slots=True)
class NamedRoute:
    """`&(name) { … }`: routes that `invoke name` runs."""

    name: str
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class Configuration:
    """All sites of a Caddyfile, or of a cluster, with the global options."""

    sites: tuple[Site, ...]
    options: Options = DEFAULT_OPTIONS
    named_routes: tuple[NamedRoute, ...] = ()
