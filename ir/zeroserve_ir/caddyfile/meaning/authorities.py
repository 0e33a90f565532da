"""`pki` and `acme_server`: authorities of this machine, and the server that gives out their certificates.

In: segments. Out: Caddy's JSON. Syntax: httpcaddyfile/pkiapp.go, modules/caddypki/acmeserver/caddyfile.go.
"""

from __future__ import annotations

from zeroserve_ir.caddyfile.meaning.blocks import (
    Field,
    Reader,
    in_block,
    read_duration,
    read_fields,
    read_flag,
    read_ratio,
    read_some_texts,
    read_text,
    read_texts,
)
from zeroserve_ir.caddyfile.meaning.reading import (
    Reading,
    no_more_arguments,
    refusal,
    take_block,
    wrong_count,
)
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.tree_carried import Json

DEFAULT_AUTHORITY = "local"
_PAIR = in_block(
    {
        "cert": Field("certificate", read_text),
        "key": Field("private_key", read_text),
        "format": Field("format", read_text),
    }
)
_AUTHORITY = {
    "name": Field("name", read_text),
    "root_cn": Field("root_common_name", read_text),
    "intermediate_cn": Field("intermediate_common_name", read_text),
    "intermediate_lifetime": Field("intermediate_lifetime", read_duration),
    "maintenance_interval": Field("maintenance_interval", read_duration),
    "renewal_window_ratio": Field("renewal_window_ratio", read_ratio),
    "root": Field("root", _PAIR),
    "intermediate": Field("intermediate", _PAIR),
}


def read_pki(segment: Segment, reading: Reading) -> Json:
    """`pki { ca [<id>] { … } }`: authorities by id."""
    found: Json = {}
    for inner in take_block(segment, reading):
        if inner.name.text != "ca":
            cure = "write ca [ID] { … }"
            raise refusal(Code.ZS0109, f"unknown subdirective {inner.name.text} of pki", inner.name, cure)
        if len(inner.arguments) > 1:
            raise wrong_count(inner, "ca [ID] { … }")
        name = inner.arguments[0].text if inner.arguments else DEFAULT_AUTHORITY
        found[name or DEFAULT_AUTHORITY] = read_fields(inner.block or (), _AUTHORITY, "ca", reading)
    return found


def _read_rules(kind: str) -> Reader:
    fields = {name: Field(name, read_some_texts, append=True) for name in ("domains", "ip_ranges")}

    def read(segment: Segment, reading: Reading) -> Json:
        no_more_arguments(segment)
        return read_fields(segment.block or (), fields, kind, reading)

    return read


_SERVER = {
    "ca": Field("ca", read_text),
    "lifetime": Field("lifetime", read_duration),
    "resolvers": Field("resolvers", read_some_texts),
    "challenges": Field("challenges", read_texts, append=True),
    "allow_wildcard_names": Field("policy.allow_wildcard_names", read_flag),
    "allow": Field("policy.allow", _read_rules("allow"), keep_zero=True),
    "deny": Field("policy.deny", _read_rules("deny"), keep_zero=True),
    "sign_with_root": Field("sign_with_root", read_flag),
}


def read_acme_server(segment: Segment, reading: Reading) -> Json:
    """`acme_server [<matcher>] { … }` without its matcher."""
    no_more_arguments(segment)
    return read_fields(segment.block or (), _SERVER, "acme_server", reading)
