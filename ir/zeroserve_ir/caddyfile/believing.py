"""Who is believed about the client's address: `trusted_proxies`, `client_ip_headers` and their kin.

In: a configuration's sites and options. Out: what each server trusts, as the option `servers` gives it by
listener (httpcaddyfile/serveroptions.go). The engine has one such setting for all listeners: where servers
differ, `judging` refuses the configuration, and `drafting_sites` trusts nobody.
"""

from __future__ import annotations

from dataclasses import dataclass

from zeroserve_ir.caddyfile.listening import pair_sites
from zeroserve_ir.tree import Configuration
from zeroserve_ir.tree_carried import Json

FIELDS = ("trusted_proxies", "trusted_proxies_strict", "client_ip_headers")
"""Fields of Caddy's server that are read here."""


@dataclass(frozen=True, slots=True)
class Believed:
    """Proxies that are believed, and where they say who the client is."""

    ranges: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    """In lower case; none is X-Forwarded-For."""
    strict: bool = False
    """The last address that is no trusted proxy counts, instead of the first one that is an address."""


NOBODY = Believed()


def find_believed(configuration: Configuration) -> Believed | None:
    """Return what all servers of a configuration trust; None where they differ."""
    options = configuration.options
    servers: list[Json] = options.others.value().get("servers", [])
    found: set[Believed] = set()
    for server in pair_sites(configuration.sites):
        named = (one["server"] for one in servers if one["listener"] in ("", *server.listen))
        found.add(_read_fields(next(named, {}), () if servers else options.trusted_proxies))
    return next(iter(found or {NOBODY})) if len(found) < 2 else None


def _read_fields(server: Json, ranges: tuple[str, ...]) -> Believed:
    source = server.get("trusted_proxies", {}).get("ranges", ranges)
    headers = tuple(name.lower() for name in server.get("client_ip_headers", ()))
    return Believed(tuple(source), headers, bool(server.get("trusted_proxies_strict")))
