"""Where certificates come from: issuers, DNS providers, certificate getters, permissions, storage.

In: segments of `tls`, of the global options, of client authentication. Out: Caddy's JSON objects of these
modules. Durations are nanoseconds. Syntax: modules/caddytls {acme,zerossl,internal}issuer.go, ondemand.go,
certmanagers.go; modules/filestorage.
"""

from __future__ import annotations

from zeroserve_ir.caddyfile.meaning.blocks import (
    Field,
    Module,
    only,
    put_path,
    read_duration,
    read_fields,
    read_flag,
    read_integer,
    read_module,
    read_some_texts,
    read_text,
    read_texts,
    read_timeout,
)
from zeroserve_ir.caddyfile.meaning.reading import (
    Reading,
    no_arguments,
    no_more_arguments,
    refusal,
    refuse_block,
    take_block,
    texts,
    without_empty_block,
    wrong_count,
)
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.tree_carried import Json

_PROVIDER_KEYS = {
    "cloudflare": "api_token",
    "digitalocean": "auth_token",
    "duckdns": "api_token",
    "gandi": "bearer_token",
    "hetzner": "auth_api_token",
    "linode": "api_token",
    "netlify": "personal_access_token",
    "vultr": "api_token",
}
"""The key of a provider's one argument in its JSON. Providers are plugins of Caddy, none is standard;
an argument of one that is not listed goes under `argument`."""


def read_dns_provider(segment: Segment, _: Reading) -> Json:
    """A line that begins with a DNS provider's name: its one argument, and its block as keys with values."""
    if len(segment.arguments) > 1:
        raise wrong_count(segment, f"{segment.name.text} [ARGUMENT] {{ … }}")
    found: Json = {"name": segment.name.text}
    if segment.arguments:
        found[_PROVIDER_KEYS.get(segment.name.text, "argument")] = segment.arguments[0].text
    for inner in segment.block or ():
        found[inner.name.text] = only(inner).text
    return found


def inner_line(segment: Segment) -> Segment:
    """Return the line of a module: what follows the directive's name."""
    return Segment(segment.arguments[0], segment.arguments[1:], segment.block)


def read_dns(segment: Segment, reading: Reading) -> Json:
    """`dns [PROVIDER …]`: the challenge's settings with the provider, if it is named."""
    return {"provider": read_dns_provider(inner_line(segment), reading)} if segment.arguments else {}


def _read_eab(segment: Segment, _: Reading) -> Json:
    refuse_block(segment)
    if len(segment.arguments) != 2:
        raise wrong_count(segment, f"{segment.name.text} KEY_ID MAC_KEY")
    return {"key_id": segment.arguments[0].text, "mac_key": segment.arguments[1].text}


def read_preferred_chains(segment: Segment, reading: Reading) -> Json:
    """`preferred_chains [smallest] { root_common_name … | any_common_name … }`."""
    if texts(segment.arguments) == ("smallest",) and not segment.block:
        return {"smallest": True}
    if segment.arguments:
        raise wrong_count(segment, "preferred_chains smallest, or preferred_chains { … }")
    fields = {
        name: Field(name, read_some_texts, append=True) for name in ("root_common_name", "any_common_name")
    }
    found = read_fields(segment.block or (), fields, "preferred_chains", reading)
    if len(found) != 1:
        cure = "write smallest, root_common_name or any_common_name"
        raise refusal(Code.ZS0102, "preferred_chains needs one preference", segment.name, cure)
    return found


def _read_not_distributed(segment: Segment, _: Reading) -> bool:
    token = only(segment)
    if token.text != "false":
        raise refusal(Code.ZS0103, "distributed can be switched off only", token, "write distributed false")
    return False


CHALLENGE_FIELDS = {
    "resolvers": Field("challenges.dns.resolvers", read_some_texts),
    "propagation_delay": Field("challenges.dns.propagation_delay", read_duration),
    "propagation_timeout": Field("challenges.dns.propagation_timeout", read_timeout),
    "dns_ttl": Field("challenges.dns.ttl", read_duration),
    "dns_challenge_override_domain": Field("challenges.dns.override_domain", read_text),
}
"""Options of the DNS challenge, in `issuer acme` and beside it in `tls`."""

_ACME = {
    "lifetime": Field("certificate_lifetime", read_duration),
    "dir": Field("ca", read_text),
    "test_dir": Field("test_ca", read_text),
    "email": Field("email", read_text),
    "profile": Field("profile", read_text),
    "timeout": Field("acme_timeout", read_duration),
    "disable_http_challenge": Field("challenges.http.disabled", read_flag),
    "disable_tlsalpn_challenge": Field("challenges.tls-alpn.disabled", read_flag),
    "distributed": Field("challenges.distributed", _read_not_distributed, keep_zero=True),
    "alt_http_port": Field("challenges.http.alternate_port", read_integer),
    "alt_tlsalpn_port": Field("challenges.tls-alpn.alternate_port", read_integer),
    "eab": Field("external_account", _read_eab),
    "trusted_roots": Field("trusted_roots_pem_files", read_texts),
    "dns": Field("challenges.dns", read_dns, keep_zero=True),
    "preferred_chains": Field("preferred_chains", read_preferred_chains),
    **CHALLENGE_FIELDS,
}


def _read_acme(segment: Segment, reading: Reading) -> Json:
    if len(segment.arguments) > 1:
        raise wrong_count(segment, "issuer acme [DIRECTORY] { … }")
    found: Json = {"ca": segment.arguments[0].text} if segment.arguments else {}
    for inner in segment.block or ():
        if inner.name.text == "dir" and "ca" in found:
            raise refusal(Code.ZS0103, "the directory is named already", inner.name, "remove one of them")
        if inner.name.text == "dns":
            # Options of the challenge may stand before the provider.
            dns = found.setdefault("challenges", {}).setdefault("dns", {})
            dns.update(read_dns(inner, reading))
        else:
            read_fields((inner,), _ACME, "acme", reading, found)
    return found


_ZEROSSL = {
    "validity_days": Field("validity_days", read_integer),
    "alt_http_port": Field("alternate_http_port", read_integer),
    "propagation_delay": Field("cname_validation.propagation_delay", read_duration),
    "propagation_timeout": Field("cname_validation.propagation_timeout", read_timeout),
    "resolvers": Field("cname_validation.resolvers", read_some_texts),
    "dns_ttl": Field("cname_validation.ttl", read_duration),
}


def _read_zerossl(segment: Segment, reading: Reading) -> Json:
    if len(segment.arguments) != 1:
        raise wrong_count(segment, "issuer zerossl API_KEY { … }")
    found: Json = {"api_key": segment.arguments[0].text}
    for inner in segment.block or ():
        if inner.name.text == "dns" and inner.arguments:
            put_path(found, "cname_validation.provider", read_dns_provider(inner_line(inner), reading))
        else:
            read_fields((inner,), _ZEROSSL, "zerossl", reading, found)
    return found


_INTERNAL = {
    "ca": Field("ca", read_text),
    "lifetime": Field("lifetime", read_duration),
    "sign_with_root": Field("sign_with_root", read_flag),
}


def _read_internal(segment: Segment, reading: Reading) -> Json:
    return read_fields(take_block(segment, reading), _INTERNAL, "internal", reading)


_ISSUERS: dict[str, Module] = {
    "acme": _read_acme,
    "zerossl": _read_zerossl,
    "internal": _read_internal,
}
read_issuer = read_module(_ISSUERS, "module", "issuer")
"""`issuer NAME …` and `cert_issuer NAME …`."""


def _http_module(key: str) -> Module:
    """Return the reader of `http URL`, whose URL stands under a key of its own in each kind of module."""
    return lambda segment, _: {key: only(without_empty_block(segment)).text}


def _read_tailscale(segment: Segment, _: Reading) -> Json:
    no_arguments(without_empty_block(segment))
    return {}


_GETTERS: dict[str, Module] = {"http": _http_module("url"), "tailscale": _read_tailscale}
read_getter = read_module(_GETTERS, "via", "certificate getter")
"""`get_certificate NAME …`."""


_read_permission = read_module({"http": _http_module("endpoint")}, "module", "permission")


def read_on_demand(segment: Segment, reading: Reading) -> Json:
    """`on_demand_tls { ask URL | permission MODULE }`."""
    no_more_arguments(segment)
    found: Json = {}
    for inner in segment.block or ():
        name = inner.name.text
        if name not in ("ask", "permission"):
            cure = "write ask or permission"
            raise refusal(Code.ZS0109, f"unknown subdirective {name} of on_demand_tls", inner.name, cure)
        if found:
            raise refusal(Code.ZS0103, "the permission is given already", inner.name, "remove one of them")
        found["permission"] = (
            {"module": "http", "endpoint": only(inner).text}
            if name == "ask"
            else _read_permission(inner, reading)
        )
    if not found:
        raise wrong_count(segment, "on_demand_tls { ask URL }")
    return found


def _read_file_system(segment: Segment, _: Reading) -> Json:
    if len(segment.arguments) > 1:
        raise wrong_count(segment, "storage file_system [ROOT]")
    root = segment.arguments[0].text if segment.arguments else ""
    for inner in segment.block or ():
        if inner.name.text != "root" or root:
            raise refusal(Code.ZS0109, f"unexpected {inner.name.text}", inner.name, "write root once")
        root = only(inner).text
    if not root:
        raise wrong_count(segment, "storage file_system ROOT")
    return {"root": root}


read_storage = read_module({"file_system": _read_file_system}, "module", "storage")
"""`storage NAME …`."""
