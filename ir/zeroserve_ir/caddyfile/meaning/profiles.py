"""Who may write what: one row for each directive, subdirective, matcher, option and placeholder.

Read by every reader before it reads. `local` is the owner's own Caddyfile, where what is not built yet
is ZS0110; `tenant` is the text in a Kubernetes object, an allow-list where the rest is ZS0201. What has
no row is unknown in Caddy too. A table test asks that each row has a standing in both profiles.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from zeroserve_ir.caddyfile.lexer import Token
from zeroserve_ir.caddyfile.meaning.foreign_names import find_cure
from zeroserve_ir.caddyfile.meaning.reading import Profile, Reading, refusal
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code


class Standing(Enum):
    """What happens to a name in a profile."""

    ALLOWED = "allowed"
    INERT = "inert"
    """Read and adapted, but nothing acts on it: warning ZS0110."""
    LATER = "later"
    """RefusedError with ZS0110."""
    CARRIED = "carried"
    """Read and adapted; what runs it refuses or warns (`caddyfile.judging`)."""
    REFUSED = "refused"
    """RefusedError with ZS0201."""


class Kind(Enum):
    """What a row is about; the value is its name in messages, with the code of an unknown one."""

    DIRECTIVE = ("directive", Code.ZS0101)
    SUBDIRECTIVE = ("subdirective", Code.ZS0109)
    MATCHER = ("matcher", Code.ZS0104)
    OPTION = ("global option", Code.ZS0101)
    PLACEHOLDER = ("placeholder", Code.ZS0103)

    # An enum's own hash is that of its name, in Python, at each look into the table.
    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True)
class Row:
    """The standing of a name in both profiles, with the cure where there is a special one."""

    local: Standing
    tenant: Standing
    cure: str = ""

    def standing(self, profile: Profile) -> Standing:
        """Return the standing in a profile."""
        return self.local if profile is Profile.LOCAL else self.tenant


_BOTH = Row(Standing.ALLOWED, Standing.ALLOWED)
_OWNER = Row(Standing.ALLOWED, Standing.REFUSED)
_LATER_OWNER = Row(Standing.LATER, Standing.REFUSED)
_INERT = Row(Standing.INERT, Standing.INERT)
_INERT_OWNER = Row(Standing.INERT, Standing.REFUSED)
_CARRIED_OWNER = Row(Standing.CARRIED, Standing.REFUSED)


def _rows(row: Row, kind: Kind, names: str, prefix: str = "") -> dict[tuple[Kind, str], Row]:
    return {(kind, prefix + name): row for name in names.split()}


ROWS: dict[tuple[Kind, str], Row] = {
    **_rows(
        _BOTH,
        Kind.DIRECTIVE,
        "abort bandwidth basic_auth basicauth cache concurrency copy_response copy_response_headers encode "
        "error fault forward_auth handle handle_errors intercept "
        "handle_path header map method rate_limit redir request_body "
        "request_header respond reverse_proxy rewrite route tracing uri vars zeroserve_call "
        "zeroserve_plugin",
    ),
    **_rows(
        _OWNER,
        Kind.DIRECTIVE,
        "bind file_server invoke log log_append log_name log_skip php_fastcgi root skip_log templates tls "
        "try_files",
    ),
    **_rows(_CARRIED_OWNER, Kind.DIRECTIVE, "acme_server fs metrics push timeouts"),
    **_rows(
        _BOTH,
        Kind.SUBDIRECTIVE,
        "to lb_policy lb_retries lb_try_duration lb_try_interval "
        "flush_interval header_up header_down method "
        "rewrite transport handle_response replace_status",
        "reverse_proxy ",
    ),
    **_rows(_OWNER, Kind.SUBDIRECTIVE, "trusted_proxies", "reverse_proxy "),
    **_rows(
        _BOTH,
        Kind.SUBDIRECTIVE,
        "lb_retry_match health_uri health_path health_port health_interval health_passes health_fails "
        "health_timeout health_status health_body health_method health_request_body "
        "health_follow_redirects health_headers fail_duration max_fails unhealthy_status unhealthy_latency "
        "unhealthy_request_count stream_timeout stream_close_delay health_protocol slow_start retry_budget "
        "hedge max_requests queue outlier_ejection mirror request_buffers response_buffers",
        "reverse_proxy ",
    ),
    **_rows(_OWNER, Kind.SUBDIRECTIVE, "dynamic health_upstream", "reverse_proxy "),
    **_rows(
        _INERT,
        Kind.SUBDIRECTIVE,
        "stream_buffer_size verbose_logs",
        "reverse_proxy ",
    ),
    **_rows(
        _BOTH,
        Kind.SUBDIRECTIVE,
        "tls tls_insecure_skip_verify tls_server_name dial_timeout response_header_timeout read_timeout "
        "write_timeout keepalive versions keepalive_idle_conns_per_host max_conns_per_host compression "
        "proxy_protocol tls_timeout",
        "transport ",
    ),
    **_rows(
        _OWNER,
        Kind.SUBDIRECTIVE,
        "tls_trusted_ca_certs tls_client_auth tls_trust_pool tls_except_ports network_proxy "
        "forward_proxy_url local_address",
        "transport ",
    ),
    **_rows(
        _INERT,
        Kind.SUBDIRECTIVE,
        "read_buffer write_buffer max_response_header dial_fallback_delay expect_continue_timeout "
        "tls_curves tls_renegotiation keepalive_interval keepalive_idle_conns",
        "transport ",
    ),
    **_rows(_INERT_OWNER, Kind.SUBDIRECTIVE, "resolvers", "transport "),
    **_rows(
        _BOTH,
        Kind.SUBDIRECTIVE,
        "random random_choose round_robin weighted_round_robin least_conn first ip_hash client_ip_hash "
        "uri_hash query header cookie peak_ewma",
        "lb_policy ",
    ),
    **_rows(
        _OWNER,
        Kind.SUBDIRECTIVE,
        "browse disable_canonical_uris etag_file_extensions hide index pass_thru precompressed root status",
        "file_server ",
    ),
    **_rows(_LATER_OWNER, Kind.SUBDIRECTIVE, "fs", "file_server "),
    **_rows(_OWNER, Kind.SUBDIRECTIVE, "file_limit reveal_symlinks sort", "browse "),
    **_rows(_OWNER, Kind.SUBDIRECTIVE, "root split_path try_files try_policy", "file "),
    **_rows(_OWNER, Kind.SUBDIRECTIVE, "index try_files", "php_fastcgi "),
    **_rows(
        _BOTH,
        Kind.SUBDIRECTIVE,
        "root split env dial_timeout read_timeout write_timeout capture_stderr",
        "fastcgi ",
    ),
    **_rows(_OWNER, Kind.SUBDIRECTIVE, "resolve_root_symlink", "fastcgi "),
    **_rows(_OWNER, Kind.SUBDIRECTIVE, "between extensions mime root", "templates "),
    **_rows(_BOTH, Kind.SUBDIRECTIVE, "br gzip match minimum_length zstd", "encode "),
    **_rows(_BOTH, Kind.SUBDIRECTIVE, "max_size set", "request_body "),
    **_rows(_OWNER, Kind.SUBDIRECTIVE, "protocols", "tls "),
    **_rows(
        _CARRIED_OWNER,
        Kind.SUBDIRECTIVE,
        "alpn ca ca_root ciphers curves dns dns_challenge_override_domain dns_ttl eab force_automate "
        "get_certificate insecure_secrets_log issuer key_type "
        "on_demand propagation_delay propagation_timeout "
        "renewal_window_ratio resolvers reuse_private_keys",
        "tls ",
    ),
    **_rows(_CARRIED_OWNER, Kind.SUBDIRECTIVE, "client_auth load", "tls "),
    **_rows(_CARRIED_OWNER, Kind.SUBDIRECTIVE, "protocols", "bind "),
    **_rows(
        _CARRIED_OWNER, Kind.SUBDIRECTIVE, "output format level sampling core hostnames no_hostname", "log "
    ),
    **_rows(
        _BOTH,
        Kind.MATCHER,
        "client_ip expression header header_regexp host method not path path_regexp protocol query "
        "remote_ip tls vars vars_regexp",
    ),
    **_rows(_CARRIED_OWNER, Kind.MATCHER, "url_pattern"),
    **_rows(_OWNER, Kind.MATCHER, "file"),
    **_rows(
        _OWNER,
        Kind.OPTION,
        "admin auto_https debug grace_period http_port https_port layer4 log order rate_limit_store servers",
    ),
    **_rows(
        _CARRIED_OWNER,
        Kind.OPTION,
        "acme_ca acme_ca_root acme_dns acme_eab cert_issuer cert_lifetime default_sni dns ech email events "
        "fallback_sni key_type local_certs metrics ocsp_interval "
        "ocsp_stapling on_demand_tls persist_config pki "
        "preferred_chains renew_interval renewal_window_ratio shutdown_delay skip_install_trust storage "
        "storage_check storage_clean_interval tls_resolvers",
    ),
    **_rows(_CARRIED_OWNER, Kind.OPTION, "filesystem plugins"),
    **_rows(_OWNER, Kind.OPTION, "default_bind"),
    **_rows(_OWNER, Kind.SUBDIRECTIVE, "trusted_proxies", "servers "),
    **_rows(
        _CARRIED_OWNER,
        Kind.SUBDIRECTIVE,
        "name timeouts keepalive_interval keepalive_idle "
        "keepalive_count max_header_size enable_full_duplex "
        "expected_underscore_headers expected_dot_headers log_credentials protocols strict_sni_host "
        "trusted_proxies_strict trusted_proxies_unix client_ip_headers metrics trace 0rtt",
        "servers ",
    ),
    **_rows(_CARRIED_OWNER, Kind.SUBDIRECTIVE, "listener_wrappers packet_conn_wrappers", "servers "),
    **_rows(
        _BOTH,
        Kind.PLACEHOLDER,
        "http.request.host http.request.host.labels.* http.request.hostport http.request.port "
        "http.request.method http.request.orig_method http.request.proto "
        "http.request.scheme http.request.uuid http.request.body http.request.body_base64 "
        "http.request.uri http.request.uri_escaped http.request.uri.path http.request.uri.path_escaped "
        "http.request.uri.path.dir http.request.uri.path.file http.request.uri.path.file.* "
        "http.request.uri.path.* http.request.uri.query "
        "http.request.uri.query_escaped http.request.uri.prefixed_query http.request.uri.query.* "
        "http.request.orig_uri http.request.orig_uri.* http.request.header.* http.request.cookie.* "
        "http.request.remote http.request.remote.* http.request.local http.request.local.* "
        "http.request.duration http.request.duration_ms http.request.tls.* "
        "http.regexp.* http.vars.* http.error http.error.* http.reverse_proxy.* "
        "http.response.header.* http.auth.user.* http.intercept.* "
        "time.now time.now.common_log time.now.http time.now.unix time.now.unix_ms time.now.year "
        "http.shutting_down http.time_until_shutdown",
    ),
    **_rows(
        _OWNER,
        Kind.PLACEHOLDER,
        "env.* file.* http.matchers.file.* system.arch system.hostname system.os system.slash system.wd",
    ),
}
"""The table; placeholder rows that end in `.*` stand for all names with that start."""

# Whatever stands in braces and begins with a letter is a placeholder to Caddy, slashes and blanks included.
_PLACEHOLDER = re.compile(r"(?<!\\)\{([A-Za-z][^{}]*)\}")


def check(reading: Reading, kind: Kind, name: str, token: Token, owner: str = "") -> bool:
    """Say whether `name` is to be read (False: ignored with a warning); refuse it where its row says so.

    `owner` is the directive that a subdirective belongs to.
    """
    row = ROWS.get((kind, f"{owner} {name}" if owner else name))
    standing = Standing.REFUSED if row is None else row.standing(reading.profile)
    if standing in (Standing.ALLOWED, Standing.CARRIED):
        return True
    label, unknown = kind.value
    shown = f"{label} {name}" + (f" of {owner}" if owner else "")
    if row is None:
        known = [one.rpartition(" ")[2] for at, one in ROWS if at is kind and one.rpartition(" ")[0] == owner]
        cure = find_cure(label, name, known, _find_elsewhere(kind, name))
        raise refusal(unknown, f"unknown {shown}", token, cure)
    if standing is Standing.REFUSED:
        raise refusal(Code.ZS0201, f"{shown} is not allowed here", token, row.cure or "remove it")
    if standing is Standing.LATER:
        raise refusal(Code.ZS0110, f"{shown} is not supported yet", token, row.cure or "remove it")
    reading.warn(
        Code.ZS0110, f"{shown} is not supported yet and has no effect", token, row.cure or "remove it"
    )
    return True


def _find_elsewhere(kind: Kind, name: str) -> str:
    """Return where a name that is unknown as this kind belongs; empty where it is unknown as any."""
    if kind is not Kind.DIRECTIVE and (Kind.DIRECTIVE, name) in ROWS:
        return f"{name} is a directive: move it into a site, outside of other blocks"
    if kind is Kind.OPTION or kind is Kind.SUBDIRECTIVE:
        return ""
    if kind is Kind.DIRECTIVE and (Kind.OPTION, name) in ROWS:
        return f"{name} is a global option: move it into the block without address at the top of the file"
    if kind is Kind.DIRECTIVE and (Kind.MATCHER, name) in ROWS:
        return f"{name} is a matcher: write @NAME {name} …, and @NAME behind a directive"
    owners = [one.rpartition(" ")[0] for at, one in ROWS if at is Kind.SUBDIRECTIVE]
    found = [owner for owner in dict.fromkeys(owners) if (Kind.SUBDIRECTIVE, f"{owner} {name}") in ROWS]
    return f"{name} is a subdirective: move it into the block of {found[0]}" if found else ""


def check_placeholders(reading: Reading, segment: Segment) -> None:
    """Record each placeholder in `segment`, at any depth, that the profile does not allow."""
    for token in (segment.name, *segment.arguments):
        for found in _PLACEHOLDER.finditer(token.text) if "{" in token.text else ():
            with reading.collect():
                check_placeholder(reading, found[1], token)
    for inner in segment.block or ():
        check_placeholders(reading, inner)


def check_placeholder(reading: Reading, name: str, token: Token) -> None:
    """Refuse a placeholder that the profile does not allow."""
    row_name = placeholder_row(name)
    # A name that `map` defines hides no other one from tenants: `map {env.HOME} {x}` would define both.
    if name in reading.defined and (row_name is None or reading.profile is not Profile.TENANT):
        return
    if row_name is not None:
        check(reading, Kind.PLACEHOLDER, row_name, token)
    elif reading.profile is Profile.TENANT:
        cure = "use a placeholder of the request, or write \\{ for a brace"
        raise refusal(Code.ZS0201, f"placeholder {{{name}}} is not allowed here", token, cure)


def placeholder_row(name: str) -> str | None:
    """Return the name of the row that stands for a placeholder, or None where there is none."""
    if (Kind.PLACEHOLDER, name) in ROWS:
        return name
    while "." in name:
        name = name.rpartition(".")[0]
        if (Kind.PLACEHOLDER, f"{name}.*") in ROWS:
            return f"{name}.*"
    return None
