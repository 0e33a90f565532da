"""Certificates of clients: what the objects of one host ask for, agreed on.

In: the parts of a host, oldest first, and the Secrets that they name. Out: the host's `ClientAuthentication`,
and the denial of routes whose demand cannot be met. Rule: TLS has one policy for a host; it is that of the
oldest Ingress that asks, of the namespace that has the host. Who asks for another one is closed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic
from zeroserve_ir.model import ClientAuthentication, ClientCheck, Denial

from zeroserve_operator.annotations.client_certificates import AuthorityError, ClientRequest, read_authorities
from zeroserve_operator.annotations.names import PREFIX
from zeroserve_operator.building.planning import HostPart
from zeroserve_operator.resources.objects import Kind, ObjectKey
from zeroserve_operator.resources.secrets import Secret

FindSecret = Callable[[ObjectKey], Secret | None]


class ClientPolicies:
    """What is agreed on while the parts of a host are merged."""

    def __init__(
        self, parts: Sequence[HostPart], find_secret: FindSecret, note: Callable[[Diagnostic], None]
    ) -> None:
        self.agreed: ClientAuthentication | None = None
        self._owner = parts[0].meta.key.namespace if parts else ""
        self._find_secret = find_secret
        self._note = note

    def take(self, part: HostPart, request: ClientRequest) -> Denial | None:
        """Agree to what a part asks for, or say why its routes are closed."""
        if part.meta.key.namespace != self._owner:
            return self._refuse(part, Code.ZS0304, f"the host belongs to namespace {self._owner}")
        secret = self._find_secret(ObjectKey(Kind.SECRET, request.namespace, request.secret))
        name = f"Secret {request.namespace}/{request.secret}"
        if secret is None:
            return self._refuse(part, Code.ZS0501, f"{name} is not there")
        try:
            asked = ClientAuthentication(request.mode, read_authorities(secret), request.depth)
        except AuthorityError as error:
            return self._refuse(part, Code.ZS0502, f"{name} {error}")
        if self.agreed not in (None, asked):
            return self._refuse(part, Code.ZS0304, "an older Ingress of the host asks for other certificates")
        self.agreed = asked
        return None

    def _refuse(self, part: HostPart, code: Code, problem: str) -> Denial:
        origin = part.meta.key.origin.at(f"metadata.annotations[{PREFIX}auth-tls-secret]")
        self._note(Diagnostic(code, f"{problem}: its routes answer 503", origin=origin))
        return Denial(f"{code.name}: {problem}")


def make_check(request: ClientRequest | None) -> ClientCheck | None:
    """Return what each route of an Ingress does with certificates."""
    return ClientCheck(request.mode, request.subject, request.passes) if request else None
