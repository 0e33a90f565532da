"""TLS towards Services that an Ingress asks for (`proxy-ssl-*`).

In: the annotations of an Ingress. Out: `ServiceTlsRequest`, or none. Rule: a Service that was to be verified
is never asked unverified; what cannot be honoured as written closes. Source: ingress-nginx,
annotations/proxyssl/main.go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from zeroserve_ir.codes import Code

from zeroserve_operator.annotations.names import PREFIX
from zeroserve_operator.annotations.values import OFF, Annotations
from zeroserve_operator.resources.objects import LABEL_PATTERN, NAME_PATTERN

_NAME: Final = re.compile(
    r"[A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?)*"
)
_SPOKEN: Final = frozenset({"TLSv1.2", "TLSv1.3"})


@dataclass(frozen=True, slots=True)
class ServiceTlsRequest:
    """How Services prove who they are, and the Secret with what is needed for it."""

    namespace: str
    secret: str
    """"" is none: they are not verified, and shown no certificate."""
    verifies: bool
    name: str
    """That their certificates must have, sent as server name too; "" is the request's host."""


def read_service_tls(annotations: Annotations, namespace: str, *, spoken: bool) -> ServiceTlsRequest | None:
    """Read `proxy-ssl-*`; where no TLS is `spoken`, faults have no effect and close nothing."""
    _tell_ineffective(annotations)
    reading = _Reading(annotations, spoken)
    verifies, name, secret = reading.read_verify(), reading.read_name(), reading.read_secret(namespace)
    if secret and not spoken:
        message = "has no effect: Services of its paths are spoken to without TLS"
        annotations.warn("proxy-ssl-secret", message, Code.ZS0404, f'add {PREFIX}backend-protocol: "HTTPS"')
    if verifies and not annotations.text("proxy-ssl-secret"):
        cure = f"add {PREFIX}proxy-ssl-secret: {namespace}/NAME, a Secret with the authority as ca.crt"
        reading.refuse("proxy-ssl-verify", "is on, and needs proxy-ssl-secret", Code.ZS0404, cure)
    elif verifies and not annotations.text("proxy-ssl-name"):
        cure = f"add {PREFIX}proxy-ssl-name with a name that the Service's certificate has"
        reading.refuse("proxy-ssl-verify", "is on, and needs proxy-ssl-name", Code.ZS0404, cure)
    return ServiceTlsRequest(namespace, secret, verifies, name) if secret or name else None


@dataclass(frozen=True, slots=True)
class _Reading:
    annotations: Annotations
    spoken: bool

    def refuse(self, name: str, problem: str, code: Code, cure: str) -> None:
        if self.spoken:
            self.annotations.close(name, f"{problem}: its routes answer 503", code, cure)
        else:
            self.annotations.warn(name, f"{problem}; it has no effect without TLS", code, cure)

    def read_verify(self) -> bool:
        """Anything but `on` and `off` is off there, which would be an open door."""
        text = self.annotations.text("proxy-ssl-verify")
        if text != "on" and text.lower() not in OFF:
            self.refuse("proxy-ssl-verify", f"is `{text}`, not on or off", Code.ZS0403, 'write "on" or "off"')
        return text == "on"

    def read_name(self) -> str:
        text = self.annotations.text("proxy-ssl-name")
        if not text or (_NAME.fullmatch(text) and len(text) < 254):
            return text
        self.refuse(
            "proxy-ssl-name", f"is `{text}`, no name of a host", Code.ZS0403, "write such as api.internal"
        )
        return ""

    def read_secret(self, namespace: str) -> str:
        text = self.annotations.text("proxy-ssl-secret")
        space, slash, name = text.rpartition("/")
        space = space if slash else namespace
        if not text:
            return ""
        if not NAME_PATTERN.fullmatch(name) or not LABEL_PATTERN.fullmatch(space):
            cure = f"write {namespace}/NAME"
            self.refuse("proxy-ssl-secret", f"is `{text}`, not NAMESPACE/NAME", Code.ZS0403, cure)
        elif space != namespace:
            cure = f"copy the Secret to namespace {namespace}"
            self.refuse("proxy-ssl-secret", f"names a Secret of namespace {space}", Code.ZS0308, cure)
        else:
            return name
        return ""


def _tell_ineffective(annotations: Annotations) -> None:
    protocols = frozenset(annotations.text("proxy-ssl-protocols").split())
    if protocols and protocols & _SPOKEN != _SPOKEN:
        message = "is not honoured: TLS 1.3 is spoken to Services, and 1.2 where they have no 1.3"
        annotations.warn("proxy-ssl-protocols", message, Code.ZS0401, "remove it")
    if annotations.text("proxy-ssl-server-name").lower() in OFF - {""} and annotations.text("proxy-ssl-name"):
        message = "is off, and Services are told proxy-ssl-name all the same"
        annotations.warn("proxy-ssl-server-name", message, Code.ZS0401, 'write "on", or remove it')
