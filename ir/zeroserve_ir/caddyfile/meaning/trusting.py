"""`client_auth` and trust pools: whose certificates are believed.

In: segments. Out: Caddy's JSON of client authentication and of the pools. Certificates of files are read here
where Caddy's adapter reads them. Syntax: modules/caddytls/{connpolicy,capools,leaf*}.go.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path

from zeroserve_ir.caddyfile.lexer import Token
from zeroserve_ir.caddyfile.meaning.blocks import (
    Field,
    Module,
    listed,
    only,
    plain_module,
    read_duration,
    read_fields,
    read_flag,
    read_module,
    read_own_module,
    read_some_texts,
    read_text,
    read_texts,
)
from zeroserve_ir.caddyfile.meaning.issuers import read_storage
from zeroserve_ir.caddyfile.meaning.reading import Reading, refusal, refuse_block, texts, wrong_count
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.tree_carried import Json

# Pools (tls.ca_pool.source)


def _read_inline(segment: Segment, reading: Reading) -> Json:
    if segment.arguments:
        raise wrong_count(segment, "trust_pool inline { trust_der BASE64 }")
    fields = {"trust_der": Field("trusted_ca_certs", read_texts, append=True)}
    return _some(segment, read_fields(segment.block or (), fields, "inline", reading), "certificates")


def _listing(key: str, line: str, what: str) -> Module:
    """Return the reader of a pool that is a list: on the line and in lines of its block."""

    def read(segment: Segment, reading: Reading) -> Json:
        found: Json = {key: list(texts(segment.arguments))} if segment.arguments else {}
        fields = {line: Field(key, read_texts, append=True)}
        return _some(
            segment, read_fields(segment.block or (), fields, segment.name.text, reading, found), what
        )

    return read


def _some(segment: Segment, found: Json, what: str) -> Json:
    if not found:
        cure = f"name {what} after {segment.name.text} or in its block"
        raise refusal(Code.ZS0102, f"{segment.name.text} has no {what}", segment.name, cure)
    return found


def _read_stored(segment: Segment, reading: Reading) -> Json:
    found: Json = {"pem_keys": list(texts(segment.arguments))} if segment.arguments else {}
    fields = {
        "storage": Field("storage", read_storage, once=True),
        "keys": Field("pem_keys", read_texts, append=True),
    }
    return read_fields(segment.block or (), fields, "storage", reading, found)


_CONNECTION = {
    "insecure_skip_verify": Field("insecure_skip_verify", read_flag),
    "handshake_timeout": Field("handshake_timeout", read_duration),
    "server_name": Field("server_name", read_text),
    "renegotiation": Field("renegotiation", read_text),
}


def _read_http(segment: Segment, reading: Reading) -> Json:
    found: Json = {"endpoints": list(texts(segment.arguments))} if segment.arguments else {}
    for inner in segment.block or ():
        if inner.name.text == "endpoints":
            found["endpoints"] = found.get("endpoints", []) + read_some_texts(inner, reading)
        elif inner.name.text == "tls" and "tls" not in found:
            ca = {"ca": Field("ca", read_trust_pool, once=True)}
            found["tls"] = read_fields(inner.block or (), _CONNECTION | ca, "tls", reading)
        else:
            cure = "write endpoints, or tls once"
            raise refusal(Code.ZS0109, f"unexpected {inner.name.text} in http", inner.name, cure)
    return found


def _read_combined(segment: Segment, reading: Reading) -> Json:
    if segment.arguments:
        raise wrong_count(segment, "trust_pool combined { source POOL … }")
    fields = {"source": Field("sources", listed(read_trust_pool), append=True)}
    return _some(segment, read_fields(segment.block or (), fields, "combined", reading), "sources")


_POOLS: dict[str, Module] = {
    "inline": _read_inline,
    "file": _listing("pem_files", "pem_file", "certificates"),
    "pki_root": _listing("authority", "authority", "authorities"),
    "pki_intermediate": _listing("authority", "authority", "authorities"),
    "storage": _read_stored,
    "http": _read_http,
    "system": plain_module(),
    "combined": _read_combined,
}


def read_trust_pool(segment: Segment, reading: Reading) -> Json:
    """`trust_pool POOL …` (also `source` and `ca`)."""
    return read_module(_POOLS, "provider", "trust pool")(segment, reading)


# Verifiers (tls.client_auth.verifier) and their loaders (tls.leaf_cert_loader)


def _loading(key: str) -> Module:
    def read(segment: Segment, _: Reading) -> Json:
        refuse_block(segment)
        return {key: list(texts(segment.arguments))} if segment.arguments else {}

    return read


_read_loader = read_own_module(
    {"file": _loading("files"), "folder": _loading("folders"), "pem": _loading("certificates")},
    "loader",
    "loader of leaf certificates",
)


def _read_leaf(segment: Segment, reading: Reading) -> Json:
    """`leaf LOADER VALUE …`, or a block of such lines."""
    if len(segment.arguments) > 1:
        lines: tuple[Segment, ...] = (Segment(segment.arguments[0], segment.arguments[1:], segment.block),)
    else:
        lines = segment.block or ()
    return {"leaf_certs_loaders": [_read_loader(one, reading) for one in lines]} if lines else {}


_read_verifier = read_module({"leaf": _read_leaf}, "verifier", "verifier of client_auth")


# client_auth


_ASKING = "write mode require_and_verify and trust_pool file CERTIFICATE into its block"


def read_client_auth(segment: Segment, reading: Reading) -> Json:
    """`client_auth { mode … trust_pool … verifier … }`, and the older lines of single certificates."""
    found: Json = {}
    authorities: list[str] = []
    reading.leave_out(segment.arguments, "client_auth", _ASKING)
    if not segment.block and not segment.arguments:
        reading.warn(Code.ZS0102, "client_auth is empty: no certificate is asked for", segment.name, _ASKING)
    for inner in segment.block or ():
        name = inner.name.text
        if (name.startswith("trusted_ca_cert") and "ca" in found) or (name == "trust_pool" and authorities):
            cure = "put all certificates into the trust_pool"
            raise refusal(Code.ZS0103, f"{name} beside another source of authorities", inner.name, cure)
        match name:
            case "mode":
                found["mode"] = only(inner).text
            case "trust_pool":
                found["ca"] = read_trust_pool(inner, reading)
            case "verifier":
                found.setdefault("verifiers", []).append(_read_verifier(inner, reading))
            case "trusted_ca_cert":
                authorities.append(only(inner).text)
            case "trusted_ca_cert_file":
                authorities += _read_certificates(only(inner))
            case "trusted_leaf_cert":
                found.setdefault("trusted_leaf_certs", []).append(only(inner).text)
            case "trusted_leaf_cert_file":
                found.setdefault("trusted_leaf_certs", []).extend(_read_certificates(only(inner)))
            case _:
                cure = "write mode, trust_pool or verifier"
                raise refusal(Code.ZS0109, f"unknown subdirective {name} of client_auth", inner.name, cure)
    if authorities:
        found["ca"] = {"provider": "inline", "trusted_ca_certs": authorities}
    return found


_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)


def _read_certificates(token: Token) -> list[str]:
    """Return a PEM file's certificates as base64 of their DER form."""
    try:
        data = Path(token.text).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise refusal(Code.ZS0111, f"cannot read {token.text}: {reason}", token, "name a PEM file") from None
    try:
        found = [base64.b64decode(b"".join(body.split()), validate=True) for body in _PEM.findall(data)]
    except ValueError:
        found = []
    if not found:
        raise refusal(Code.ZS0111, f"{token.text} holds no certificate", token, "name a PEM file")
    return [base64.b64encode(one).decode() for one in found]
