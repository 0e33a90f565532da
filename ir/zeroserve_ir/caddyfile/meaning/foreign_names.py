"""Cures for names that a Caddyfile does not have: those of Caddy 1, nginx and plugins, and misspelt ones.

In: the unknown name, what it should have been (directive, subdirective, …), and the names that there are.
Out: the help of the finding. Called by `profiles.check`.
"""

from __future__ import annotations

from collections.abc import Iterable

_LIKENESS = 0.72
"""How alike two names must be for one to be offered in the place of the other."""
_FEW = 16
"""So many names of a kind are told where none of them is like it."""

_PROXY = "write reverse_proxy [MATCHER] HOST:PORT"
_GATE = (
    "it is a plugin of Caddy, which is not here: guard the route with forward_auth, basic_auth or remote_ip"
)
_BODIES = "write templates, or a plugin with zeroserve_plugin: bodies are not replaced otherwise"
_PLUGIN = "it is a plugin of Caddy, which is not here: remove it"
_OLD = {"basicauth", "skip_log"}
"""Names that are still read, and have newer ones."""
_AUTOMATIC = "remove it: reverse_proxy does so by itself"
_TRANSPORT = "write it into transport http { … } as "

_DIRECTIVES = {
    "add_header": "write header NAME VALUE",
    "appsec": _GATE,
    "authenticate": _GATE,
    "authorize": _GATE,
    "allow": "write a matcher, @denied not remote_ip RANGE …, and abort @denied or respond @denied 403",
    "browse": "write file_server browse",
    "cgi": "write php_fastcgi or reverse_proxy: no programs are started here",
    "client_max_body_size": "write request_body { max_size SIZE }",
    "coraza_waf": _GATE,
    "cors": "write header Access-Control-Allow-Origin ORIGIN, and respond 204 for @preflight method OPTIONS",
    "crowdsec": _GATE,
    "deny": "write a matcher, @denied remote_ip RANGE …, and abort @denied or respond @denied 403",
    "errors": "write handle_errors { … }",
    "error_page": "write handle_errors STATUS { … }",
    "exec": "remove it: no programs are started here",
    "expires": 'write header Cache-Control "max-age=SECONDS"',
    "expvar": "write metrics PATH",
    "ext": "write try_files {path} {path}.html",
    "fastcgi": "write php_fastcgi HOST:PORT",
    "fastcgi_pass": "write php_fastcgi HOST:PORT",
    "filter": _BODIES,
    "geoip": _GATE,
    "gzip": "write encode gzip",
    "index": "write file_server { index FILE … }",
    "internal": "write respond PATH 404; intercept answers X-Accel-Redirect",
    "ipfilter": "write a matcher, @denied remote_ip RANGE …, and abort @denied or respond @denied 403",
    "jwt": _GATE,
    "jwtauth": _GATE,
    "limits": "write request_body { max_size SIZE }",
    "listen": "write the port into the address of the site, such as http://example.com:8080 { … }",
    "location": "write handle PATH* { … }",
    "markdown": "write templates, and {{markdown TEXT}} in the pages",
    "mercure": _PLUGIN,
    "mime": "write header *.EXTENSION Content-Type TYPE",
    "minify": _PLUGIN,
    "on": "remove it: no programs are started here",
    "php": "write php_fastcgi HOST:PORT",
    "php_server": "write php_fastcgi HOST:PORT and file_server: PHP runs in FPM",
    "pprof": "remove it: docs/performance.md says how to measure",
    "proxy": _PROXY,
    "proxy_pass": _PROXY,
    "proxy_set_header": "write header_up NAME VALUE into the block of reverse_proxy",
    "ratelimit": "write rate_limit { zone NAME { … } } (docs/traffic.md)",
    "realip": "write the global option servers { trusted_proxies static RANGE … }",
    "replace": _BODIES,
    "replace_response": _BODIES,
    "request_id": "write header X-Request-ID {http.request.uuid}",
    "return": "write respond [MATCHER] STATUS, or redir [MATCHER] TO",
    "server_name": "write the names before the brace of the site, such as example.com { … }",
    "shutdown": "remove it: no programs are started here",
    "ssl_certificate": "write tls CERTIFICATE_FILE KEY_FILE",
    "startup": "remove it: no programs are started here",
    "status": "write respond [MATCHER] STATUS",
    "vulcain": _PLUGIN,
    "waf": _GATE,
    "webdav": "it is a plugin of Caddy, which is not here: write reverse_proxy to a server of WebDAV",
}
"""Directives of Caddy 1, of nginx, and of plugins that are often met."""

_SUBDIRECTIVES = {
    "brotli": "write br",
    "except": "write a matcher before the upstreams, such as @name not path PATH",
    "header_downstream": "write header_down",
    "header_upstream": "write header_up",
    "health_check": "write health_uri PATH",
    "health_check_interval": "write health_interval DURATION",
    "health_check_timeout": "write health_timeout DURATION",
    "insecure_skip_verify": f"{_TRANSPORT}tls_insecure_skip_verify",
    "keepalive": f"{_TRANSPORT}keepalive DURATION",
    "max_conns": f"{_TRANSPORT}max_conns_per_host NUMBER",
    "policy": "write lb_policy POLICY",
    "proxy_protocol": f"{_TRANSPORT}proxy_protocol v1|v2",
    "timeout": f"{_TRANSPORT}response_header_timeout DURATION",
    "tls_insecure_skip_verify": f"{_TRANSPORT}tls_insecure_skip_verify",
    "tls_server_name": f"{_TRANSPORT}tls_server_name NAME",
    "transparent": _AUTOMATIC,
    "try_duration": "write lb_try_duration DURATION",
    "try_interval": "write lb_try_interval DURATION",
    "upstream": "write to HOST:PORT",
    "websocket": _AUTOMATIC,
    "without": "write handle_path PATH* { … } around reverse_proxy, or uri strip_prefix PATH before it",
}
"""Those of `proxy` of Caddy 1, and options of a transport that stand one block too far out."""

_OPTIONS = {
    "apps": "this is JSON: give the file a name that ends in .json",
    "crowdsec": _GATE,
    "dynamic_dns": _PLUGIN,
    "experimental_http3": "remove it",
    "frankenphp": "remove it: PHP runs in FPM, behind php_fastcgi",
    "security": _GATE,
}

_MATCHERS = {
    "ip": "write remote_ip RANGE …",
    "maxmind_geolocation": _GATE,
    "status": "a request has none: in lb_retry_match write expression "
    "`{http.reverse_proxy.status_code} == 503`, in handle_response and intercept an @NAME of their block",
    "url": "write path or path_regexp",
}


_TABLES = {
    "directive": _DIRECTIVES,
    "subdirective": _SUBDIRECTIVES,
    "matcher": _MATCHERS,
    "global option": _OPTIONS,
}


def find_cure(kind: str, name: str, known: Iterable[str], elsewhere: str) -> str:
    """Return the help for an unknown name.

    `kind` is what it stands for; `known` are the names of that kind; `elsewhere` is what to do with it where
    the name is known as another kind, or empty.
    """
    if name.startswith("//"):
        return "begin a comment with #"
    if name.endswith(";"):
        return "remove the semicolon: a line is a directive"
    if kind == "matcher" and name.startswith(("/", "*")):
        return f"write path {name}"
    if name.startswith("}") and len(name) > 1:
        return "write } on a line of its own"
    if name.endswith("{") and len(name) > 1:
        return f"write {name[:-1]} {{"
    name = name.strip('"')
    if found := _TABLES.get(kind, {}).get(name) or elsewhere:
        return found
    # Of no use to a start without errors.
    import difflib  # noqa: PLC0415

    if close := difflib.get_close_matches(name, sorted({*known} - _OLD), n=1, cutoff=_LIKENESS):
        return f"write {close[0]}"
    if 0 < len(few := [*known]) <= _FEW:
        return f"write one of {', '.join(few)}"
    return "check the spelling and the braces above it; plugins of Caddy are not here"
