"""Caddy's JSON as it is written: servers by name, whose routes are those of the tree.

In: decoding of JSON. Out: encoding to the same JSON; settling, which makes sites of the servers. What no type
says is carried.
"""

from __future__ import annotations

from dataclasses import dataclass

from zeroserve_ir.tree import NamedRoute, Route
from zeroserve_ir.tree_carried import NOTHING_CARRIED, Carried


@dataclass(frozen=True, slots=True)
class AdaptedServer:
    """One server of Caddy's http app."""

    name: str
    listen: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    errors: tuple[Route, ...] = ()
    named_routes: tuple[NamedRoute, ...] = ()
    others: Carried = NOTHING_CARRIED
    """Its further fields."""


@dataclass(frozen=True, slots=True)
class AdaptedConfiguration:
    """A whole configuration: its servers, and all beside them."""

    servers: tuple[AdaptedServer, ...]
    others: Carried = NOTHING_CARRIED
    """The configuration without `apps.http.servers`."""
