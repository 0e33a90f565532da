"""Rendering: certificates of clients.

In: `model.ClientAuthentication` of a host, `model.ClientCheck` of a route. Out: the TLS of its site, whose
policy the engine enforces on every request, and routes that check and pass on what a certificate says.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Final

from zeroserve_ir import tree
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.caddyfile.meaning.securing import list_directives
from zeroserve_ir.model import ClientAuthentication, ClientCheck, ClientMode
from zeroserve_ir.tree_carried import Carried

_MODES: Final = {
    ClientMode.REQUIRED: ("require_and_verify", pb.ClientAuthentication.REQUIRE_AND_VERIFY),
    ClientMode.OPTIONAL: ("verify_if_given", pb.ClientAuthentication.VERIFY_IF_GIVEN),
    ClientMode.UNVERIFIED: ("request", pb.ClientAuthentication.REQUEST),
}
_FIELDS: Final = {
    "Ssl-Client-Subject-Dn": "{http.request.tls.client.subject}",
    "Ssl-Client-Issuer-Dn": "{http.request.tls.client.issuer}",
}
_VERIFIED, _CERTIFICATE = "Ssl-Client-Verify", "Ssl-Client-Cert"
_SHOWN: Final = tree.MatchNot(
    ((tree.MatchVars((("{http.request.tls.client.certificate_der_base64}", ("",)),)),),)
)


def render_clients(clients: ClientAuthentication) -> tuple[Carried, ...]:
    """Return `tls { client_auth … }` as the tree carries it."""
    mode = _MODES[clients.mode][0]
    encoded = [base64.b64encode(der).decode() for der in clients.authorities]
    authentication = {"ca": {"provider": "inline", "trusted_ca_certs": encoded}, "mode": mode}
    pool = ["\t\ttrust_pool inline {", *(f"\t\t\ttrust_der {one}" for one in encoded), "\t\t}"]
    written = "\n".join(["tls {", "\tclient_auth {", f"\t\tmode {mode}", *pool, "\t}", "}"])
    return (Carried.of({"policy": {"client_authentication": authentication}}, written),)


def build_policy(tls: tree.SiteTls | None) -> pb.TlsPolicy | None:
    """Return the policy of a rendered site; None is the engine's own."""
    modes = dict(_MODES.values())
    for directive in list_directives(tls):
        asked = directive.get("policy", {}).get("client_authentication")
        if asked and tls is not None:
            policy = pb.TlsPolicy()
            policy.client_authentication.mode = modes[asked["mode"]]
            policy.client_authentication.depth = tls.client_depth
            policy.client_authentication.trusted_ca.extend(
                base64.b64decode(one) for one in asked["ca"]["trusted_ca_certs"]
            )
            return policy
    return None


def render_check(check: ClientCheck) -> Iterator[tree.Route]:
    """Refuse other subjects, and tell the Service who it is (template nginx.tmpl: ssl-client-*)."""
    if check.subject:
        subject = tree.MatchVarsRegexp("{http.request.tls.client.subject}", check.subject)
        yield tree.Route((tree.RaiseError("403"),), matchers=((tree.MatchNot(((subject,),)),),))
    verified = "FAILED:the chain is not verified" if check.mode is ClientMode.UNVERIFIED else "SUCCESS"
    fields = {_VERIFIED: verified, **_FIELDS}
    if check.passes:
        fields[_CERTIFICATE] = "{http.request.tls.client.certificate_pem_escaped}"
    forged = tree.HeaderOperations(delete=(_VERIFIED, *_FIELDS, _CERTIFICATE))
    yield tree.Route((tree.Headers(request=forged),))
    told = tree.HeaderOperations(set=tuple(fields.items()))
    yield tree.Route((tree.Headers(request=told),), matchers=((_SHOWN,),))
    if check.mode is not ClientMode.REQUIRED:
        nobody = tree.HeaderOperations(set=((_VERIFIED, "NONE"),))
        yield tree.Route((tree.Headers(request=nobody),), matchers=((tree.MatchNot(((_SHOWN,),)),),))
