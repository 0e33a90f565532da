"""Names that certificates are for: which are public, what a wildcard covers (certmagic/certificates.go)."""

from __future__ import annotations

import ipaddress

_INTERNAL_SUFFIXES = (".localhost", ".local", ".internal", ".home.arpa")
_FORBIDDEN = set("()[]{}<> \t\n\"\\!@#$%^&|;'+=")


def matches_wildcard(name: str, wildcard: str) -> bool:
    """Whether a wildcard covers a name: its first labels may be `*`, from the left."""
    name, wildcard = name.lower(), wildcard.lower()
    if name == wildcard:
        return True
    if "*" not in wildcard:
        return False
    labels = name.split(".")
    for index, label in enumerate(labels):
        if label:
            labels[index] = "*"
            if ".".join(labels) == wildcard:
                return True
    return False


def is_address(name: str) -> bool:
    """Whether a name is an IP address."""
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def is_internal(name: str) -> bool:
    """Whether a name is for this machine or network only."""
    lower = name.lower().removesuffix(".")
    if is_address(lower):
        return ipaddress.ip_address(lower.removeprefix("[").removesuffix("]")).is_private
    return lower == "localhost" or lower.endswith(_INTERNAL_SUFFIXES)


def is_public(name: str, *, on_demand: bool = False) -> bool:
    """Whether an authority of the public would sign a name (tlsapp.go subjectQualifiesForPublicCert)."""
    return not is_address(name) and not is_internal(name) and (name.count("*.") < 2 or on_demand)


def is_tailscale(name: str) -> bool:
    """Whether a name is one of Tailscale, which has certificates of its own."""
    return name.lower().endswith(".ts.net")


def is_certifiable(name: str) -> bool:
    """Whether any authority could sign a name (certmagic.SubjectQualifiesForCert)."""
    wildcard = "*" not in name or name.startswith("*.") or name == "*"
    return (
        bool(name.strip())
        and not name.startswith(".")
        and not name.endswith(".")
        and wildcard
        and not (_FORBIDDEN & set(name))
    )
