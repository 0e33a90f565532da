"""Header field names in Go's canonical form, as Caddy's maps hold them (textproto.CanonicalMIMEHeaderKey)."""

from __future__ import annotations

import re

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")


def canonical_field(name: str) -> str:
    """Return `content-type` as `Content-Type`; what is no field name (a placeholder) stays as it is."""
    if not _TOKEN.fullmatch(name):
        return name
    return "-".join(part[:1].upper() + part[1:].lower() for part in name.split("-"))
