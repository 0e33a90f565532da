"""The registry of diagnostic codes: one name each, never reused; docs/errors has a page for each.

ZS00xx lexing and parsing, ZS01xx meaning of Caddyfiles, ZS02xx profiles and limits, ZS03xx Kubernetes
objects, ZS04xx annotations, ZS05xx certificates and secrets, ZS06xx programs and verifier, ZS07xx node.
"""

from __future__ import annotations

from enum import Enum


class Code(Enum):
    """A diagnostic code; the value says in a few words what is wrong."""

    ZS0001 = "unexpected token"
    ZS0002 = "unclosed block, quote or heredoc"
    ZS0003 = "import cannot be resolved"
    ZS0101 = "unknown directive"
    ZS0102 = "wrong number of arguments"
    ZS0103 = "invalid argument"
    ZS0104 = "unknown matcher"
    ZS0105 = "matcher defined twice"
    ZS0106 = "invalid regular expression"
    ZS0107 = "invalid site address"
    ZS0108 = "two sites with one address"
    ZS0109 = "unknown subdirective"
    ZS0110 = "not supported yet"
    ZS0111 = "file cannot be read"
    ZS0112 = "invalid expression"
    ZS0201 = "not allowed in this profile"
    ZS0202 = "a limit is exceeded"
    ZS0301 = "malformed object"
    ZS0302 = "Service not found"
    ZS0303 = "Service port not found"
    ZS0304 = "host and path belong to an older object"
    ZS0305 = "invalid host"
    ZS0306 = "invalid path"
    ZS0307 = "Service kind cannot be served"
    ZS0308 = "reference to another namespace"
    ZS0309 = "plugin or function not found"
    ZS0310 = "plugin needs what it is not granted"
    ZS0311 = "plugin's configuration is invalid"
    ZS0312 = "artefact cannot be pulled"
    ZS0313 = "artefact is not signed by a known key"
    ZS0314 = "registry is not allowed"
    ZS0401 = "annotation is not supported"
    ZS0402 = "annotation restricts access and is not honoured"
    ZS0403 = "annotation has an invalid value"
    ZS0404 = "annotation needs another one"
    ZS0501 = "Secret not found"
    ZS0502 = "Secret does not hold what is needed"
    ZS0503 = "certificate is invalid"
    ZS0504 = "certificate does not cover the host"
    ZS0601 = "program is refused by the verifier"
    ZS0602 = "program is too large"
    ZS0603 = "file is no plugin"
    ZS0701 = "snapshot is damaged"
    ZS0702 = "node refused a resource"
