"""Host names: what an object wants to be served under.

In: hosts as written in rules, TLS entries and ZeroserveRoutes. Out: hosts as virtual hosts have them, or why
not (networking.k8s.io IngressRule.host: a DNS name or `*.` and one; no IP address, no port).
"""

from __future__ import annotations

import ipaddress
import re

from zeroserve_ir.host_names import spell_host

HOST_LENGTH_MAX = 253
_NAME = re.compile(r"(\*\.)?[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*")


class HostError(Exception):
    """A host that cannot be served; says why."""


def make_host(text: str) -> str:
    """Return a host in lower case; "" stays; raises `HostError`."""
    host = text.lower()
    if not host:
        return ""
    if "{{" in host:
        raise HostError(f"host `{text}` is a template: render it first, with `helm template`")
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        pass
    else:
        raise HostError(f"host `{text}` must be a name, not an IP address")
    if not host.isascii() and _NAME.fullmatch(spell_host(host)):
        raise HostError(f"host `{text}` must be a DNS name in ASCII: write `{spell_host(host)}`")
    if not host.isascii() or len(host) > HOST_LENGTH_MAX or not _NAME.fullmatch(host):
        raise HostError(f"host `{text}` must be a DNS name, or `*.` and one")
    if host == "*" or (host.startswith("*.") and "." not in host[2:]):
        raise HostError(f"host `{text}` covers a whole top-level domain")
    return host


def covers(pattern: str, host: str) -> bool:
    """Tell whether a name of a certificate or TLS entry covers a host; `*` is exactly one label."""
    if pattern.startswith("*."):
        return host == pattern or (not host.startswith("*.") and host.partition(".")[2] == pattern[2:])
    return pattern == host
