"""The directive `tls`: certificates, issuers, and what connections must bring.

In: the segments of a site, and the global options that implicit issuers come from. Out: a `SiteTls`; what its
plain fields cannot say is carried, one object for each directive:

    policy                Caddy's connection policy, without its match and its certificate selection
    files, folders        pairs of certificate and key; directories
    issuers, get_certificate   Caddy's modules
    key_type, on_demand, reuse_private_keys, renewal_window_ratio, force_automate

Syntax: httpcaddyfile/builtins.go parseTLS.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from zeroserve_ir.caddyfile.meaning.blocks import (
    Field,
    get_path,
    listed,
    read_fields,
    read_flag,
    read_ratio,
    read_some_texts,
    read_text,
    read_texts,
)
from zeroserve_ir.caddyfile.meaning.issuers import CHALLENGE_FIELDS, read_dns, read_getter, read_issuer
from zeroserve_ir.caddyfile.meaning.reading import (
    Reading,
    refusal,
    refuse_block,
    take_arguments,
    texts,
    wrong_count,
)
from zeroserve_ir.caddyfile.meaning.trusting import read_client_auth
from zeroserve_ir.caddyfile.printer_surface import written_form
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.tree import CertificateFiles, SiteTls
from zeroserve_ir.tree_carried import Carried, Json

ZEROSSL_ACME = "https://acme.zerossl.com/v2/DV90"
INTERNAL_ISSUER = {"module": "internal"}
PROTOCOLS = ("tls1.2", "tls1.3")
_DNS_OPTIONS = ("resolvers", *(name for name in CHALLENGE_FIELDS if name != "resolvers"))


def list_directives(tls: SiteTls | None) -> list[Json]:
    """Return the objects of a site's directives."""
    if tls is None:
        return []
    return [directive.value() for directive in tls.directives] or [simple_directive(tls)]


def names_issuer(tls: SiteTls) -> bool:
    """Whether `tls` says who signs the site's certificates."""
    return any(directive.get("issuers") for directive in list_directives(tls))


def read_tls(segment: Segment, tls: SiteTls | None, options: Mapping[str, Any], reading: Reading) -> SiteTls:
    """Add one `tls` directive to what the site has; `options` are the global ones that are carried."""
    directive = _read_directive(segment, options, reading)
    before = tls or SiteTls()
    policy = directive.get("policy", {})
    files = tuple(CertificateFiles(*pair) for pair in directive.get("files", ()))
    found = replace(
        before,
        files=before.files + files,
        internal=before.internal or INTERNAL_ISSUER in directive.get("issuers", ()),
        protocol_min=policy.get("protocol_min", before.protocol_min),
        protocol_max=policy.get("protocol_max", before.protocol_max),
    )
    if tls is None and simple_directive(found) == directive:
        return found
    earlier = before.directives or ((Carried.of(simple_directive(before)),) if tls is not None else ())
    carried = Carried.of(directive, written_form((segment,)), segment.span)
    return replace(found, directives=(*earlier, carried))


def simple_directive(tls: SiteTls) -> Json:
    """Return the object of a directive that the plain fields say all of."""
    policy = {"protocol_min": tls.protocol_min, "protocol_max": tls.protocol_max}
    found: Json = {
        "policy": {key: value for key, value in policy.items() if value},
        "files": [[pair.certificate, pair.key] for pair in tls.files],
        "issuers": [dict(INTERNAL_ISSUER)] if tls.internal else [],
    }
    return {key: value for key, value in found.items() if value}


def _read_directive(segment: Segment, options: Mapping[str, Any], reading: Reading) -> Json:
    found = _read_arguments(segment)
    internal, acme = found.pop("internal", False), found.pop("acme", None)
    for inner in segment.block or ():
        name = inner.name.text
        with reading.collect():
            if name in _ACME:
                acme = {} if acme is None else acme
                read_fields((inner,), _ACME, "tls", reading, acme)
            elif name == "dns":
                acme = {} if acme is None else acme
                if not inner.arguments and not options.get("dns"):
                    raise wrong_count(inner, "dns PROVIDER, or name it in the global option dns")
                acme.setdefault("challenges", {}).setdefault("dns", {}).update(read_dns(inner, reading))
            elif name == "protocols":
                limits = zip(("protocol_min", "protocol_max"), _read_protocols(inner, reading), strict=False)
                found.setdefault("policy", {}).update(limits)
            else:
                read_fields((inner,), _FIELDS, "tls", reading, found)
    if acme is not None:
        _check_challenge(segment, acme, options)
    if found.get("issuers") and (acme is not None or internal):
        cure = "put the options into the block of the issuer"
        raise refusal(Code.ZS0103, "issuer beside options of an implicit issuer", segment.name, cure)
    if acme is not None and internal:
        cure = "leave internal out, or the options of ACME"
        raise refusal(Code.ZS0103, "both the internal issuer and ACME", segment.name, cure)
    if acme is not None:
        found["issuers"] = _implicit_issuers(acme, options)
    elif internal:
        found["issuers"] = [dict(INTERNAL_ISSUER)]
    return {key: value for key, value in found.items() if value}


def _read_arguments(segment: Segment) -> Json:
    match texts(segment.arguments):
        case ():
            if segment.block is None or not segment.block:
                raise wrong_count(segment, "tls internal, tls EMAIL, tls CERTIFICATE KEY, or tls { … }")
            return {}
        case ("internal",):
            return {"internal": True}
        case ("force_automate",):
            return {"force_automate": True}
        case (email,) if "@" in email:
            return {"acme": {"email": email}}
        case (certificate, key):
            return {"files": [[certificate, key]]}
        case _:
            raise wrong_count(segment, "tls internal, tls force_automate, tls EMAIL, or tls CERTIFICATE KEY")


def _check_challenge(segment: Segment, acme: Json, options: Mapping[str, Any]) -> None:
    dns = get_path(acme, "challenges.dns")
    if dns is None or dns.get("provider") or options.get("dns") or options.get("acme_dns"):
        return
    for inner in segment.block or ():
        if inner.name.text in _DNS_OPTIONS:
            message = f"{inner.name.text} is for the DNS challenge, which has no provider"
            cure = "name the provider with dns, or with the global option acme_dns"
            raise refusal(Code.ZS0103, message, inner.name, cure)


def _implicit_issuers(acme: Json, options: Mapping[str, Any]) -> list[Json]:
    """Return the issuers that options of ACME stand for (tlsapp.go implicitACMEIssuers)."""
    given = [one for one in options.get("cert_issuer", ()) if one["module"] == "acme"]
    if given:
        return [_merge(one, acme) for one in given]
    issuers = [{"module": "acme"}] if acme.get("ca") else default_issuers(acme.get("email", ""))
    return [_merge(one, acme) for one in issuers]


def default_issuers(email: str) -> list[Json]:
    """Return the issuers of a public name: Let's Encrypt, with an address ZeroSSL too."""
    issuers: list[Json] = [{"module": "acme"}]
    return [*issuers, {"module": "acme", "ca": ZEROSSL_ACME, "email": email}] if email else issuers


def _merge(base: Json, overrides: Json) -> Json:
    """Return the issuer with what is given laid over it (tlsapp.go mergeACMEIssuers)."""
    merged = copy.deepcopy(base)
    for key, value in overrides.items():
        if key == "trusted_roots_pem_files":
            merged[key] = list(dict.fromkeys([*merged.get(key, ()), *value]))
        elif key in ("challenges", "dns", "http", "tls-alpn") and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def _read_protocols(segment: Segment, reading: Reading) -> list[str]:
    segment = take_arguments(segment, 2, reading)
    if not segment.arguments:
        raise wrong_count(segment, "protocols MIN [MAX]")
    refuse_block(segment)
    for token in segment.arguments:
        if token.text not in PROTOCOLS:
            raise refusal(Code.ZS0103, f"unknown protocol {token.text!r}", token, "write tls1.2 or tls1.3")
    lowest, *highest = texts(segment.arguments)
    if highest and lowest > highest[0]:
        cure = f"write protocols {highest[0]} {lowest}"
        raise refusal(Code.ZS0103, f"{lowest} is above {highest[0]}", segment.arguments[0], cure)
    return [lowest, *highest]


_CIPHERS = (
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    *(f"TLS_ECDHE_{key}_WITH_{cipher}" for key in ("ECDSA", "RSA") for cipher in (
        "AES_256_GCM_SHA384", "AES_128_GCM_SHA256", "CHACHA20_POLY1305_SHA256",
        "AES_256_CBC_SHA", "AES_128_CBC_SHA"
    )),
    *(f"TLS_RSA_WITH_{cipher}" for cipher in (
        "AES_256_GCM_SHA384", "AES_128_GCM_SHA256", "AES_256_CBC_SHA", "AES_128_CBC_SHA"
    )),
)  # fmt: skip
_CURVES = ("x25519mlkem768", "x25519", "secp256r1", "secp384r1", "secp521r1")


def _read_names(known: tuple[str, ...], what: str) -> Any:
    def read(segment: Segment, _: Reading) -> list[str]:
        refuse_block(segment)
        for token in segment.arguments:
            if token.text not in known:
                raise refusal(
                    Code.ZS0103, f"unknown {what} {token.text!r}", token, f"write one of {', '.join(known)}"
                )
        return list(texts(segment.arguments))

    return read


_ACME = {
    "ca": Field("ca", read_text),
    "ca_root": Field("trusted_roots_pem_files", listed(read_text), append=True),
    "eab": Field("external_account", lambda segment, _: _read_account(segment)),
    **CHALLENGE_FIELDS,
}
_FIELDS = {
    "ciphers": Field("policy.cipher_suites", _read_names(_CIPHERS, "cipher suite"), append=True),
    "curves": Field("policy.curves", _read_names(_CURVES, "curve"), append=True),
    "client_auth": Field("policy.client_authentication", read_client_auth, keep_zero=True),
    "alpn": Field("policy.alpn", read_some_texts),
    "insecure_secrets_log": Field("policy.insecure_secrets_log", read_text),
    "load": Field("folders", read_texts, append=True),
    "key_type": Field("key_type", read_text),
    "issuer": Field("issuers", listed(read_issuer), append=True),
    "get_certificate": Field("get_certificate", listed(read_getter), append=True),
    "on_demand": Field("on_demand", read_flag),
    "reuse_private_keys": Field("reuse_private_keys", read_flag),
    "renewal_window_ratio": Field("renewal_window_ratio", read_ratio),
}


def _read_account(segment: Segment) -> Json:
    if len(segment.arguments) != 2:
        raise wrong_count(segment, "eab KEY_ID MAC_KEY")
    refuse_block(segment)
    return {"key_id": segment.arguments[0].text, "mac_key": segment.arguments[1].text}
