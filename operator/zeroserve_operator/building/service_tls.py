"""TLS towards Services: what the objects of one host ask for, with the content of their Secrets.

In: the parts of a host, oldest first, and the Secrets that they name. Out: `ServiceTls` for a part, or the
denial of its routes. Rule: what the oldest Ingress asks for holds for those of its namespace on the host that
ask for nothing, as ingress-nginx sets it for the whole server (controller.go, createServers).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic
from zeroserve_ir.model import Denial, ServiceTls

from zeroserve_operator.annotations.client_certificates import AUTHORITY_KEY, AuthorityError, read_authorities
from zeroserve_operator.annotations.names import PREFIX
from zeroserve_operator.annotations.service_tls import ServiceTlsRequest
from zeroserve_operator.building.certificates import CHAIN_KEY, PRIVATE_KEY, KeyPairError, read_key_pair
from zeroserve_operator.building.clients import FindSecret
from zeroserve_operator.building.planning import HostPart
from zeroserve_operator.resources.objects import Kind, ObjectKey
from zeroserve_operator.resources.secrets import Secret


class ServiceTlsPolicies:
    """What the parts of a host ask for."""

    def __init__(
        self, parts: Sequence[HostPart], find_secret: FindSecret, note: Callable[[Diagnostic], None]
    ) -> None:
        self._find_secret = find_secret
        self._note = note
        self._first: dict[str, ServiceTlsRequest] = {}
        for part in parts:
            if part.policy.service_tls is not None and part.policy.service_tls.secret:
                self._first.setdefault(part.meta.key.namespace, part.policy.service_tls)

    def find(self, part: HostPart) -> tuple[ServiceTls | None, Denial | None]:
        """Return what a part asks for, or why its routes are closed."""
        request = part.policy.service_tls
        if request is None or not request.secret:
            request = self._first.get(part.meta.key.namespace, request)
        if request is None or not part.policy.speaks_tls:
            return None, None
        if not request.secret:
            return ServiceTls(name=request.name), None
        name = f"Secret {request.namespace}/{request.secret}"
        secret = self._find_secret(ObjectKey(Kind.SECRET, request.namespace, request.secret))
        if secret is None:
            return None, self._refuse(part, Code.ZS0501, f"{name} is not there")
        try:
            return _read(request, secret), None
        except AuthorityError as error:
            return None, self._refuse(part, Code.ZS0502, f"{name} {error}")
        except KeyPairError as error:
            return None, self._refuse(part, error.code, f"{name} {error}")

    def _refuse(self, part: HostPart, code: Code, problem: str) -> Denial:
        origin = part.meta.key.origin.at(f"metadata.annotations[{PREFIX}proxy-ssl-secret]")
        cure = f"{AUTHORITY_KEY} verifies Services, {CHAIN_KEY} and {PRIVATE_KEY} are shown to them"
        self._note(Diagnostic(code, f"{problem}: its routes answer 503", origin=origin, help=cure))
        return Denial(f"{code.name}: {problem}")


def _read(request: ServiceTlsRequest, secret: Secret) -> ServiceTls:
    """Read a Secret with a key pair, authorities or both (ingress-nginx: backend_ssl.go)."""
    authorities = read_authorities(secret) if request.verifies else ()
    shows = secret.get(CHAIN_KEY) or secret.get(PRIVATE_KEY)
    if not shows and not authorities and not secret.get(AUTHORITY_KEY):
        raise AuthorityError(f"has neither `{AUTHORITY_KEY}` nor `{CHAIN_KEY}`")
    if not shows:
        return ServiceTls(authorities, request.name)
    pair = read_key_pair(secret)
    return ServiceTls(authorities, request.name, pair.chain, pair.key)
