"""Global options that are adapted and not acted upon, each to its value in the shape of Caddy's JSON.

In: the option's segment. Out: its value, durations in nanoseconds. Syntax: httpcaddyfile/options.go.
"""

from __future__ import annotations

from zeroserve_ir.caddyfile.meaning.authorities import read_pki
from zeroserve_ir.caddyfile.meaning.blocks import (
    Field,
    Reader,
    only,
    read_duration,
    read_fields,
    read_flag,
    read_own_module,
    read_ratio,
    read_some_texts,
    read_text,
)
from zeroserve_ir.caddyfile.meaning.issuers import (
    inner_line,
    read_dns_provider,
    read_issuer,
    read_on_demand,
    read_preferred_chains,
    read_storage,
)
from zeroserve_ir.caddyfile.meaning.plugins import read_plugins
from zeroserve_ir.caddyfile.meaning.rates import read_rate_limit_store
from zeroserve_ir.caddyfile.meaning.reading import (
    Reading,
    duration_ns,
    no_more_arguments,
    refusal,
    take_block,
    take_value,
    texts,
    without_empty_block,
    wrong_count,
)
from zeroserve_ir.caddyfile.meaning.streams import read_layer4
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.tree_carried import Json


def _read_true(segment: Segment, _: Reading) -> bool:
    return True


def _read_provider(segment: Segment, reading: Reading) -> Json | None:
    """`dns PROVIDER …`; `acme_dns` alone means the provider of `dns`: null."""
    if not segment.arguments:
        if segment.name.text == "acme_dns":
            return None
        raise wrong_count(segment, f"{segment.name.text} PROVIDER")
    return read_dns_provider(inner_line(segment), reading)


def _read_account(segment: Segment, reading: Reading) -> Json:
    no_more_arguments(segment)
    fields = {"key_id": Field("key_id", read_text), "mac_key": Field("mac_key", read_text)}
    return {"key_id": "", "mac_key": ""} | read_fields(segment.block or (), fields, "acme_eab", reading)


def _read_off(segment: Segment, _: Reading) -> str:
    token = only(segment)
    if token.text != "off":
        raise refusal(Code.ZS0103, f"{segment.name.text} cannot be {token.text!r}", token, "write off")
    return "off"


def _read_interval(segment: Segment, _: Reading) -> int | str:
    token = only(segment)
    return "off" if token.text == "off" else duration_ns(token)


def read_bind(segment: Segment, reading: Reading) -> Json:
    """`bind ADDRESS … { protocols … }`: addresses and protocols."""
    fields = {"protocols": Field("protocols", read_some_texts)}
    found = read_fields(segment.block or (), fields, segment.name.text, reading)
    return {"addresses": list(texts(segment.arguments)), "protocols": found.get("protocols", [])}


def _read_default_bind(segment: Segment, reading: Reading) -> Json:
    found = read_bind(segment, reading)
    return found | {"addresses": found["addresses"] or [""]}


def _read_metrics(segment: Segment, reading: Reading) -> Json:
    names = ("per_host", "observe_catchall_hosts", "otlp")
    fields = {name: Field(name, read_flag) for name in names}
    return read_fields(take_block(segment, reading), fields, "metrics", reading)


def _read_ech(segment: Segment, reading: Reading) -> Json:
    if not segment.arguments:
        raise wrong_count(segment, "ech PUBLIC_NAME … { dns PROVIDER }")
    names = list(texts(segment.arguments))
    found: Json = {"configs": [{"public_name": name} for name in names]}
    for inner in segment.block or ():
        if inner.name.text != "dns" or not inner.arguments:
            raise refusal(
                Code.ZS0109, f"unexpected {inner.name.text} in ech", inner.name, "write dns PROVIDER"
            )
        publishers = {"dns": {"provider": read_dns_provider(inner_line(inner), reading)}}
        found.setdefault("publication", []).append({"configs": names, "publishers": publishers})
    return found


def _read_events(segment: Segment, _: Reading) -> Json:
    """`events { on EVENT HANDLER … }`; every handler of events is a plugin of Caddy."""
    for inner in segment.block or ():
        message = f"events {inner.name.text}: handlers of events are plugins of Caddy, which are not here"
        raise refusal(Code.ZS0109, message, inner.name, "remove it")
    return {}


def _read_filesystem(segment: Segment, reading: Reading) -> Json:
    if len(segment.arguments) < 2:
        raise wrong_count(segment, "filesystem NAME BACKEND")
    inner = Segment(segment.arguments[1], segment.arguments[2:], segment.block)
    backend = read_own_module({}, "backend", "backend of a file system")(inner, reading)
    return {"name": segment.arguments[0].text, "file_system": backend}


def _loosely(read: Reader) -> Reader:
    """Return a reader of one value after which Caddy reads over words and an empty block."""
    return lambda segment, reading: read(take_value(segment, reading), reading)


CARRIED_OPTIONS: dict[str, Reader] = {
    "acme_ca": read_text,
    "acme_ca_root": read_text,
    "acme_dns": _read_provider,
    "acme_eab": _read_account,
    "cert_issuer": read_issuer,
    "cert_lifetime": _loosely(read_duration),
    "default_bind": _read_default_bind,
    "default_sni": read_text,
    "dns": _read_provider,
    "ech": _read_ech,
    "email": read_text,
    "events": _read_events,
    "fallback_sni": read_text,
    "filesystem": _read_filesystem,
    "key_type": read_text,
    "layer4": read_layer4,
    "local_certs": _read_true,
    "metrics": _read_metrics,
    "ocsp_interval": _loosely(read_duration),
    "ocsp_stapling": lambda segment, reading: _read_off(without_empty_block(segment), reading),
    "on_demand_tls": read_on_demand,
    "persist_config": _read_off,
    "pki": read_pki,
    "plugins": read_plugins,
    "preferred_chains": read_preferred_chains,
    "rate_limit_store": read_rate_limit_store,
    "renew_interval": _loosely(read_duration),
    "renewal_window_ratio": read_ratio,
    "shutdown_delay": _loosely(read_duration),
    "skip_install_trust": _read_true,
    "storage": read_storage,
    "storage_check": _read_off,
    "storage_clean_interval": _read_interval,
    "tls_resolvers": lambda segment, reading: read_some_texts(without_empty_block(segment), reading),
}
