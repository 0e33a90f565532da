"""Upstream addresses of `reverse_proxy`, for owners and for tenants.

In: one token. Out: the scheme it asks for and the upstreams it stands for. Owners write dial addresses,
URLs or port ranges (reverseproxy/addresses.go); tenants write Services, `name:port` or
`name.namespace.svc:port`, and nothing else: a literal address could reach what is not theirs.
"""

from __future__ import annotations

import re

from zeroserve_ir.caddyfile.lexer import Token
from zeroserve_ir.caddyfile.limits import PORTS_MAX
from zeroserve_ir.caddyfile.meaning.reading import Tenancy, refusal
from zeroserve_ir.codes import Code
from zeroserve_ir.host_names import spell_authority
from zeroserve_ir.tree import ServiceReference, Upstream

DEFAULT_PORTS = {"": "80", "http": "80", "h2c": "80", "https": "443"}
_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")
_CONFLICTS = {("http", "443"), ("https", "80"), ("h2c", "443")}


def read_upstream(token: Token, tenancy: Tenancy | None) -> tuple[str, tuple[Upstream, ...]]:
    """Return the scheme ("" where none is written) and the upstreams of a port or a range of ports."""
    scheme, separator, address = token.text.partition("://")
    if not separator:
        scheme, address = "", token.text
    elif scheme.lower() not in DEFAULT_PORTS or not scheme:
        cure = {"ws": "write http://", "wss": "write https://"}.get(
            scheme, "write http://, https:// or h2c://"
        )
        raise refusal(Code.ZS0103, f"scheme {scheme}:// is not one of upstreams", token, cure)
    scheme = scheme.lower()
    if separator and "{" in address:
        cure = "write the address without scheme, and the scheme as transport http { tls }"
        raise refusal(Code.ZS0103, "a placeholder does not go with a scheme", token, cure)
    if separator and re.search(r"[/?#@]", address):
        cure = "use rewrite in the block of reverse_proxy for a path"
        raise refusal(
            Code.ZS0103, f"upstream {token.text!r} has more than scheme, host and port", token, cure
        )
    if not address:
        raise refusal(Code.ZS0103, "empty upstream", token, "write HOST:PORT")
    if tenancy is not None:
        return scheme, (_read_service(address, scheme, token, tenancy),)
    if not separator and (unix := _read_unix(address)):
        return unix
    return scheme, _read_dial(address, scheme, token)


def _read_unix(address: str) -> tuple[str, tuple[Upstream, ...]] | None:
    network, slash, path = address.partition("/")
    if not slash or network not in ("unix", "unix+h2c"):
        return None
    return ("h2c" if network == "unix+h2c" else "", (Upstream(f"unix/{path}"),))


def _read_dial(address: str, scheme: str, token: Token) -> tuple[Upstream, ...]:
    network, slash, rest = address.partition("/")
    if slash:
        # What stands before a slash is a network to Caddy, whatever it is (SplitNetworkAddress).
        return tuple(Upstream(f"{network}/{one.dial}") for one in _read_dial(rest, scheme, token))
    host, ports = split_host_port(address)
    if not ports:
        if "{" in host:
            return (Upstream(host),)
        ports = DEFAULT_PORTS[scheme]
    if (scheme, ports) in _CONFLICTS:
        raise refusal(
            Code.ZS0103, f"scheme {scheme}:// and port {ports} contradict", token, "change one of them"
        )
    if "{" in ports:
        return (Upstream(join_host_port(host, ports)),)
    found = _PORTS.fullmatch(ports)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if not 0 <= first <= last <= 65535:
        raise refusal(Code.ZS0103, f"{ports!r} is not a port or a range of ports", token, "write HOST:PORT")
    if last - first >= PORTS_MAX:
        raise refusal(Code.ZS0202, f"the range has over {PORTS_MAX} ports", token, "write a smaller range")
    return tuple(Upstream(join_host_port(host, str(number))) for number in range(first, last + 1))


def split_host_port(address: str) -> tuple[str, str]:
    """Split `host:port`, `[v6]:port` or a host alone; brackets are dropped."""
    if address.startswith("[") and "]" in address:
        host, _, rest = address[1:].partition("]")
        return host, rest.removeprefix(":")
    if address.count(":") == 1 or ("{" in address and re.search(r":\{[^}]*\}$", address)):
        host, _, port = address.rpartition(":")
        return host, port
    return address, ""


def join_host_port(host: str, port: str) -> str:
    """Join host and port, IPv6 in brackets (net.JoinHostPort)."""
    return f"{spell_authority(host)}:{port}"


_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_SERVICE = re.compile(
    rf"(?P<name>{_LABEL})(\.(?P<namespace>{_LABEL})\.svc(\.cluster\.local)?)?(:(?P<port>[a-z0-9-]+))?"
)


def _read_service(address: str, scheme: str, token: Token, tenancy: Tenancy) -> Upstream:
    found = _SERVICE.fullmatch(address)
    if not found:
        cure = "name a Service: NAME:PORT, or NAME.NAMESPACE.svc:PORT"
        raise refusal(Code.ZS0201, f"upstream {token.text!r} is not a Service", token, cure)
    port = found["port"] or DEFAULT_PORTS[scheme]
    if port.isdecimal() and not 0 < int(port) < 65536:
        raise refusal(Code.ZS0103, f"port {port} is out of range", token, "write a port from 1 to 65535")
    namespace = found["namespace"] or tenancy.namespace
    reference = ServiceReference(namespace, found["name"], port)
    if namespace != tenancy.namespace and not tenancy.allow_reference(reference):
        cure = f"grant it with a ReferenceGrant in namespace {namespace}"
        message = f"Service {found['name']} is in another namespace, {namespace}"
        raise refusal(Code.ZS0308, message, token, cure)
    return Upstream(f"{reference.name}.{namespace}.svc:{port}", reference)
