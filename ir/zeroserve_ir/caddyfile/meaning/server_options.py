"""`servers [<listener>] { … }` of the global options, as fields of Caddy's server.

In: the option's segment. Out: an object of listener, name and the server's JSON fields; durations are
nanoseconds. Syntax: httpcaddyfile/serveroptions.go.
"""

from __future__ import annotations

from zeroserve_ir.caddyfile.meaning.blocks import (
    Field,
    Module,
    only,
    plain_module,
    read_duration,
    read_fields,
    read_flag,
    read_integer,
    read_module,
    read_own_module,
    read_size,
    read_some_texts,
    read_texts,
)
from zeroserve_ir.caddyfile.meaning.matchers import read_ranges
from zeroserve_ir.caddyfile.meaning.reading import (
    Reading,
    duration_ns,
    integer,
    no_more_arguments,
    refusal,
    refuse_block,
    texts,
    without_empty_block,
    wrong_count,
)
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.tree_carried import Json

_PROTOCOLS = ("h1", "h2", "h2c", "h3")


def read_servers(segment: Segment, reading: Reading) -> Json:
    """Return `listener` ("" for all), `name`, `server` (fields of Caddy's server) and `logs`."""
    if len(segment.arguments) > 1:
        raise wrong_count(segment, "servers [LISTENER] { … }")
    listener = segment.arguments[0].text if segment.arguments else ""
    found: Json = {"listener": listener, "server": {}}
    for inner in segment.block or ():
        with reading.collect():
            name = inner.name.text
            if name == "timeouts":
                _read_timeouts(inner, found["server"], reading)
            elif name == "name":
                if not listener:
                    cure = "write servers LISTENER { name … }"
                    raise refusal(Code.ZS0102, "a server's name needs its listener", inner.name, cure)
                found["name"] = only(inner).text
            elif name in _LOGS:
                read_fields((inner,), _LOGS, "servers", reading, found.setdefault("logs", {}))
            else:
                read_fields((inner,), _SERVER, "servers", reading, found["server"])
    return found


def _read_timeouts(segment: Segment, server: Json, reading: Reading) -> None:
    no_more_arguments(segment)
    for inner in segment.block or ():
        name = inner.name.text
        if name in _RATED:
            timeout, rate = _RATED[name]
            if len(inner.arguments) not in (1, 2):
                raise wrong_count(inner, f"{name} DURATION [BYTES_A_SECOND]")
            server[timeout] = duration_ns(inner.arguments[0])
            if len(inner.arguments) == 2:
                server[rate] = integer(inner.arguments[1])
        else:
            read_fields((inner,), _TIMEOUTS, "timeouts", reading, server)


_RATED = {
    "read_body_idle": ("read_idle_timeout", "read_min_rate"),
    "write_idle": ("write_idle_timeout", "write_min_rate"),
}
_TIMEOUTS = {
    "read_body": Field("read_timeout", read_duration),
    "read_header": Field("read_header_timeout", read_duration),
    "write": Field("write_timeout", read_duration),
    "write_max_chunk": Field("max_write_chunk", read_size),
    "idle": Field("idle_timeout", read_duration),
}


def _read_protocols(segment: Segment, _: Reading) -> list[str]:
    for index, token in enumerate(segment.arguments):
        if token.text not in _PROTOCOLS:
            cure = "write h1, h2, h2c or h3"
            raise refusal(Code.ZS0103, f"unknown protocol {token.text!r}", token, cure)
        if token.text in texts(segment.arguments[:index]):
            raise refusal(Code.ZS0103, f"protocol {token.text} stands twice", token, "remove one of them")
    return list(texts(segment.arguments))


def _read_distinct(segment: Segment, reading: Reading) -> list[str]:
    names = read_texts(without_empty_block(segment), reading)
    for index, token in enumerate(segment.arguments):
        if token.text in names[:index]:
            raise refusal(Code.ZS0103, f"{token.text} stands twice", token, "remove one of them")
    return names


def _read_strict(segment: Segment, _: Reading) -> bool:
    token = only(segment) if segment.arguments else segment.name
    if segment.arguments and token.text not in ("on", "insecure_off"):
        raise refusal(Code.ZS0103, f"unknown value {token.text!r}", token, "write on or insecure_off")
    return token.text != "insecure_off"


def _read_strict_proxies(segment: Segment, reading: Reading) -> int:
    return int(read_flag(segment, reading))


def _read_early_data(segment: Segment, _: Reading) -> bool:
    token = only(segment)
    if token.text != "off":
        raise refusal(Code.ZS0103, f"unknown value {token.text!r}", token, "write off")
    return False


def _read_wrappers(modules: dict[str, Module], kind: str) -> Field:
    read = read_own_module(modules, "wrapper", kind)

    def read_lines(segment: Segment, reading: Reading) -> list[Json]:
        no_more_arguments(segment)
        return [read(inner, reading) for inner in segment.block or ()]

    return Field(kind.replace(" ", "_") + "s", read_lines, append=True)


def _read_policy(segment: Segment, _: Reading) -> str:
    token = only(segment)
    if token.text.lower() not in ("ignore", "use", "reject", "require", "skip"):
        cure = "write ignore, use, reject, require or skip"
        raise refusal(Code.ZS0103, f"unknown policy {token.text!r}", token, cure)
    return token.text.upper()


_PROXY_PROTOCOL = {
    "timeout": Field("timeout", read_duration),
    "allow": Field("allow", read_texts, append=True),
    "deny": Field("deny", read_texts, append=True),
    "fallback_policy": Field("fallback_policy", _read_policy),
}


def _read_bare(segment: Segment, reading: Reading) -> Json:
    """Caddy reads over all that follows the name."""
    lines = tuple(line.name for line in segment.block or ())
    reading.leave_out((*segment.arguments, *lines), segment.name.text)
    return {}


_WRAPPERS: dict[str, Module] = {
    "proxy_protocol": plain_module(_PROXY_PROTOCOL),
    "http_redirect": _read_bare,
    "tls": _read_bare,
}


def _read_static(segment: Segment, _: Reading) -> Json:
    refuse_block(without_empty_block(segment))
    ranges = list(read_ranges(segment.arguments))
    return {"ranges": ranges} if ranges else {}


_read_source = read_module(
    {"static": _read_static},
    "source",
    "source of addresses",
)


def _read_metrics(segment: Segment, reading: Reading) -> Json:
    no_more_arguments(segment)
    return read_fields(segment.block or (), {"per_host": Field("per_host", read_flag)}, "metrics", reading)


_LOGS = {
    "log_credentials": Field("should_log_credentials", read_flag),
    "trace": Field("trace", read_flag),
}
_SERVER = {
    "listener_wrappers": _read_wrappers(_WRAPPERS, "listener wrapper"),
    "packet_conn_wrappers": _read_wrappers({}, "packet conn wrapper"),
    "keepalive_interval": Field("keepalive_interval", read_duration),
    "keepalive_idle": Field("keepalive_idle", read_duration),
    "keepalive_count": Field("keepalive_count", read_integer),
    "max_header_size": Field("max_header_bytes", read_size),
    "enable_full_duplex": Field("enable_full_duplex", read_flag),
    "expected_underscore_headers": Field("expected_underscore_headers", read_some_texts),
    "expected_dot_headers": Field("expected_dot_headers", read_some_texts),
    "protocols": Field("protocols", _read_protocols, append=True),
    "strict_sni_host": Field("strict_sni_host", _read_strict, keep_zero=True),
    "trusted_proxies": Field("trusted_proxies", _read_source),
    "trusted_proxies_strict": Field("trusted_proxies_strict", _read_strict_proxies),
    "trusted_proxies_unix": Field("trusted_proxies_unix", read_flag),
    "client_ip_headers": Field("client_ip_headers", _read_distinct, append=True),
    "metrics": Field("metrics", _read_metrics, keep_zero=True),
    "0rtt": Field("allow_0rtt", _read_early_data, keep_zero=True),
}
