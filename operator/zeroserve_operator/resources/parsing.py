"""From a raw object to its view, whatever its kind.

In: raw objects from watches and manifests. Out: key, view and diagnostics. Called by the store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from zeroserve_operator.resources.ingresses import Ingress, IngressClass, parse_ingress, parse_ingress_class
from zeroserve_operator.resources.objects import Kind, ObjectKey, Parsed
from zeroserve_operator.resources.plugins import (
    ConfigMap,
    PluginFile,
    ZeroservePlugin,
    parse_config_map,
    parse_zeroserve_plugin,
)
from zeroserve_operator.resources.purges import CachePurge, parse_cache_purge
from zeroserve_operator.resources.routes import ZeroserveRoute, parse_zeroserve_route
from zeroserve_operator.resources.secrets import Secret, parse_secret
from zeroserve_operator.resources.services import EndpointSlice, Service, parse_endpoint_slice, parse_service

View = (
    Ingress
    | IngressClass
    | Service
    | EndpointSlice
    | Secret
    | ZeroserveRoute
    | ZeroservePlugin
    | ConfigMap
    | PluginFile
    | CachePurge
)

_PARSERS: Mapping[Kind, Callable[[ObjectKey, Mapping[str, Any]], Parsed[Any]]] = {
    Kind.INGRESS: parse_ingress,
    Kind.INGRESS_CLASS: parse_ingress_class,
    Kind.SERVICE: parse_service,
    Kind.ENDPOINT_SLICE: parse_endpoint_slice,
    Kind.SECRET: parse_secret,
    Kind.ZEROSERVE_ROUTE: parse_zeroserve_route,
    Kind.ZEROSERVE_PLUGIN: parse_zeroserve_plugin,
    Kind.CONFIG_MAP: parse_config_map,
    Kind.CACHE_PURGE: parse_cache_purge,
}


def parse_object(key: ObjectKey, raw: Mapping[str, Any]) -> Parsed[View]:
    """Parse an object whose key is known."""
    return _PARSERS[key.kind](key, raw)
