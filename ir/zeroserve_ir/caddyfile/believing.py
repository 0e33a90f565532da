"""Who is believed about the client's address: `trusted_proxies`, `client_ip_headers` and their kin.

In: a configuration's sites and options. Out: what each server trusts, as the option `servers` gives it by
listener (httpcaddyfile/serveroptions.go).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.caddyfile.listening import Server, pair_sites
from zeroserve_ir.tree import Configuration
from zeroserve_ir.tree_carried import Json

FIELDS = (
    "trusted_proxies",
    "trusted_proxies_strict",
    "client_ip_headers",
    "expected_underscore_headers",
    "expected_dot_headers",
    "trusted_proxies_unix",
)
"""Fields of Caddy's server that are read here."""


UNIX_CLIENT = "0.0.0.0/32"
"""Whoever comes by a Unix socket: the engine has no other address of theirs."""


@dataclass(frozen=True, slots=True)
class Believed:
    """Proxies that are believed, and where they say who the client is."""

    ranges: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    """In lower case; none is X-Forwarded-For."""
    strict: bool = False
    """The last address that is no trusted proxy counts, instead of the first one that is an address."""
    underscored: tuple[str, ...] = ()
    """Names of fields with `_` that are taken in, `*` at the end for any text; others are left out."""
    dotted: tuple[str, ...] = ()
    """The same of names with a dot."""


NOBODY = Believed()


def find_believed(configuration: Configuration) -> list[tuple[Server, Believed]]:
    """Return the servers of a configuration and what each trusts."""
    options = configuration.options
    servers: list[Json] = options.others.value().get("servers", [])
    found: list[tuple[Server, Believed]] = []
    for server in pair_sites(configuration.sites):
        named = (one["server"] for one in servers if one["listener"] in ("", *server.listen))
        found.append((server, _read_fields(next(named, {}), () if servers else options.trusted_proxies)))
    return found


def add_trusts(
    settings: pb.Settings, configuration: Configuration, listener_names: Mapping[str, str]
) -> None:
    """Add what each server trusts; `listener_names` are the listeners' by network address."""
    for server, believed in find_believed(configuration):
        names = [listener_names[one] for one in server.listen if one in listener_names]
        if names and believed != NOBODY:
            settings.server_trusts.add(
                listeners=names,
                trusted_proxies=believed.ranges,
                client_ip_fields=believed.headers,
                client_ip_strict=believed.strict,
                underscore_fields=believed.underscored,
                dot_fields=believed.dotted,
            )


def _read_fields(server: Json, ranges: tuple[str, ...]) -> Believed:
    source = server.get("trusted_proxies", {}).get("ranges", ranges)
    if server.get("trusted_proxies_unix"):
        source = (*source, UNIX_CLIENT)
    headers = tuple(name.lower() for name in server.get("client_ip_headers", ()))
    return Believed(
        tuple(source),
        headers,
        bool(server.get("trusted_proxies_strict")),
        tuple(server.get("expected_underscore_headers", ())),
        tuple(server.get("expected_dot_headers", ())),
    )
