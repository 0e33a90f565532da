"""Certificates of clients that an Ingress asks for (`auth-tls-*`).

In: the annotations of an Ingress; the Secret that they name. Out: `ClientRequest`, and the authorities of its
Secret. Rule: what cannot be honoured as written closes. Source: ingress-nginx, annotations/authtls/main.go.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from zeroserve_ir.codes import Code
from zeroserve_ir.model import ClientMode
from zeroserve_ir.regular_expressions import PatternError, check_pattern

from zeroserve_operator.annotations.names import PREFIX
from zeroserve_operator.annotations.values import Annotations
from zeroserve_operator.resources.objects import LABEL_PATTERN, NAME_PATTERN
from zeroserve_operator.resources.secrets import Secret

AUTHORITY_KEY, REVOKED_KEY = "ca.crt", "ca.crl"
AUTHORITIES_MAX = 64
_DEPTH_DEFAULT, _DEPTH_MAX = 1, 16
_OTHERS = ("auth-tls-verify-client", "auth-tls-match-cn", "auth-tls-pass-certificate-to-upstream")
_MODES = {
    "on": ClientMode.REQUIRED,
    "optional": ClientMode.OPTIONAL,
    "optional_no_ca": ClientMode.UNVERIFIED,
}


@dataclass(frozen=True, slots=True)
class ClientRequest:
    """What is asked of clients, and the Secret with the authorities that are believed."""

    namespace: str
    secret: str
    mode: ClientMode
    depth: int
    """Certificates above a client's, the authority's included."""
    subject: str = ""
    """RE2 that the certificate's subject must match; "" is any."""
    passes: bool = False
    """The certificate goes to the Service."""


class AuthorityError(Exception):
    """A Secret whose authorities cannot be used; says why, to follow the Secret's name."""


def read_client_request(annotations: Annotations, namespace: str) -> ClientRequest | None:
    """Read `auth-tls-*`."""
    mode = annotations.text("auth-tls-verify-client") or "on"
    if annotations.text("auth-tls-error-page"):
        message = "is not shown: clients without a certificate get a page with 400"
        annotations.warn("auth-tls-error-page", message, Code.ZS0401, "remove it")
    if not annotations.text("auth-tls-secret"):
        for name in _OTHERS:
            if annotations.text(name).lower() not in ("", "off", "false"):
                cure = f"add {PREFIX}auth-tls-secret"
                annotations.close(name, "needs auth-tls-secret: its routes answer 503", Code.ZS0404, cure)
        return None
    if mode == "off":
        return None
    if mode not in _MODES:
        message = f"is `{mode}`, not on, off, optional or optional_no_ca: its routes answer 503"
        annotations.close("auth-tls-verify-client", message, Code.ZS0403)
        return None
    space, slash, name = annotations.text("auth-tls-secret").rpartition("/")
    space = space if slash else namespace
    if not NAME_PATTERN.fullmatch(name) or not LABEL_PATTERN.fullmatch(space):
        message = f"is `{annotations.text('auth-tls-secret')}`, not NAMESPACE/NAME: its routes answer 503"
        annotations.close("auth-tls-secret", message, Code.ZS0403)
        return None
    if space != namespace:
        message = f"names a Secret of namespace {space}: its routes answer 503"
        annotations.close(
            "auth-tls-secret", message, Code.ZS0308, f"copy the Secret to namespace {namespace}"
        )
        return None
    return ClientRequest(
        space,
        name,
        _MODES[mode],
        _read_depth(annotations),
        _read_subject(annotations),
        annotations.flag("auth-tls-pass-certificate-to-upstream", False),
    )


def _read_depth(annotations: Annotations) -> int:
    text = annotations.text("auth-tls-verify-depth") or str(_DEPTH_DEFAULT)
    if text.isascii() and text.isdecimal() and 0 < int(text[:4]) <= _DEPTH_MAX:
        return int(text)
    message = f"is `{text}`, not a number from 1 to {_DEPTH_MAX}: its routes answer 503"
    annotations.close("auth-tls-verify-depth", message, Code.ZS0403)
    return _DEPTH_DEFAULT


def _read_subject(annotations: Annotations) -> str:
    """Read `auth-tls-match-cn`; unlike there, a text without `CN=` does not let everybody in."""
    text = annotations.text("auth-tls-match-cn")
    problem = "" if not text or "CN=" in text else f"`{text}` has no CN="
    try:
        check_pattern(text)
    except PatternError as error:
        problem = f"`{text}` is no regular expression: {error}"
    if problem:
        cure = "write an expression such as CN=(ann|bob)"
        message = f"is wrong: {problem}: its routes answer 503"
        annotations.close("auth-tls-match-cn", message, Code.ZS0403, cure)
        return ""
    return text


def read_authorities(secret: Secret) -> tuple[bytes, ...]:
    """Return the authorities of a Secret as DER; raises `AuthorityError`."""
    if secret.get(REVOKED_KEY):
        raise AuthorityError(f"has a `{REVOKED_KEY}`, and lists of revoked certificates are not honoured")
    text = secret.get(AUTHORITY_KEY)
    if not text:
        raise AuthorityError(f"has no `{AUTHORITY_KEY}`")
    try:
        found = x509.load_pem_x509_certificates(text)
    except ValueError as error:
        raise AuthorityError(f"holds no certificate that can be read in `{AUTHORITY_KEY}`") from error
    if len(found) > AUTHORITIES_MAX:
        raise AuthorityError(f"holds more than {AUTHORITIES_MAX} authorities")
    return tuple(one.public_bytes(Encoding.DER) for one in found)
