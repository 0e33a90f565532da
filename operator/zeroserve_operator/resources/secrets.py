"""Secret: bytes by key, in a type that no print, log or traceback shows.

In: raw Secrets (`data` in base64, `stringData` in manifests). Out: `Secret`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zeroserve_ir.diagnostics import Diagnostic

from zeroserve_operator.resources.objects import Kind, Meta, ObjectKey, Parsed, read_meta
from zeroserve_operator.resources.reading import Reader, digest_raw

TLS_TYPE = "kubernetes.io/tls"
SECRET_BYTES_MAX = 1 << 20
"""The API server takes no larger ones; from manifests we take none either."""


@dataclass(frozen=True, slots=True, repr=False)
class Redacted:
    """Bytes that are not for the eye."""

    value: bytes

    def __repr__(self) -> str:
        return "[redacted]"


@dataclass(frozen=True, slots=True)
class Secret:
    """A Secret, as far as it is read."""

    meta: Meta
    type: str
    data: tuple[tuple[str, Redacted], ...]

    def get(self, key: str) -> bytes | None:
        """Return the bytes of a key."""
        return next((value.value for name, value in self.data if name == key), None)


def parse_secret(key: ObjectKey, raw: Mapping[str, Any]) -> Parsed[Secret]:
    """Parse a Secret; a value that is no base64 is left out with a finding."""
    findings: list[Diagnostic] = []
    reader = Reader(raw, key.origin, findings)
    data: dict[str, Redacted] = {}
    encoded = reader.child("data")
    for name in sorted(str(name) for name in encoded.raw):
        value = _decode(encoded, name)
        if value is not None:
            data[name] = Redacted(value)
    for name, text in reader.pairs("stringData"):
        data[name] = Redacted(text.encode())
    if sum(len(value.value) for value in data.values()) > SECRET_BYTES_MAX:
        reader.complain("data", f"is larger than {SECRET_BYTES_MAX} bytes")
        data.clear()
    kind = reader.text("type", "Opaque")
    digest = digest_raw(kind, [(name, value.value.hex()) for name, value in sorted(data.items())])
    view = Secret(
        read_meta(Kind.SECRET, reader, digest), kind, tuple(sorted(data.items(), key=lambda item: item[0]))
    )
    return Parsed(view, tuple(findings))


def _decode(data: Reader, name: str) -> bytes | None:
    value = data.raw.get(name)
    if isinstance(value, str):
        try:
            return base64.b64decode("".join(value.split()), validate=True)
        except (binascii.Error, ValueError):
            pass
    elif value is None:
        return b""
    data.complain(name, "must be base64", "write plain text under `stringData`")
    return None
