"""What connections of a listener may begin with and are bounded by: options of `servers`.

In: a configuration; messages of listeners. Out: PROXY headers, redirects and limits in the messages, findings
about what cannot be run. Who calls: `drafting_sites` and `judging`. Rule: wrappers hold in front of TLS where
`tls` follows them, inside it otherwise (caddyhttp/app.go Provision); without TLS that is the same.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator, Sequence

from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.caddyfile.listening import Server, pair_sites
from zeroserve_ir.caddyfile.meaning.reading import parse_duration_ns
from zeroserve_ir.program.fitting import U32_MAX, fit
from zeroserve_ir.tree import Configuration, Scheme
from zeroserve_ir.tree_carried import Json

HEAD_SLACK_BYTES = 4096
"""What Go's server reads beyond MaxHeaderBytes (net/http initialReadLimitSize)."""
HEAD_BYTES_MAX = 64 << 10
"""The engine's own bound of a head (limits.rs)."""
_UNIX = re.compile(r"unix(\+h2c)?/(?P<path>[^|]+)(\|(?P<mode>.+))?")
_UNIX_MODE = "0200"
SOCKET_PATH_BYTES_MAX = 107
"""What the kernel takes (unix(7)), without the closing NUL."""
_KEEPALIVE_S = 15
_KEEPALIVE_COUNT = 9
_KEEPALIVE_S_MAX, _PROBES_MAX = 32_767, 127
"""What Linux takes (tcp(7))."""
_TIMEOUTS = {
    "read_header_timeout": "request_head_timeout_ms",
    "read_timeout": "request_timeout_ms",
    "write_timeout": "answer_timeout_ms",
    "idle_timeout": "idle_timeout_ms",
    "read_idle_timeout": "body_idle_timeout_ms",
    "write_idle_timeout": "answer_idle_timeout_ms",
}
_RATES = {"read_min_rate": "body_rate_min", "write_min_rate": "answer_rate_min"}
_POLICIES = ("IGNORE", "USE", "REJECT", "REQUIRE", "SKIP")
_WRAPPERS = ("proxy_protocol", "http_redirect", "tls")
_KEEPALIVES = ("keepalive_interval", "keepalive_idle", "keepalive_count")
FIELDS = (
    "listener_wrappers",
    *_TIMEOUTS,
    *_RATES,
    *_KEEPALIVES,
    "max_header_bytes",
    "max_write_chunk",
    "enable_full_duplex",
    "allow_0rtt",
)
"""Fields of Caddy's server that are read here, or hold whatever they say: the engine writes in pieces of its
own, always reads while it writes, and takes no early data."""


PLACE_CURE = "write an IP address, or unix/PATH"
"""For what `make_listener` refuses."""


def make_listener(bind: str, port: int, scheme: Scheme) -> pb.Listener:
    """Return the message of a place to listen at, without a server's fields. ValueError for no such place."""
    tls = scheme is Scheme.HTTPS
    if bind.startswith(("fd/", "fdgram/")):
        raise ValueError(f"{bind}: sockets that another process opened (systemd) are not taken over")
    if found := _UNIX.fullmatch(bind):
        path, bits = resolve_socket_path(found["path"]), found["mode"] or _UNIX_MODE
        if path is None:
            raise ValueError(f"the path of {bind} is longer than a socket's")
        if not re.fullmatch("0?[0-7]{3}", bits) or not int(bits, 8) & 0o200:
            raise ValueError(f"{bits} is no permission of a socket that its owner may write to")
        # Clients do not see where they are; `port` is that of the site's address.
        return pb.Listener(
            name=f"{scheme.value}-{path}",
            unix_path=path,
            unix_mode=int(bits, 8),
            external_port=port,
            tls=tls,
            http2=not tls and "h2c" in bind.partition("/")[0],
        )
    host = re.sub(r"^tcp[46]?/", "", bind).removeprefix("[").removesuffix("]")
    if "/" in host:
        raise ValueError(f"cannot listen on {bind}")
    host = {"localhost": "127.0.0.1"}.get(host, host)
    name = f"{scheme.value}-{port}" + (f"-{host}" if host else "")
    return pb.Listener(name=name, address=host, port=port, tls=tls)


def resolve_socket_path(path: str) -> str | None:
    """Return the absolute path of a Unix socket, or its abstract name with `@`; None where it is too long."""
    resolved = path if path.startswith("@") else os.path.abspath(path)
    return resolved if path and len(resolved.encode()) <= SOCKET_PATH_BYTES_MAX else None


def find_server_fields(configuration: Configuration) -> Iterator[tuple[Server, Json]]:
    """Yield each server with the fields that the first option `servers` for it gives."""
    options: list[Json] = configuration.options.others.value().get("servers", [])
    for server in pair_sites(configuration.sites):
        named = (one["server"] for one in options if one["listener"] in ("", *server.listen))
        yield server, next(named, {})


def settle_server_fields(fields: Json) -> tuple[Json, list[str]]:
    """Return a server's fields, as JSON of people has them, with durations in nanoseconds; what is wrong."""
    settled, faults = dict(fields), list[str]()
    for name in (*_TIMEOUTS, "keepalive_interval", "keepalive_idle"):
        _settle_duration(settled, name, faults)
    for name in (*_RATES, "keepalive_count", "max_header_bytes"):
        if not isinstance(settled.get(name, 0), int):
            faults.append(f"{name} is no number")
            del settled[name]
    wrappers = settled.pop("listener_wrappers", None) or []
    if not isinstance(wrappers, list) or not all(isinstance(one, dict) for one in wrappers):
        return settled, [*faults, "listener_wrappers is no list of objects"]
    if wrappers:
        settled["listener_wrappers"] = [_settle_wrapper(one, faults) for one in wrappers]
    return settled, faults


def bound_listener(listener: pb.Listener, fields: Json) -> None:
    """Put a server's fields into the message of one of its listeners."""
    for wrapper in _find_wrappers(fields, inside_tls=not listener.tls):
        if wrapper["wrapper"] == "proxy_protocol":
            _set_proxy_headers(listener.proxy_headers, wrapper)
        elif wrapper["wrapper"] == "http_redirect":
            listener.http_redirect = True
    limits = pb.ListenerLimits(head_bytes_max=_find_head_bytes(fields))
    for name, field in _TIMEOUTS.items():
        setattr(limits, field, _milliseconds(fields.get(name, 0)))
    for name, field in _RATES.items():
        setattr(limits, field, max(0, fields.get(name, 0)))
    if any(name in fields for name in _KEEPALIVES) and fields.get("keepalive_interval", 0) >= 0:
        limits.keepalive.interval_s = _seconds(fields.get("keepalive_interval", 0))
        limits.keepalive.idle_s = _seconds(fields.get("keepalive_idle", 0))
        limits.keepalive.count = fit(fields.get("keepalive_count", 0), _PROBES_MAX) or _KEEPALIVE_COUNT
    if limits != pb.ListenerLimits():
        listener.limits.CopyFrom(limits)


def find_refusals(server: Server, fields: Json) -> Iterator[tuple[str, str]]:
    """Yield what of a server's fields cannot be run, each with its cure."""
    names = [one["wrapper"] for one in fields.get("listener_wrappers", ())]
    if names[:1] == ["tls"] or names.count("tls") > 1:
        yield "tls stands first or twice among listener_wrappers", "write it once, after the others"
    https = any(one.scheme is Scheme.HTTPS for site in server.sites for one in site.addresses)
    inside = names[names.index("tls") + 1 :] if "tls" in names else names
    for name in inside if https else ():
        yield f"listener wrapper {name} inside of TLS is not supported", f"write tls after {name}"
    for wrapper in fields.get("listener_wrappers", ()):
        for text in (*wrapper.get("allow", ()), *wrapper.get("deny", ())):
            if not _is_cidr(text):
                yield f"{text} is no range of addresses", "write it as ADDRESS/BITS"


def find_lost_bounds(fields: Json) -> Iterator[str]:
    """Yield what is bounded more closely than a server's fields say."""
    if fields.get("max_header_bytes", 0) + HEAD_SLACK_BYTES > HEAD_BYTES_MAX:
        yield f"max_header_size: heads of requests have {HEAD_BYTES_MAX >> 10} KiB at most here"


def _settle_duration(fields: Json, name: str, faults: list[str]) -> None:
    value = fields.get(name, 0)
    try:
        value = parse_duration_ns(value) if isinstance(value, str) else value
    except ValueError as error:
        faults.append(f"{name}: {error}")
        value = 0
    if not isinstance(value, int):
        faults.append(f"{name} is no duration")
        value = 0
    if name in fields:
        fields[name] = value


def _settle_wrapper(wrapper: Json, faults: list[str]) -> Json:
    settled = dict(wrapper)
    _settle_duration(settled, "timeout", faults)
    for name in ("allow", "deny"):
        ranges = settled.get(name, [])
        if not isinstance(ranges, list) or not all(isinstance(one, str) for one in ranges):
            faults.append(f"{name} of a listener wrapper is no list of texts")
    if settled.get("wrapper") not in _WRAPPERS:
        faults.append(f"listener wrapper {settled.get('wrapper')} is not known")
    if str(settled.get("fallback_policy", "IGNORE")).upper() not in _POLICIES:
        faults.append(f"unknown policy {settled['fallback_policy']}")
    return settled


def _find_wrappers(fields: Json, *, inside_tls: bool) -> Sequence[Json]:
    wrappers: list[Json] = fields.get("listener_wrappers", [])
    names = [one["wrapper"] for one in wrappers]
    if inside_tls:
        return wrappers
    return wrappers[: names.index("tls")] if "tls" in names else ()


def _set_proxy_headers(headers: pb.ProxyHeaders, wrapper: Json) -> None:
    headers.allow.extend(wrapper.get("allow", ()))
    headers.deny.extend(wrapper.get("deny", ()))
    headers.fallback = pb.ProxyHeaders.Policy.Value(wrapper.get("fallback_policy", "IGNORE").upper())
    headers.timeout_ms = _milliseconds(wrapper.get("timeout", 0))
    headers.SetInParent()


def _is_cidr(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return "/" in text


def _find_head_bytes(fields: Json) -> int:
    given: int = fields.get("max_header_bytes", 0)
    return min(given + HEAD_SLACK_BYTES, HEAD_BYTES_MAX) if given > 0 else 0


def _milliseconds(duration_ns: int) -> int:
    """0 is the default, a negative one is none: the engine bounds it."""
    if duration_ns < 0:
        return U32_MAX
    return fit(max(1, duration_ns // 1_000_000)) if duration_ns else 0


def _seconds(duration_ns: int) -> int:
    return fit(max(1, duration_ns // 1_000_000_000), _KEEPALIVE_S_MAX) if duration_ns > 0 else _KEEPALIVE_S
